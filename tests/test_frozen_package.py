"""What `numbarnn.freeze` writes: folders that need NumPy alone, headers that C takes, and what it refuses."""

import dataclasses
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from frozen_nets import Library, compiled, fused, here
from processes import PACKAGE, run_python

import numbarnn as nr
from numbarnn.cli.main import main
from numbarnn.errors import FreezeError
from numbarnn.frozen import dispatch, freezing, linker
from numbarnn.frozen.library import _environment, link_parts
from numbarnn.frozen.package import write_folder
from numbarnn.kernels.levels import import_path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries are made on Linux")

LEVEL = next((level for level in here() if fused(level)), here()[0])


@pytest.fixture(
    scope="module", params=["letters", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("cells", "sequences"))]
)
def folder(request, tmp_path_factory):
    """Return (model, folder) of a frozen model."""
    model, parts = compiled(request.param)
    found = tmp_path_factory.mktemp("frozen") / "net"
    write_folder(found, parts.interface, freezing._linked(parts, "net.so"))
    return model, found


def loaded(folder):
    """Return the module of a folder, imported anew."""
    spec = importlib.util.spec_from_file_location("net", folder / "net" / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(found, expected):
    """Assert that outputs are the model's."""
    if fused(here()[-1]):
        assert np.array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_its_own_tests_pass_without_what_made_it(folder):
    blocked = ("numba", "llvmlite", "numbarnn", "scipy", "pandas")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "tests"],
        cwd=folder[1], env=environment | {"PYTHONPATH": str(folder[1])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_outputs_are_the_models(folder):
    model, net = folder[0], loaded(folder[1]).load()
    rng = np.random.default_rng(0)
    x = rng.integers(0, net.inputs, (4, 7)) if net.tokens else rng.normal(size=(4, 7, net.inputs))
    lengths = [7, 0, 3, 5]
    same(net.forward(x)[0], model.forward(x)[0])
    same(net.forward(x, lengths=lengths)[0], model.forward(x, lengths=lengths)[0])
    np.testing.assert_allclose(
        net.predict_proba(x, lengths=lengths), model.predict_proba(x, lengths=lengths), atol=1e-6
    )
    assert net.dtype == model.dtype
    assert repr(net).startswith("<net: ")


def test_samples_are_the_models(folder):
    model, net = folder[0], loaded(folder[1]).load()
    if not net.tokens:
        with pytest.raises(TypeError, match="does not sample"):
            net.sample([1], 3)
        return
    tokens, state = net.sample([1, 2, 3], 20, temperature=0)
    read, stream = [1, 2, 3, *tokens], model.stream()
    outputs = [stream.step(token).argmax() for token in read]
    assert outputs[2:-1] == list(tokens)
    drawn, _ = net.sample([1, 2, 3], 40, seed=5)
    first, state = net.sample([1, 2, 3], 15, seed=5)
    rest, _ = net.sample([], 25, seed=5, state=state)
    assert np.array_equal(np.concatenate([first, rest]), drawn)
    assert not np.array_equal(net.sample([1, 2, 3], 40, seed=6)[0], drawn)
    for wrong in (
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"top_p": 0.0},
        {"top_p": 2.0},
        {"top_k": -1},
        {"seed": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            net.sample([1], 3, **wrong)
    for wrong in ({"temperature": None}, {"temperature": "1"}, {"top_p": "0.5"}, {"top_p": None}):
        with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be a number"):
            net.sample([1], 3, **wrong)
    with pytest.raises(ValueError, match="prime has the token 17"):
        net.sample([17], 3)
    with pytest.raises(ValueError, match="prime must have a token"):
        net.sample([], 3)


def test_wrong_arguments_are_named(folder):
    net = loaded(folder[1]).load()
    size = net.inputs
    x = np.zeros((2, 3), int) if net.tokens else np.zeros((2, 3, size))
    with pytest.raises(ValueError, match="x must have shape"):
        net.forward(np.zeros((2, 3, 4, 5)))
    with pytest.raises(TypeError, match="lengths must be integers"):
        net.forward(x, lengths=[1.5, 2])
    with pytest.raises(ValueError, match=r"lengths must have shape \(2,\)"):
        net.forward(x, lengths=[1])
    with pytest.raises(ValueError, match="lengths must be from 0 to 3, got 1 to 4"):
        net.forward(x, lengths=[1, 4])
    assert net.forward(x[:0], lengths=[])[0].shape[0] == 0
    with pytest.raises(ValueError, match="state must be an array"):
        net.forward(x, np.zeros((2, 3)))
    with pytest.raises(TypeError, match="dtype"):
        net.forward(np.full(x.shape, "a"))
    if not net.tokens:
        assert np.isnan(net.forward(np.full_like(x, np.nan))[0]).all()
    if net.tokens:
        with pytest.raises(ValueError, match=f"x has the token {size}; the vocabulary has {size} tokens"):
            net.forward(np.full((1, 1), size))
        with pytest.raises(TypeError, match="x_t must be an integer token"):
            net.step(0.5)
        with pytest.raises(ValueError, match=f"x_t is {size}"):
            net.step(size)
    elif net._step is None:
        with pytest.raises(TypeError, match="this net has no step"):
            net.step(x[0, 0])
    else:
        with pytest.raises(ValueError, match=r"x_t must have shape \(3,\)"):
            net.step(np.zeros(4))


def test_unaligned_arrays_are_read(folder):
    net = loaded(folder[1]).load()
    x = np.ones((2, 3), np.int64) if net.tokens else np.ones((2, 3, net.inputs), net.dtype)
    odd = np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)
    assert not odd.flags.aligned
    assert np.array_equal(net.forward(odd)[0], net.forward(x)[0])
    assert net._input(odd, "x", ("samples", "time steps")).flags.aligned


def test_a_wheel_is_of_a_kind_of_system(folder, tmp_path):
    # In a process of its own, for setuptools warns where distutils is loaded already.
    if subprocess.run([sys.executable, "-c", "import setuptools, pip"], capture_output=True).returncode:
        pytest.skip("pip and setuptools are not installed")
    source = shutil.copytree(folder[1], tmp_path / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    done = subprocess.run([*command, "-w", str(tmp_path), str(source)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"net-1.0-py3-none-linux_{platform.machine()}.whl"


def test_a_damaged_library_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder[1], tmp_path / "copy")
    library = copy / "net" / "net.so"
    library.write_bytes(library.read_bytes()[:2000])
    with pytest.raises(RuntimeError, match=r"net.so cannot be loaded.*it has 2000 bytes"):
        loaded(copy).load()
    module = copy / "net" / "__init__.py"
    module.write_text(module.read_text().replace("ABI = 1", "ABI = 2"))
    shutil.copy(folder[1] / "net" / "net.so", library)
    with pytest.raises(RuntimeError, match="another version"):
        loaded(copy).load()


def test_the_two_reasons_of_error_5(tmp_path, monkeypatch):
    parts = compiled("letters")[1]
    (level,) = parts.objects
    if level not in dispatch._ASKED:
        pytest.skip("there is one level on this kind of processor")
    other = dataclasses.replace(
        parts, constants=parts.constants | {dispatch.CHECK_Y: parts.constants[dispatch.CHECK_Y] + 1}
    )
    path = tmp_path / "net.so"
    link_parts(other, path)
    write_folder(tmp_path / "wrong", parts.interface, path.read_bytes())
    with pytest.raises(
        RuntimeError, match="does not compute here what it did where it was made: freeze the model with a lower"
    ):
        loaded(tmp_path / "wrong").load()
    with pytest.raises(FreezeError, match="does not compute what the model does"):
        freezing._check(path, other)
    monkeypatch.setitem(dispatch._ASKED, level, (dispatch._ASKED[level][0], 1 << 31))  # a state that nothing has
    link_parts(parts, path)
    write_folder(tmp_path / "none", parts.interface, path.read_bytes())
    with pytest.raises(RuntimeError, match="has no code for this processor: freeze the model with a lower"):
        loaded(tmp_path / "none").load()


def test_a_folder_where_nothing_is_loaded_from_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(freezing.ctypes, "CDLL", refuse)
    with pytest.raises(FreezeError, match=r"failed to map.*noexec, set the environment variable TMPDIR"):
        freezing._check(tmp_path / "net.so", compiled("letters")[1])


def test_a_folder_of_another_name_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder[1], tmp_path / "copy")
    with pytest.raises(FileExistsError, match="has a frozen model of another name, net; pass that name"):
        nr.freeze(folder[0], copy, name="other")
    assert not (copy / "other").exists()


def test_new_folders_have_what_the_umask_leaves(folder, tmp_path):
    interface = compiled("letters")[1].interface
    before = os.umask(0o027)
    try:
        write_folder(tmp_path / "new", interface, b"library")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o750
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    inode = empty.stat().st_ino
    write_folder(empty, interface, b"library")
    assert stat.S_IMODE(empty.stat().st_mode) == 0o700
    assert empty.stat().st_ino != inode  # renamed as a whole
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


PROGRAM = """
#include "net.h"
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    float x[3] = {0.5f, -1.0f, 0.25f}, y[5];
    void *state = calloc(1, net_state_bytes()), *work = malloc(net_workspace_bytes(1, 8));
    int t, j;
    if (net_abi() != 1 || net_about()[0] != '{' || net_check(work)) return 1;
    for (t = 0; t < 10; t++) {
        if (net_step(x, state, y)) return 1;
        for (j = 0; j < 5; j++) printf("%a ", y[j]);
    }
    free(state);
    free(work);
    return 0;
}
"""


@pytest.mark.slow
def test_c_takes_the_header_and_gets_the_models_outputs(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    library = Library("cells", LEVEL, tmp_path)
    (tmp_path / "net.h").write_text(library.interface.header())
    (tmp_path / "main.c").write_text(PROGRAM)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["gcc", *flags, "main.c", "net.so", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./main"], cwd=tmp_path, env={"LD_LIBRARY_PATH": "."}, capture_output=True, text=True, check=True
    )
    found = np.array([float.fromhex(text) for text in done.stdout.split()], np.float32).reshape(10, 5)
    stream = library.model.stream()
    same(found, np.stack([stream.step(np.float32([0.5, -1.0, 0.25])).copy() for _ in range(10)]))


OWN = """
from typing import NamedTuple

import numpy as np
import numbarnn as nr
from numbarnn.cells import register
from numbarnn.kernels.scalar import tanh


@register
class Leaky(NamedTuple):
    leak: float = 0.25

    gates = ("n",)
    preactivations = ("n",)
    states = ("h",)
    saved = ("n",)
    diagonal = ()
    from_input = {"n": "n"}
    from_hidden = {"n": "n"}

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        (h,) = states
        n = tanh(preactivations[0])
        leak = type(h)(cell.leak)
        return (h + leak * (n - h),), (n,)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        return (gradients[0],), (gradients[0],), ()


if __name__ == "__main__":
    import sys

    model = nr.Model([nr.Recurrent(6, cell=Leaky(leak=0.5)), nr.Dense(2)], input_size=3)
    nr.freeze(model, "own/", levels=sys.argv[1:], name="own")
    sys.path.insert(0, "own")
    import own

    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    print(np.abs(own.load().forward(x)[0] - model.forward(x)[0]).max() <= 1e-6)
"""


@pytest.mark.slow
def test_a_cell_of_a_script_is_frozen(tmp_path):
    (tmp_path / "script.py").write_text(OWN)
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "script.py", LEVEL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.stdout.split() == ["True"], done.stderr


def test_files_and_folders(tmp_path):
    model = compiled("letters")[0]
    assert nr.freeze(model, tmp_path / "a.so", levels=[LEVEL]) == tmp_path / "a.so"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h", "a.so"]
    before = (tmp_path / "a.so").read_bytes()
    assert b"\0a.so\0" in before  # by which programs that are linked with it find it
    nr.freeze(model, tmp_path / "a.so", levels=LEVEL)
    assert (tmp_path / "a.so").read_bytes() == before  # the same at every time
    model.save(tmp_path / "model.safetensors")
    assert (
        main(["freeze", str(tmp_path / "model.safetensors"), "-o", f"{tmp_path}/b/", "--name", "b", "--levels", LEVEL])
        == 0
    )
    assert (tmp_path / "b" / "b" / "b.so").is_file()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    nr.freeze(model, tmp_path / "b", name="b", levels=[LEVEL])  # written again
    assert (tmp_path / "b" / "mine.txt").read_text() == "mine"
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(FileExistsError, match="was not written by numbarnn"):
        nr.freeze(model, tmp_path / "c", levels=[LEVEL])
    assert os.listdir(tmp_path / "c") == ["pyproject.toml"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_cannot_be_frozen_is_refused(tmp_path, monkeypatch):
    model = nr.Model([nr.Dense(2)], input_size=3)
    with pytest.raises(TypeError, match=r"model must be a numbarnn.Model, got 3"):
        nr.freeze(3, tmp_path / "a.so")
    for name in ("1a", "a b", "", "a" * 80, None):
        with pytest.raises(ValueError, match="name must be an identifier"):
            nr.freeze(model, tmp_path / "a.so", name=name)
    for name in (
        "json",
        "class",
        "numpy",
        "NumPy",
        "setuptools",
        "Pip",
        "pkg_resources",
        "build",
        "dist",
        "test",
        "tests",
        "net_",
    ):
        with pytest.raises(ValueError, match="name must be "):
            nr.freeze(model, tmp_path / "folder", name=name)
    for path in (
        "a.dll",
        "a.dylib",
        "a.SO",
        "a.C",
        "a.h",
        "a.o",
        "a.a",
        "a.cpp",
        "a.onnx",
        "a.safetensors",
        "a.keras",
        ".so",
        ".c",
    ):
        with pytest.raises(ValueError, match=r"path must end in .so or .c"):
            nr.freeze(model, tmp_path / path)
    with pytest.raises(ValueError, match="levels must be None for C source"):
        nr.freeze(model, tmp_path / "a.c", levels=["x86-64-v3"])
    for path in ("a.so", "a.c"):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            nr.freeze(model, tmp_path / "none" / path)
    broken = model.copy()
    with broken.params.writing() as values:
        values[0] = np.inf
    for path in ("a.so", "a.c"):
        with pytest.raises(ValueError, match=r"parameter dense.weight must be finite"):
            nr.freeze(broken, tmp_path / path)
    for levels in (["x86-64-v5"], [], 3, "avx"):
        with pytest.raises(ValueError, match="levels must be some of"):
            nr.freeze(model, tmp_path / "a.so", levels=levels)
    monkeypatch.setattr(linker.shutil, "which", lambda name: None)
    monkeypatch.setattr(linker, "_has_zig", lambda: False)
    with pytest.raises(FreezeError, match=r"a linker is needed.*apt install binutils"):
        nr.freeze(model, tmp_path / "a.so")
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(FreezeError, match="shared libraries are made on Linux"):
        nr.freeze(model, tmp_path / "a.so")
    assert not list(tmp_path.iterdir())


def test_destinations_are_checked_before_anything_is_compiled(tmp_path, monkeypatch):
    model = nr.Model([nr.Dense(2)], input_size=3)
    monkeypatch.setattr(freezing, "make_parts", lambda *given: pytest.fail("it is compiled"))
    for name in ("a.so", "a.c"):
        (tmp_path / name).mkdir()
        with pytest.raises(IsADirectoryError, match="is a folder; choose another name"):
            nr.freeze(model, tmp_path / name)
    (tmp_path / "b.h").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; choose another name"):
        nr.freeze(model, tmp_path / "b.so")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        nr.freeze(model, tmp_path / "file" / "net")
    with pytest.raises(FileExistsError, match="was not written by numbarnn"):
        nr.freeze(model, tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for name in ("c.so", "c.c", "c", "d/e"):
        with pytest.raises(PermissionError, match="is not writable; choose another"):
            nr.freeze(model, tmp_path / name)


def test_the_child_imports_from_the_same_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [tmp_path, "", "a", 3])
    assert import_path() == [str(tmp_path), os.getcwd(), "a"]


def test_files_of_the_current_folder_are_not_run(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("open('ran', 'w').close()\nraise SystemExit('json of this folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    nr.freeze(compiled("letters")[0], "net.so", levels=[LEVEL])
    assert sorted(os.listdir()) == ["json.py", "net.h", "net.so"]


def test_kernels_of_the_child_are_not_stale(tmp_path, monkeypatch):
    """Checks of indices are off in it as in a process that does not set them: setting them to 0 would be another stamp."""
    code = "from numbarnn.kernels.cache import compiler; print(compiler())"
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
    plain = run_python(code, cwd=tmp_path, NUMBA_DISABLE_INTEL_SVML=1).stdout
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    env = _environment(LEVEL) | {"PYTHONPATH": str(PACKAGE.parent)}
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert child.stdout == plain, child.stderr


def test_estimators_name_their_net(tmp_path):
    x, y = np.zeros((4, 5, 2)), [0, 1, 0, 1]
    net = nr.SequenceClassifier("rnn", 2, epochs=1, random_state=0).fit(x, y)
    with pytest.raises(TypeError, match=textwrap.dedent("got SequenceClassifier; .* pass its attribute model_")):
        nr.freeze(net, tmp_path / "a.so")
    lm = nr.CharLM("rnn", hidden_size=4, num_layers=1).fit("abcabcabc" * 20, epochs=1, verbose=0)
    assert freezing._network(lm) is lm.model
    own = type("Own", (nr.CharLM,), {})("rnn", hidden_size=4, num_layers=1).fit("abcabcabc" * 20, epochs=1, verbose=0)
    assert freezing._network(own) is own.model
