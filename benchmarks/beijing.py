"""Temperature in Beijing 24 hours ahead: nets chosen on the validation part, the test part reported, mean over seeds.

python benchmarks/beijing.py pollution.csv.gz [--seeds 3]

Windows of 120 hours of seven quantities and the calendar, parts 50/25/25 in order of time, each with its own windows. Baselines are
those of `Forecaster.evaluate`, on the same windows; the ridge regression is shown with and without the calendar.
"""

import argparse
import itertools
import time

import numpy as np

from numbarnn import Forecaster
from numbarnn.data import readers
from numbarnn.optim import AdamW

COLUMNS = ["TEMP", "DEWP", "PRES", "Iws", "Is", "Ir", "pm2.5"]
CALENDAR = ("hour", "dayofyear")


def fitted(frame, seed=0, epochs=25, **options):
    """Return a fitted forecaster."""
    forecaster = Forecaster(
        120, 24, recurrent_dropout=0.25, hidden_size=24, epochs=epochs, optimizer=AdamW(1e-3, weight_decay=0.3), batch_size=128,
        missing="ffill", seed=seed, change=None, linear=None, **options,
    )  # fmt: skip
    return forecaster.fit(frame, "TEMP", split=(0.5, 0.25, 0.25), verbose=0)


def main():
    """Print the baselines, a line for every net, and the choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    frame = readers.read_beijing(options.file)[COLUMNS]
    for name, calendar in (("without calendar", ()), ("with calendar", CALENDAR)):
        first = fitted(frame, epochs=0, calendar=calendar)
        parts = {part: first.evaluate(part=part)["MAE"].drop("net") for part in ("validation", "test")}
        print(
            f"baselines {name}, MAE in degC:",
            *(f"\n  {part:11}{dict(found)}" for part, found in parts.items()),
            flush=True,
        )
    means = {}
    for cell, step in itertools.product(("lstm", "gru"), (3, 6)):
        errors = []
        for seed in range(options.seeds):
            started = time.perf_counter()
            forecaster = fitted(frame, seed, cell=cell, step=step, calendar=CALENDAR)
            seconds = time.perf_counter() - started
            found = [forecaster.backtest(part=part) for part in ("validation", "test")]
            errors.append([float((back["TEMP"] - back["TEMP truth"]).abs().mean()) for back in found])
            print(
                f"{cell} step {step} seed {seed}: validation {errors[-1][0]:.3f}, test {errors[-1][1]:.3f}, {seconds:.0f} s",
                flush=True,
            )
        means[cell, step] = np.mean(errors, axis=0)
    (cell, step), (validation, test) = min(means.items(), key=lambda item: item[1][0])
    print(
        f"chosen on the validation part: {cell}, step {step}; mean validation MAE {validation:.3f}, test MAE {test:.3f} degC"
    )


if __name__ == "__main__":
    main()
