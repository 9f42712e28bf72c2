"""What the samples of a row say: which of its rounds count, and ratios of numbarnn's peers to it with their intervals."""

import numpy as np

from comparison.cases import Case
from comparison.engines import AGAIN, OWN
from comparison.statistics import LEAST, NONE, Interval, median_interval

SLOW = 0.8  # of the best limit, and of the processors: below it the machine was held up by something else
SPARE = 0.75  # of the rounds must count, else the row is disturbed


def case_of(row: dict) -> Case:
    """Return the case of a row."""
    return Case(row["scenario"], row["cell"], tuple(row["size"]), row["threads"])


def best_limits(rows) -> dict[int, float]:
    """Return the largest limit of multiply-adds that was seen, by number of threads."""
    best: dict[int, float] = {}
    for row in rows:
        best[row["threads"]] = max([best.get(row["threads"], 0.0), *row["limits"]])
    return best


class Row:
    """A row with the best limits of its run.

    Attributes
    ----------
    raw : dict
        As `rows.measure` returns it.
    counts : (rounds,) bool
        Rounds during which the limit was at least `SLOW` of the best, and other processes left that part of the processors. The
        other rounds count for nobody.
    disturbed : bool
        Whether too few rounds count: such a row is measured again, else marked, and in no mean.
    """

    def __init__(self, raw: dict, best: dict[int, float]):
        self.raw, self.case, self._intervals = raw, case_of(raw), {}
        limits, shares = np.array(raw["limits"]), np.array(raw["shares"])
        self.counts = (limits >= SLOW * best[self.case.threads]) & (shares >= SLOW)
        self.disturbed = bool(self.counts.size) and self.counts.mean() < SPARE

    @property
    def peers(self) -> list[str]:
        """Labels of those that numbarnn is compared with."""
        return [label for label in self.raw["engines"] if label not in (OWN, AGAIN)]

    def samples(self, label: str, what: str = "seconds") -> np.ndarray:
        """Return the samples that count."""
        return np.array(self.raw["engines"].get(label, {}).get(what, []), float)[self._mask(label, what)]

    def _mask(self, label, what):
        values = self.raw["engines"].get(label, {}).get(what, [])
        return self.counts if self.counts.any() else np.ones(len(values), bool)

    def median(self, label: str = OWN, what: str = "seconds") -> float:
        """Return the median of the samples that count; NaN without any."""
        found = self.samples(label, what)
        return float(np.median(found)) if found.size else float("nan")

    def ratios(self, label: str, what: str = "seconds") -> np.ndarray:
        """Return a participant's time over numbarnn's, round by round: above 1, numbarnn is faster."""
        own, other = self.samples(OWN, what), self.samples(label, what)
        return other / own if len(own) == len(other) else np.zeros(0)

    def interval(self, label: str, what: str = "seconds") -> Interval:
        """Return the median ratio and its interval; none of a row that is disturbed."""
        if (label, what) not in self._intervals:
            found = self.ratios(label, what)
            middle = float(np.median(found)) if found.size else float("nan")
            certain = not self.disturbed and len(found) >= LEAST
            self._intervals[label, what] = median_interval(found) if certain else NONE._replace(middle=middle)
        return self._intervals[label, what]

    @property
    def fastest(self) -> str | None:
        """Label of the fastest peer."""
        measured = [label for label in self.peers if self.samples(label).size]
        return min(measured, key=self.median, default=None)

    @property
    def share(self) -> float:
        """The part of the multiply-adds' limit at which numbarnn's products run."""
        limits = np.array(self.raw["limits"])[self.counts] if self.counts.any() else np.array(self.raw["limits"])
        return (
            float(np.median(self.case.operations / self.samples(OWN) / limits / 1e9)) if limits.size else float("nan")
        )


def analysed(rows) -> list[Row]:
    """Return rows with the best limits among them."""
    rows = list(rows)
    best = best_limits(rows)
    return [Row(raw, best) for raw in rows]
