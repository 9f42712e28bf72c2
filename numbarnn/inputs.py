"""Checks of user input, once, before a kernel sees it. Errors name the argument, what was expected and given, and what to do."""

import numpy as np

from numbarnn.checks import check_lengths, check_tokens, refuse_mask
from numbarnn.core.arrays import as_array
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError


def carried_samples(state) -> int:
    """Return the number of samples of states, as far as they have the form of states; 0 without states."""
    try:
        return state[0][0].shape[1] if state else 0
    except (AttributeError, IndexError, KeyError, TypeError):
        return 0  # the state itself is checked later, with a message


def check_carried(samples: int, before: int) -> None:
    """Raise ShapeError unless a batch with keep_state has as many samples as the batch before."""
    if samples != before:
        raise ShapeError(
            f"a batch with keep_state has {samples} samples, the batch before had {before}; states carry over only between "
            "batches of the same samples"
        )


def check(x, signal: Signal, lengths, name: str = "x") -> tuple[np.ndarray, Layout]:
    """Return a batch as an array, padding of tokens being zero, with its geometry; raise as `to_rows`."""
    refuse_mask(x, name)
    array = x if type(x) is np.ndarray else as_array(x, name)
    if array.dtype.kind not in ("iu" if signal.tokens else "fiub"):
        expected = "integer tokens" if signal.tokens else "numeric"
        raise TypeError(f"{name} must be {expected}, got dtype {array.dtype}")
    if signal.tokens:
        bag = (signal.bag,) if signal.bag else ()
        if array.ndim < 2 or array.shape[2:] != bag:
            axes = f"(samples, time steps{''.join(f', {size}' for size in bag)})"
            raise ShapeError(f"{name} must have shape {axes} of tokens, got {array.shape}")
    elif array.ndim != 3 or array.shape[2] != signal.size:
        hint = "; add an axis: x[:, :, None]" if array.ndim == 2 and signal.size == 1 else ""
        hint = "; add an axis: x[None]" if array.ndim == 2 and array.shape[-1] == signal.size > 1 else hint
        hint = channels_first_hint(array.shape, signal.size, name) if array.ndim == 3 else hint
        raise ShapeError(
            f"{name} must have shape (samples, time steps, features) with {signal.size} features, got {array.shape}{hint}"
        )
    samples, steps = array.shape[:2]
    if samples == 0 or steps == 0:
        raise ShapeError(f"{name} must have at least one sample and one time step, got shape {array.shape}")
    layout = Layout.make(steps, samples, check_lengths(lengths, samples, steps))
    if signal.tokens:
        if not layout.full:
            running = np.arange(steps) < layout.unsort(layout.lengths)[:, None]
            array = np.where(running.reshape(running.shape + (1,) * len(bag)), array, 0)  # padding may have any value
        check_tokens(array, signal.size, name, least=-1 if bag else 0)
    return array, layout


def token_rows(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Return tokens (samples, time steps[, bag]) by rows: a copy, since later changes of x must not reach the tape."""
    rows = np.array(layout.sort(array).swapaxes(0, 1), np.int32, order="C")
    return rows.reshape(-1, *array.shape[2:])
