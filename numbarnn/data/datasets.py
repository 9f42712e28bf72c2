"""Synthetic data: the classic tests of long memory, a noisy sine, and a synthetic weather series.

The result of every function depends on its seed alone. The tasks return `Samples`, which unpack as ``x, y, lengths``, the arguments
of ``model.fit(x, y, lengths=lengths)``.
"""

from typing import NamedTuple

import numpy as np

from numbarnn.checks import brief

REBER = "BTPSXVE"
# State -> ((symbol, next state), ...), each with probability 1/2 where there are two.
_REBER_GRAPH = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", None),),
)
TEMPORAL_ORDER = "EBabcdXY"


class Samples(NamedTuple):
    """Samples of a task.

    Attributes
    ----------
    x : (samples, time steps, features) float64, or (samples, time steps) int32 tokens
    y : targets
    lengths : (samples,) int64, or None where all are as long
    """

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray | None


def adding(samples: int, steps: int = 100, *, seed: int = 0) -> Samples:
    """Return the adding problem in its later form: the sum of two marked values.

    A step is (value, marker): values are uniform in [0, 1], markers are 1 at one step of the first half and one of the
    second and 0 elsewhere, and the target is the sum of the two marked values. Always answering 1 has a mean squared
    error of 1/6 = 0.167.

    Parameters
    ----------
    samples : int
    steps : int
        At least 2.
    seed : int

    Returns
    -------
    Samples
        x (samples, steps, 2), y (samples,).

    References
    ----------
    Q. V. Le, N. Jaitly, G. E. Hinton, "A simple way to initialize recurrent networks of rectified linear units"
    (2015), section 4.1; J. Martens, I. Sutskever (ICML 2011). After Hochreiter & Schmidhuber (1997), `adding_1997`.
    """
    generator = _generator(seed, samples=(samples, 1), steps=(steps, 2))
    x = np.zeros((samples, steps, 2))
    x[:, :, 0] = generator.random((samples, steps))
    rows = np.arange(samples)
    first, second = generator.integers(0, steps // 2, samples), generator.integers(steps // 2, steps, samples)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return Samples(x, x[rows, first, 0] + x[rows, second, 0], None)


def adding_1997(samples: int, steps: int = 100, *, seed: int = 0) -> Samples:
    """Return the adding problem as first published, with sequences of `steps` to 11/10 of it.

    A step is (value, marker): values are uniform in [-1, 1]; markers are -1 at the first and last step, 1 at the two
    steps to be added, else 0. The first of them, X1, is one of the first ten steps; the second, X2, another of the first
    steps / 2 - 1. Where X1 falls on the very first step, whose marker stays -1, X1 counts as 0. The target at
    the end is 0.5 + (X1 + X2) / 4; an answer is right within 0.04.

    Parameters
    ----------
    samples : int
    steps : int
        At least 22.
    seed : int

    Returns
    -------
    Samples
        x (samples, 11/10 steps, 2) zero past each length, y (samples,), lengths.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 4.
    """
    x, lengths, pair = _marked(samples, steps, -1.0, seed)
    rows = np.arange(samples)
    one = np.where(pair[0] == 0, 0.0, x[rows, pair[0], 0])
    return Samples(x, 0.5 + (one + x[rows, pair[1], 0]) / 4, lengths)


def multiplication(samples: int, steps: int = 100, *, seed: int = 0) -> Samples:
    """Return the multiplication problem: the product of two marked values.

    As `adding_1997`, but the values are uniform in [0, 1] and the target at the end is X1 X2; where X1 falls on the very first
    step it counts as 1. An answer is right within 0.04. Always answering the mean, 0.275, has a mean squared error of 0.058.

    Parameters
    ----------
    samples : int
    steps : int
        At least 22.
    seed : int

    Returns
    -------
    Samples
        x (samples, 11/10 steps, 2) zero past each length, y (samples,), lengths.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 5.
    """
    x, lengths, pair = _marked(samples, steps, 0.0, seed)
    rows = np.arange(samples)
    one = np.where(pair[0] == 0, 1.0, x[rows, pair[0], 0])
    return Samples(x, one * x[rows, pair[1], 0], lengths)


def _marked(samples, steps, low, seed):
    """Return x of values from `low` to 1 with two marked steps, lengths, and the indices (2, samples) of the marked steps."""
    generator = _generator(seed, samples=(samples, 1), steps=(steps, 22))
    longest = steps + steps // 10
    lengths = generator.integers(steps, longest + 1, samples)
    x = np.zeros((samples, longest, 2))
    x[:, :, 0] = generator.uniform(low, 1, (samples, longest))
    rows = np.arange(samples)
    first = generator.integers(0, 10, samples)
    # The second is one of steps 1 ... steps / 2 - 2 without the first: skip over it.
    second = generator.integers(1, steps // 2 - 1 - (first > 0), samples)
    second += (first > 0) & (second >= first)
    x[rows, first, 1] = x[rows, second, 1] = 1
    x[:, 0, 1] = x[rows, lengths - 1, 1] = -1
    x[np.arange(longest) >= lengths[:, None]] = 0
    return x, lengths, np.stack([first, second])


def long_lag(samples: int, lag: int = 100, *, seed: int = 0) -> Samples:
    """Return the noise-free problem of a long lag: the last symbol is the first one.

    There are two sequences, each half of the time, (x, a_1, ..., a_{p-1}, x) and (y, a_1, ..., a_{p-1}, y) with p = `lag`, to be
    predicted symbol by symbol. Everything but the last symbol follows from the one before.

    Parameters
    ----------
    samples : int
    lag : int
        Steps p between the first symbol and the last, at least 2.
    seed : int

    Returns
    -------
    Samples
        x and y (samples, lag) of tokens: y is the symbol after x; 0 to lag - 2 are a_1 to a_{p-1}, lag - 1 is x and lag is y.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 2a.
    """
    generator = _generator(seed, samples=(samples, 1), lag=(lag, 2))
    symbols = np.empty((samples, lag + 1), np.int32)
    symbols[:, 0] = symbols[:, -1] = lag - 1 + generator.integers(0, 2, samples)
    symbols[:, 1:-1] = np.arange(lag - 1)
    return Samples(symbols[:, :-1].copy(), symbols[:, 1:].copy(), None)


def temporal_order(samples: int, symbols: int = 2, *, seed: int = 0) -> Samples:
    """Return the temporal order problem: tell in which order two or three symbols came among distractors.

    Sequences of 100 to 110 symbols begin with E, end with B, and hold random a, b, c, d, except for `symbols` positions with X or
    Y: at steps 10-20 and 50-60 (task 6a), or 10-20, 33-43 and 66-76 (task 6b), counted from 0, ends included. The class is
    the binary number of the order: XX = 0, XY = 1, YX = 2, YY = 3.

    Parameters
    ----------
    samples : int
    symbols : {2, 3}
    seed : int

    Returns
    -------
    Samples
        x (samples, 110) tokens, indices in `TEMPORAL_ORDER`, 0 past each length; y (samples,) classes; lengths.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997), experiment 6.
    """
    if symbols not in (2, 3):
        raise ValueError(f"symbols must be 2 (task 6a) or 3 (task 6b), got {brief(symbols)}")
    generator = _generator(seed, samples=(samples, 1))
    lengths = generator.integers(100, 111, samples)
    x = generator.integers(TEMPORAL_ORDER.index("a"), TEMPORAL_ORDER.index("d") + 1, (samples, 110)).astype(np.int32)
    rows = np.arange(samples)
    y = np.zeros(samples, np.int64)
    for low in (10, 50) if symbols == 2 else (10, 33, 66):
        bit = generator.integers(0, 2, samples)
        x[rows, generator.integers(low, low + 11, samples)] = TEMPORAL_ORDER.index("X") + bit
        y = 2 * y + bit
    x[:, 0] = TEMPORAL_ORDER.index("E")
    x[rows, lengths - 1] = TEMPORAL_ORDER.index("B")
    x[np.arange(110) >= lengths[:, None]] = 0
    return Samples(x, y, lengths)


def copy_memory(samples: int, delay: int = 100, *, seed: int = 0) -> Samples:
    """Return the copy problem: repeat ten digits after a long delay.

    The input is ten digits of 1 to 8, delay - 1 zeros, and eleven nines, the first of which is the signal to answer; the target is
    zeros, and the ten digits at the last ten steps. Without a memory the best mean cross-entropy is
    10 ln 8 / (delay + 20).

    Parameters
    ----------
    samples, delay : int
    seed : int

    Returns
    -------
    Samples
        x and y (samples, delay + 20) of tokens 0 to 9.

    References
    ----------
    S. Hochreiter, J. Schmidhuber (1997); M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution recurrent neural
    networks" (ICML 2016), section 4.1; in the form of S. Bai, J. Z. Kolter, V. Koltun (2018).
    """
    generator = _generator(seed, samples=(samples, 1), delay=(delay, 1))
    digits = generator.integers(1, 9, (samples, 10)).astype(np.int32)
    x, y = np.zeros((2, samples, delay + 20), np.int32)
    x[:, :10] = digits
    x[:, -11:] = 9
    y[:, -10:] = digits
    return Samples(x, y, None)


def embedded_reber(samples: int, *, seed: int = 0) -> Samples:
    """Return strings of the embedded Reber grammar, to be predicted symbol by symbol.

    A string is B, then T or P, a string of the Reber grammar, the same T or P again, and E. Its last symbol but one is
    known only from its second. Which symbols may follow at each step, `reber_allowed` says.

    Parameters
    ----------
    samples : int
    seed : int

    Returns
    -------
    Samples
        x, y (samples, longest) tokens, indices in `REBER`: y is the symbol after x, both 0 past each length; lengths.

    References
    ----------
    A. S. Reber (1967); in embedded form A. Cleeremans, D. Servan-Schreiber, J. L. McClelland (1989); S. E. Fahlman (1991);
    S. Hochreiter, J. Schmidhuber (1997), experiment 1.
    """
    generator = _generator(seed, samples=(samples, 1))
    strings = []
    for _ in range(samples):
        side = "TP"[generator.integers(2)]
        inner, state = "", 0
        while state is not None:
            ways = _REBER_GRAPH[state]
            symbol, state = ways[generator.integers(len(ways))]
            inner += symbol
        strings.append(f"B{side}{inner}{side}E")
    lengths = np.array([len(string) - 1 for string in strings])
    x, y = np.zeros((2, samples, lengths.max()), np.int32)
    for row, string in enumerate(strings):
        tokens = [REBER.index(symbol) for symbol in string]
        x[row, : lengths[row]], y[row, : lengths[row]] = tokens[:-1], tokens[1:]
    return Samples(x, y, lengths)


def reber_allowed(x, lengths) -> np.ndarray:
    """Return which symbols the embedded Reber grammar allows after each step, (samples, time steps, 7) booleans.

    Parameters
    ----------
    x : (samples, time steps) tokens
        Strings of the grammar, as `embedded_reber` makes them.
    lengths : (samples,) integers

    Raises
    ------
    ValueError
        If a string is not one of the grammar.
    """
    x = np.asarray(x)
    allowed = np.zeros((*x.shape, len(REBER)), bool)
    for row, length in enumerate(lengths):
        string = "".join(REBER[token] for token in x[row, :length])
        follow = [{"B"}]
        state = 0
        for t, symbol in enumerate(string):
            if symbol not in follow[-1]:
                raise ValueError(f"row {row} is {string!r}, which leaves the grammar at step {t}")
            if t == 0:
                follow.append({"T", "P"})
            elif t == 1:
                follow.append({"B"})
            elif state is None:
                follow.append({"E"})
            else:
                state = dict(_REBER_GRAPH[state])[symbol]
                follow.append({string[1]} if state is None else {way[0] for way in _REBER_GRAPH[state]})
        for t in range(length):
            allowed[row, t, [REBER.index(symbol) for symbol in follow[t + 1]]] = True
    return allowed


def noisy_sine(
    rows: int = 1000,
    period: float = 50.0,
    noise: float = 0.1,
    *,
    amplitude: float = 1.0,
    phase: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Return amplitude * sin(2 pi t / period + phase) plus normal noise of standard deviation `noise`, t = 0, 1, ..., rows - 1.

    The best forecast has a mean squared error of noise^2.
    """
    generator = _generator(seed, rows=(rows, 1))
    wave = amplitude * np.sin(2 * np.pi * np.arange(rows) / period + phase)
    return wave + noise * generator.standard_normal(rows)


def weather(hours: int = 3 * 8766, *, start: str = "2021-01-01", seed: int = 0):
    r"""Return a synthetic hourly weather series of a temperate climate.

    It is simulated, so that examples need no file. With d the day of the year, h the hour, and normal noise e:

    * pressure anomaly :math:`p_t = 1.96\,p_{t-1} - 0.9617\,p_{t-2} + 0.1\,e_t` hPa: highs and lows that follow each other in
      about a week;
    * air mass :math:`a_t = 0.985\,a_{t-1} - 0.012\,(p_t - p_{t-24}) + 0.3\,e_t` degC: falling pressure brings warm air,
      rising pressure cold;
    * clouds :math:`c_t = 1 / (1 + \exp(p_t / 5 - n_t))` with n an AR(1) process of factor 0.95 and noise 0.4 e;
    * temperature :math:`9.5 + (9.5 + 4 (1 - 2 c_t)) S + a_t + A\,(1 - 0.7\,c_t)\cos(2\pi(h - 15)/24) + 0.2\,e_t` with summer
      :math:`S = -\cos(2\pi(d - 20)/365.25)`, so that clear skies are warm in summer and cold in winter, and the daily amplitude
      :math:`A = 4 - 2.5 \cos(2\pi(d - 10)/365.25)`;
    * humidity falls by 3 % a degree above the temperature without sun, and rises with clouds; wind grows with
      the change of pressure.

    Parameters
    ----------
    hours : int
    start : str
        First hour.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Columns temperature (degC), pressure (hPa), humidity (%), wind (m/s), by hour.
    """
    import pandas as pd

    generator = _generator(seed, hours=(hours, 1))
    index = pd.date_range(start, periods=hours, freq="h", name="time")
    day, hour = index.day_of_year.to_numpy(), index.hour.to_numpy()
    warm_up = 1000  # hours until the processes have forgotten that they began at zero
    total = hours + warm_up
    noise = generator.standard_normal((6, total))
    pressure, air, sky, gusts = np.zeros((4, total))
    for t in range(2, total):
        pressure[t] = 1.96 * pressure[t - 1] - 0.9617 * pressure[t - 2] + 0.1 * noise[0, t]
        air[t] = 0.985 * air[t - 1] - 0.012 * (pressure[t] - pressure[max(t - 24, 0)]) + 0.3 * noise[1, t]
        sky[t] = 0.95 * sky[t - 1] + 0.4 * noise[2, t]
        gusts[t] = 0.9 * gusts[t - 1] + 0.2 * noise[3, t]
    change = np.abs(np.gradient(pressure))[warm_up:]
    pressure, air, sky, gusts, noise = (x[..., warm_up:] for x in (pressure, air, sky, gusts, noise))
    clouds = 1 / (1 + np.exp(pressure / 5 - sky))
    year = 2 * np.pi / 365.25
    summer = -np.cos(year * (day - 20))
    season = 9.5 + (9.5 + 4 * (1 - 2 * clouds)) * summer
    sun = (4 - 2.5 * np.cos(year * (day - 10))) * (1 - 0.7 * clouds) * np.cos(2 * np.pi * (hour - 15) / 24)
    temperature = season + air + sun + 0.2 * noise[4]
    humidity = np.clip(70 - 3 * sun + 25 * (clouds - 0.5) + 2 * noise[5], 5, 100)
    wind = (1.5 + 6 * change) * np.exp(0.7 * gusts)
    columns = {
        "temperature": temperature.round(2),
        "pressure": (1013.25 + pressure).round(2),
        "humidity": humidity.round(1),
        "wind": wind.round(2),
    }
    return pd.DataFrame(columns, index=index)


def _generator(seed, **integers):
    """Return a generator; raise ValueError unless the seed and every (value, least) is an integer of at least that."""
    for name, (value, least) in {"seed": (seed, 0), **integers}.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {brief(value)}")
    return np.random.default_rng(seed)
