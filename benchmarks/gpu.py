"""Check and time numbarnn on a CUDA card, in one command of ten minutes on a machine that has nothing but the card.

    pip install -e '.[cuda13]'              # or cuda12, after the version that nvidia-smi prints
    python benchmarks/gpu.py --out FOLDER   # from anywhere; torch is compared where it is installed

Rows are printed, and appended to FOLDER/results.jsonl as they come; FOLDER/logs has what the processes said. Every job is a process
with a limit, so that a fault of one kernel, after which its process can use the card no longer, costs that job alone.

exit status
  0  every check passed, and every step ran
  1  a check failed
  2  there is no usable card, or a wrong option: nothing ran but the probe
  3  no check failed, but a job failed or ran out of time, or a required step was dropped when the budget ended
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests")]

try:
    import gpu_checks
    import gpu_times
    from steps import Job, Runner, Step, brief, note, own_output

    import numbarnn as nr
    from numbarnn import parallel
    from numbarnn.backends.device import check_device
except ModuleNotFoundError as error:
    print(f"{error}; pip install -e '{ROOT}[cuda13]'", file=sys.stderr)
    raise SystemExit(2) from error

# Probe

PACKAGES = (
    "numpy", "numba", "llvmlite", "numba-cuda", "cuda-core", "cuda-bindings", "cuda-pathfinder", "nvidia-nvvm", "nvidia-nvjitlink",
    "nvidia-cuda-nvrtc", "torch",
)  # fmt: skip
QUERY = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,compute_mode,mig.mode.current"


def probe(_):
    """Note versions, libraries, clocks and the card, and in one row what is missing; fail where the card cannot be used."""
    versions, missing = {"python": platform.python_version()}, []
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    note(**versions, processors=parallel.usable_processors()[0])
    missing += _note_libraries()
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        values = done.stdout.splitlines()[:1] or [done.stderr]
        note(**dict(zip(QUERY.split(","), map(str.strip, values[0].split(",")), strict=False)))
    else:
        missing.append("nvidia-smi")
    missing += [] if sanitizer() else ["compute-sanitizer"]
    note(missing=", ".join(missing) or "nothing")
    check_device("cuda")
    from numbarnn.kernels.cuda import driver

    if driver.SIMULATED:
        raise SystemExit("NUMBA_ENABLE_CUDASIM is set: kernels would run in Numba's simulator")
    from numba import cuda

    card, memory = cuda.get_current_device(), cuda.current_context().get_memory_info()
    capability = ".".join(map(str, card.compute_capability))
    note(
        card=str(card.name),
        capability=capability,
        multiprocessors=int(card.MULTIPROCESSOR_COUNT),
        bytes=int(memory.total),
    )


def _note_libraries():
    """Note where the compiler's libraries are; return what cannot be loaded."""
    try:
        from cuda import pathfinder
    except ImportError:
        return []
    missing = []
    for name in ("nvvm", "nvJitLink", "nvrtc"):
        try:
            note(library=name, path=pathfinder.load_nvidia_dynamic_lib(name).abs_path)
        except Exception as error:  # of many types
            missing.append(f"{name} ({brief(error)[:100]})")
    return missing


def sanitizer():
    """Return the path of compute-sanitizer, None where it is not installed."""
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    found = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:{home}/bin:{home}/compute-sanitizer")
    if found is None:
        with contextlib.suppress(Exception):  # not installed, or too old to know it
            from cuda import pathfinder

            found = pathfinder.find_nvidia_binary_utility("compute-sanitizer")
    return found


# Builds


def wanted_builds():
    """Return {(kernel's name, class of the record): (kernel, type of values, record)} of what the other steps launch."""
    import cuda_build

    kernels, wanted, tables = cuda_build.all_kernels(), {}, {}
    for name, real, record in cuda_build.all_builds(kernels):
        if str(real) == "float32":
            wanted[name, type(record)] = kernels[name], real, record
            # Of a table's kernels, module.table.key, tests build some with some records; cells launch any of them.
            tables.setdefault(name.rpartition(".")[0], {})[type(record)] = real, record
    for name, kernel in kernels.items():
        if name.count(".") == 2 and "float32" in kernel.dtypes:
            for kind, found in tables.get(name.rpartition(".")[0], {}).items():
                wanted.setdefault((name, kind), (kernel, *found))
    return wanted


def build(part):
    """Compile part "i of n" of all kernels for float32, and of what the CPU computes in the checks, into the cache.

    Every kernel is a file of its own there, and one process builds it.
    """
    number, parts = map(int, part.split("of"))
    wanted, done, started = wanted_builds(), 0, time.monotonic()
    gpu_checks.compile_host(number, parts)
    for (name, kind), (kernel, real, record) in list(wanted.items())[number::parts]:
        try:
            kernel.load(real, record)
            done += 1
        except Exception as error:  # of any compiler
            note(kernel=name, cell=kind.__name__, ok=False, error=brief(error))
    note(kernels=done, of=len(wanted), seconds=round(time.monotonic() - started, 1))


# Sanitizer


def sanitize(tool):
    """Run `small_steps` under a tool of compute-sanitizer."""
    program = sanitizer()
    if program is None:
        note(missing="compute-sanitizer is not installed")
        return
    command = [program, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", *own_command("small", "steps")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout)
    summary = [line.strip("= ") for line in done.stdout.splitlines() if "SUMMARY" in line]
    if not summary:
        raise RuntimeError(f"compute-sanitizer gave no summary, exit status {done.returncode}")
    note(tool=tool, summary=summary[-1], ok=done.returncode == 0)


def small_steps(_):
    """Train and differentiate small models, every buffer an allocation of its own."""
    x, y, _ = gpu_checks.batch(5, 3, 3)
    with gpu_checks.poisoned(apart=True):
        for layer in (nr.LSTM(65, bidirectional=True), nr.GRU(257), nr.LSTM(128)):
            nr.Model([layer, nr.Dense(5)], 3, device="cuda").loss_and_grad(x, y, lengths=[3, 0, 1, 2, 3])
        x, *_ = gpu_checks.batch(3, 9, 3)
        nr.Model([nr.Dense(6)], 3, device="cuda").loss_and_grad(x, [[1, 2], [], [3, 3]], "ctc")
        model = nr.Model([nr.OneHot(5), nr.LSTM(8, 2), nr.Dense(5)], device="cuda")
        model.fit(y, y, epochs=1, optimizer="rmsprop", clip_norm=1.0, verbose=0)
    gpu_times.wait()


# The steps

FUNCTIONS = {
    "probe": probe, "build": build, "smoke": gpu_checks.smoke, "check": gpu_checks.check, "sanitize": sanitize,
    "small": small_steps, "memory": gpu_times.memory,
}  # fmt: skip
# These take torch too, None where it is not to be compared.
COMPARISONS = {"charlm": gpu_times.charlm, "lstm": gpu_times.lstm, "sampling": gpu_times.sampling}


def own_command(step, job, no_torch=False):
    """Return the command of a job."""
    return (sys.executable, str(Path(__file__).resolve()), *["--no-torch"] * no_torch, "--job", step, job)


def run_job(step, job, no_torch):
    """Run a job in this process."""
    own_output()
    if step in COMPARISONS:
        COMPARISONS[step](job, None if no_torch else gpu_times.torch_on_card())
    else:
        FUNCTIONS[step](job)


def plan(workers, no_torch=False, only=()):
    """Return the steps, or those of `only`, each a step or step:job."""
    builds = [f"{n}of{workers}" for n in range(workers)]
    engines = ["numbarnn"] if no_torch else ["numbarnn", "torch"]
    steps = [
        ("probe", ["card"], 60, {}),
        ("build", builds, 180, {"side_by_side": True}),
        ("smoke", gpu_checks.SMOKE, 60, {"side_by_side": True, "judged": True}),
        ("check", gpu_checks.CHECKS, 120, {"side_by_side": True, "judged": True}),
        ("charlm", ["training"], 60, {}),
        ("lstm", map(str, gpu_times.HIDDEN), 60, {}),
        ("sampling", ["streams"], 60, {}),
        ("sanitize", ["memcheck", "racecheck"], 90, {"required": False}),
        ("memory", [f"{engine}-{case}" for case in gpu_times.MEMORY for engine in engines], 45, {"required": False}),
    ]
    found = []
    for name, jobs, limit, how in steps:
        chosen = [job for job in jobs if not only or name in only or f"{name}:{job}" in only]
        if chosen:
            found.append(Step(name, tuple(Job(job, own_command(name, job, no_torch)) for job in chosen), limit, **how))
    return found


def show(row):
    """Print a row for people."""
    row = dict(row)
    at, step, job, ok = row.pop("at"), row.pop("step"), row.pop("job", ""), row.pop("ok", None)
    verdict = {None: "", True: "ok     ", False: "WRONG  "}[ok]
    details = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
    print(f"{at:6.1f} s  {step:9}{job:19}{verdict}{details}", flush=True)


def parser():
    """Return the parser of the options."""
    text, _, status = __doc__.partition("exit status\n")
    result = argparse.ArgumentParser(
        description=text, epilog=f"exit status:\n{status}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out, processors = Path(os.environ.get("OUT") or "gpu_results"), parallel.usable_processors()[0]
    result.add_argument("--out", type=Path, default=out, help="folder of the results (default: $OUT, or gpu_results)")
    result.add_argument("--budget", type=float, default=480.0, help="seconds in all (480); later steps are dropped")
    result.add_argument(
        "--only", nargs="+", metavar="STEP", default=[], help="a step, or step:job, after the probe; see --list"
    )
    result.add_argument("--no-torch", action="store_true", help="leave torch out")
    result.add_argument("--workers", type=int, default=processors, help="processes side by side, for builds and checks")
    result.add_argument("--list", action="store_true", help="print the steps with their limits and jobs")
    result.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    return result


def main(arguments=None):
    """Run the steps; return the exit status."""
    asking = parser()
    options = asking.parse_args(arguments)
    if options.job:
        run_job(*options.job, options.no_torch)
        return 0
    if options.workers < 1:
        asking.error(f"--workers must be at least 1, got {options.workers}")
    steps = plan(options.workers, options.no_torch)
    unknown = (
        set(options.only) - {step.name for step in steps} - {f"{s.name}:{job.name}" for s in steps for job in s.jobs}
    )
    if unknown:
        asking.error(f"--only has no step {', '.join(sorted(unknown))}; see --list")
    if options.list:
        for step in steps:
            print(f"{step.name:9}{step.limit:4.0f} s each: {', '.join(job.name for job in step.jobs)}")
        return 0
    if options.only:
        steps = plan(options.workers, options.no_torch, ["probe", *options.only])
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    runner = Runner(options.out, options.budget, options.workers, show)
    runner.note(
        step="start", budget=options.budget, workers=options.workers, steps=" ".join(step.name for step in steps)
    )
    runner.run(steps[:1])
    usable = not runner.incomplete
    if usable:
        runner.run(steps[1:])
    status = 2 if not usable else 1 if runner.wrong else 3 if runner.incomplete else 0
    runner.note(step="end", status=status, wrong=runner.wrong, incomplete=runner.incomplete)
    runner.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
