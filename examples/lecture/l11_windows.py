"""Windows: a series becomes samples (samples, time steps, features), univariate and multivariate.

Lookback L, delay D: a sample has the last L rows, its target is the row D steps after its last one.

Shows: the lecture's two tables, the one with the single target Measure1, and the seventeen rows of weather of its slide.
Prints: every window with its target, and shapes.
Takes: about a second.
"""

# %%
import numpy as np
import pandas as pd
from shared import check

from numbarnn.data import make_windows

# %% [markdown]
# ## Univariate
# | word | meaning | here |
# |---|---|---|
# | sample | one sequence; a batch has one or more | 5 |
# | time step | one point of observation in a sample; there are `lookback` of them | 3 |
# | feature | one observation at a time step | 1 |

# %%
series = np.arange(10.0, 100.0, 10.0)
windows = make_windows(series, lookback=3, delay=2)
x, y = np.asarray(windows.X), np.asarray(windows.y)
print(f"univariate: series {series.astype(int)}, lookback 3, delay 2")
for sample, target in zip(x, y, strict=True):
    print(f"  {sample[:, 0].astype(int)} -> {int(target.reshape(-1)[0])}")
print(f"  shape of x {x.shape}: samples, time steps, features")
whole = make_windows(np.arange(10.0, 10010.0, 10.0), lookback=3, delay=2)
last, target = whole.X[-1][:, 0].astype(int), int(whole.y[-1].item())
print(f"  the series of 1,000 rows, up to 10000: {len(whole)} samples, the last {last} -> {target}")

# %% [markdown]
# ## Multivariate, with the single target Measure1
# The input has both columns, the target one of them. (The slide calls this table a "Uni-variate Time Series" once; with two
# measures it is multivariate, as its other title says.)

# %%
table = pd.DataFrame({"Measure1": series, "Measure2": series / 100}, index=pd.RangeIndex(1, 10, name="Time"))
windows = make_windows(table, lookback=3, delay=2, target="Measure1")
x, y = np.asarray(windows.X), np.asarray(windows.y)
print(f"multivariate: columns {list(table)}, target Measure1")
for sample, target in zip(x, y, strict=True):
    print(f"  {', '.join(f'({a:.0f}, {b:.1f})' for a, b in sample)} -> {int(target.reshape(-1)[0])}")
both = make_windows(table, lookback=3, delay=2)
print(f"  shape of x {x.shape}, of y {y.shape}; without a target both columns are predicted, y {both.y.shape}")

# %% [markdown]
# ## Weather
# Three of the fourteen columns of the slide's table (Jena, a row every ten minutes, 1 January 2009): pressure, temperature,
# humidity. An hour of all three, and the temperature half an hour later:

# %%
PRESSURE = "52 57 51 51 51 50 50 50 50 53 62 62 63 74 81 81 86"  # 996.xx mbar
TEMPERATURE = "802 841 851 831 827 805 762 762 791 843 876 888 885 883 866 866 870"  # -x.xx degC
HUMIDITY = "933 934 939 942 941 944 948 944 938 931 931 932 935 935 939 936 935"  # xx.x %
weather = pd.DataFrame(
    {
        "p (mbar)": 996 + np.array(PRESSURE.split(), float) / 100,
        "T (degC)": -np.array(TEMPERATURE.split(), float) / 100,
        "rh (%)": np.array(HUMIDITY.split(), float) / 10,
    },
    index=pd.date_range("2009-01-01 00:10", periods=17, freq="10min"),
)
windows = make_windows(weather, lookback=6, delay=3, target="T (degC)")
print(f"weather: {weather.shape[0]} rows, lookback 6, delay 3: shape of x {windows.X.shape}, of y {windows.y.shape}")
last, due = (str(times[0][k])[11:16] for times, k in ((windows.x_times, -1), (windows.y_times, 0)))
print(f"  rows until {last} predict {due}, which is {windows.y[0].item():.2f} degC")

# %% [markdown]
# **Exercise.** How many samples have n rows, with lookback L and delay D?


# %% Exercise: number of samples
def number_of_samples(rows, lookback, delay):
    """Return how many windows have all their rows, and their target, in the table."""
    return ...


# %%
answers = [number_of_samples(rows, lookback, delay) for rows, lookback, delay in ((9, 3, 2), (17, 6, 3), (1000, 3, 2))]
counted = [len(make_windows(np.arange(n), lookback=m, delay=d)) for n, m, d in ((9, 3, 2), (17, 6, 3), (1000, 3, 2))]
check("number of samples", ... if ... in answers else answers, counted)
