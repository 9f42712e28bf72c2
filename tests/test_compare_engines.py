"""The engines of the comparison compute the same from the same weights, and one row goes all the way."""

import dataclasses
import importlib

import compare_fakes  # noqa: F401 - puts benchmarks/ on the path
import numpy as np
import pytest
from comparison import cases
from comparison.engines import AGAIN, ENGINES, OWN, installed, participants
from comparison.rows import TOLERANCE, TOLERANCES, difference
from comparison.store import last_rows
from comparison.worker import STEPS_AHEAD, Process

from numbarnn.cli.main import main

SMALL = {"stream": (3, 5, 1, 1), "startup": cases.STARTUP, "target": (1, 8, 32, 10)}
INSIDE = [  # engines that can share this process with others
    (scenario, cell, participant)
    for scenario in ("forward", "bptt", "stream", "ragged", "epoch")
    for cell in (cases.GATES if scenario in ("forward", "bptt", "stream") else ("LSTM",))
    for participant in participants(scenario, ("torch", "onnxruntime", "openvino"))
    if participant.engine != OWN
]


def outputs(engine, variant, case):
    """Return what an engine computes, after as many calls as a worker makes."""
    module = importlib.import_module(f"comparison.engines.{engine}")
    prepared = getattr(module, "_".join(filter(None, (case.scenario, variant))))(case)
    result = prepared.call()
    for _ in range(STEPS_AHEAD if prepared.each else 0):
        result = prepared.call()
    return {name: np.array(value) for name, value in prepared.outputs(result).items()}


@pytest.mark.parametrize(("scenario", "cell", "participant"), INSIDE)
def test_outputs_are_equal(scenario, cell, participant):
    for name in ENGINES[participant.engine].distributions:
        pytest.importorskip(name)
    case = cases.Case(scenario, cell, SMALL.get(scenario, (3, 5, 4, 16)), 1)
    right, found = outputs(OWN, "", case), outputs(participant.engine, participant.variant, case)
    assert set(found) == set(right)
    assert difference(found, right) < TOLERANCES.get(scenario, TOLERANCE) / 10


@pytest.mark.parametrize("engine", ["keras", "jax"])
def test_outputs_of_engines_with_processes_of_their_own(engine, tmp_path):
    if engine not in installed():
        pytest.skip(f"{engine} is not installed")
    process = Process(engine)
    try:
        for scenario in ("forward", "epoch", "bptt", "stream"):
            for cell in cases.GATES if scenario in ENGINES[engine].scenarios else ():
                case = cases.Case(scenario, cell, SMALL.get(scenario, (3, 5, 4, 16)), 1)
                process.ask(do="open", case=dataclasses.asdict(case), outputs=str(tmp_path / "found.npz"))
                with np.load(tmp_path / "found.npz") as found:
                    assert difference(dict(found), outputs(OWN, "", case)) < TOLERANCES.get(scenario, TOLERANCE) / 10
    finally:
        process.close()


def test_a_row_goes_all_the_way(tmp_path, capsys):
    pytest.importorskip("torch")
    path = tmp_path / "samples.jsonl"
    words = ["--only", "forward", "LSTM", "torch", "8,16,32,60", "--threads", "1", "--rounds", "6", "--minutes", "0.5"]
    assert main(["compare", *words, "--output", str(path)]) == 0
    about, (row,) = last_rows(path)
    assert set(about["versions"]) >= {"numpy", "numba", "torch"}
    assert set(row["engines"]) == {OWN, AGAIN, "torch"}
    assert all(min(engine["seconds"]) > 1e-5 for engine in row["engines"].values())
    assert all(engine["memory"] > 30 for engine in row["engines"].values())
    assert len(row["limits"]) == 6
    assert min(row["limits"]) > 0.1
    assert row["engines"]["torch"]["difference"] < 1e-4
    assert "C, H, N, T" in capsys.readouterr().out
