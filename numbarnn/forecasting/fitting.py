"""From the data of `fit` to a fitted forecaster: rows of every series, choices, training, calibration."""

import dataclasses

import numpy as np

from numbarnn.data import tables
from numbarnn.data.clock import Clock
from numbarnn.errors import ShapeError
from numbarnn.forecasting.choice import best_prepared, training_rows, with_linear
from numbarnn.forecasting.encoding import Encoding, names_series
from numbarnn.forecasting.evaluation import Evaluation
from numbarnn.forecasting.fitted import Fitted
from numbarnn.forecasting.frames import aligned_frames, cuts_of, names_of, place_of
from numbarnn.forecasting.rows import SeenRows
from numbarnn.forecasting.series import split_series
from numbarnn.forecasting.settings import check_ahead, check_inputs, check_settings, linear_of
from numbarnn.forecasting.targets import Source, Targets
from numbarnn.forecasting.training import train_rounds
from numbarnn.training.rounds import Rounds, alone


def fit(settings, data, target, split, straddle, callbacks, verbose) -> Fitted:
    """Return what a forecaster of some settings learns of data, as `numbarnn.Forecaster.fit` takes them."""
    return alone(fit_rounds(settings, data, target, split, straddle, callbacks, verbose))


def fit_rounds(settings, data, target, split, straddle, callbacks, verbose) -> Rounds:
    """Return what `fit` does, in rounds."""
    check_settings(settings)
    keys, frames, clock = aligned(settings, data)
    names = list(frames[0].columns)
    targets = names if target is None else [names[column] for column in tables.chosen_columns(target, names)[0]]
    for argument in ("future", "static", "categories"):
        own = names_of(getattr(settings, argument), argument)
        own = [name for name in own if argument != "static" or not names_series(settings, name, names, keys or [None])]
        check_inputs(argument, own, names, targets)
    cuts = [cuts_of(split, frame.index, empty=keys is not None) for frame in frames]
    found = yield from _frames_rounds(settings, targets, keys, frames, clock, cuts, None, straddle, callbacks, verbose)
    found.given = data, cuts, straddle
    return found


def aligned(settings, data) -> tuple[list | None, list, Clock]:
    """Return the keys of the series of data, their rows as frames, and their clock."""
    keys, found = split_series(data, settings.id, settings.time, wide=settings.wide)
    categories = names_of(settings.categories, "categories")
    return keys, *aligned_frames(keys, found, categories, settings.irregular == "error")


def fit_frames(settings, targets, keys, frames, clock, cuts, part_names, straddle, callbacks, verbose) -> Fitted:
    """Return what is learned of aligned frames, a list that is emptied.

    `cuts` and `part_names` as `choice.Prepared.windows` takes them.
    """
    return alone(_frames_rounds(settings, targets, keys, frames, clock, cuts, part_names, straddle, callbacks, verbose))


def _frames_rounds(settings, targets, keys, frames, clock, cuts, part_names, straddle, callbacks, verbose) -> Rounds:
    """Return what `fit_frames` does, in rounds."""
    given, names = keys or [None], list(frames[0].columns)
    longest = max(cut[0] for cut in cuts)
    if settings.difference is not None and settings.difference >= longest:
        raise ShapeError(
            f"difference is {settings.difference}; the training part has {longest} rows, and needs more than that"
        )
    trained = [frame.iloc[: cut[0]] for frame, cut in zip(frames, cuts, strict=True)]
    encoding = Encoding.of(settings, names, trained, given, clock)
    check_ahead(settings, encoding)
    parts = [_rows(encoding, clock, key, frame) for key, frame in zip(given, frames, strict=True)]
    frames.clear()  # pandas objects of many series take as much memory as their values
    del trained
    season = clock.season() if settings.season == "auto" else settings.season
    prepared = best_prepared(settings, keys, parts, clock, encoding, targets, cuts, straddle, season, part_names)
    own, panel = prepared.preparation, prepared.panel
    seen = SeenRows.of(own, given, parts)
    del parts
    rows = training_rows(panel, cuts)
    errors = [_naive_error([part[:, column] for part in rows]) for column in own.columns]
    evaluation = Evaluation(prepared.targets, errors, season, panel, prepared.parts, prepared.linear)
    learned, windows = dataclasses.replace(prepared.targets), prepared.parts
    if settings.recursive:
        numbers = list(encoding.columns_of("numbers"))
        learned = Targets(own, 1, 1, numbers, prepared.deviation[numbers], learned.counts)
        windows = prepared.windows(learned, cuts, straddle, part_names)
        learned.fit(Source(learned, panel.values, windows["train"]))
        prepared = with_linear(dataclasses.replace(prepared, linear={}), learned, windows, linear_of(settings))
    forecast, histories = yield from train_rounds(settings, prepared, learned, windows, callbacks, verbose)
    found = Fitted(own, learned, forecast, evaluation, prepared.deviation, seen, history=histories[0])
    found.interrupted = any(history.stopped == "interrupted" for history in histories)
    if "validation" in prepared.parts:
        found.calibration = evaluation.calibration(found.predictor(settings))
    return found


def _rows(encoding, clock, key, frame):
    """Return values, filled where asked, numbers as measured, and times of a series."""
    where = place_of("data", key)
    values, truth = encoding.rows(frame, clock, where, key)
    for name in encoding.static:
        columns = values[:, encoding.values_of(name)]
        if (columns != columns[0]).any():
            raise ValueError(f"static {name!r} changes within {where}; static columns are those that do not")
    return values, truth, frame.index


def _naive_error(series):
    """Return `metrics.naive_scale` of several series whose missing values are NaN: over the rows of which both are known."""
    steps, at = np.empty(sum(max(len(part) - 1, 0) for part in series)), 0
    for part in series:
        own = steps[at : at + max(len(part) - 1, 0)]
        np.abs(np.subtract(part[1:], part[:-1], out=own), out=own)
        at += len(own)
    known = np.isfinite(steps)
    steps = steps if known.all() else steps[known]
    return float(steps.mean()) if len(steps) else float("nan")
