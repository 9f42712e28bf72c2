"""Windows: a series becomes samples (samples, time steps, features), univariate and multivariate.

Lookback L, delay D: a sample holds L rows, its target is the row D after its last one.
"""

import numpy as np

from numbarnn.data import make_windows


def main():
    """Print the lecture's windows."""
    series = np.arange(10.0, 100.0, 10.0)
    windows = make_windows(series, lookback=3, delay=2)
    x, y = np.asarray(windows.X), np.asarray(windows.y)
    print(f"univariate: series {series.astype(int)}, L = 3, D = 2")
    for sample, target in zip(x, y, strict=True):
        print(f"  {sample[:, 0].astype(int)} -> {int(target.reshape(-1)[0])}")
    print(f"  shape of x {x.shape}")
    table = np.column_stack([series, series + 5])
    windows = make_windows(table, lookback=3, delay=2)
    x, y = np.asarray(windows.X), np.asarray(windows.y)
    print(f"multivariate: two columns, shape of x {x.shape}, of y {y.shape}")
    print(f"  {x[0].astype(int).tolist()} -> {y[0].astype(int).tolist()}")


if __name__ == "__main__":
    main()
