"""How often prediction intervals contain what comes, how wide they are, and whether distributions are better than bands of errors.

    python benchmarks/forecast_intervals.py DATA [--only SET ...]

Five sets of `benchmarks/forecast_defaults.py`, the defaults of `numbarnn.Forecaster`, losses "mse",
"gaussian" and quantiles. Of the intervals of 80 and 95 %: coverage and mean width on the test part, calibrated by the validation
part, adaptive with the step 0.02, and, of distributions, raw. CRPS beside that of "mse", with the share of 2,000 bootstrap samples
of days (or blocks of 24 forecasts) in which it is lower.
"""

import argparse
import pathlib

import numpy as np
from forecast_defaults import fitted, sets

from numbarnn.losses import Quantile

SETS = ("Beijing TEMP, 24 hours", "ETTh1 OT, 24 hours", "ETTh2 OT, 24 hours", "Melbourne, 1 day", "noisy sine, 10 rows")
LOSSES = {"mse": "mse", "gaussian": "gaussian", "quantile": Quantile((0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975))}
LEVELS, STEP, BLOCK, DRAWS = (0.8, 0.95), 0.02, 24, 2000
QUANTILES = np.arange(1, 20) / 20


def pinball_by_window(forecaster):
    """Return twice the mean pinball loss of the calibrated quantiles, for every window of the test part."""
    _, case, truth = forecaster._state.evaluation._case(None, "test")
    found = forecaster._quantiles(*case, QUANTILES)
    distance = truth[..., None] - found
    losses = np.maximum(QUANTILES * distance, (QUANTILES - 1) * distance)
    return 2 * losses.mean(axis=(1, 2, 3))


def lower_share(losses, others, generator):
    """Return the share of bootstrap samples of blocks in which the mean of `losses` is below that of `others`."""
    difference = losses - others
    blocks = np.array_split(difference, max(1, len(difference) // BLOCK))
    sums, counts = np.array([block.sum() for block in blocks]), np.array([len(block) for block in blocks])
    chosen = generator.integers(len(blocks), size=(DRAWS, len(blocks)))
    return float((sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1) < 0).mean())


def main():
    """Print a line for every set, loss and kind of interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", metavar="SET", choices=SETS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    for name, *case in sets(options.data):
        if name not in (options.only or SETS):
            continue
        base = None
        for loss, what in LOSSES.items():
            forecaster, seconds = fitted(*case, loss=what, n_threads=options.threads)
            windows = pinball_by_window(forecaster)
            base = windows if base is None else base
            better = lower_share(windows, base, np.random.default_rng(0))
            error = forecaster.evaluate(per_target=False).loc["net", "MAE/sd"]
            print(
                f"{name:24} {loss:9} {len(windows)} windows, MAE/sd {error:.4f}, CRPS {windows.mean():.5g} "
                f"({windows.mean() / base.mean():.3f} of mse; lower in {better:.0%} of samples), {seconds:.0f} s", flush=True,
            )  # fmt: skip
            kinds = {"calibrated": {}, "adaptive": {"adaptive": STEP}}
            kinds |= {} if loss == "mse" else {"raw": {"calibrated": False}}
            for kind, how in kinds.items():
                found = forecaster.evaluate_intervals(LEVELS, **how)
                shown = (
                    f"{level:.0%}: {row['coverage']:.1%}, width {row['width']:.4g}" for level, row in found.iterrows()
                )
                print(f"{'':24} {'':9} {kind:11}", "; ".join(shown), flush=True)


if __name__ == "__main__":
    main()
