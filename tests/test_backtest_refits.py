"""Backtests with refits: what each training sees, that nothing later is seen, one frame, many series, Ctrl-C."""

import numpy as np
import pandas as pd
import pytest
from conftest import interrupt_net

import numbarnn as nr
from numbarnn.errors import DivergedError, RefitError
from numbarnn.forecasting import backtests, fitting

FEW = {"epochs": 2, "hidden_size": 3, "n_threads": 1, "lookback": 6, "horizon": 2, "cell": "gru", "change": None}


def table(rows=240, seed=0):
    generator, t = np.random.default_rng(seed), np.arange(rows)
    values = {"a": 10 + 3 * np.sin(t / 4), "b": -5 + np.cos(t / 4)}
    return pd.DataFrame(
        {name: wave + generator.normal(0, 0.3, rows) for name, wave in values.items()},
        pd.date_range("2024", periods=rows, freq="h"),
    )


def fitted(data=None, target="a", **options):
    settings = FEW | options
    split = settings.pop("split", (0.6, 0.2, 0.2))
    return nr.Forecaster(**settings).fit(table() if data is None else data, target, split=split, verbose=0)


@pytest.mark.parametrize("window", ["expanding", "sliding"])
@pytest.mark.parametrize("options", [{}, {"delay": 3, "loss": "gaussian"}], ids=["delay 1", "delay 3"])
def test_forecasts_are_those_of_forecasters_trained_up_to_the_origin(options, window):
    """Every block by hand: a forecaster fitted to the rows up to the first origin, the windows of the next 15 rows."""
    f, data, every = fitted(**options), table(), 15
    found, plain = f.backtest(level=0.8, refit=every, window=window, verbose=0), f.backtest(level=0.8)
    assert list(found.columns) == list(plain.columns)
    assert found.attrs == plain.attrs
    assert found.index.equals(plain.index)
    assert found[["origin", "ahead", "a truth"]].equals(plain[["origin", "ahead", "a truth"]])
    origins = data.index.get_indexer(found["origin"].unique())
    begin = origins[0]
    assert len(range(begin, origins[-1] + 1, every)) == 3
    for origin in range(begin, origins[-1] + 1, every):
        first = origin - begin if window == "sliding" else 0
        rows = data.iloc[first : origin + 1]
        # The same rows in training and validation; a test part of rows that do not matter.
        cut, after = len(rows) * 3 // 4, table(40, 1).to_numpy()
        times = pd.date_range(rows.index[0], periods=len(rows) + 40, freq="h")
        own = pd.DataFrame(np.concatenate([rows.to_numpy(), after]), times, data.columns)
        other = fitted(own, split=[cut, len(rows)], **options)
        last = min(origin + every, origins[-1] + 1)
        expected = other.backtest(data.iloc[first:], level=0.8)
        wanted = data.index[origin:last]
        a, b = (frame[frame["origin"].isin(wanted)] for frame in (found, expected))
        assert len(a) == 2 * (last - origin)
        for column in ("a", "a lower", "a upper"):
            np.testing.assert_allclose(a[column], b[column], rtol=1e-5)


@pytest.mark.parametrize("window", ["expanding", "sliding"])
def test_no_forecast_knows_a_later_row(window):
    """Other rows after an origin change no forecast and no interval from it, to the bit."""
    data, options = table(), {"delay": 2, "change": "auto", "season": 4}
    expected = fitted(**options).backtest(level=0.8, refit=12, window=window, verbose=0)
    origins = expected["origin"].unique()
    for origin in (origins[5], origins[12], origins[-2]):
        other = data.copy()
        other.loc[other.index > origin] += 5 + table(len(data), 3).loc[other.index > origin]
        found = fitted(other, **options).backtest(level=0.8, refit=12, window=window, verbose=0)
        before = ["a", "a lower", "a upper"]
        assert found.loc[found["origin"] <= origin, before].equals(expected.loc[expected["origin"] <= origin, before])
        assert not found.loc[found["origin"] > origin, before].equals(expected.loc[expected["origin"] > origin, before])


def test_adaptive_levels_go_on_through_refits():
    """Without an error to speak of between trainings, they are the levels of one backtest: all blocks from one forecaster."""
    f = fitted()
    whole, part = f._state.evaluation.block(f._predictor(), None, "test", f._state.calibration), []
    cut = len(whole.ends) // 2
    for rows in (slice(0, cut), slice(cut, None)):
        part.append(
            f._state.evaluation.block(
                f._predictor(), None, "test", f._state.calibration, within=lambda panel, ends, rows=rows: rows
            )
        )
    interval = backtests.Interval.of(0.8, 0.05)
    expected, found = backtests.backtest([whole], interval), backtests.backtest(part, interval)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    fixed = backtests.backtest([whole], backtests.Interval.of(0.8))
    assert not found["a lower"].equals(fixed["a lower"])


def test_many_series():
    """Series of different lengths and beginnings: every one up to its own origins, in the order of a backtest without refits."""
    data = {"p": table(240), "q": table(160, 1).shift(500, freq="h"), "short": table(20, 2)}
    f = fitted(data)
    found, plain = f.backtest(level=0.8, refit=10, verbose=0), f.backtest(level=0.8)
    assert found.index.equals(plain.index)
    assert found[["origin", "ahead", "a truth"]].equals(plain[["origin", "ahead", "a truth"]])
    assert not found["a"].equals(plain["a"])
    other = {key: frame.copy() for key, frame in data.items()}
    cut = {"p": found.loc["p", "origin"].unique()[14], "q": found.loc["q", "origin"].unique()[14]}
    for key, origin in cut.items():
        other[key].loc[other[key].index > origin] += 5
    changed = fitted(other).backtest(level=0.8, refit=10, verbose=0)
    for key, origin in cut.items():
        a, b = (frame.loc[key] for frame in (found, changed))
        columns = ["a", "a lower", "a upper"]
        assert a.loc[a["origin"] <= origin, columns].equals(b.loc[b["origin"] <= origin, columns])


def test_long_tables_and_two_parts():
    long = pd.concat({"p": table(120), "q": table(120, 1)}, names=["where", "when"]).reset_index()
    f = fitted(long, split=(0.8, 0.2), id="where", time="when")
    found, plain = f.backtest(refit=100, verbose=0), f.backtest()
    assert found.index.equals(plain.index)
    with pytest.raises(ValueError, match="give split three parts"):
        f.backtest(level=0.8, refit=100, verbose=0)


def test_the_validation_part_and_the_forecaster_itself():
    f = fitted()
    before = f.predict()
    found, plain = f.backtest(part="validation", refit=20, verbose=0), f.backtest(part="validation")
    assert found.index.equals(plain.index)
    assert f.predict().equals(before)
    with pytest.raises(ValueError, match="part must be 'validation' or 'test', got 'train'"):
        f.backtest(part="train", refit=20)


def test_progress_and_interrupts(capsys, monkeypatch):
    f = fitted()
    assert len(f.backtest(refit=20)) == 2 * f.backtest()["origin"].nunique()
    assert "refit 3 of 3" in capsys.readouterr().err
    fit_frames, done = fitting.fit_frames, []

    def interrupted(*args):
        found = fit_frames(*args)
        done.append(1)
        if len(done) == 2:
            found.interrupted = True
        return found

    monkeypatch.setattr(fitting, "fit_frames", interrupted)
    with pytest.warns(UserWarning, match="interrupted after 1 of 3 refits; the result has their forecasts"):
        found = f.backtest(refit=20, verbose=0)
    assert found["origin"].nunique() == 20
    done[:] = [1]
    with pytest.raises(KeyboardInterrupt):
        f.backtest(refit=20, verbose=0)


def test_an_interrupt_in_a_later_net_of_an_ensemble(monkeypatch):
    f = fitted(ensemble=2)
    assert not f._state.interrupted
    interrupt_net(monkeypatch, 4)
    with pytest.warns(UserWarning, match="interrupted after 1 of 3 refits; the result has their forecasts"):
        assert f.backtest(refit=20, verbose=0)["origin"].nunique() == 20


def test_refused(tmp_path):
    f, data = fitted(), table()
    cases = [
        (lambda: f.backtest(refit=0), ValueError, "refit must be an integer >= 1, got 0"),
        (lambda: f.backtest(refit=1.5), (TypeError, ValueError), "refit must be an integer"),
        (lambda: f.backtest(data, refit=10), ValueError, "refit trains on the data of fit: leave data out"),
        (lambda: f.backtest(window="sliding"), ValueError, "window 'sliding' needs refit"),
        (lambda: f.backtest(refit=10, window="x"), ValueError, "window must be 'expanding' or 'sliding', got 'x'"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    f.save(tmp_path / "f.safetensors")
    with pytest.raises(ValueError, match="of a forecaster that was loaded call fit first"):
        nr.load(tmp_path / "f.safetensors").backtest(refit=10)


QUICK = {"cell": "rnn", "hidden_size": 2, "epochs": 1}


def test_series_that_begin_after_the_last_cut_without_a_window():
    data = {"p": table(120), "late": table(5, 1).shift(115, freq="h")}
    f = fitted(data, split=list(data["p"].index[[80, 100]]), **QUICK)
    found, plain = f.backtest(level=0.5, refit=10, verbose=0), f.backtest(level=0.5)
    assert found.index.equals(plain.index)
    assert found[["origin", "ahead", "a truth"]].equals(plain[["origin", "ahead", "a truth"]])
    alone = fitted({"p": data["p"]}, split=[80, 100], **QUICK).backtest(level=0.5, refit=10, verbose=0)
    assert found.equals(alone)


def test_series_are_not_searched_for_anew_for_every_series(monkeypatch):
    """Their windows are together, so that time goes up with the windows, not with windows times series."""
    series_of, calls, counts = backtests.Panel.series_of, [], []
    monkeypatch.setattr(backtests.Panel, "series_of", lambda panel, rows: calls.append(1) or series_of(panel, rows))
    for many in (2, 12):
        f = fitted({key: table(60, key) for key in range(many)}, **QUICK)
        calls.clear()
        f.backtest(level=0.5)
        counts.append(len(calls))
    assert counts[0] == counts[1]


def test_errors_name_the_refit_and_have_the_forecasts_before_it():
    data = table()
    data["kind"] = ["x", "y"] * 110 + ["z"] * 20
    f = fitted(data, categories=["kind"], handle_unknown="ignore", **QUICK)
    expected = f.backtest(level=0.5, refit=20, verbose=0)
    f.handle_unknown = "error"  # as where a sliding window leaves a level behind
    with pytest.raises(
        RefitError, match=r"refit 2 of 3, on the rows up to 2024-01-10 01:00:00: data has the level 'z'"
    ) as caught:
        f.backtest(level=0.5, refit=20, verbose=0)
    assert isinstance(caught.value.__cause__, ValueError)
    finished = caught.value.finished
    assert finished["origin"].nunique() == 20
    assert finished.equals(expected.iloc[: len(finished)])
    assert finished.attrs == expected.attrs


def test_every_failure_of_a_refit_keeps_those_before(monkeypatch):
    f, fit_frames, done = fitted(**QUICK), fitting.fit_frames, []

    def failing(*args):
        done.append(1)
        if len(done) in (2, 3):
            raise DivergedError("the loss is nan")
        return fit_frames(*args)

    monkeypatch.setattr(fitting, "fit_frames", failing)
    for finished in (20, None):
        with pytest.raises(RefitError, match=r"refit [12] of 3, .*: the loss is nan") as caught:
            f.backtest(refit=20, verbose=0)
        assert isinstance(caught.value.__cause__, DivergedError)
        found = caught.value.finished
        assert (found if found is None else found["origin"].nunique()) == finished
