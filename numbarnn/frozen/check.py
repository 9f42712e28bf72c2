"""The sequence and the outputs inside frozen code, by which ``NAME_check`` compares."""

from typing import Any

import numpy as np

# Steps of the sequence.
CHECK_STEPS = 8


def check_sequence(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a sequence as frozen code reads it, and the model's outputs: of (steps, ...) and of (steps, outputs) or (outputs,).

    Raises
    ------
    ValueError
        If a parameter or an output is NaN or infinite, of which frozen code could not be checked.
    """
    for name, values in model.params.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"parameter {name} must be finite to be frozen, but has NaN or infinity; train the model again"
            )
    first, rng = model.signals[0], np.random.default_rng(0)
    if first.tokens:
        shape = (CHECK_STEPS, first.bag) if first.bag else (CHECK_STEPS,)
        x = rng.integers(-1 if first.bag else 0, first.size, shape)
    else:
        x = rng.normal(size=(CHECK_STEPS, first.size)).astype(model.dtype)
    y = np.ascontiguousarray(model.forward(x[None], n_threads=1)[0][0])
    if not np.isfinite(y).all():
        raise ValueError(
            "the outputs of model must be finite, but those of a short random sequence are not; train the model again"
        )
    return x, y
