"""Prebuilt kernels: which level a process runs, whose machine code it loads, and that levels never mix."""

import json
import os
import pickle
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import PACKAGE, copy_package, run_python
from test_cache import CELL, HALF, USE, plant, posix

from numbarnn.cli import levels as told
from numbarnn.cli import machine, prebuild, warmup
from numbarnn.cli.common import UserError
from numbarnn.cli.main import main
from numbarnn.kernels import cache, levels, prebuilt, records
from numbarnn.kernels.cache import ENDING, read_entry

HERE = [name for name, level in levels.LEVELS.items() if levels.runs_here(level)]
FUSED = [name for name in HERE if levels.LEVELS[name].fused]
any_level = pytest.mark.skipif(not HERE, reason="a processor without levels")
fused_level = pytest.mark.skipif(not FUSED, reason="a processor without a level that fuses")

TRIPLE = "x86_64-unknown-linux-gnu"
V2, V3, V4 = levels.LEVELS.values()
HOSTS = {
    "AVX-512": (TRIPLE, "znver5", levels.features_of(V4) + ",+vaes,-sse4a"),
    "AVX2": (TRIPLE, "haswell", levels.features_of(V3) + ",-avx512f"),
    "SSE": (TRIPLE, "nehalem", levels.features_of(V2)),
    "generic": (TRIPLE, "generic", ""),
    "ARM": ("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+fp-armv8"),
}


# The choice


@pytest.fixture
def choose(monkeypatch, tmp_path):
    """Return what a process chooses, as `choose(host, made, native, **settings)`: levels made for it, and native kernels."""

    def choice(host, made=(), native=False, named=(), cpu_name=None, **settings):
        monkeypatch.setattr(prebuilt, "host_target", lambda: HOSTS.get(host, host))
        monkeypatch.setattr(prebuilt.config, "CPU_NAME", cpu_name)
        monkeypatch.setattr(prebuilt.config, "CPU_FEATURES", cpu_name and HOSTS.get(host, host)[2])
        kept, inside, outside = tmp_path / "cache", tmp_path / "inside", tmp_path / "outside"
        monkeypatch.setattr(cache, "cache_directories", lambda: [kept])
        monkeypatch.setattr(cache, "PACKAGE", inside)
        monkeypatch.delenv(prebuilt.LEVEL, raising=False)
        monkeypatch.setenv(prebuilt.FOLDER, str(outside))
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        kept.mkdir(mode=0o755, exist_ok=True)
        if native:
            prebuilt.mark_native(kept)
        for folder, names in ((inside / "prebuilt", made), (outside, named)):
            for name in names:
                (folder / name).mkdir(mode=0o755, parents=True)
                (folder / name / prebuilt.ready_file(prebuilt.level_target(levels.LEVELS[name]))).touch()
        return prebuilt._choose()

    return choice


@pytest.mark.parametrize(
    ("host", "made", "options", "expected"),
    [
        ("AVX-512", [], {}, None),
        ("AVX-512", ["x86-64-v3"], {}, "x86-64-v3"),
        ("AVX-512", ["x86-64-v2", "x86-64-v3", "x86-64-v4"], {}, "x86-64-v4"),
        ("AVX2", ["x86-64-v2", "x86-64-v3", "x86-64-v4"], {}, "x86-64-v3"),
        ("AVX2", ["x86-64-v4"], {}, None),
        ("SSE", ["x86-64-v2", "x86-64-v3", "x86-64-v4"], {}, "x86-64-v2"),
        ("generic", ["x86-64-v2", "x86-64-v3", "x86-64-v4"], {}, None),
        ("ARM", ["x86-64-v2"], {}, None),
        ("AVX-512", ["x86-64-v4"], {"native": True}, None),
        ("AVX-512", ["x86-64-v3"], {"named": ["x86-64-v4"]}, "x86-64-v4"),
        ("AVX-512", ["x86-64-v4"], {"named": ["x86-64-v3"]}, "x86-64-v4"),
        ("AVX-512", ["x86-64-v4"], {"NUMBARNN_LEVEL": "native"}, None),
        ("AVX-512", ["x86-64-v4"], {"NUMBARNN_LEVEL": "x86-64-v3"}, "x86-64-v3"),
        ("AVX-512", [], {"NUMBARNN_LEVEL": "x86-64-v4", "native": True}, "x86-64-v4"),
        ("AVX-512", ["x86-64-v4"], {"NUMBARNN_LEVEL": ""}, "x86-64-v4"),
        ("AVX-512", ["x86-64-v4"], {"cpu_name": "znver5"}, None),
    ],
)
def test_choice(choose, host, made, options, expected):
    choice = choose(host, made, **options)
    assert (choice.level and choice.level.name) == expected
    assert choice.reason
    assert all(folder.name == expected for folder in choice.folders)
    if expected in (*made, *options.get("named", ())):
        assert choice.folders


def test_what_numba_is_told_to_compile_for_may_be_a_level(choose):
    """An image that sets NUMBA_CPU_NAME and NUMBA_CPU_FEATURES to those of a level loads its kernels, as native ones."""
    choice = choose((TRIPLE, V3.name, levels.features_of(V3)), [V3.name, V2.name], cpu_name=V3.name)
    assert choice.level is None
    assert [folder.name for folder in choice.folders] == [V3.name]


def test_features_may_come_in_any_order(choose):
    reverse = ",".join(reversed(levels.features_of(V3).split(",")))
    choice = choose((TRIPLE, V3.name, reverse), [V3.name], cpu_name=V3.name)
    assert [folder.name for folder in choice.folders] == [V3.name]
    assert not choose((TRIPLE, V3.name, reverse.removeprefix("+xsave,")), cpu_name=V3.name).folders


def test_target_of_the_manual_is_that_of_a_level():
    text = (PACKAGE.parent / "docs" / "container.md").read_text()
    ((name, features),) = re.findall(r"ENV NUMBA_CPU_NAME=(\S+) \\\n +NUMBA_CPU_FEATURES=(\S+)", text)
    assert features == levels.features_of(levels.LEVELS[name])


def test_levels_with_all_kernels_come_first(choose, tmp_path):
    choose("AVX-512", [V2.name, V3.name, V4.name])

    def fill_with(level, *filled):
        file = tmp_path / "inside" / "prebuilt" / level.name / prebuilt.ready_file(prebuilt.level_target(level))
        file.write_text(json.dumps({"filled": filled}))
        return prebuilt._choose().level

    assert fill_with(V4, "optimizer sgd in float32") == V4
    assert fill_with(V2, "float32") == V4  # without fused multiply-add it is several times slower
    assert fill_with(V3, "float32") == V3
    assert fill_with(V4, "optimizer sgd in float32", "float64") == V4


def test_only_a_whole_warmup_makes_native_kernels_count(choose, tmp_path, monkeypatch):
    def interrupted(*arguments):
        yield from ()
        raise KeyboardInterrupt

    choose("AVX-512", [V3.name])
    monkeypatch.setattr(cache, "writable_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.LevelChoice(None, "", ()))
    for steps, arguments, level in (
        (interrupted, [], V3),
        (lambda *arguments: iter(()), ["--only", "optimizer sgd"], V3),
        (lambda *arguments: iter(()), [], None),
    ):
        monkeypatch.setattr(warmup, "warm_everything", steps)
        main(["warmup", *arguments])
        assert prebuilt._choose().level == level


@pytest.mark.parametrize(
    ("host", "value", "message"),
    [
        ("AVX2", "avx2", "NUMBARNN_LEVEL must be native or one of x86-64-v2, x86-64-v3, x86-64-v4, got 'avx2'"),
        (
            "AVX2",
            "x86-64-v4",
            "NUMBARNN_LEVEL is x86-64-v4, but haswell lacks avx512f, .*; unset it, or set it to native",
        ),
    ],
)
def test_level_that_cannot_be(choose, host, value, message):
    with pytest.raises(ValueError, match=message):
        choose(host, NUMBARNN_LEVEL=value)


def test_ready_file_says_what_kernels_fit(monkeypatch):
    targets = list(map(prebuilt.level_target, levels.LEVELS.values()))
    names = {prebuilt.ready_file(target) for target in targets}
    for module, name, value in (
        (cache, "source_stamp", lambda: "other"),
        (cache, "compiler", lambda: "other"),
        (cache, "ABI", "py399"),
        (prebuilt, "host_target", lambda: ("other-triple", "", "")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            names.add(prebuilt.ready_file(prebuilt.level_target(V3)))
    assert len(names) == len(targets) + 4


def test_native_kernels_of_other_sources_do_not_count(tmp_path, monkeypatch):
    assert not prebuilt.has_native(tmp_path)
    prebuilt.mark_native(tmp_path)
    assert prebuilt.has_native(tmp_path)
    for name in ("source_stamp", "compiler"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, name, lambda: "other")
            assert not prebuilt.has_native(tmp_path)
            prebuilt.mark_native(tmp_path)
            assert prebuilt.has_native(tmp_path)
        assert prebuilt.has_native(tmp_path)


def test_ready_file_says_with_what_a_folder_was_filled(tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(prebuilt.description() | {"sources": "other"}))
    (tmp_path / "python.json").write_text(json.dumps(prebuilt.description() | {"python": "py39"}))
    prebuilt.mark_ready(tmp_path, ["float32"])
    prebuilt.mark_ready(tmp_path, ["model a", "float32"])
    ready = tmp_path / prebuilt.ready_file(prebuilt.host_target())
    assert {path.name for path in tmp_path.iterdir()} == {ready.name, "python.json"}
    assert prebuilt.filled_with(ready) == ("float32", "model a")
    assert prebuilt.filled_with(other) == ()
    prebuilt.withdraw(tmp_path)
    assert ready.exists()


@posix
def test_who_fills_a_folder_at_once_leaves_all_entries(tmp_path, monkeypatch):
    read = prebuilt.filled_with

    def slow(path):
        found = read(path)
        time.sleep(0.02)  # in which the others would write
        return found

    monkeypatch.setattr(prebuilt, "filled_with", slow)
    names = [f"model {number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: prebuilt.mark_ready(tmp_path, [name]), names))
    assert sorted(read(tmp_path / prebuilt.ready_file(prebuilt.host_target()))) == names


def test_kernels_that_are_being_replaced_are_not_ready(tmp_path, monkeypatch):
    def fails(*arguments):
        raise UserError("no")

    (tmp_path / "other.json").write_text(json.dumps(prebuilt.description() | {"sources": "other"}))
    monkeypatch.setattr(cache, "use_only", lambda folder: None)
    monkeypatch.setattr(machine, "compile_all", fails)
    with pytest.raises(SystemExit):
        prebuild.compile_in(None, None, None, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_folder_that_leaves_the_package_is_not_the_packages_own(monkeypatch, tmp_path):
    """NUMBA_CACHE_DIR may name it by way of the package, or by a link."""
    inside = cache.PACKAGE / "kernels"
    monkeypatch.setattr(cache.config, "CACHE_DIR", os.fspath(inside / ".." / ".." / "elsewhere"))
    assert not cache._own(cache.cache_directories()[0])
    monkeypatch.setattr(cache.config, "CACHE_DIR", os.fspath(inside))
    assert cache._own(cache.cache_directories()[0])


# Whose machine code is loaded: one small kernel in processes of its own


@pytest.fixture
def folder(tmp_path):
    """A copy of the package, to whose own folder kernels may go; the user's home is elsewhere."""
    return copy_package(tmp_path)


FILL = "import pathlib; from numbarnn.kernels import cache, prebuilt; cache.use_only(pathlib.Path({!r}))\n"


def fill(folder, level, code, *arguments, **options):
    """Run code in a process that fills `folder / "made" / level` with its kernels; return its output."""
    made = folder / "made" / level
    made.mkdir(mode=0o755, parents=True, exist_ok=True)
    code = FILL.format(str(made)) + code + f"\nprebuilt.mark_ready(pathlib.Path({str(made)!r}))"
    options = {"cwd": folder, "path": folder} | options
    return run_python(code, *arguments, **levels.environment(levels.LEVELS[level]), **options).stdout


def run(folder, code=HALF, arguments=("8", "3.5"), before="", **environment):
    """Run code where NUMBARNN_PREBUILT is `folder / "made"`; return (kernels compiled, the rest, the process)."""
    environment = {"NUMBARNN_PREBUILT": folder / "made", "HOME": folder / "home"} | environment
    done = run_python(before + code, *arguments, cwd=folder, path=folder, cache=folder / "cache", **environment)
    count, _, rest = done.stdout.strip().partition(" ")
    return int(count), rest, done


@any_level
def test_levels_never_mix(folder):
    level = HERE[-1]
    assert fill(folder, level, HALF, "8", "3.5").split(" ", 1)[0] == "2"
    made = {path: path.read_bytes() for path in (folder / "made" / level).iterdir()}
    assert [path.suffix for path in made].count(ENDING) == 2
    assert run(folder)[:2] == (0, "[4.0, 1.75]")
    assert not (folder / "cache").exists() or not list((folder / "cache").rglob(f"*{ENDING}"))
    # What is missing is compiled for this processor with the widths of the level, and kept beside native code of its own.
    assert run(folder, arguments=["8", "True"])[:2] == (1, "[4.0, 0.5]")
    assert run(folder, arguments=["8", "True"])[:2] == (0, "[4.0, 0.5]")
    assert run(folder, NUMBARNN_LEVEL="native", arguments=["8", "True"])[:2] == (2, "[4.0, 0.5]")
    # Some native code does not make the others compile: the level runs, until a warm-up has ended.
    assert run(folder, arguments=["8", "True", "3.5"])[:2] == (0, "[4.0, 0.5, 1.75]")
    mark = "from numbarnn.kernels import cache, prebuilt; prebuilt.mark_native(cache.writable_directory()); print(0)"
    run(folder, mark, ())
    assert run(folder, arguments=["8", "True", "3.5"])[:2] == (1, "[4.0, 0.5, 1.75]")
    assert run(folder, NUMBARNN_LEVEL=level, arguments=["8", "True", "3.5"])[:2] == (0, "[4.0, 0.5, 1.75]")
    assert len(list((folder / "cache").rglob(f"*half*{ENDING}"))) == 4
    assert {path: path.read_bytes() for path in (folder / "made" / level).iterdir()} == made
    for other in HERE[:-1]:
        assert run(folder, NUMBARNN_LEVEL=other)[:2] == (2, "[4.0, 1.75]")


@any_level
def test_process_that_compiles_for_a_level_loads_its_kernels(folder):
    """In whichever order its environment names the features."""
    level = HERE[-1]
    fill(folder, level, HALF, "8", "3.5")
    features = ",".join(reversed(levels.features_of(levels.LEVELS[level]).split(",")))
    assert run(folder, NUMBA_CPU_NAME=level, NUMBA_CPU_FEATURES=features)[:2] == (0, "[4.0, 1.75]")


@any_level
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_child_keeps_the_choice(folder):
    fill(folder, HERE[-1], HALF, "8", "3.5")
    fork = """
import os, sys
from numbarnn.kernels import prebuilt
assert prebuilt.chosen().level is not None
os.environ["NUMBARNN_LEVEL"] = "native"
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(folder, before=fork)[:2] == (0, "[4.0, 1.75]")


@any_level
def test_two_processes_may_fill_one_folder(folder):
    level, arguments = HERE[-1], (("8", "3.5"), ("3.5", "True"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda given: fill(folder, level, HALF, *given), arguments))
    assert len(list((folder / "made" / level).glob(f"*{ENDING}"))) == 3
    assert run(folder, arguments=("8", "3.5", "True"))[:2] == (0, "[4.0, 1.75, 0.5]")


@any_level
def test_a_wheel_has_them_inside(folder):
    level = HERE[-1]
    fill(folder, level, HALF, "8", "3.5")
    (folder / "made").rename(folder / "numbarnn" / "prebuilt")
    assert run(folder, NUMBARNN_PREBUILT="")[:2] == (0, "[4.0, 1.75]")
    for path in (folder / "numbarnn" / "prebuilt").rglob("*"):
        path.chmod(0o777)  # who can write there could change the package
    assert run(folder, NUMBARNN_PREBUILT="")[:2] == (0, "[4.0, 1.75]")


@any_level
def test_damaged_files_are_compiled_anew(folder):
    level = HERE[-1]
    fill(folder, level, HALF, "8", "3.5")
    first, second = sorted((folder / "made" / level).glob(f"*{ENDING}"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 4
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-100])
    assert run(folder)[:2] == (2, "[4.0, 1.75]")
    assert run(folder)[:2] == (0, "[4.0, 1.75]")  # from the cache


@any_level
def test_code_that_cannot_be_rebuilt_is_compiled_anew(folder):
    """A file with the right hash and key whose content Numba does not understand, as a patched Numba would leave it."""
    level = HERE[-1]
    fill(folder, level, HALF, "8")
    (file,) = (folder / "made" / level).glob(f"*{ENDING}")
    plant(file, folder / "mark")
    assert run(folder, arguments=["8"])[:2] == (1, "[4.0]")


@any_level
@posix
@pytest.mark.parametrize("what", [".", "LEVEL", "FILE"])
def test_what_others_can_write_is_not_loaded(folder, what):
    level = HERE[-1]
    fill(folder, level, HALF, "8")
    (file,) = (folder / "made" / level).glob(f"*{ENDING}")
    mark = folder / "mark"
    plant(file, mark)
    path = {".": folder / "made", "LEVEL": file.parent, "FILE": file}[what]
    path.chmod(0o777)
    count, rest, done = run(folder, arguments=["8"], before="import warnings; warnings.simplefilter('always')\n")
    assert (count, rest) == (1, "[4.0]")
    assert not mark.exists()
    assert done.stderr.count("CacheWarning") == 1
    assert "are not used: others can write to the" in done.stderr


@any_level
def test_nothing_fits_after_a_change(folder):
    """Of sources, or of settings of Numba: then the folder has nothing for this process, which compiles natively."""
    level = HERE[-1]
    fill(folder, level, HALF, "8", "3.5")
    assert run(folder, NUMBA_BOUNDSCHECK=1)[0] == 2
    (folder / "numbarnn" / "__about__.py").write_text('__version__ = "9"\n')
    assert run(folder)[0] == 2
    code = "import json\nfrom numbarnn.cli import doctor\nprint(0, json.dumps(doctor.examine()))"
    report = json.loads(
        run(folder, code, (), before="from numbarnn.cli import doctor; doctor._trial = lambda problem: None\n")[1]
    )
    (described,) = report["level"]["folders"]
    assert report["level"]["name"] == "native"
    assert (described["obstacle"], described["kernels"]) == ("they were made from other sources of numbarnn", 0)


# Whole nets

NET = """
import hashlib, pickle, sys
import numpy as np, numbarnn
from numbarnn.kernels import cache, prebuilt
compiled = []
cache.on_compile.append(compiled.append)
code = hashlib.sha256()
def note(*arrays):
    for array in arrays:
        code.update(np.ascontiguousarray(array).tobytes())
rng = np.random.default_rng(0)
x, y = rng.normal(size=(9, 7, 5)).astype("float32"), rng.normal(size=(9, 7, 3)).astype("float32")
model = numbarnn.Model([numbarnn.GRU(20, bidirectional=True), numbarnn.Dense(3)], 5, n_threads=1, seed=1)
lengths = rng.integers(0, 8, 9)
outputs, state, pullback = model.vjp(x, lengths=lengths)
note(outputs, model.forward(x)[0])
gradients = pullback(y, state)
note(*gradients.params.values(), gradients.x, *model.loss_and_grad(x, y, loss="mse")[1].values())
model.fit(x, y, loss="mse", epochs=2, verbose=0)
note(model.params.flat)
classes = numbarnn.Model([numbarnn.LSTM(20), numbarnn.Dense(70)], 5, n_threads=1, seed=3)
classes.fit(x, rng.integers(0, 70, (9, 7)), epochs=2, clip_norm=0.1, verbose=0)
note(classes.params.flat, np.array(classes.evaluate(x, np.zeros((9, 7), int))["loss"]))
steps = numbarnn.Model([numbarnn.GRU(20), numbarnn.Dense(3)], 5, n_threads=1, seed=2)
step, weights, state = numbarnn.step_function(steps)
stream, found = steps.stream(), np.zeros(3, np.float32)
for x_t in x[0]:
    step(weights, x_t, state, found)
    assert (found == stream.step(x_t)).all()
assert (found == steps.forward(x[:1])[0][0, -1]).all()
note(found)
print(len(compiled), code.hexdigest(), prebuilt.chosen().level and prebuilt.chosen().level.name)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of the package, and the kernels of `NET` for every level that fuses: (folder, what NET printed by level)."""
    folder = copy_package(tmp_path_factory.mktemp("made"))
    return folder, {level: fill(folder, level, NET).split() for level in FUSED}


@pytest.mark.slow
@fused_level
def test_levels_that_fuse_have_the_same_bits(made):
    """First prediction, first training step and streams: the second process, whose cache is empty, compiles nothing."""
    folder, found = made
    native = run_python(NET, cwd=folder, path=folder, cache=folder / "native").stdout.split()
    assert int(native[0]) > 0
    for level, (count, bits, _) in found.items():
        assert int(count) == int(native[0])
        assert bits == native[1]
        assert run(folder, NET, (), NUMBARNN_LEVEL=level)[:2] == (0, f"{bits} {level}")
    assert run(folder, NET, ())[:2] == (0, f"{native[1]} {FUSED[-1]}")
    assert not list((folder / "cache").rglob(f"*{ENDING}"))


@pytest.mark.slow
@fused_level
@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm, of binutils")
def test_kernels_call_nothing_that_another_machine_may_lack(made):
    """A name that cannot be found ends the process: all are of Python, of Numba or of the C library, as of every machine."""
    folder, _ = made
    files = sorted((folder / "made" / FUSED[-1]).glob(f"*{ENDING}"))
    names = set()
    for file in files:
        _, code = pickle.loads(read_entry(file).pickled)
        (folder / "object").write_bytes(code[0][2][0])
        done = subprocess.run(["nm", "-u", folder / "object"], capture_output=True, text=True, check=True)
        names |= {line.split()[-1] for line in done.stdout.splitlines()}
    assert len(names) > 10
    math = {"exp", "expf", "log", "logf", "log1p", "tanh", "pow", "powf", "lgamma", "fmod", "floor", "ceil"}
    standard = {"memset", "memcpy", "memmove", *math}
    assert not [name for name in names - standard if not name.startswith(("Py", "_Py", "NRT_", "numba_"))]


@pytest.mark.slow
@fused_level
def test_cell_of_the_users_own_runs_at_every_level(made):
    """Its kernels are compiled for this processor, and call the tiles of the level."""
    folder, _ = made
    told = "print(len(compiled), prebuilt.chosen().level and prebuilt.chosen().level.name, outputs.tobytes().hex())"
    code = CELL + USE.replace('"float64"', '"float32"') + "from numbarnn.kernels import prebuilt\n" + told
    _, native, _ = run(folder, code, (), NUMBARNN_LEVEL="native")
    for level in FUSED:
        _, found, _ = run(folder, code, (), NUMBARNN_LEVEL=level)
        assert found == native.replace("None", level)


USERS = """
import numba
from numbarnn import step

@numba.njit(cache=True)
def simulate(weights, x, state, y):
    for t in range(len(x)):
        step(weights, x[t], state, y)
"""

USERS_NET = """
import pickle, pathlib, sys
import numpy as np, numbarnn
from users import simulate
model = numbarnn.Model([numbarnn.GRU(20), numbarnn.Dense(3)], 5, n_threads=1, seed=2)
_, weights, state = numbarnn.step_function(model)
file, x, y = pathlib.Path("weights"), np.ones((4, 5), np.float32), np.zeros(3, np.float32)
if file.exists():
    other = pickle.loads(file.read_bytes())
    assert other.cells.dtype == weights.cells.dtype
    simulate(other, x, state.copy(), y)
    assert (y == model.forward(x[None])[0][0, -1]).all()
else:
    file.write_bytes(pickle.dumps(weights))
simulate(weights, x, state, y)
assert (y == model.forward(x[None])[0][0, -1]).all()
print(sum(simulate.stats.cache_misses.values()), sum(simulate.stats.cache_hits.values()))
"""


@pytest.mark.slow
@fused_level
def test_users_function_with_a_step_inside_is_compiled_for_every_level(made):
    """What is kept on disk under one level is not loaded under another; weights pickled under one go on under another."""
    folder, _ = made
    (folder / "users.py").write_text(USERS)
    settings = [*FUSED, "native"]
    for expected in ((1, "0"), (0, "1")):
        for level in settings:
            assert run(folder, USERS_NET, (), NUMBARNN_LEVEL=level)[:2] == expected, level


def test_records_are_renewed(monkeypatch):
    """Their type names the level: the same where its kernels are made and where they are loaded."""
    packed = records.pack_records([])
    monkeypatch.setattr(prebuilt, "host_target", lambda: HOSTS["AVX-512"])
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.LevelChoice(V3, "", ()))
    other = records.pack_records([])
    assert packed.dtype != other.dtype
    assert records.renewed(packed).dtype == other.dtype
    monkeypatch.setattr(prebuilt, "host_target", lambda: (TRIPLE, V3.name, levels.features_of(V3)))
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.LevelChoice(None, "", ()))
    assert records.pack_records([]).dtype == other.dtype


# Commands


@pytest.mark.slow
@any_level
def test_warmup_of_a_level(tmp_path):
    level = HERE[-1]
    code = "import sys; from numbarnn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    folder, step = tmp_path / "made", "optimizer sgd"
    options = {"cwd": tmp_path, "cache": tmp_path / "cache"}
    shown = run_python(code, "warmup", "--level", level, "--output", folder, "--only", step, **options).stdout
    assert f"{step} " in shown
    assert f"kernels of {level} are in {folder / level}, " in shown
    assert f"NUMBARNN_PREBUILT={folder} lets other machines run them" in shown
    options |= {"NUMBARNN_PREBUILT": folder}
    report = json.loads(run_python(code, "doctor", "--json", **options).stdout)
    (described,) = report["level"]["folders"]
    assert (report["level"]["name"], described["obstacle"]) == (level, "")
    assert described["kernels"] == len(list((folder / level).glob(f"*{ENDING}"))) > 0
    assert report["trial"]["compiled"] == 0
    shown = run_python(code, "doctor", **options).stdout
    assert f"level       {level}: there are prebuilt kernels, and `numbarnn warmup` has not run for this" in shown
    assert f"{described['kernels']} kernels (optimizer sgd in float32), " in shown
    # A part of the warm-up compiles what the level lacks, here nothing.
    shown = run_python(code, "warmup", "--only", step, **options).stdout
    assert "0 kernels compiled in" in shown
    assert json.loads(run_python(code, "doctor", "--json", **options).stdout)["level"]["name"] == level


def test_whole_warmup_where_a_level_runs_compiles_native_kernels(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.setattr(cache, "writable_directory", lambda: tmp_path)
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.LevelChoice(V3, "", ()))
    monkeypatch.setattr(machine, "compile_all", lambda *arguments: seen.append(arguments))
    monkeypatch.setattr(prebuild, "gain", lambda *arguments: "faster")
    monkeypatch.setattr(prebuild, "_run", lambda code, *given: seen.append(given) or subprocess.CompletedProcess([], 0))
    assert main(["warmup", "--only", "optimizer sgd"]) == 0
    assert seen == [(None, None, ["optimizer sgd"])]
    assert main(["warmup", "--dtype", "float64"]) == 0
    assert seen[1:] == [({"NUMBARNN_LEVEL": "native"}, {"model": None, "dtype": "float64", "only": None})]
    assert "prebuilt kernels of x86-64-v3 run in this environment; compiling those for this" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    prebuild.compile_in(None, "float64", None)  # as the child does
    assert len(list(tmp_path.iterdir())) == 1


def test_gain_of_native_kernels(monkeypatch):
    answers = iter(["0.004 0.02", "0.002 0.01"])
    seen = []

    def fake(code, environment, options, **how):
        seen.append(environment)
        return subprocess.CompletedProcess([], 0, stdout=next(answers))

    monkeypatch.setattr(prebuild, "_run", fake)
    line = prebuild.gain(V3, "float32")
    assert (
        "forward 4.00 ms before, 2.00 ms now (2.00 times as fast); training step 20.00 ms before, 10.00 ms now" in line
    )
    assert seen == [{"NUMBARNN_LEVEL": V3.name}, {"NUMBARNN_LEVEL": "native"}]
    failed = subprocess.CompletedProcess([], 3, stderr="Traceback\nOSError: full\n")
    monkeypatch.setattr(prebuild, "_run", lambda *arguments, **how: failed)
    assert "unknown: a trial ended with status 3: OSError: full" in prebuild.gain(V3, "float32")
    forward, training = prebuild.measure("float32", 2, 2)
    assert 0 < forward < training


@posix
def test_folder_of_a_level_is_the_users_own_under_any_umask(monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "runs_here", lambda level: True)
    monkeypatch.setattr(prebuild, "_run", lambda *arguments: subprocess.CompletedProcess([], 0))
    before = os.umask(0o002)
    try:
        assert main(["warmup", "--level", V2.name, "--output", str(tmp_path / "a" / "made")]) == 0
    finally:
        os.umask(before)
    assert [(tmp_path / "a" / "made" / name).stat().st_mode & 0o022 for name in (".", V2.name)] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--level x86-64-v3", "--level and --output go together"),
        ("--output made", "--level and --output go together"),
        ("model --only x", "--only cannot be combined with MODEL"),
        ("--only cell", "there is no step 'cell' of warming up; there are cell RNN, "),
    ],
)
def test_warmup_says_what_is_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["warmup", *arguments.split()]) == 1
    assert message in capsys.readouterr().err


def test_warmup_of_a_level_that_does_not_run_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "host_features", lambda: frozenset(V3.features))
    assert main(["warmup", "--level", V4.name, "--output", str(tmp_path)]) == 1
    assert "this processor lacks avx512bw" in capsys.readouterr().err


@posix
def test_warmup_of_a_level_into_a_folder_of_all(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "runs_here", lambda level: True)
    tmp_path.chmod(0o777)
    assert main(["warmup", "--level", V2.name, "--output", str(tmp_path)]) == 1
    assert "others can write to the folder" in capsys.readouterr().err


@posix
def test_warmup_refuses_a_link_that_would_not_be_followed(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "runs_here", lambda level: True)
    monkeypatch.setattr(prebuild, "_run", lambda *arguments: subprocess.CompletedProcess([], 0))
    for folder in ("elsewhere", "made"):
        (tmp_path / folder).mkdir(mode=0o755)
    (tmp_path / "made" / V2.name).symlink_to(tmp_path / "elsewhere")
    assert main(["warmup", "--level", V2.name, "--output", str(tmp_path / "made")]) == 1
    assert "a symbolic link stands in place" in capsys.readouterr().err
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere" / f"a{ENDING}").touch()
    assert main(["warmup", "--level", V2.name, "--output", "link"]) == 0
    shown = capsys.readouterr().out
    assert f"NUMBARNN_PREBUILT={tmp_path / 'elsewhere'} lets" in shown
    assert "\n0 kernels of" in shown


# What the doctor says


@posix
def test_doctor_reports_files_that_others_can_write_and_folders_without_kernels(choose, tmp_path, monkeypatch):
    def problems():
        said = []
        told.examine(lambda serious, what, do: said.append(what))
        return said

    choose("AVX2", named=[V3.name])
    monkeypatch.setattr(prebuilt, "chosen", prebuilt._choose)
    folder = tmp_path / "outside" / V3.name
    assert problems() == [f"{folder} is said to be filled, but has no kernels that fit: all are compiled"]
    file = folder / f"a{ENDING}"
    file.touch()
    file.chmod(0o666)
    assert problems() == [f"some prebuilt kernels in {folder} are not used: others can write to the file (mode 666)"]


def test_doctor_names_all_obstacles_and_a_level_that_is_set(choose, tmp_path, monkeypatch):
    choose("AVX2", named=[V3.name, V4.name], NUMBARNN_LEVEL="native")
    monkeypatch.setattr(prebuilt, "chosen", prebuilt._choose)
    for file in (tmp_path / "outside").rglob("*.json"):
        file.unlink()
    said = []
    told.examine(lambda *problem: said.append(problem))
    ((_, what, do),) = said
    assert what.endswith(
        "fit: they are not complete: making them was interrupted; "
        "the processor, or what Numba is told of it, lacks what they need"
    )
    assert do.startswith("unset NUMBARNN_LEVEL, and run `numbarnn warmup`")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"python": "py39"}, f"they were made by another Python (py39, here {cache.ABI})"),
        ({"compiler": ["0.1", "0.2", {}]}, "they were made by numba 0.1 and llvmlite 0.2 (here "),
        ({"sources": "x"}, "they were made from other sources of numbarnn"),
        ({"target": ["arm", "x"]}, 'they were made for another system (["arm", "x"])'),
        (None, "they are not complete: making them was interrupted"),
    ],
)
def test_doctor_says_why_kernels_do_not_fit(choose, tmp_path, other, message):
    choose("AVX2")
    folder = tmp_path / "outside" / V3.name
    folder.mkdir(parents=True)
    if other is not None:
        (folder / "other.json").write_text(json.dumps(prebuilt.description() | other))
    assert told._obstacle(folder, V3).startswith(message)


def test_doctor_knows_other_settings_of_numba(choose, tmp_path, monkeypatch):
    choose("AVX2")
    made = prebuilt.description()
    made["compiler"][2]["BOUNDSCHECK"] = "something"
    (tmp_path / "other.json").write_text(json.dumps(made))
    assert told._obstacle(tmp_path, V3) == "they were made with other settings of Numba (NUMBA_...)"
    assert told._obstacle(tmp_path, V4) == "the processor, or what Numba is told of it, lacks what they need"


def test_doctor_of_a_level_that_cannot_be(tmp_path):
    code = "import sys; from numbarnn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = run_python(code, "doctor", cwd=tmp_path, cache=tmp_path, check=False, NUMBARNN_LEVEL="v9")
    assert done.returncode == 1
    assert "problem: NUMBARNN_LEVEL must be native or one of" in done.stdout
