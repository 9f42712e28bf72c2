"""Kernels for CUDA, compiled without a card or a driver: what the machine code holds, and when it is compiled again."""

import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from processes import copy_package, run_python

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed (extra cuda12 or cuda13)"
)

TESTS = pathlib.Path(__file__).resolve().parent
# Kernels of float32 numbers that compute with float64 here and there.
DOUBLE = {"sampling.sample_streams"}  # draws are compared with sums of chances in float64, as on the CPU
SHARED_BYTES = 48 * 1024  # of a block, on every card
REGISTERS = 65536  # of a block, on every card


def environment(**changes):
    """Return the environment of a process that does not simulate."""
    return {**os.environ, "PYTHONPATH": str(TESTS.parent), "NUMBA_ENABLE_CUDASIM": "0", **changes}


@pytest.fixture(scope="module")
def builds():
    """Every kernel for every card, as `cuda_build.Build` in JSON."""
    parts = min(4, os.cpu_count() or 1)
    running = [
        subprocess.Popen(
            [sys.executable, TESTS / "cuda_build.py", str(part), str(parts)],
            env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for part in range(parts)
    ]  # fmt: skip
    found = []
    try:
        for process in running:
            output, errors = process.communicate(timeout=1800)  # four minutes of work, where nothing else runs
            assert process.returncode == 0, errors
            found += json.loads(output)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return found


def named(builds):
    """Return builds as text, for the message of a failed assertion."""
    return [
        f"{b['kernel']} {b['real']} {b['cell'] or ''} {b['card']}: {b['registers']} registers, stack {b['stack']}, "
        f"shared {b['shared']}"
        for b in builds
    ]


def test_every_kernel_is_built(builds):
    for real, card in (("float32", "sm_75"), ("float32", "sm_90a"), ("float64", "sm_75")):
        names = {b["kernel"] for b in builds if (b["real"], b["card"]) == (real, card)}
        left_out = {b["kernel"] for b in builds} - names
        # Kernels that keep other numbers of weights in registers than float64 has room for, and the product of the other type.
        held = {f"persistent.{w}.{n}" for w in ("forward", "backward") for n in (48, 128)}
        assert left_out == ({"matmul.multiply.4"} | held if real == "float64" else {"matmul.multiply.8"})
        assert names >= {
            "recurrent.forward_steps",
            "ctc.advance",
            "losses.cross_entropy_rows",
            "sampling.sample_streams",
        }
    assert len({b["cell"] for b in builds if b["kernel"] == "recurrent.forward_steps"}) >= 6


def test_nothing_is_spilled(builds):
    assert not named(b for b in builds if b["stack"] > 0 or (b["ptx"] or {}).get(".local"))


def test_blocks_fit_on_every_card(builds):
    assert not named(b for b in builds if b["shared"] > SHARED_BYTES)
    assert not named(b for b in builds if b["threads"] and b["registers"] * b["threads"] > REGISTERS)


def test_float32_stays_float32(builds):
    found = {}
    for b in builds:
        if b["real"] == "float32" and b["kernel"] not in DOUBLE:
            wrong = [name for name in b["ptx"] or () if ".f64" in name or ".b64.f" in name]
            wrong += [
                name for name in b["sass"] or () if name.startswith(("DFMA", "DADD", "DMUL", "DSET")) or ".F64" in name
            ]
            found |= {f"{b['kernel']} {b['cell'] or ''} {b['card']}": wrong} if wrong else {}
    assert not found


def test_barriers_and_shared_memory_stay(builds):
    """What a kernel asks for must not be optimised away."""
    for b in builds:
        if b["ptx"] is not None:
            assert ("syncthreads" in b["words"]) <= (b["ptx"].get("bar.sync", 0) > 0), b["kernel"]
            for access in ("ld.shared", "st.shared"):
                assert ("shared" in b["words"]) <= any(name.startswith(access) for name in b["ptx"]), b["kernel"]


def test_shared_memory_is_aligned_for_what_reads_quads(builds):
    """Numba aligns it to one value: a read of 16 bytes would be a fault."""
    found = 0
    for b in builds:
        counts = b["ptx"] or {}
        if any(name.startswith(("ld.shared.v", "st.shared.v")) for name in counts):
            assert {name for name in counts if name.startswith(".shared")} == {".shared .align 16"}, b["kernel"]
            found += 1
    assert found >= 4


def test_products_are_fused_multiply_adds(builds):
    """A thread of `multiply` makes 4 x 4 numbers of C; a step of its inner loop is written out at least once, from registers."""
    products = sorted(
        (b for b in builds if b["kernel"].startswith("matmul.multiply.")), key=lambda b: (b["real"], b["card"])
    )
    assert [(b["real"], b["card"]) for b in products] == [
        ("float32", "sm_75"), ("float32", "sm_80"), ("float32", "sm_90a"), ("float64", "sm_75")
    ]  # fmt: skip
    for b in products:
        counts, name = b["ptx"], f"fma.rn.f{b['real'][5:]}"
        if counts is not None:
            # Eight numbers from shared memory serve sixteen multiply-adds, and come in reads of 16 bytes.
            reads = {word: n for word, n in counts.items() if word.startswith("ld.shared")}
            width = {"float32": 4, "float64": 2}[b["real"]]
            assert list(reads) == [f"ld.shared.v{width}.f{b['real'][5:]}"]
            assert counts[name] == 2 * width * sum(reads.values()) >= 16
        if b["sass"] is not None:
            assert b["sass"].get({"float32": "FFMA", "float64": "DFMA"}[b["real"]], 0) >= 16


def test_weights_past_the_registers_come_in_quads(builds):
    """A step of the product with what the registers do not hold: a read of four weights, one of four values, four multiply-adds."""
    for b in builds:
        if b["kernel"].startswith(("persistent.forward.", "persistent.backward.")) and b["ptx"] is not None:
            width = {"float32": 4, "float64": 2}[b["real"]]
            assert (
                b["ptx"].get(f"ld.global.v{width}.f{b['real'][5:]}", 0) > int(b["kernel"].rpartition(".")[2]) // width
            )
            assert b["ptx"].get(f"ld.shared.v{width}.f{b['real'][5:]}", 0) > 0, b["kernel"]


def test_machine_code_has_little_beside_multiply_adds(builds):
    """Four multiply-adds past the registers take two reads and pointers; a slice of a tile takes 256, 34 reads and 8 writes."""
    if builds[0]["sass"] is None:
        pytest.skip("cuobjdump or nvdisasm is not found")
    assert sum(b["tile"] is not None for b in builds) == 4
    assert not [(*named([b]), b["rest"]) for b in builds if b["rest"] is not None and b["rest"] > 4]
    assert not [(*named([b]), b["tile"]) for b in builds if b["tile"] is not None and b["tile"] > 553]


# A kernel that inlines a cell, as the package has them; the test copies it into a copy of the package.
PROBE = """
from numba import cuda
from numbarnn.kernels.cuda.element import cell_forward, load, store
from numbarnn.kernels.cuda.launch import kernel

def _advance(times):
    @kernel("c x n")
    def advance(real):
        def advance(cell, values, count):
            for i in range(cuda.grid(1), count, cuda.gridsize(1)):
                for _ in range(times):
                    z, h = load(cell, "preactivations", values, i, 1), load(cell, "states", values, i, 1)
                    states, _ = cell_forward(cell, z, h, ())
                    store(cell, "states", values, i, 1, states)

        return advance
    return advance

once, twice = _advance(1), _advance(2)
"""

# What came from the disk, and the machine code: (kernels compiled, hash).
LOAD = f"""
import hashlib, sys
sys.path.insert(0, {str(TESTS)!r})
import cuda_build
cuda_build.pretend(cuda_build.OLDEST)
from numbarnn.kernels import cache
from numbarnn.kernels.cuda import probe
from numbarnn.kernels.cuda.launch import REAL
from numbarnn.cells import RNN
compiled, digest = [], hashlib.sha256()
cache.on_compile.append(compiled.append)

def load(kernel, record, real="float32"):
    real = {{str(kind): kind for kind in REAL.values()}}[real]
    library = kernel.load(real, record).library
    digest.update(bytes(library.get_cubin().code))
"""
TWO = (
    LOAD
    + """
load(probe.once, RNN())
load(probe.twice, RNN())
print(len(compiled), digest.hexdigest())
"""
)


def counted(folder, code=TWO, **options):
    """Run code in a second process on a copy of the package; return (kernels compiled, the rest of its output, the process)."""
    options = {"cache": folder / "cache", "NUMBA_ENABLE_CUDASIM": "0"} | options
    done = run_python(code, cwd=folder, path=folder, **options)
    count, _, rest = done.stdout.strip().partition(" ")
    return int(count), rest, done


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A copy of the package whose two kernels have been compiled once: (folder, result of the first process)."""
    folder = copy_package(tmp_path_factory.mktemp("warm"))
    (folder / "numbarnn" / "kernels" / "cuda" / "probe.py").write_text(PROBE)
    count, result, _ = counted(folder)
    assert count == 2
    return folder, result


def test_second_process_compiles_nothing(warm):
    folder, result = warm
    assert counted(folder)[:2] == (0, result)


def test_numbers_of_another_type_are_another_kernel(warm):
    folder, _ = warm
    code = LOAD + "load(probe.once, RNN(), 'float64'); print(len(compiled))"
    assert [counted(folder, code)[0] for _ in range(2)] == [1, 0]


def test_unreadable_files_count_as_absent(warm):
    folder, result = warm
    files = list(folder.glob("cache/*/cuda/*probe*.nbc"))
    assert len(files) >= 1
    for file in files:
        file.write_bytes(b"\x80\x04not a pickle")
    assert counted(folder)[:2] == (2, result)
    assert counted(folder)[:2] == (0, result)


def test_edit_of_an_inlined_file_is_noticed(warm, tmp_path):
    _, result = warm
    folder = tmp_path / "edited"
    shutil.copytree(warm[0], folder)
    edited = folder / "numbarnn" / "kernels" / "activation.py"
    before = "curved = sigmoid(x) if code == 2 else tanh(x)"
    source = edited.read_text()
    assert before in source
    edited.write_text(source.replace(before, before + " * type(x)(0.5)"))
    # In the folder of the unedited package's kernels: of two installs that share a cache folder, each has its own.
    (own,) = (folder / "cache").iterdir()
    stamp = hashlib.sha256(str(folder / "numbarnn").encode()).hexdigest()[:16]
    own.rename(own.with_name(f"numbarnn_{stamp}"))
    count, changed, _ = counted(folder)
    assert count == 2
    assert changed != result


def test_a_cell_from_elsewhere_leaves_no_trace(warm, tmp_path):
    folder, result = warm
    (tmp_path / "mycell.py").write_text("from numbarnn.cells import RNN\nclass Mine(RNN):\n    __slots__ = ()\n")
    code = (
        LOAD
        + f"sys.path.insert(0, {str(tmp_path)!r})\nfrom mycell import Mine\nload(probe.once, Mine()); print(len(compiled))"
    )
    for _ in range(2):
        counted(folder, code)
    assert not [file for file in (folder / "cache").rglob("*.nb?") if b"mycell" in file.read_bytes()]
    assert counted(folder)[:2] == (0, result)


def test_nowhere_writable_builds_with_one_warning(warm, tmp_path):
    folder = copy_package(tmp_path)
    (folder / "numbarnn" / "kernels" / "cuda" / "probe.py").write_text(PROBE)
    (folder / "numbarnn" / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    home = {"HOME": tmp_path / "file", "XDG_CACHE_HOME": tmp_path / "file"}
    code = "import warnings; warnings.simplefilter('always')\n" + TWO
    count, _, done = counted(folder, code, cache=tmp_path / "file", **home)
    assert count == 2
    assert done.stderr.count("CacheWarning") == 1
