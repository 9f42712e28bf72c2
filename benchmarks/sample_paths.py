"""How long sample paths take: draws of a recursive `numbarnn.Forecaster` from its newest window.

    python benchmarks/sample_paths.py [--paths N] [--rows N] [--hidden N] [--lookback N] [--repeat N] [--threads N]

For each loss of distributions and linear path the median of some calls after warm-up, of the draws themselves and of
``predict(samples=...)``, whose frame has a column a path, and the time of `fit` beside that of the mean squared error.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd

from numbarnn import Forecaster

LOSSES = ("gaussian", "quantile", "negative_binomial")


def milliseconds(repeat, call, *given, **named):
    """Return the median time of a call."""
    times = []
    for _ in range(repeat + 3):
        started = time.perf_counter()
        call(*given, **named)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[3:])


def main():
    """Print a line for every loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("paths", 1000),
        ("rows", 24),
        ("hidden", 32),
        ("lookback", 96),
        ("repeat", 20),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    generator, t = np.random.default_rng(0), np.arange(3000)
    waves = 20 + 8 * np.sin(2 * np.pi * t / 24)
    counts = pd.Series(generator.poisson(waves), pd.date_range("2024", periods=len(t), freq="h"), name="count")
    settings = {
        "cell": "gru", "hidden_size": options.hidden, "horizon": options.rows, "recursive": True, "epochs": 3,
        "n_threads": options.threads,
    }  # fmt: skip
    for loss, linear in (("mse", "auto"), *((loss, linear) for loss in LOSSES for linear in (None, "auto"))):
        if (loss, linear) == ("negative_binomial", "auto"):
            continue
        started = time.perf_counter()
        forecaster = Forecaster(
            options.lookback, loss=loss, linear=linear, change="auto" if linear else None, **settings
        ).fit(counts, verbose=0)
        line = f"{loss:18} linear={linear!s:5} fit {time.perf_counter() - started:5.1f} s"
        if loss != "mse":
            case, predictor = forecaster._newest(None, None).case, forecaster._predictor()
            draws = milliseconds(options.repeat, predictor.draws, *case, options.paths, np.random.default_rng(0))
            whole = milliseconds(options.repeat, forecaster.predict, samples=options.paths, seed=0)
            line += f", {options.paths:,} paths of {options.rows} rows {draws:6.2f} ms, predict {whole:6.2f} ms"
        print(line, flush=True)


if __name__ == "__main__":
    main()
