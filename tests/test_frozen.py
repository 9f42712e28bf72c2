"""Frozen libraries: their outputs are the model's, they need nothing, and refuse what they cannot read."""

import ctypes
import dataclasses
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from frozen_nets import MODELS, Library, Wave, compiled, fused, here

from numbarnn import Model, Recurrent
from numbarnn.cells import CELLS
from numbarnn.errors import FreezeError
from numbarnn.frozen import dispatch, linker
from numbarnn.frozen.c_source import c_interface
from numbarnn.frozen.interface import BAD_ARGUMENT, BAD_CODE, BAD_LENGTH, BAD_OPTION, BAD_TOKEN, OK
from numbarnn.frozen.library import link_parts, make_parts
from numbarnn.kernels.cpu.denormals import mode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries are made on Linux")

# Each net is compiled for three levels; one of them is left to every run of the tests.
CASES = [
    *(pytest.param(("cells", level), marks=pytest.mark.slow) for level in here()),
    *(
        pytest.param((kind, None), marks=[] if kind == "letters" else pytest.mark.slow)
        for kind in MODELS
        if kind != "cells"
    ),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(filter(None, case)))
def library(request, tmp_path_factory):
    kind, level = request.param
    level = level or next(iter(compiled(kind)[1].objects))
    return Library(kind, level, tmp_path_factory.mktemp("library"))


def test_check_passes(library):
    assert library.call("check", library.work(1, 8)) == OK
    assert library.call("check", None) == BAD_ARGUMENT


def test_steps_are_those_of_the_stream(library):
    if not library.interface.step:
        pytest.skip("this net needs whole sequences")
    x, state, stream = library.inputs(1, 20)[0], library.states(1)[0], library.model.stream()
    for x_t in x:
        assert library.agrees(library.step(x_t, state), stream.step(x_t))


@pytest.mark.parametrize("lengths", [None, [6, 3, 1, 0, 6]])
def test_forward_is_that_of_the_model(library, lengths):
    x = library.inputs(5, 6)
    given = None if lengths is None else np.array(lengths)
    expected, _ = library.model.forward(x, lengths=given)
    assert library.agrees(library.forward(x, given), expected)


def test_states_go_from_call_to_call(library):
    if not (library.interface.step and library.interface.sequence):
        pytest.skip("this net needs whole sequences")
    x, after, lengths = library.inputs(3, 9), library.states(3), np.array([5, 2, 4])
    library.forward(x[:, :5].copy(), lengths, None, after)
    for n, length in enumerate(lengths):
        rest = library.forward(x[n : n + 1, length:].copy(), None, after[n : n + 1].copy())
        assert library.agrees(rest, library.model.forward(x[n : n + 1])[0][:, length:])
    again = after.copy()  # before and after may be one array
    whole = library.forward(x, None, again, again)
    assert np.array_equal(whole, library.forward(x, None, after))
    assert not np.array_equal(again, after)


def test_wrong_arguments_are_error_numbers(library):
    x, y, work = library.inputs(2, 3), np.zeros((2, 3, library.interface.outputs), library.dtype), library.work(2, 3)
    lengths = np.array([3, 4])
    assert library.call("forward", x, -1, 3, None, None, None, y, work) == BAD_ARGUMENT
    assert library.call("forward", x, 2, -3, None, None, None, y, work) == BAD_ARGUMENT
    assert library.call("forward", None, 2, 3, None, None, None, y, work) == BAD_ARGUMENT
    assert library.call("forward", x, 2, 3, None, None, None, None, work) == BAD_ARGUMENT
    assert library.call("forward", x, 2, 3, None, None, None, y, None) == BAD_ARGUMENT
    assert library.call("forward", x, 2, 3, lengths, None, None, y, work) == BAD_LENGTH
    assert library.call("forward", x, 2, 3, -lengths, None, None, y, work) == BAD_LENGTH
    assert library.call("forward", None, 0, 3, None, None, None, None, work) == OK
    assert not y.any()
    if library.interface.step:
        state = library.states(1)[0]
        assert (
            library.call("step", 0 if library.interface.tokens and not library.interface.bag else x, None, y)
            == BAD_ARGUMENT
        )
        assert (
            library.call("step", 0 if library.interface.tokens and not library.interface.bag else x, state, None)
            == BAD_ARGUMENT
        )
        assert not state.any()


def test_the_size_of_scratch_memory(library):
    size = library.library.net_workspace_bytes
    size.argtypes, size.restype = (ctypes.c_int64, ctypes.c_int64), ctypes.c_size_t
    assert size(-1, 3) == size(1, -3) == 0
    assert 0 < size(0, 0) == size(5, 0) <= size(1, 1) <= size(1, 1000)
    grows = size(1, 1000) > size(1, 1)
    assert size(1, 2**63 - 1) == (2**64 - 1 if grows else size(1, 1))


def test_probabilities_and_samples_are_error_numbers(library):
    interface = library.interface
    if interface.activation is not None:
        y = np.ones((2, interface.outputs), library.dtype)
        assert library.call("probabilities", y, -1, y) == BAD_ARGUMENT
        assert library.call("probabilities", None, 2, y) == BAD_ARGUMENT
        assert library.call("probabilities", y, 2, None) == BAD_ARGUMENT
        assert library.call("probabilities", None, 0, None) == OK
        assert (y == 1).all()
    if not interface.sample:
        return
    prime, out, state, size = np.array([1, 2]), np.zeros(4, np.int64), library.states(1)[0], interface.inputs

    def sample(seed=3, temperature=1.0, top_k=0, top_p=1.0, prime=prime, read=2, out=out, count=4, state=state):
        # Integers and doubles have registers of their own, so their order among each other does not count.
        return library.call("sample", seed, temperature, top_k, top_p, prime, read, out, count, state)

    for wrong in ({"prime": None}, {"out": None}, {"state": None}, {"read": -1}, {"count": -1}):
        assert sample(**wrong) == BAD_ARGUMENT
    for token in (-1, size):
        assert sample(prime=np.array([1, token])) == BAD_TOKEN
    for wrong in (
        {"temperature": -1.0},
        {"temperature": np.inf},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_p": np.nan},
    ):
        assert sample(**wrong) == BAD_OPTION
    assert not out.any()
    assert not state.any()
    assert sample(top_k=size + 5) == OK  # as many as there are
    more = out.copy()
    state[:] = 0
    assert sample(top_k=size) == OK
    assert np.array_equal(out, more)


def test_empty_bags(library):
    if not library.interface.bag:
        pytest.skip("this net reads no bags")
    x = np.full((2, 4, library.interface.bag), -1)
    assert library.agrees(library.forward(x), library.model.forward(x)[0])


def test_tokens_outside_the_vocabulary_are_refused(library):
    if not library.interface.tokens:
        pytest.skip("this net reads values")
    y, work, size = (
        np.zeros((1, 3, library.interface.outputs), library.dtype),
        library.work(1, 3),
        library.interface.inputs,
    )
    for token in (size, -2, 2**62, -(2**63)):
        x, state = library.inputs(1, 3), library.states(1)[0]
        x[0, 2] = token
        assert library.call("forward", x, 1, 3, None, None, None, y, work) == BAD_TOKEN
        assert library.call("forward", x, 1, 3, np.array([2]), None, None, y, work) == OK
        assert library.call("step", x[0, 2].copy() if library.interface.bag else token, state, y) == BAD_TOKEN
        assert not state.any()


def test_threads_share_a_library(library):
    x, found = library.inputs(3, 40), [None] * 8
    expected = library.forward(x)

    def run(index):
        found[index] = [library.forward(x) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(y, expected) for own in found for y in own)


def test_denormals_count_as_zero_inside_alone(library):
    if library.interface.tokens or library.interface.dtype != "float32":
        pytest.skip("of values in float32")
    x = np.full((1, 4, library.interface.inputs), 1e-39, np.float32)
    before = mode(-1)
    assert np.array_equal(library.forward(x), library.forward(np.zeros_like(x)))
    assert mode(-1) == before


def test_it_needs_nothing(library):
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    dynamic = subprocess.run(["readelf", "-d", "-W", library.path], capture_output=True, text=True, check=True).stdout
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed in ([], ["libm.so.6"]) if library.dtype == np.float64 else not needed
    symbols = subprocess.run(
        ["readelf", "--dyn-syms", "-W", library.path], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in symbols.splitlines() if line.strip()[:1].isdigit()]
    defined = {row[7] for row in rows if len(row) > 7 and row[6] != "UND"}
    undefined = {row[7].partition("@")[0] for row in rows if len(row) > 7 and row[6] == "UND"}
    assert defined == {f"net_{name}" for name in library.interface.signatures()}
    assert undefined <= ({"exp", "tanh", "log", "pow"} if library.dtype == np.float64 else set())


def test_the_best_level_is_chosen(tmp_path):
    parts = compiled("cells")[1]
    link_parts(parts, tmp_path / "net.so")
    library, model = ctypes.CDLL(str(tmp_path / "net.so")), compiled("cells")[0]
    library.net_workspace_bytes.restype = ctypes.c_size_t
    x = np.random.default_rng(0).normal(size=(1, 30, 3)).astype(np.float32)
    y, work = np.zeros((1, 30, 5), np.float32), np.zeros(library.net_workspace_bytes(1, 30), np.uint8)
    null, pointers = ctypes.c_void_p(), [ctypes.c_void_p(array.ctypes.data) for array in (x, y, work)]
    one, steps = ctypes.c_int64(1), ctypes.c_int64(30)
    assert library.net_forward(pointers[0], one, steps, null, null, null, *pointers[1:]) == OK
    expected = model.forward(x)[0]
    assert np.array_equal(y, expected) if fused(here()[-1]) else np.allclose(y, expected, atol=1e-6)


def test_a_level_that_does_not_run_is_an_error_number(tmp_path, monkeypatch):
    level = here()[-1]
    if level not in dispatch._ASKED:
        pytest.skip("there is one level on this kind of processor")
    bits, states = dispatch._ASKED[level]
    for asked in (
        (bits, 1 << 31),
        ((*bits, (1, 2, (31,)), (7, 3, (0,))), states),
    ):  # a state and a feature that nothing has
        monkeypatch.setitem(dispatch._ASKED, level, asked)
        path = tmp_path / f"net{len(asked[0])}.so"
        link_parts(compiled("cells")[1], path, [level])
        library, work = ctypes.CDLL(str(path)), np.zeros(100_000, np.uint8)
        if library.net_check(ctypes.c_void_p(work.ctypes.data)) != BAD_CODE:
            assert asked[1] == states  # bit 31 of leaf 1 is the hypervisor's


@pytest.mark.slow
def test_a_cell_may_call_the_c_library(tmp_path, monkeypatch):
    """Of float32 too; what the C library does not have is named, and folders may have commas."""
    monkeypatch.setitem(CELLS, "Wave", Wave)
    model = Model([Recurrent(4, cell=Wave())], input_size=3, seed=6)
    parts = make_parts(model, c_interface(model, "net"), [here()[0]])
    folder = tmp_path / "a b, c"
    folder.mkdir()
    link_parts(parts, folder / "net.so")
    library, work = ctypes.CDLL(str(folder / "net.so")), np.zeros(100_000, np.uint8)
    assert library.net_check(ctypes.c_void_p(work.ctypes.data)) == OK
    found = parts.objects[here()[0]]
    assert b"sinf" in found
    (name,) = parts.objects
    broken = dataclasses.replace(parts, objects={name: found.replace(b"\0sinf\0", b"\0sinq\0")})
    with pytest.raises(
        FreezeError, match="the code of Wave calls sinq, which the C library's mathematics does not have"
    ):
        link_parts(broken, folder / "other.so")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_a_compiler_links_in_folders_with_commas(tmp_path, monkeypatch):
    monkeypatch.setattr(linker, "_LINKERS", ())
    folder = tmp_path / "a b, c"
    folder.mkdir()
    parts = compiled("embedded")[1]
    link_parts(parts, folder / "net, too.so")
    library, work = ctypes.CDLL(str(folder / "net, too.so")), np.zeros(100_000, np.uint8)
    if parts.runs_here():
        assert library.net_check(ctypes.c_void_p(work.ctypes.data)) == OK


def test_float64_is_checked_to_rounding(tmp_path, monkeypatch):
    """Its mathematics are the C library's, so the last bits may be others where the library runs; wrong outputs are not taken."""
    parts = compiled("embedded")[1]
    (y,) = (parts.constants[name] for name in (dispatch.CHECK_Y,))
    for factor, code in ((1 + 1e-15, OK), (1 + 1e-6, BAD_CODE)):
        path = tmp_path / f"{code}.so"
        link_parts(dataclasses.replace(parts, constants=parts.constants | {dispatch.CHECK_Y: y * factor}), path)
        library, work = ctypes.CDLL(str(path)), np.zeros(100_000, np.uint8)
        assert library.net_check(ctypes.c_void_p(work.ctypes.data)) == code


def test_the_functions_of_arm_are_compiled():
    interface, sizes = compiled("cells")[1].interface, dispatch.Sizes(640, 640, 0, 0)
    arguments = ["step", "forward"], sizes, "aarch64-unknown-linux-gnu", None, {}
    made = dispatch.write_dispatch(interface, ["neon"], *arguments)
    assert made[:4] == b"\x7fELF"
    assert int.from_bytes(made[18:20], "little") == 183  # EM_AARCH64
    assert b"net_step.neon" in made
