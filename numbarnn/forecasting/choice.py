"""What the targets of a forecaster are compared with, and its linear path: chosen by the validation part."""

import dataclasses
from typing import Any

import numpy as np

from numbarnn.data.scaling import SequenceScaler
from numbarnn.data.windows import Windows
from numbarnn.forecasting.linear import MOST_INPUTS, MOST_WEIGHTS, Ridge
from numbarnn.forecasting.tables import Preparation, Source, Targets, part_names

# Of a table that is not split in three: the share of the training windows, the newest, that choices are made by.
HELD_OUT = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A table of `fit` for one way of comparing targets.

    Attributes
    ----------
    preparation : Preparation
    frame, raw, features : the table, its values, and what a net sees of them
    targets : Targets
        The whole horizon at once.
    parts : dict of Windows
    linear : dict of Ridge
        By "all" and "shared".
    """

    preparation: Preparation
    frame: Any
    raw: np.ndarray
    features: np.ndarray
    targets: Targets
    parts: dict[str, Windows]
    linear: dict[str, Ridge] = dataclasses.field(default_factory=dict)

    def sources(self, targets, parts, batch_size) -> dict[str, Source]:
        """Return the windows of the parts as batches."""
        return {name: Source(targets, self.raw, windows, batch_size) for name, windows in parts.items()}

    def windows(self, targets, cuts, straddle) -> dict[str, Windows]:
        """Return the windows of targets by part."""
        rows = [cut - self.preparation.lag for cut in cuts]
        parts = targets.windows(self.frame, self.raw, self.features).split(rows=rows, straddle=straddle)
        return dict(zip(part_names(cuts), parts, strict=True))


def prepare(preparation, frame, raw, cuts, straddle, **aim) -> Prepared:
    """Return a table prepared as a `Preparation` says, whose scaler is fitted to the training part; `aim`: of `Targets`."""
    scaler = SequenceScaler(preparation.scaler.method)
    own = dataclasses.replace(preparation, scaler=scaler)
    scaler.fit(own.changes(raw[: cuts[0]]))
    features = own.features(raw, own.known_rows(frame.index, raw))
    found = Prepared(own, frame, raw, features, Targets(own, columns=own.columns, **aim), {})
    found = dataclasses.replace(found, parts=found.windows(found.targets, cuts, straddle))
    found.targets.fit(Source(found.targets, raw, found.parts["train"]))
    return found


def candidates(preparation, season: int | None, rows: int) -> list[Preparation]:
    """Return the ways of comparing targets that are tried: with nothing, the newest row, the season before."""
    season = 0 if season is None or season == 1 else season
    changes = [{}, {"relative": 1}, {"recenter": True}]
    changes += [{"relative": season}] if 0 < season <= preparation.lookback else []
    changes += [{"difference": season}] if season and 2 * season < rows else []
    return [dataclasses.replace(preparation, **change) for change in changes]


def with_linear(prepared: Prepared, targets: Targets, parts, wanted: str | None) -> Prepared:
    """Return what is prepared with the linear regressions that are wanted: "all", "shared", None, or "auto", both."""
    if wanted is None:
        return prepared
    train, validation = (parts.get(name) for name in ("train", "validation"))
    if validation is None and len(train) > 2:
        cut = len(train) - max(1, int(HELD_OUT * len(train)))
        train, validation = train[:cut], train[cut:]
    sources = [None if part is None else Source(targets, prepared.raw, part) for part in (train, validation)]
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
