"""What the targets of a forecaster are compared with, and its linear path: chosen by the validation part."""

import contextlib
import dataclasses

import numpy as np

from numbarnn.checks import check_choice
from numbarnn.data.scaling import SequenceScaler
from numbarnn.data.windows import Windows
from numbarnn.errors import ShapeError
from numbarnn.forecasting.frames import part_names
from numbarnn.forecasting.linear import MOST_INPUTS, MOST_WEIGHTS, Ridge
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.series import Levels, Panel, filled, moments
from numbarnn.forecasting.settings import is_counts, linear_of
from numbarnn.forecasting.targets import Source, Targets, between
from numbarnn.losses import DistributionLoss, make_loss

# Of a table that is not split in three: the share of the training windows, the newest, that choices are made by.
HELD_OUT = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A table of `fit` for one way of comparing targets.

    Attributes
    ----------
    preparation : Preparation
    panel : Panel
        All rows.
    deviation : (columns,) array
        Standard deviations on the training part.
    features : array
        What a net sees of all rows.
    targets : Targets
        The whole horizon at once.
    parts : dict of Windows
    linear : dict of Ridge
        By "all" and "shared".
    """

    preparation: Preparation
    panel: Panel
    deviation: np.ndarray
    features: np.ndarray
    targets: Targets
    parts: dict[str, Windows]
    linear: dict[str, Ridge] = dataclasses.field(default_factory=dict)

    def sources(self, targets, parts, batch_size) -> dict[str, Source]:
        """Return the windows of the parts as batches."""
        return {name: Source(targets, self.panel.values, windows, batch_size) for name, windows in parts.items()}

    def windows(self, targets, cuts, straddle, names=None) -> dict[str, Windows]:
        """Return the windows of targets by part; `cuts` has the first rows of the parts after the first, of every series.

        `names`: of the parts, where the last of the cuts end with the rows; None: as many parts as cuts make.
        """
        whole, lag = targets.windows(self.panel, self.features), self.preparation.lag
        names = names or part_names(cuts[0])
        if self.panel.keys is None:
            parts = whole.split(rows=[cut - lag for cut in cuts[0][: len(names) - 1]], straddle=straddle)
            return dict(zip(names, parts, strict=True))
        check_choice(straddle, "straddle", ("drop", "keep"))
        starts, stops = self.panel.starts[:-1], self.panel.starts[1:]
        edges = np.stack([starts, *(starts + np.array(cut) for cut in zip(*cuts, strict=True)), stops])
        found = {}
        for name, first, last in zip(names, edges, edges[1:], strict=False):
            # In a series of its own: `whole` has none whose targets, or with "drop" rows, are in two.
            begin = np.maximum(first - targets.delay, starts)
            if straddle == "drop":
                begin = np.maximum(begin, first + self.preparation.lookback - 1)
            found[name] = between(whole, begin - lag, last - targets.delay - targets.horizon + 1 - lag)
            if not len(found[name]):
                keep = ", or pass straddle='keep'" if straddle == "drop" and name != names[0] else ""
                need = targets.delay + targets.horizon + (self.preparation.lookback - 1) * (straddle == "drop")
                raise ShapeError(
                    f"no window of any series fits into the {name} part: with straddle={straddle!r} one needs {need} rows, "
                    f"and the longest has {int((last - first).max())}. Make that part larger, or lookback, delay or horizon "
                    f"smaller{keep}"
                )
        return found


def training_rows(panel, cuts) -> list[np.ndarray]:
    """Return the values of the training part of every series."""
    return [panel.values[first : first + cut[0]] for first, cut in zip(panel.starts, cuts, strict=False)]


def best_prepared(settings, keys, parts, clock, encoding, targets, cuts, straddle, season, part_names=None) -> Prepared:
    """Return rows prepared for the way of comparing targets that the settings of a forecaster say, or else for the best one.

    `parts` has values, filled where asked, values as measured, and times of every series, in the units of the data.
    """
    preparation = Preparation.of(
        settings, encoding, targets, clock, SequenceScaler(settings.scaling), Levels.none(encoding.width), keys is not None
    )  # fmt: skip
    counts = is_counts(settings)
    if keys is not None and settings.scale == "series" and not counts:
        # Of a series without training rows, those of its first window.
        train = [part[0][: max(cut[0], settings.lookback)] for part, cut in zip(parts, cuts, strict=True)]
        preparation = dataclasses.replace(preparation, levels=Levels.of(keys, train, preparation.unscaled))
    panel = Panel.of(keys, parts, preparation.levels)
    mean, deviation = moments(np.concatenate(training_rows(panel, cuts)), overwrite=True)
    if encoding.missing == "mask":
        preparation = dataclasses.replace(preparation, encoding=dataclasses.replace(encoding, fill=mean))
        panel = dataclasses.replace(panel, values=filled(panel.values, mean))

    def with_regressions(preparation):
        found = prepare(
            preparation, panel, cuts, straddle, part_names, delay=settings.delay, horizon=settings.horizon, deviation=deviation,
            counts=counts,
        )  # fmt: skip
        return with_linear(found, found.targets, found.parts, linear)

    chosen = preparation.season or settings.change is None or counts
    linear = linear_of(settings) if chosen else linear_of(settings) or "auto"
    best = with_regressions(preparation)
    if chosen:
        return best
    shifting = not (settings.recursive and isinstance(make_loss(settings.loss), DistributionLoss))
    for other in candidates(preparation, season, max(cut[0] for cut in cuts), shifting)[1:]:
        with contextlib.suppress(ValueError):  # too few rows, or too many gaps, to be compared with those before
            found = with_regressions(other)
            if best_of(found.linear).error < best_of(best.linear).error:
                best = found
    return best


def prepare(preparation, panel, cuts, straddle, part_names, *, delay, horizon, deviation, counts) -> Prepared:
    """Return rows prepared as a `Preparation` says, whose scaler is fitted to the training part."""
    scaler = SequenceScaler(preparation.scaler.method)
    own = dataclasses.replace(preparation, scaler=scaler)
    changes = [own.changes(rows) if own.lag else rows for rows in training_rows(panel, cuts) if len(rows) > own.lag]
    scaler.fit(changes[0] if len(changes) == 1 else np.concatenate(changes))
    scaler.center_[own.encoding.unscaled], scaler.scale_[own.encoding.unscaled] = 0.0, 1.0
    features = own.features(panel.values, own.known_rows(panel.index, panel.values))
    targets = Targets(own, delay, horizon, own.columns, deviation[own.columns], counts)
    found = Prepared(own, panel, deviation, features, targets, {})
    found = dataclasses.replace(found, parts=found.windows(found.targets, cuts, straddle, part_names))
    found.targets.fit(Source(found.targets, panel.values, found.parts["train"]))
    return found


def candidates(preparation, season: int | None, rows: int, shifting: bool = True) -> list[Preparation]:
    """Return the ways of comparing targets that are tried: with nothing, the newest row, the season before.

    `shifting`: whether windows may be shifted by their newest row, so that a net cannot go on from one to the next.
    """
    season = 0 if season is None or season == 1 else season
    changes = [{}, {"relative": 1}, *([{"recenter": True}] if shifting else [])]
    changes += [{"relative": season}] if 0 < season <= preparation.lookback else []
    changes += [{"difference": season}] if season and 2 * season < rows else []
    return [dataclasses.replace(preparation, **change) for change in changes]


def with_linear(prepared: Prepared, targets: Targets, parts, wanted: str | None) -> Prepared:
    """Return what is prepared with the linear regressions that are wanted: "all", "shared", None, or "auto", both."""
    if wanted is None:
        return prepared
    train, validation = (parts.get(name) for name in ("train", "validation"))
    if validation is None and len(train) > 2:
        held = np.zeros(len(train), bool)
        for group in prepared.panel.groups(np.asarray(train.ends) + prepared.preparation.lag):
            held[group[len(group) - int(HELD_OUT * len(group)) :]] = True
        held[-1] = True
        train, validation = train[~held], train[held]
    sources = [None if part is None else Source(targets, prepared.panel.values, part) for part in (train, validation)]
    inputs = len(prepared.preparation.window_rows) * prepared.features.shape[1]
    small = inputs <= MOST_INPUTS and inputs * len(targets.columns) * targets.horizon <= MOST_WEIGHTS
    kinds = [wanted] if wanted != "auto" else ["all", "shared"] if small else ["shared"]
    if kinds == ["all", "shared"] and prepared.features.shape[1] == 1:
        kinds = ["all"]  # the same
    linear = {kind: Ridge.fit(*sources, shared=kind == "shared") for kind in kinds}
    return dataclasses.replace(prepared, linear=linear)


def best_of(linear: dict[str, Ridge]) -> Ridge | None:
    """Return the regression with the least error on the validation part."""
    return min(linear.values(), key=lambda ridge: ridge.error, default=None)
