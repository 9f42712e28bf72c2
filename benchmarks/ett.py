"""The rolling test of papers on ETTh1: 7 columns, all rows ahead, squared and absolute errors on scaled values.

    python benchmarks/ett.py ETTh1.csv.gz [--horizons 96 192 336 720] [--lookbacks 96 336]

12, 4 and 4 months of hours for training, validation and test; windows of the test part begin in the part before; every window of it
is forecast (H. Zhou et al., "Informer", AAAI 2021; A. Zeng et al., "Are Transformers effective for time series forecasting?", AAAI
2023, whose DLinear, from 336 hours, has 0.375 / 0.399 at 96 hours). The file: https://github.com/zhouhaoyi/ETDataset.
"""

import argparse
import time

import pandas as pd

from numbarnn import Forecaster


def main():
    """Print squared and absolute errors of the forecaster and of the baselines for every horizon and lookback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192, 336, 720])
    parser.add_argument("--lookbacks", type=int, nargs="+", default=[96, 336])
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    table = pd.read_csv(options.file, parse_dates=["date"], index_col="date").iloc[:14400]
    for horizon in options.horizons:
        for lookback in options.lookbacks:
            started = time.perf_counter()
            forecaster = Forecaster(lookback, horizon=horizon, n_threads=options.threads)
            forecaster.fit(table, split=(0.6, 0.2, 0.2), straddle="keep", verbose=0)
            seconds = time.perf_counter() - started
            found = forecaster.evaluate(per_target=False)
            shown = (f"{name} {row['MSE/var']:.3f} / {row['MAE/sd']:.3f}" for name, row in found.iterrows())
            print(f"{horizon} from {lookback} ({seconds:.0f} s):", ", ".join(shown), flush=True)
            print("   ", found.attrs["verdict"], flush=True)


if __name__ == "__main__":
    main()
