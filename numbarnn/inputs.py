"""Checks of what users pass in, once, before a kernel sees it. Every error names the argument, what fits, what came, what to do."""

import numpy as np

from numbarnn.batch import Call, Layout, Rows, Signal, padded
from numbarnn.errors import ShapeError, TokenError
from numbarnn.kernels.cpu.layout import to_sample_major, to_time_major

# What copying a number from array to array costs in multiply-adds, about.
COPY = 8.0


def check_lengths(lengths, samples: int, steps: int) -> np.ndarray | None:
    """Return lengths as int64 (samples,), or None.

    Raises
    ------
    ShapeError
        If they are not one a sample.
    TypeError
        If they are not integers.
    ValueError
        If one is negative or beyond `steps`.
    """
    if lengths is None:
        return None
    array = np.asarray(lengths)
    if array.shape != (samples,):
        raise ShapeError(f"lengths must have shape ({samples},), one a sample, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got dtype {array.dtype}")
    array = array.astype(np.int64)
    wrong = np.flatnonzero((array < 0) | (array > steps))
    if wrong.size:
        raise ValueError(f"lengths[{wrong[0]}] is {array[wrong[0]]}; x has {steps} time steps")
    return array


def check_tokens(array: np.ndarray, size: int, name: str = "x", least: int = 0) -> None:
    """Raise TokenError unless all values lie in [least, size)."""
    if array.size == 0:
        return
    low, high = array.min(), array.max()
    if low < least or high >= size:
        wrong = np.argwhere((array < least) | (array >= size))[0]
        place = ", ".join(map(str, wrong))
        hint = " (-1 for none)" if least < 0 else ""
        raise TokenError(
            f"{name}[{place}] is {array[tuple(wrong)]}; the vocabulary has {size} tokens, 0 to {size - 1}{hint}"
        )


def check_finite(array: np.ndarray, name: str, advice: str = "fill or drop them before fitting") -> None:
    """Raise ValueError with the count and the first index of the values that are NaN or infinite."""
    if array.dtype.kind != "f":
        return
    finite = np.isfinite(array)
    if not finite.all():
        place = ", ".join(map(str, np.argwhere(~finite)[0]))
        raise ValueError(
            f"{name} holds {np.count_nonzero(~finite)} values that are NaN or infinite, the first at [{place}]; {advice}"
        )


def refuse_mask(data, name: str, advice: str | None = None) -> None:
    """Raise TypeError for a masked array that masks something: what lies under the mask would be taken for data."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        advice = advice or f"fill them ({name}.filled), and say by lengths or sample_weight what does not count"
        raise TypeError(f"{name} is a masked array of which {np.ma.count_masked(data)} values are masked; {advice}")


def carried_samples(state) -> int:
    """Return the number of samples that states are of, as far as they have the form of states; 0 of none."""
    try:
        return state[0][0].shape[1] if state else 0
    except (AttributeError, IndexError, KeyError, TypeError):
        return 0  # what is wrong shows where the state is checked


def check_carried(samples: int, before: int) -> None:
    """Raise ShapeError unless a batch with keep_state has as many samples as the one before."""
    if samples != before:
        raise ShapeError(
            f"a batch with keep_state has {samples} samples, the one before had {before}; states carry over only between "
            "batches of the same samples"
        )


def to_rows(call: Call, x, signal: Signal, lengths, name: str = "x") -> tuple[Rows, Layout]:
    """Return a batch by rows, with its geometry.

    Parameters
    ----------
    call : Call
        Whose memory the rows take.
    x : array-like
        (samples, time steps, features) numbers, or (samples, time steps) or (samples, time steps, bag) integer tokens, as `signal`
        says.
    signal : Signal
        What the model takes.
    lengths : array-like or None
        Valid steps of each sample.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ShapeError, TypeError, TokenError, ValueError
        If x or lengths do not fit.
    """
    array, layout = check(x, signal, lengths, name)
    if signal.tokens:
        return Rows(token_rows(array, layout), signal.size), layout
    if call.direct and layout.full:
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        rows = np.require(array, call.dtype, ["C", "W", "A"]).reshape(layout.samples * layout.steps, signal.size)
        return Rows(rows, signal.size, sample_major=True), layout
    return feature_rows(call, array, layout), layout


def check(x, signal: Signal, lengths, name: str = "x") -> tuple[np.ndarray, Layout]:
    """Return a batch as an array, padding of tokens being zero, with its geometry; raise as `to_rows`."""
    refuse_mask(x, name)
    array = np.asarray(x)
    if array.dtype.kind not in ("iu" if signal.tokens else "fiub"):
        expected = "integer tokens" if signal.tokens else "numbers"
        raise TypeError(f"{name} must be {expected}, got dtype {array.dtype}")
    if signal.tokens:
        bag = (signal.bag,) if signal.bag else ()
        if array.ndim < 2 or array.shape[2:] != bag:
            axes = f"(samples, time steps{''.join(f', {size}' for size in bag)})"
            raise ShapeError(f"{name} must have shape {axes} of tokens, got {array.shape}")
    elif array.ndim != 3 or array.shape[2] != signal.size:
        hint = "; add an axis: x[:, :, None]" if array.ndim == 2 and signal.size == 1 else ""
        hint = "; add an axis: x[None]" if array.ndim == 2 and array.shape[-1] == signal.size > 1 else hint
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
            array = np.where(running.reshape(running.shape + (1,) * len(bag)), array, 0)  # padding may be anything
        check_tokens(array, signal.size, name, least=-1 if bag else 0)
    return array, layout


def token_rows(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Return tokens (samples, time steps[, bag]) by rows: a copy, since the tape must not see later changes of x."""
    rows = np.array(layout.sort(array).swapaxes(0, 1), np.int32, order="C")
    return rows.reshape(-1, *array.shape[2:])


def feature_rows(call: Call, array: np.ndarray, layout: Layout) -> Rows:
    """Return numbers (samples, time steps, features) by rows."""
    size = array.shape[2]
    values = call.empty((layout.steps * layout.samples, padded(size, call.dtype)))
    array = np.require(array, call.dtype, ["C", "W", "A"])
    call.over(
        layout.samples,
        values.size * COPY,
        lambda lo, hi: to_time_major(
            array.reshape(-1), layout.samples, layout.steps, size, layout.places, values.reshape(-1), values.shape[1],
            lo, hi,
        ),
    )  # fmt: skip
    return Rows(values, size)


def from_rows(call: Call, rows: Rows, layout: Layout) -> np.ndarray:
    """Return rows as a new array (samples, time steps, size) in the caller's order, zero past each length."""
    if rows.sample_major:
        values = rows.values if rows.values.flags.owndata else rows.values[:, : rows.size].copy()
        return values.reshape(layout.samples, layout.steps, rows.size)
    x = np.empty((layout.samples, layout.steps, rows.size), rows.values.dtype)
    call.over(
        layout.samples,
        x.size * COPY,
        lambda lo, hi: to_sample_major(
            rows.values.reshape(-1), rows.values.shape[1], layout.samples, layout.steps, rows.size, layout.places,
            layout.lengths, x.reshape(-1), lo, hi,
        ),
    )  # fmt: skip
    return x
