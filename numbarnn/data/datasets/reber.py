"""The embedded Reber grammar: strings, and which symbols may follow in them."""

import numpy as np

from numbarnn.data.datasets.samples import Samples, generator_of

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
    generator = generator_of(seed, samples=(samples, 1))
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
