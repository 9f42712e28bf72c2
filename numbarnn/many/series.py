"""A forecaster for each of many series: fits, and forecasts in one table."""

from collections.abc import Hashable, Mapping
from typing import Any

from numbarnn.checks import brief
from numbarnn.forecasting import Forecaster
from numbarnn.many.parts import Parts, check_known, in_group
from numbarnn.metrics.labels import sorted_labels
from numbarnn.sklearn_api import clone
from numbarnn.training.rounds import Rounds
from numbarnn.words import check_arguments


def check_none(sample_weight: Any = None, groups: Any = None, y: Any = None) -> None:
    """Raise TypeError for arguments that go with samples; of those of a method that takes them for other estimators."""
    if sample_weight is not None or groups is not None:
        raise TypeError(
            "GroupBy of a Forecaster takes neither sample_weight nor groups; the series are in a column, by="
        )
    if y is not None:
        raise TypeError("GroupBy of a Forecaster takes y in fit alone; scores are of the targets in the rows of X")


def tables_of(data: Any, by: Any, name: str) -> dict[Hashable, Any]:
    """Return the table of each series by key: of a long table, or of a dict of tables where `by` is None."""
    if by is not None:
        parts = Parts.of(data, by, None, name)
        return {key: parts.of_group(key) for key in parts.rows}
    if not isinstance(data, Mapping) or not data:
        raise TypeError(f"{name} must be a dict of tables where by is None, got {brief(data)}; of a long table set by=")
    return {key: data[key] for key in sorted_labels(set(data))}


def known_tables(owner: Any, data: Any, name: str) -> dict[Hashable, Any]:
    """Return the table of each series of an owner with estimators; raise ValueError where one has none."""
    tables = tables_of(data, owner.by, name)
    check_known({key: len(table) for key, table in tables.items()}, owner.estimators_, name)
    return tables


def fits_of(owner: Any, data: Any, target: Any, options: Mapping[str, Any]) -> dict[Hashable, Rounds]:
    """Return the fits of forecasters to series, by key."""
    if owner.estimator.id is not None or owner.estimator.wide:
        raise ValueError(
            "GroupBy: the Forecaster must have id=None and wide=False, with which it trains one net for all series; here each "
            "has its own"
        )
    check_arguments(Forecaster.fit, "GroupBy.fit", options)
    if target is not None and "target" in options:
        raise TypeError("GroupBy.fit takes the target once, as y or as target")
    given = dict(options) if target is None else {"target": target, **options}
    tables = tables_of(data, owner.by, "X")
    return {key: clone(owner.estimator)._fit_rounds(table, **given) for key, table in tables.items()}


def update(owner: Any, data: Any) -> None:
    """Take in the rows after those seen last: of all series, or after an error of none."""
    found = {}
    for key, table in known_tables(owner, data, "new_rows").items():
        with in_group(key):
            state = owner.estimators_[key]._fitted()
            found[key] = state, state.updated(table)
    for state, updated in found.values():
        state.take(*updated)


def scores(owner: Any, data: Any, options: Mapping[str, Any]) -> dict[Hashable, float]:
    """Return the score of each forecaster, of the test part of its fit where no data are given."""
    tables = dict.fromkeys(owner.estimators_) if data is None else known_tables(owner, data, "X")
    found = {}
    for key, table in tables.items():
        with in_group(key):
            found[key] = owner.estimators_[key].score(table, **options)
    return found


def forecast(owner: Any, data: Any, options: Mapping[str, Any]) -> Any:
    """Return the forecasts of series as one table, of the rows seen last where no data are given."""
    import pandas as pd

    tables = dict.fromkeys(owner.estimators_) if data is None else known_tables(owner, data, "X")
    future = options.get("future")
    future = None if future is None else tables_of(future, owner.by, "future")
    found = {}
    for key, table in tables.items():
        own = dict(options)
        if future is not None:
            if key not in future:
                raise ValueError(f"future has no rows of {key!r}, which is forecast")
            own["future"] = future[key]
        with in_group(key):
            found[key] = owner.estimators_[key].predict(table, **own)
    names = owner.by if isinstance(owner.by, list) else [owner.by]
    return pd.concat(found, names=[*names, *next(iter(found.values())).index.names])
