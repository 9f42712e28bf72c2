"""Prebuilt kernels: which level a process runs, whose machine code it loads, and that levels never mix."""

import json
import os
import pickle
import shutil
import subprocess

import pytest
from processes import copy_package, run_python
from test_cache import CELL, HALF, USE, plant, posix

from numbarnn.cli import levels as told
from numbarnn.cli import prebuild
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
    monkeypatch.setattr(cache, "source_stamp", lambda: "other")
    assert not prebuilt.has_native(tmp_path)


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
    # Now there is native code, and it comes first.
    assert run(folder, arguments=["8", "True", "3.5"])[:2] == (1, "[4.0, 0.5, 1.75]")
    assert run(folder, NUMBARNN_LEVEL=level, arguments=["8", "True", "3.5"])[:2] == (0, "[4.0, 0.5, 1.75]")
    assert len(list((folder / "cache").rglob(f"*half*{ENDING}"))) == 4
    assert {path: path.read_bytes() for path in (folder / "made" / level).iterdir()} == made
    for other in HERE[:-1]:
        assert run(folder, NUMBARNN_LEVEL=other)[:2] == (2, "[4.0, 1.75]")


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


@fused_level
def test_cell_of_the_users_own_runs_at_every_level(made):
    """Its kernels are compiled for this processor, and call the tiles of the level."""
    folder, _ = made
    for level in FUSED:
        run(folder, CELL + USE.replace('"float64"', '"float32"') + "print(0)", (), NUMBARNN_LEVEL=level)


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
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.Choice(V3, "", ()))
    other = records.pack_records([])
    assert packed.dtype != other.dtype
    assert records.renewed(packed).dtype == other.dtype
    monkeypatch.setattr(prebuilt, "host_target", lambda: (TRIPLE, V3.name, levels.features_of(V3)))
    monkeypatch.setattr(prebuilt, "chosen", lambda: prebuilt.Choice(None, "", ()))
    assert records.pack_records([]).dtype == other.dtype


# Commands


@any_level
def test_warmup_of_a_level(tmp_path):
    level = HERE[-1]
    code = "import sys; from numbarnn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    folder, step = tmp_path / "made", "optimizer sgd"
    options = {"cwd": tmp_path, "cache": tmp_path / "cache"}
    shown = run_python(code, "warmup", "--level", level, "--output", folder, "--only", step, **options).stdout
    assert f"{step} " in shown
    assert f"kernels of {level}, " in shown
    assert f"NUMBARNN_PREBUILT={folder} lets other machines run them" in shown
    options |= {"NUMBARNN_PREBUILT": folder}
    report = json.loads(run_python(code, "doctor", "--json", **options).stdout)
    (described,) = report["level"]["folders"]
    assert (report["level"]["name"], described["obstacle"]) == (level, "")
    assert described["kernels"] == len(list((folder / level).glob(f"*{ENDING}"))) > 0
    assert report["trial"]["compiled"] == 0
    shown = run_python(code, "doctor", **options).stdout
    assert f"level       {level}: there are prebuilt kernels, and none for this processor" in shown
    shown = run_python(code, "warmup", "--only", step, **options).stdout
    assert f"prebuilt kernels of {level} run in this environment; compiling those for this processor" in shown
    report = json.loads(run_python(code, "doctor", "--json", **options).stdout)
    assert (report["level"]["name"], report["level"]["reason"]) == ("native", "there are kernels for this processor")
    assert report["trial"]["compiled"] == 0


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
    monkeypatch.setattr(prebuild, "_run", lambda *arguments, **how: subprocess.CompletedProcess([], 3))
    assert "unknown: a trial ended with status 3" in prebuild.gain(V3, "float32")
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


# What the doctor says


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
