"""Kernels for CUDA, compiled without a card or a driver: what the machine code holds, and when it is compiled again."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed (extra cuda12 or cuda13)"
)

TESTS = pathlib.Path(__file__).resolve().parent
# Kernels of float32 numbers that compute with float64 here and there, and why.
DOUBLE = {}
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
    for process in running:
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        found += json.loads(output)
    return found


def named(builds):
    """Return builds as text, for the message of a failed assertion."""
    return [
        f"{b['kernel']} {b['real']} {b['cell'] or ''} {b['card']}: {b['registers']} registers, stack {b['stack']}, "
        f"shared {b['shared']}"
        for b in builds
    ]


def test_every_kernel_is_built(builds):
    cards = {card: {(b["kernel"], b["real"], b["cell"]) for b in builds if b["card"] == card} for card in
             ("sm_75", "sm_80", "sm_90a")}  # fmt: skip
    assert cards["sm_75"] == cards["sm_80"] == cards["sm_90a"]
    assert {kernel for kernel, _, _ in cards["sm_75"]} >= {"matmul.multiply", "matmul.add_parts", "matmul.sum_columns"}


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


def test_barriers_and_shared_memory(builds):
    """What a kernel asks for must not be optimised away; nor may a kernel call a function where it could run on."""
    for b in builds:
        if b["ptx"] is not None and b["barriers"]:
            assert b["ptx"].get("bar.sync", 0) > 0, b["kernel"]
            assert any(name.startswith("ld.shared") for name in b["ptx"]), b["kernel"]
            assert any(name.startswith("st.shared") for name in b["ptx"]), b["kernel"]


def test_products_are_fused_multiply_adds(builds):
    """A thread of `multiply` makes 4 x 4 numbers of C; a step of its inner loop is written out twice or more, from registers."""
    products = [b for b in builds if b["kernel"] == "matmul.multiply"]
    assert len(products) == 6
    for b in products:
        counts, name = b["ptx"], f"fma.rn.f{b['real'][5:]}"
        if counts is not None:
            assert counts.get(name, 0) >= 16
            # Eight numbers from shared memory serve sixteen multiply-adds.
            assert sum(n for word, n in counts.items() if word.startswith("ld.shared")) * 2 <= counts[name]
        if b["sass"] is not None:
            assert b["sass"].get({"float32": "FFMA", "float64": "DFMA"}[b["real"]], 0) >= 16
