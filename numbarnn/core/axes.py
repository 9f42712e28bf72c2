"""Axes of other packages: channels before time steps, as aeon and sktime have them."""

from typing import Any

import numpy as np

from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError


def from_channels_first(X: Any) -> Any:
    """Return samples (channels, time steps), as aeon and sktime have them, as samples (time steps, features).

    Parameters
    ----------
    X : (samples, channels, time steps) array, or list of (channels, time steps) arrays of any lengths

    Returns
    -------
    (samples, time steps, features) array, or list of (time steps, features) arrays
        Views where X is of arrays.

    Raises
    ------
    ShapeError, TypeError
        If X is neither of the two, or not numeric.

    Examples
    --------
    >>> from_channels_first(np.zeros((10, 3, 50))).shape
    (10, 50, 3)
    """
    if isinstance(X, (list, tuple)) and len(X) and all(np.ndim(sample) == 2 for sample in X):
        return [as_numeric(sample, f"X[{i}]").T for i, sample in enumerate(X)]
    array = as_numeric(X, "X")
    if array.ndim != 3:
        raise ShapeError(
            f"X must have shape (samples, channels, time steps), or be a list of arrays (channels, time steps), got {array.shape}"
        )
    return array.swapaxes(1, 2)


def channels_first_hint(shape, features: int, name: str = "X") -> str:
    """Return what to add to the message about a shape that has the expected features one axis before the last; else nothing."""
    if len(shape) < 2 or shape[-2] != features or shape[-1] == features:
        return ""
    whole = name.partition("[")[0]
    return f"; if its last axes are (channels, time steps), pass numbarnn.data.from_channels_first({whole})"
