"""The classic tests of long memory: marked values, lags, order, copies."""

import numpy as np

from numbarnn.checks import brief
from numbarnn.data.datasets.samples import Samples, generator_of

TEMPORAL_ORDER = "EBabcdXY"


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
    generator = generator_of(seed, samples=(samples, 1), steps=(steps, 2))
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
    generator = generator_of(seed, samples=(samples, 1), steps=(steps, 22))
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
    generator = generator_of(seed, samples=(samples, 1), lag=(lag, 2))
    symbols = np.empty((samples, lag + 1), np.int32)
    symbols[:, 0] = symbols[:, -1] = lag - 1 + generator.integers(0, 2, samples)
    symbols[:, 1:-1] = np.arange(lag - 1)
    return Samples(symbols[:, :-1].copy(), symbols[:, 1:].copy(), None)


def temporal_order(samples: int, symbols: int = 2, *, seed: int = 0) -> Samples:
    """Return the temporal order problem: tell in which order two or three symbols came among distractors.

    Sequences of 100 to 110 symbols begin with E, end with B, and have random a, b, c, d, except for `symbols` positions with X or
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
    generator = generator_of(seed, samples=(samples, 1))
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
    generator = generator_of(seed, samples=(samples, 1), delay=(delay, 1))
    digits = generator.integers(1, 9, (samples, 10)).astype(np.int32)
    x, y = np.zeros((2, samples, delay + 20), np.int32)
    x[:, :10] = digits
    x[:, -11:] = 9
    y[:, -10:] = digits
    return Samples(x, y, None)
