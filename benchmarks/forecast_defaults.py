"""The study behind the defaults of `numbarnn.Forecaster`: settings beside each other on series of many kinds.

    python benchmarks/forecast_defaults.py DATA validation [--only NAME ...] [--settings NAME ...] [--out FILE]
    python benchmarks/forecast_defaults.py DATA test

"validation" trains every setting on every set and writes a line of JSON for each, with errors on the validation part alone;
settings are chosen by these. "test" trains the defaults and prints the errors on the test part beside those of the baselines.

DATA is a folder with classic_series (of statsmodels, sktime and J. Brownlee's Datasets), ett (github.com/zhouhaoyi/ETDataset) and
beijing_pm25 (UCI, Beijing PM2.5). All sets are used as an unadvised user would: what is forecast, how far ahead, how much of the
past; nothing else is set. The errors of `forecast_defaults.jsonl` are those of "validation".
"""

import argparse
import json
import pathlib
import time

import numpy as np
import pandas as pd

from numbarnn import Forecaster
from numbarnn.data import datasets, readers
from numbarnn.optim import Cosine

SEEDS = (0, 1)
# By name: what differs from the defaults.
SETTINGS = {
    "defaults": {},
    "gru": {"cell": "gru"},
    "16 units": {"hidden_size": 16},
    "64 units": {"hidden_size": 64},
    "rate 1e-3": {"learning_rate": 1e-3},
    "rate 1e-2": {"learning_rate": 1e-2},
    "no change": {"change": None},
    "no linear path": {"linear": None},
    "own past alone": {"linear": "shared"},
    "dropout": {"recurrent_dropout": 0.25},
    "robust scale": {"scaling": "robust"},
    "batches of 32": {"batch_size": 32},
    "cosine": {"schedule": Cosine(2000)},
    "averaged weights": {"average": 0.98},
    "ensemble of 3": {"ensemble": 3},
}


def sets(data):
    """Yield (name, table, target, settings of the task, split)."""
    classic = data / "classic_series"

    def series(file, column, index=None):
        values = pd.read_csv(classic / file)[column].to_numpy(float)
        return pd.Series(values, index(len(values)) if index else None, name=column)

    def months(first):
        return lambda rows: pd.period_range(first, periods=rows, freq="M")

    thirds = (0.7, 0.15, 0.15)
    airline = series("airline_passengers.csv", "Passengers", months("1949-01"))
    yield "airline, 1 month", airline, None, {"lookback": 12}, thirds
    yield "airline, 12 months", airline, None, {"lookback": 12, "horizon": 12}, thirds
    yield "sunspots, 1 year", series("sunspots_yearly.csv", "SUNACTIVITY"), None, {"lookback": 22}, thirds
    monthly = series("sunspots_monthly.csv", "Sunspots", months("1749-01"))
    yield "sunspots, 12 months", monthly, None, {"lookback": 132, "horizon": 12}, thirds
    yield "lynx, 1 year", series("lynx.csv", "0"), None, {"lookback": 10}, thirds
    yield "nile, 1 year", series("nile.csv", "volume"), None, {"lookback": 10}, thirds
    weeks = series(
        "co2_mauna_loa_weekly.csv", "co2", lambda rows: pd.date_range("1958-03-29", periods=rows, freq="W-SAT")
    )
    yield "CO2, 4 weeks", weeks.interpolate(), None, {"lookback": 52, "horizon": 4}, thirds
    days = series("daily_min_temperatures_melbourne.csv", "Temp", lambda rows: pd.RangeIndex(rows))
    yield "Melbourne, 1 day", days, None, {"lookback": 30}, thirds
    sea = pd.read_csv(classic / "elnino_sst.csv").set_index("YEAR").to_numpy(float).reshape(-1)
    sea = pd.Series(sea, pd.period_range("1950-01", periods=len(sea), freq="M"), name="SST")
    yield "El Nino, 6 months", sea, None, {"lookback": 24, "horizon": 6}, thirds
    noisy = datasets.noisy_sine(3000, seed=0)
    yield "noisy sine, 10 rows", noisy, None, {"lookback": 50, "horizon": 10}, thirds
    yield "weather, 24 hours", datasets.weather(8766), "temperature", {"lookback": 72, "delay": 24}, thirds
    for name in ("ETTh1", "ETTh2"):
        table = pd.read_csv(data / "ett" / f"{name}.csv.gz", parse_dates=["date"], index_col="date").iloc[:14400]
        yield f"{name} OT, 24 hours", table, "OT", {"lookback": 96, "horizon": 24}, (0.6, 0.2, 0.2)
        yield f"{name}, 96 hours", table, None, {"lookback": 96, "horizon": 96}, (0.6, 0.2, 0.2)
    beijing = readers.read_beijing(data / "beijing_pm25" / "pollution.csv.gz")
    beijing = beijing[["TEMP", "DEWP", "PRES", "Iws", "Is", "Ir", "pm2.5"]]
    task = {"lookback": 120, "delay": 24, "missing": "ffill"}
    yield "Beijing TEMP, 24 hours", beijing, "TEMP", task, (0.5, 0.25, 0.25)


def fitted(table, target, task, split, **settings):
    """Return a fitted forecaster and the seconds that it took."""
    started = time.perf_counter()
    forecaster = Forecaster(**task | settings).fit(table, target, split=split, straddle="keep", verbose=0)
    return forecaster, time.perf_counter() - started


def errors_of(forecaster, part):
    """Return the root of the mean of the squared errors of every forecast, in deviations of the targets on the training part."""
    found = forecaster.evaluate(part=part)
    deviation = pd.Series(forecaster._state.evaluation.targets.deviation, forecaster.target_names_)
    if isinstance(found.index, pd.MultiIndex):
        scaled = found["RMSE"] / deviation.reindex(found.index.get_level_values("target")).to_numpy()
        return (scaled**2).groupby(level="forecast").mean() ** 0.5
    return found["RMSE"] / deviation.iloc[0]


def validation(options):
    """Write the validation errors of every setting and set."""
    for name, *case in sets(options.data):
        if options.only and name not in options.only:
            continue
        for setting in options.settings or SETTINGS:
            for seed in SEEDS[: options.seeds]:
                forecaster, seconds = fitted(*case, seed=seed, n_threads=options.threads, **SETTINGS[setting])
                errors = errors_of(forecaster, "validation")
                row = {
                    "set": name, "setting": setting, "seed": seed, "net": round(errors["net"], 5),
                    "ridge": round(errors["ridge"], 5), "last value": round(errors["last value"], 5),
                    "epochs": len(forecaster.history_), "seconds": round(seconds, 2),
                }  # fmt: skip
                print(json.dumps(row), flush=True)
                if options.out:
                    with open(options.out, "a") as file:
                        file.write(json.dumps(row) + "\n")


def test(options):
    """Print the test errors of the defaults."""
    for name, *case in sets(options.data):
        if options.only and name not in options.only:
            continue
        forecaster, seconds = fitted(*case, n_threads=options.threads)
        errors = errors_of(forecaster, "test")
        change = [f"{key[:-1]} {getattr(forecaster, key)}" for key in ("difference_", "relative_", "recenter_")]
        print(
            f"{name:24}", *(f"{key} {value:.4f}" for key, value in errors.items()),
            f"net/ridge {errors['net'] / errors['ridge']:.3f}, net/last {errors['net'] / errors['last value']:.3f};",
            ", ".join(word for word in change if not word.endswith(("None", "False"))) or "no change",
            f"share {np.mean(forecaster._state.forecast.share):.2f}, {seconds:.1f} s", flush=True,
        )  # fmt: skip


def main():
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("part", choices=["validation", "test"])
    parser.add_argument("--only", nargs="*", metavar="SET")
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    {"validation": validation, "test": test}[options.part](options)


if __name__ == "__main__":
    main()
