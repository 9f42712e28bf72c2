"""What is drawn from a seed: every use has a stream of random numbers of its own."""

import numpy as np

# Keys of `numpy.random.SeedSequence`; one that is taken never changes its meaning, or results of a seed would.
VERSION = 2  # of what is drawn from a seed: 1 drew order and weights from one stream
USES = {"weights": 0, "order": 1, "holdout": 2, "evaluation": 3, "entries": 4, "prime": 5, "members": 6}


def generator(seed: int, use: str, *numbers: int) -> np.random.Generator:
    """Return the generator of a use of a seed, independent of those of its other uses.

    ``default_rng(seed)`` and ``default_rng([seed, 0])`` are one stream, and so is whatever a user draws from ``default_rng(seed)``;
    a `spawn_key` sets streams apart.

    Parameters
    ----------
    seed : int
    use : str
        A name of `USES`.
    *numbers : int
        What else the use depends on, such as the epoch.

    Returns
    -------
    numpy.random.Generator

    Notes
    -----
    Dropout masks and sampled tokens come from a generator of another kind, keyed by the seed and their position
    (`numbarnn.kernels.random`).

    Examples
    --------
    >>> generator(0, "order", 1).permutation(4).tolist() == generator(0, "order", 1).permutation(4).tolist()
    True
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(USES[use], *numbers)))
