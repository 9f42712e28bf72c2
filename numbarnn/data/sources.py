"""The source of batches for what users pass to `fit` and `evaluate`."""

from collections.abc import Iterable, Mapping

import numpy as np

from numbarnn.checks import brief, naming
from numbarnn.core.frames import is_pandas
from numbarnn.data.batches import ArraySource, Batch, SampleSource
from numbarnn.data.prefetch import Prefetch
from numbarnn.data.ragged import as_ragged, ragged_source


def make_source(source, y=None, **options):
    """Return a source for arguments: a source or iterable of batches as it is, arrays, lists of arrays or an (x, y) tuple wrapped.

    Parameters
    ----------
    source : source, iterable, array, list of arrays or (x, y) tuple
    y : array-like, optional
        Targets, where `source` is x.
    options
        Of `ArraySource` or `RaggedSource`; "shuffle" alone is ignored where nothing is wrapped.
    """
    if y is not None:
        return _wrapped(source, y, **options)
    if isinstance(source, tuple) and len(source) in (2, 3) and not isinstance(source[0], Batch):
        names = ("x", "y", "lengths")[: len(source)]
        return _wrapped(**dict(zip(names, source, strict=True)), **options)
    data = (str, bytes, np.ndarray, Mapping, set)  # which can be iterated over, but have no batches
    if hasattr(source, "batches") or (
        isinstance(source, Iterable) and not isinstance(source, data) and not is_pandas(source)
    ):
        return source
    raise TypeError(
        f"source must be arrays (x, y), or an object with batches(generator), or an iterable of batches, got {brief(source)}"
    )


def _wrapped(x, y, **options):
    samples = as_ragged(x)
    return ArraySource(x, y, **options) if samples is None else ragged_source(samples, y, **options)


def with_validation(source, validation):
    """Return the sources of training and validation for the arguments of `fit`."""
    source = make_source(source)
    if isinstance(validation, (bool, np.bool_)):
        raise TypeError(f"validation must be data or a fraction of them, got {brief(validation)}")
    if isinstance(validation, (float, np.floating)):
        inner = source.source if isinstance(source, Prefetch) else source
        if not isinstance(inner, SampleSource) or not 0 < validation < 1:
            raise ValueError(
                f"validation must be data, or a fraction in (0, 1) of arrays x and y, got {brief(validation)}"
            )
        return source.split(validation)
    if validation is not None:
        with naming("validation", "source"):
            validation = make_source(validation, **({"shuffle": False} if isinstance(validation, tuple) else {}))
    return source, validation
