"""Starting fast: kernels compiled ahead, an install that nobody may write to, and what `doctor` says of a machine."""

import ast
import json
import os
import pathlib
import shutil

import pytest
from processes import copy_package, run_python
from test_cache import STEP

import numbarnn
from numbarnn import parallel
from numbarnn.cells import CELLS
from numbarnn.cli import doctor, warmup
from numbarnn.cli.main import main
from numbarnn.kernels import cache
from numbarnn.kernels.inventory import take_inventory
from numbarnn.losses import LOSSES
from numbarnn.optim import OPTIMIZERS

COMMAND = "import sys; from numbarnn.cli.main import main; sys.exit(main(sys.argv[1:]))"

# Permissions do not bind root, who therefore gives up the right to override them (CAP_DAC_OVERRIDE, the bit of value 2).
SERVICE = """
import ctypes, os, sys, warnings
if hasattr(os, "geteuid") and os.geteuid() == 0:
    libc, header, data = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    data[0] &= ~2
    data[1] &= ~2
    assert libc.capset(header, data) == 0
import numpy as np, numbarnn
from numbarnn.kernels import cache
assert not any(os.access(folder, os.W_OK) for folder in cache.cache_directories())
try:
    open(cache.PACKAGE / "file", "w")
except PermissionError:
    pass
else:
    sys.exit("the install can be written to")
compiled = []
cache.on_compile.append(compiled.append)
warnings.simplefilter("error")
"""

PREDICT = """
print(numbarnn.load(sys.argv[1]).sample(20, prime="the ", seed=1))
print(len(compiled))
"""

# Programs unlike those of the warm-up in every size and option.
USE = """
rng = np.random.default_rng(0)
x, y = rng.normal(size=(9, 7, 5)).astype("float32"), rng.integers(0, 3, (9, 7))
lengths = rng.integers(0, 8, 9)
for number, cell in enumerate((numbarnn.RNN, numbarnn.LSTM, numbarnn.GRU, numbarnn.IndRNN)):
    options = {} if cell is numbarnn.IndRNN else {"recurrent_dropout": 0.2}
    layer = cell(20, 2, bidirectional=True, dropout=0.3, **options)
    below = numbarnn.Dropout(0.1, same_over_time=True)
    model = numbarnn.Model([below, layer, numbarnn.Dropout(0.1), numbarnn.Dense(3)], 5, n_threads=2)
    optimizer = list(numbarnn.optim.OPTIMIZERS)[number % len(numbarnn.optim.OPTIMIZERS)]
    model.fit(x, y, lengths=lengths, optimizer=optimizer, epochs=2, verbose=0, clip_norm=1.0, validation=0.3)
    carried = numbarnn.Model([cell(20, 2, dropout=0.3, **options), numbarnn.Dense(3)], 5, n_threads=2)
    carried.fit(x, y, lengths=lengths, epochs=1, verbose=0, tbptt=3)
    outputs, state, pullback = model.vjp(x, lengths=lengths)
    pullback(outputs, state)
    model.loss_and_grad(x, y, sample_weight=np.ones(9), reduction="sum")
    model.predict_proba(x, state)
    model.step(x[:, 0], state)
    last = numbarnn.Model(
        [numbarnn.Dense(3, activation="relu"), cell(4, return_sequences=False, bias="single"), numbarnn.Dense(1)], 5
    )
    last.fit(x, x[:, 0, :1], loss="mse", epochs=1, verbose=0)
    last.stream().step(x[0, 0])
    last.fit(x, x[:, 0, :1] > 0, loss="binary_cross_entropy", epochs=1, verbose=0)
    last.predict_proba(x)
    step, weights, state = numbarnn.step_function(last)
    step(weights, x[0, 0], state, np.zeros(1, np.float32))
for name in numbarnn.language.CELLS:
    for options in ({"unit": "word", "embedding_size": 6, "max_vocabulary": 4}, {"unit": "byte"}, {}):
        lm = numbarnn.LanguageModel(name, 10, 2, dropout=0.1, **options)
        lm.fit("the cat sat on the mat. " * 20, 1, verbose=0, patience=2)
        lm.sample(9, prime="the", top_k=3, top_p=0.9, stop="at", unknown="skip")
        lm.score("the cat sat")
print(len(compiled))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    lm = numbarnn.CharLM("rnn", 8, 1).fit("the cat sat. " * 20, 0, verbose=0)
    lm.save(path)
    return path


@pytest.fixture
def install(tmp_path):
    """An installed copy of the package and a home that nobody can write to: (folder, environment)."""
    folder = copy_package(tmp_path)
    (folder / "home").write_text("")
    home = folder / "home"
    yield folder, {"cwd": "/", "path": folder, "HOME": home, "XDG_CACHE_HOME": home, "LOCALAPPDATA": home}
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)


def freeze(folder):
    """Take every right to write; return all files with their times."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_warm_read_only_install_serves_a_model(install, model):
    """A container: one model warmed up at build time, then an install that a service cannot write to."""
    folder, options = install
    shutil.copy(model, folder / "model.safetensors")
    shown = run_python(COMMAND, "warmup", folder / "model.safetensors", **options).stdout
    kept = folder / "numbarnn" / "__pycache__" / "kernels"
    assert f"stored in {kept}" in shown
    assert "sampling" in shown
    before = freeze(folder)
    written, count = run_python(SERVICE + PREDICT, folder / "model.safetensors", **options).stdout.rsplit("\n", 2)[:2]
    assert count == "0"
    assert written == numbarnn.load(model).sample(20, prime="the ", seed=1)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_everything_is_warm(install):
    folder, options = install
    shown = run_python(COMMAND, "warmup", **options).stdout
    for name in (*(f"cell {name}" for name in CELLS if CELLS[name].__module__.startswith("numbarnn.")),
                 *(f"loss {name}" for name in LOSSES if LOSSES[name].__module__.startswith("numbarnn.")),
                 *(f"optimizer {name}" for name in OPTIMIZERS)):  # fmt: skip
        assert f"{name} " in shown
    compiled = int(shown.splitlines()[-2].split()[0])
    assert abs(compiled - warmup.KERNELS) < 0.25 * warmup.KERNELS, f"set KERNELS in {warmup.__file__} to {compiled}"
    freeze(folder)
    assert run_python(SERVICE + USE, **options).stdout == "0\n"
    # As it is when the package is upgraded: other sources, the same folder.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    kept = folder / "numbarnn" / "__pycache__" / "kernels"
    count = len(list(kept.glob("*.nbc")))
    (folder / "numbarnn" / "__about__.py").write_text('__version__ = "9"\n')
    report = json.loads(run_python(COMMAND, "doctor", "--json", **options).stdout)
    entry = report["cache"][0]
    assert (entry["path"], entry["kernels"], entry["stale"]) == (str(kept), 0, count)
    assert report["versions"]["numbarnn"] == "9"


def test_kernels_of_another_processor_are_foreign(tmp_path):
    """What is compiled under NUMBA_CPU_NAME is found under it, and by nobody else."""
    common = {"NUMBA_CPU_NAME": "generic", "cwd": tmp_path, "cache": tmp_path / "cache"}
    first = run_python(STEP, **common).stdout.split()
    assert int(first[0]) > 0
    assert run_python(STEP, **common).stdout.split() == ["0", first[1]]
    (folder,) = (tmp_path / "cache").iterdir()
    inventory = take_inventory(folder)
    assert (inventory.kernels, inventory.foreign, inventory.stale) == (0, int(first[0]), 0)
    next(folder.glob("*.nbc")).write_bytes(b"cut off")
    assert take_inventory(folder).stale > 0
    report = json.loads(run_python(COMMAND, "doctor", "--json", **common).stdout)
    assert report["processor"]["target"] == "generic"
    assert (report["processor"]["vector_bytes"], report["processor"]["fma"]) == (16, False)
    assert report["cache"][0]["kernels"] > 0


def test_warmup_says_what_is_wrong(tmp_path, capsys, monkeypatch, model):
    monkeypatch.setattr(cache, "writable_directory", lambda: None)
    assert main(["warmup"]) == 1
    assert "set NUMBA_CACHE_DIR" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["warmup", str(model), "--dtype", "float64"]) == 1
    assert "--dtype cannot be combined with MODEL" in capsys.readouterr().err
    assert main(["warmup", str(tmp_path / "none")]) == 1
    assert "no model file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "first", [[numbarnn.Embedding(4, 3)], [numbarnn.EmbeddingBag(4, 3, 2)], [numbarnn.Embedding(4, 3), numbarnn.Pool()]]
)
def test_warmup_of_a_plain_model(first, tmp_path, capsys):
    last = numbarnn.RNN(2, return_sequences=False) if len(first) == 1 else numbarnn.Dense(2)
    numbarnn.Model([*first, last]).save(tmp_path / "model")
    assert main(["warmup", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.startswith("predicting ")


def test_warmup_leaves_the_model_as_it_was(model):
    from numbarnn.cli.warmup import warm_model

    lm = numbarnn.load(model)
    before = lm.model.params.flat.copy()
    assert [step.name for step in warm_model(lm)] == ["predicting", "scoring", "sampling"]
    assert (lm.model.params.flat == before).all()


# The doctor


def problems(report, serious):
    return " ".join(p["what"] + " " + p["do"] for p in report["problems"] if p["serious"] is serious)


def test_doctor_of_this_machine(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "processor",
        "tile",
        "threads",
        "cache",
        "written to",
        "denormals",
        "CUDA",
        "trial",
        numbarnn.__version__,
    ):
        assert word in shown
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(place["written"] for place in report["cache"]) == 1
    assert report["processor"]["tiles"]
    assert problems(report, True) == ""


@pytest.mark.parametrize(
    ("setting", "value", "serious", "message"),
    [
        ("NUMBARNN_NUM_THREADS", "many", True, "must be a positive integer, got 'many'"),
        ("NUMBARNN_NUM_THREADS", "5000", False, "5000 (is more than|threads would share)"),
        ("NUMBA_OPT", "0", False, "unset NUMBA_OPT"),
        ("NUMBA_CPU_NAME", "x86-64-v3", False, "NUMBA_CPU_FEATURES too"),
    ],
)
def test_doctor_finds_settings(tmp_path, setting, value, serious, message):
    if setting == "NUMBA_CPU_NAME" and doctor.platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("a processor of another architecture")
    code = "import json; from numbarnn.cli import doctor; doctor._trial = lambda problem: None; print(json.dumps(doctor.examine()))"
    report = json.loads(run_python(code, cwd=tmp_path, cache=tmp_path, **{setting: value}).stdout)
    found = problems(report, serious)
    assert doctor.re.search(message, found), report["problems"]
    assert doctor.works(report) is not serious


def test_doctor_finds_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "safetensors" else "1.0")
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["numba<0.69,>=0.61", "x; extra == 'dev'"])
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert (
        "problem: safetensors is not installed: models can be neither saved nor loaded\n    pip install safetensors"
        in shown
    )
    assert "problem: numba 1.0 is outside of what numbarnn supports" in shown
    assert "no safetensors" in shown


@pytest.mark.parametrize(
    ("version", "fits"),
    [("0.61.0", True), ("0.68.1", True), ("0.60.9", False), ("0.69.0", False), ("0.69", False), ("1.0rc1", False)],
)
def test_versions_are_compared_as_numbers(version, fits):
    assert doctor._within(version, "numba<0.69,>=0.61") is fits


def test_doctor_knows_processors_that_lack_the_target(monkeypatch):
    monkeypatch.setattr(doctor.llvmlite.binding, "get_host_cpu_features", dict)
    report = doctor.examine()
    if report["processor"]["features"]:
        assert "which this processor" in problems(report, True)
        assert report["trial"] is None  # it would end the process


def test_doctor_without_a_place(monkeypatch):
    monkeypatch.setattr(cache, "writable_directory", lambda: None)
    monkeypatch.setattr(cache, "cache_directories", lambda: [pathlib.Path("/nowhere")])
    report = doctor.examine()
    assert "no folder for compiled kernels is writable" in problems(report, False)
    assert "no kernels are cached" in problems(report, False)
    assert doctor.works(report)


def test_doctor_when_a_product_fails(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("LLVM is broken")

    monkeypatch.setattr(numbarnn.Model, "forward", fail)
    assert "a small product failed: RuntimeError: LLVM is broken" in problems(doctor.examine(), True)
    monkeypatch.setattr(numbarnn.Model, "forward", lambda self, x: (0 * x[:, :, :3] + 7, ()))
    assert "a small product is wrong" in problems(doctor.examine(), True)


@pytest.fixture
def quota(monkeypatch):
    """Let this process have 1.5 of 64 processors."""
    monkeypatch.setattr(parallel, "cpu_quota", lambda: 1.5)
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda process: range(64), raising=False)
    parallel._own_quota.cache_clear()
    yield
    parallel._own_quota.cache_clear()


def test_quota_below_the_threads_is_found(monkeypatch, quota):
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", "8")
    assert "unset NUMBARNN_NUM_THREADS, or set it to 2" in problems(doctor.examine(), False)


def test_doctor_says_where_the_number_of_threads_comes_from(monkeypatch, quota, capsys):
    monkeypatch.delenv("NUMBARNN_NUM_THREADS", raising=False)
    assert main(["doctor"]) == 0
    assert "2 used (quota of 1.5 processors of the control group) of " in capsys.readouterr().out
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", "1")
    assert doctor.examine()["threads"]["reason"] == "NUMBARNN_NUM_THREADS"


def test_kernels_without_a_compiler_are_refused_in_one_sentence(tmp_path):
    for code in (
        "import sys; from numbarnn.__main__ import main; sys.exit(main(['doctor']))",
        "import numbarnn; numbarnn.Model",
    ):
        done = run_python(code, cwd=tmp_path, cache=tmp_path, check=False, NUMBA_DISABLE_JIT=1)
        assert done.returncode == 1
        assert (
            "numbarnn computes with compiled kernels alone, but Numba's compiler is off: unset NUMBA_DISABLE_JIT"
            in done.stderr
        )
    assert "Traceback" in done.stderr  # of Python's own; the command has none


def test_doctor_imports_nothing_optional(tmp_path):
    code = """
import sys
from numbarnn.cli import doctor
doctor.examine()
print(sorted({"torch", "numba.cuda", "onnx"} & set(sys.modules)))
"""
    assert run_python(code, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR")).stdout == "[]\n"


# What an import brings


IMPORTED = """
import sys, numba
before = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - before))
"""


def imported_by(statement, cwd):
    """Return the modules that a statement imports in a process that has Numba already."""
    return set(run_python(IMPORTED.format(statement=statement), cwd=cwd, cache=cwd).stdout.split())


def test_package_imports_nothing_that_is_not_asked_for(tmp_path):
    assert {name for name in imported_by("import numbarnn", tmp_path) if name.startswith("numbarnn")} == {
        "numbarnn",
        "numbarnn.__about__",
    }


OPTIONAL = {"pandas", "tqdm", "sklearn", "scipy", "matplotlib", "torch", "onnx", "safetensors", "numba.cuda"}


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "from numbarnn import Model, LSTM, Dense",
            {"numbarnn.forecasting", "numbarnn.estimators", "numbarnn.language", "numbarnn.decoding",
             "numbarnn.diagnostics", "numbarnn.plots", "numbarnn.cli"},
        ),
        ("import numbarnn; numbarnn.Model([numbarnn.LSTM(2), numbarnn.Dense(1)], 2)", {"numbarnn.forecasting"}),
        ("from numbarnn import LanguageModel, Trainer, load", {"numbarnn.forecasting", "numbarnn.estimators"}),
        ("from numbarnn import Forecaster, decoding, data, diagnostics, metrics, optim, plots", {"numbarnn.cli"}),
    ],
)  # fmt: skip
def test_what_is_not_used_is_not_imported(statement, absent, tmp_path):
    assert imported_by(statement, tmp_path) & (OPTIONAL | absent) == set()


def test_every_public_name_is_found(tmp_path):
    """In a process of its own, where nothing was imported before: by name, by `*`, and as an attribute."""
    code = """
import numbarnn
for name in numbarnn.__all__:
    assert getattr(numbarnn, name) is vars(numbarnn)[name], name
for name in dir(numbarnn):
    getattr(numbarnn, name)
assert numbarnn.cells.LSTM and numbarnn.network.network.Network and numbarnn.language.CELLS
exec("from numbarnn import *")
assert LSTM is numbarnn.layers.LSTM
print(*(name for name in ("models", "_LATER", "__path") if hasattr(numbarnn, name)))
"""
    assert run_python(code, cwd=tmp_path, cache=tmp_path).stdout == "\n"


def test_editors_see_every_public_name():
    """Type checkers and editors read the imports under TYPE_CHECKING, Python the table."""
    tree = ast.parse(pathlib.Path(numbarnn.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in checked.body:
        for alias in node.names:
            seen[alias.name] = f"numbarnn.{alias.name}" if node.module == "numbarnn" else node.module
    modules = {name for name, module in seen.items() if module == f"numbarnn.{name}"}
    assert modules <= numbarnn._MODULES
    assert {name: module for name, module in seen.items() if name not in modules} == numbarnn._HOME
    assert sorted(numbarnn._HOME) + ["__version__"] == sorted(numbarnn.__all__, key=lambda name: (name[0] == "_", name))
    folder = pathlib.Path(numbarnn.__file__).parent
    found = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {name for name in found if not name.startswith("__")} == numbarnn._MODULES


def test_step_is_found_by_compiled_code_that_nothing_imported_it_for(tmp_path):
    """`numbarnn.step` as an attribute and as a global in a function that is compiled before any model is made."""
    code = """
import numba, numpy as np, numbarnn

@numba.njit
def attribute(weights, x, state, y):
    numbarnn.step(weights, x, state, y)

model = numbarnn.Model([numbarnn.RNN(3), numbarnn.Dense(2)], 2, n_threads=1)
_, weights, state = numbarnn.step_function(model)
vars(numbarnn).pop("step", None)  # not looked up yet: the compiler asks for it
x, y = np.ones(2, np.float32), np.zeros(2, np.float32)
attribute(weights, x, state, y)
print((y == model.forward(x[None, None])[0][0, 0]).all())
"""
    assert run_python(code, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR", tmp_path)).stdout == "True\n"
