"""One row: outputs checked, then rounds in which every participant is measured once, in an order drawn for each round."""

import dataclasses
import pathlib
import random
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from comparison.cases import Case
from comparison.engines import OWN, Participant
from comparison.worker import EngineError

# Largest differences of outputs, relative to the largest value of an array: rounding, in sums of up to T (C + H) float32 terms, and
# for trained weights what Adam makes of it, which divides small gradients by their own size.
TOLERANCES = {"epoch": 2e-2, "target": 0.5, "bptt": 1e-3, "ragged": 1e-3}
TOLERANCE = 1e-4

LONG = 5e9  # operations of a call that is measured in `FEWER` rounds: about 50 ms at 100 GFLOP/s
FEWER = 7


@dataclasses.dataclass(frozen=True)
class Settings:
    """How rows are measured.

    Attributes
    ----------
    rounds : int
        Of every row.
    seconds : float
        For one participant in one round; a call that takes longer is made once.
    seed : int
        Of the orders of participants.
    """

    rounds: int = 11
    seconds: float = 0.1
    seed: int = 0

    def rounds_of(self, case: Case) -> int:
        """Return the rounds of a case: fewer of those whose calls are long, whole trainings or processes."""
        long = case.scenario in ("target", "startup") or case.operations > LONG
        return min(self.rounds, FEWER) if long else self.rounds


class Engines:
    """The participants' processes, started when they are first needed; `start` makes one of a `Participant`."""

    def __init__(self, start: Callable[[Participant], Any]):
        self.start, self.running = start, {}

    def of(self, key, participant: Participant) -> Any:
        """Return the process of a participant; `key` tells processes of different settings apart."""
        if (key, participant) not in self.running:
            self.running[key, participant] = self.start(participant)
        return self.running[key, participant]

    def drop(self, key, participant: Participant) -> None:
        """End a process that failed."""
        self.running.pop((key, participant)).close()

    def close(self) -> None:
        """End all processes."""
        while self.running:
            self.running.popitem()[1].close()


def difference(found: dict, right: dict) -> float:
    """Return the largest difference of arrays of the same names, relative to the largest value; inf where names or shapes differ.

    What an engine does not give, such as Keras the weights after an epoch, is not compared; what it gives must be there.
    """
    compared = [name for name in found if name != "bytes"]
    worst = 0.0 if compared and set(compared) <= set(right) else np.inf
    for name in compared if worst == 0.0 else ():
        one, other = np.asarray(found[name], float), np.asarray(right[name], float)
        if name == "losses":  # of epochs until a target: the number of them is compared in tables
            one, other = one[0], other[0]
        if np.shape(one) != np.shape(other) or not (np.isfinite(one).all() and np.isfinite(other).all()):
            return np.inf
        worst = max(worst, float(np.max(np.abs(one - other), initial=0) / (np.max(np.abs(other), initial=0) or 1)))
    return worst


def measure(case: Case, participants: list[Participant], engines: Engines, settings: Settings) -> dict:
    """Return the raw samples of a row.

    Returns
    -------
    dict
        ``key`` and fields of the case; ``engines``: for each participant's label ``seconds``, ``calls`` and perhaps ``p99``, lists
        of one value a round, ``memory`` in MB, ``difference`` of its outputs; ``limits``: GFLOP/s of multiply-adds in registers
        around each round, the lesser of before and after; ``shares``: the part of the processors that was left by other processes,
        likewise; ``failed``: what is wrong with participants that were left out.
    """
    started = time.perf_counter()
    about = dataclasses.asdict(case) | {"size": list(case.size)}
    row = {"key": case.key, **about, "engines": {}, "failed": {}, "limits": [], "shares": []}
    taking_part = _check(case, participants, engines, row)
    limiter = engines.of("limit", Participant(OWN))
    order = random.Random(f"{settings.seed} {case.key}")

    def limit():
        return limiter.ask(do="limit", threads=case.threads, seconds=0.02)

    for _ in range(settings.rounds_of(case) if len(taking_part) > 1 else 0):
        order.shuffle(taking_part)
        before = limit()
        for participant in list(taking_part):
            try:
                answer = engines.of(case.threads, participant).ask(do="time", seconds=settings.seconds)
            except EngineError as error:
                _leave_out(case, participant, error, engines, row)
                taking_part.remove(participant)
                continue
            for name, value in answer.items():
                row["engines"][participant.label].setdefault(name, []).append(value)
        after = limit()
        row["limits"].append(min(before["gflops"], after["gflops"]))
        row["shares"].append(min(before["share"], after["share"]))
    row["took"] = time.perf_counter() - started
    return row


def _leave_out(case, participant, error, engines, row):
    """Go on without a peer that failed; without numbarnn there is nothing to compare."""
    if participant.engine == OWN:
        raise error
    row["failed"][participant.label] = str(error)
    row["engines"].pop(participant.label, None)
    engines.drop(case.threads, participant)


def _check(case, participants, engines, row):
    """Prepare every participant and compare outputs; return those that are right, and enter both kinds in the row."""
    outputs, right = {}, []
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        for number, participant in enumerate(participants):
            path = pathlib.Path(folder) / f"{number}.npz"
            try:
                opened = engines.of(case.threads, participant).ask(
                    do="open", case=dataclasses.asdict(case), outputs=str(path)
                )
            except EngineError as error:
                _leave_out(case, participant, error, engines, row)
                continue
            with np.load(path) as arrays:
                outputs[participant.label] = dict(arrays)
            worst = difference(outputs[participant.label], outputs[OWN])
            if not worst <= TOLERANCES.get(case.scenario, TOLERANCE):
                row["failed"][participant.label] = (
                    f"other outputs than numbarnn: they differ by {worst:.2g} of the largest"
                )
                continue
            about = {"memory": opened["memory"], "difference": worst}
            if "bytes" in outputs[participant.label]:
                about["bytes"] = int(outputs[participant.label]["bytes"])
            if "losses" in outputs[participant.label]:
                about["epochs"] = len(outputs[participant.label]["losses"])
                about["reached"] = float(outputs[participant.label]["losses"][-1])
            row["engines"][participant.label] = about
            right.append(participant)
    return right
