"""What a run measures, and how long it will take."""

import dataclasses
from typing import NamedTuple

from comparison import cases
from comparison.engines import ENGINES, OWN, Participant, participants
from comparison.rows import Settings
from numbarnn.cli.common import UserError

# Part of the limit of multiply-adds that engines would reach with an endless LSTM, and with one of the other cells; seconds that
# a row costs before it is measured (building, compiling, outputs), and for one step of a batch beside the products. Rough: for the
# estimate of time alone.
ASSUMED = {
    OWN: (0.9, 0.85, 0.1, 2e-6),
    "torch": (0.7, 0.3, 0.1, 1e-5),
    "onnxruntime": (0.7, 0.4, 0.1, 5e-6),
    "openvino": (0.8, 0.7, 0.4, 5e-6),
    "keras": (0.4, 0.4, 1.5, 1e-4),
    "jax": (0.4, 0.4, 1.5, 1e-5),
}
HALF = 64  # units of a layer with which they reach half of it
PROCESS = 1.5  # seconds until an engine's process is there
WHOLE = {"startup": 0.8, "target": 0.6}  # seconds of one call
SHORTEST, LONGEST = 0.01, 0.25  # seconds for one participant in one round


class Selection(NamedTuple):
    """What ``--only`` names, kind by kind; an empty kind leaves all of it in."""

    scenarios: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()

    def takes(self, case: cases.Case) -> bool:
        """Return whether a case is selected."""
        return (
            (not self.scenarios or case.scenario in self.scenarios)
            and (not self.cells or case.cell in self.cells)
            and (not self.sizes or case.size in self.sizes)
        )


def select(words) -> Selection:
    """Return the selection that words make.

    Raises
    ------
    UserError
        If a word is neither a scenario, an engine, a cell nor a size.
    """
    known_sizes = dict.fromkeys((*cases.SIZES, *cases.STREAMS, cases.TARGET, cases.STARTUP))
    found: dict[str, list] = {name: [] for name in Selection._fields}
    for word in words:
        for one in (word,) if word[:1].isdecimal() else word.split(","):
            size = tuple(int(part) for part in one.split(",")) if one.replace(",", "").isdecimal() else ()
            if one in cases.SCENARIOS:
                found["scenarios"].append(one)
            elif one in ENGINES:
                found["engines"].append(one)
            elif one.upper() in cases.GATES:
                found["cells"].append(one.upper())
            elif size in known_sizes:
                found["sizes"].append(size)
            else:
                raise UserError(
                    f"--only {one}: must be a scenario ({', '.join(cases.SCENARIOS)}), an engine ({', '.join(ENGINES)}), a cell "
                    f"({', '.join(cases.GATES)}) or a size such as {','.join(map(str, cases.SIZES[0]))}"
                )
    return Selection(*(tuple(values) for values in found.values()))


def rows(selection: Selection, engines, threads) -> list[tuple[cases.Case, list[Participant]]]:
    """Return the cases that are selected, each with who takes part; those without any peer are left out."""
    taking_part = [name for name in engines if not selection.engines or name in selection.engines]
    found = []
    for case in cases.cases(threads):
        if selection.takes(case):
            some = participants(case.scenario, taking_part)
            if len(some) > 2 or selection.engines == (OWN,):
                found.append((case, some))
    return found


def seconds_of_call(case: cases.Case, engine: str, gflops: float) -> float:
    """Return about how long a call takes, `gflops` being the limit of one core."""
    if case.scenario in WHOLE:
        return WHOLE[case.scenario]
    lstm, other, _, step = ASSUMED[engine]
    part = (lstm if case.cell == "LSTM" else other) * case.size[1] / (case.size[1] + HALF)
    passes = {"forward": 1, "stream": 1, "epoch": 3 * cases.BATCHES}.get(case.scenario, 3)
    return case.operations / (part * gflops * 1e9 * case.threads**0.8) + passes * step * case.size[3]


def seconds_of_row(case: cases.Case, some: list[Participant], settings: Settings, gflops: float) -> float:
    """Return about how long a row takes."""
    total = 0.0
    for participant in some:
        call = seconds_of_call(case, participant.engine, gflops)
        once = call if case.scenario in WHOLE or call > settings.seconds else settings.seconds + call
        total += ASSUMED[participant.engine][2] + 2 * call + settings.rounds_of(case) * once
    return total + settings.rounds_of(case) * 0.05


def seconds(todo, settings: Settings, gflops: float) -> float:
    """Return about how long some rows take, with the start of the processes."""
    processes = {(case.threads, participant) for case, some in todo for participant in some}
    return PROCESS * len(processes) + sum(seconds_of_row(case, some, settings, gflops) for case, some in todo)


def fitted(todo, settings: Settings, gflops: float, limit: float) -> Settings:
    """Return settings under which rows take about `limit` seconds: the time of one participant in one round is chosen."""
    low, high = SHORTEST, LONGEST
    for _ in range(20):
        middle = (low + high) / 2
        if seconds(todo, dataclasses.replace(settings, seconds=middle), gflops) > limit:
            high = middle
        else:
            low = middle
    return dataclasses.replace(settings, seconds=low)
