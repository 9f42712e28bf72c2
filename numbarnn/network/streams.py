"""Many sequences that arrive step by step."""

import functools
import heapq
import threading
from typing import Any

import numba
import numpy as np

from numbarnn import parallel
from numbarnn.checks import COUNTED, as_int64, brief, check_integer, check_output, check_tokens, to_array
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import streams as kernels
from numbarnn.kernels.cpu.memory import empty, zeros
from numbarnn.kernels.cpu.streams import step_many
from numbarnn.kernels.interrupts import DeferredInterrupt


class Streams:
    """A model that reads many sequences step by step, together, and the state of each; made by `numbarnn.Model.streams`.

    A sequence has a row: `open` gives it one, with zero states, and it keeps that until `close`. `step` advances all open rows,
    or any of them, in one call: products of many rows, in several threads. The outputs of a row are those of `Model.stream` on
    its sequence, and of `Model.forward` on the whole of it, to the bit, whatever other rows are in the call. Dropout does not act.

    Memory for all rows is taken at the beginning, `nbytes_per_stream` each. Where all are open, `open` raises: a service can then
    say that it is full, instead of growing without end. Rows are given out again after `close`, the least first: forget the numbers
    of closed rows.

    Threads may call methods at the same time, as long as no two of the calls concern the same row; `step` lets other threads
    run. Changed parameters count from the next step on. The first step compiles, some seconds for a kind of cell, or loads what was
    compiled before.

    Attributes
    ----------
    model : Model
    capacity : int
        Rows that can be open at the same time.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> streams = model.streams(1000)
    >>> rows = streams.open(50)
    >>> y = streams.step(np.ones((50, 3)))  # all that are open
    >>> y = streams.step(np.ones((2, 3)), rows[[40, 7]])  # two of them
    >>> np.array_equal(y[0], model.forward(np.ones((1, 2, 3)))[0][0, -1])
    True
    >>> streams.close(rows[7])
    >>> len(streams)
    49
    """

    def __init__(self, model: Any, n: int, n_threads: int | None = None):
        self.model = model
        self.capacity = check_integer(n, "n", 1, COUNTED)
        self._given = n_threads  # None: those of the model, or of the machine that a copy comes to
        self._n_threads = parallel.check_threads(model.n_threads if n_threads is None else n_threads)
        self._params, self._dtype = model.params, model.dtype
        plan = self._refresh()[1]
        self._states = empty((self.capacity, plan.stored), model.dtype)
        self._closed = np.ones(self.capacity, np.int64)
        self._free = list(range(self.capacity))  # a heap: the least number comes first
        # Of what is free and what is closed, which change together. A finalizer may close a row while its thread opens another.
        self._lock = threading.RLock()
        self._scratch = []  # for a thread each; a list, so that steps in several threads do not share

    def __len__(self) -> int:
        return self.capacity - len(self._free)

    def __repr__(self) -> str:
        return f"<{len(self)} of {self.capacity} streams of {self.model!r}>"

    def __reduce__(self):
        # Packed weights have addresses, and states the padding of this processor.
        with self._lock:
            rows = self.rows
            return _revived, (self.model, self.capacity, self._given, rows, self.snapshot(rows))

    @property
    def rows(self) -> np.ndarray:
        """The open rows, ascending: what `step` advances without `rows`, in this order."""
        return np.flatnonzero(self._closed == 0)

    @property
    def nbytes_per_stream(self) -> int:
        """Bytes of a row's states."""
        return self._states.shape[1] * self._states.itemsize

    # Rows

    def open(self, count: int | None = None) -> Any:
        """Begin sequences, with zero states.

        Parameters
        ----------
        count : int, optional
            How many; None: one.

        Returns
        -------
        int, or (count,) int64 array
            The row of the sequence, or those of all of them.

        Raises
        ------
        RuntimeError
            If fewer rows are free; none is taken then.
        TypeError, ValueError
            If `count` is not a positive integer.
        """
        wanted = 1 if count is None else check_integer(count, "count", 1)
        with DeferredInterrupt(), self._lock:
            if wanted > len(self._free):
                raise RuntimeError(
                    f"count is {wanted}, but {len(self._free)} of {self.capacity} streams are free; close some, or make more of "
                    "them: model.streams(n)"
                )
            taken = [heapq.heappop(self._free) for _ in range(wanted)]
            self._begin(np.array(taken))
        return taken[0] if count is None else np.array(taken)

    def close(self, rows: Any) -> None:
        """End sequences.

        Parameters
        ----------
        rows : int or (k,) integers
            Their rows, which are free from now on.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If rows are not integers, a row is not open or comes twice; all stay open then.
        """
        with DeferredInterrupt(), self._lock:
            index = self._checked_rows(rows, single=True)
            self._closed[index] = 1
            for row in index.tolist():
                heapq.heappush(self._free, row)

    def _begin(self, index):
        self._states[index] = 0
        self._closed[index] = 0

    def _checked_rows(self, rows, single=False):
        """Return a copy of rows as int64, which no other thread refills; raise unless all are open, and each comes once."""
        array = to_array(rows, "rows")
        if array.dtype.kind not in "iu" and array.size:
            hint = "; numpy.flatnonzero makes them of a mask" if array.dtype.kind == "b" else ""
            raise TypeError(f"rows must be integers, got {brief(rows)}{hint}")
        if array.ndim == 0 and single:
            array = array.reshape(1)
        if array.ndim != 1:
            hint = ", an array; for one row pass [row]" if array.ndim == 0 else ""
            raise ShapeError(f"rows must have shape (k,){hint}, got shape {array.shape}")
        index = np.ascontiguousarray(as_int64(array, "rows"))
        wrong = kernels.first_refused(index, self.capacity, self._closed, np.zeros(-(-self.capacity // 64), np.int64))
        if wrong >= 0:
            row = index[wrong]
            if not 0 <= row < self.capacity:
                why = f"; there are {self.capacity} streams, 0 to {self.capacity - 1}"
            elif self._closed[row]:
                why = ", which is not open; open() gives out rows"
            else:
                why = f", as rows[{np.flatnonzero(index == row)[0]}]; a row takes one step in a call"
            raise ValueError(f"rows[{wrong}] is {row}{why}")
        return index

    # Steps

    def step(self, x: Any, rows: Any = None, out: np.ndarray | None = None) -> np.ndarray:
        """Run one time step of all open rows, or of some of them.

        Parameters
        ----------
        x : (k, features) values, (k,) integer tokens, or (k, bag) integer tokens of a model that begins with `EmbeddingBag`
            The input of each row. One feature may be given as (k,).
        rows : (k,) integers, optional
            Which rows, each once, in any order; None: all that are open, ascending (`rows`).
        out : (k, outputs) array of a floating-point dtype, optional
            Receives the outputs.

        Returns
        -------
        (k, outputs) array
            `out`, or else a new array.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value, a row is not open or comes twice; all states are as before then.
        """
        version, plan, enter = self._now
        if version != self._params.version:
            version, plan, enter = self._refresh()
        index = self.rows if rows is None else self._checked_rows(rows)
        x = self._converted(plan, x, index, "open rows" if rows is None else "rows")
        shape = index.size, plan.outputs
        if out is not None:
            check_output(out, shape, self._dtype)
        direct = out is not None and out.dtype == self._dtype and out.flags.carray and not np.may_share_memory(out, x)
        y = out if direct else np.empty(shape, self._dtype)
        if index.size:
            self._run(plan, enter, x, index, y)
        if out is None or direct:
            return y
        out[...] = y
        return out

    def _refresh(self):
        """Take the weights of the parameters as they are now."""
        version, plan = self._params.version, self.model.step_plan()
        x = (numba.types.int64, 2 if plan.bag else 1) if plan.tokens else (numba.from_dtype(self._dtype), 2)
        enter = _enter(numba.typeof(plan.weights), *x, numba.from_dtype(self._dtype))
        self._now = version, plan, enter  # one object, so that a step in another thread reads those of one version
        return self._now

    def _run(self, plan, enter, x, index, y):
        size = kernels.block_rows(plan.size * self._dtype.itemsize) * plan.size
        states, jobs, lent = self._states.reshape(-1), [], []
        for first, last in parallel.shares(index.size, index.size * float(plan.products), self._n_threads):
            try:
                lent.append(self._scratch.pop())
            except IndexError:
                lent.append(zeros((size,), self._dtype))
            arguments = plan.weights, x, index, states, y, lent[-1], first, last
            jobs.append(functools.partial(enter, *arguments))
        try:
            parallel.run(jobs)
        finally:
            self._scratch += lent

    def _converted(self, plan, x, index, what):
        array = to_array(x, "x")
        if array.dtype.kind not in ("iu" if plan.tokens else "fiub"):
            expected = "integer tokens" if plan.tokens else "numeric"
            raise TypeError(f"x must be {expected}, got {brief(x) if array.ndim == 0 else f'dtype {array.dtype}'}")
        columns = plan.bag if plan.tokens else plan.inputs
        shape = (index.size, columns) if columns else (index.size,)
        if columns == 1 and not plan.tokens and array.ndim == 1:
            array = array[:, None]
        if array.shape != shape:
            kind = "the tokens of a bag" if plan.bag else "one token" if plan.tokens else "one value per feature"
            raise ShapeError(f"x must have shape {shape}, {kind} for each of {index.size} {what}, got {array.shape}")
        if plan.tokens:
            array = array.copy()  # compiled code trusts them, and another thread may refill the caller's
            check_tokens(array, plan.inputs, "x", least=-1 if plan.bag else 0)
        return np.require(array, np.int64 if plan.tokens else self._dtype, ["C", "A"])

    # States

    def snapshot(self, rows: Any) -> tuple[Any, ...]:
        """Return a copy of the states of rows.

        Parameters
        ----------
        rows : int or (k,) integers

        Returns
        -------
        tuple
            In the form that `Model.forward` takes and returns for k samples; of one row that of `Stream.snapshot`.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If rows are not integers, a row is not open or comes twice.
        """
        index = self._checked_rows(rows, single=True)
        states = self._states[index]
        return tuple(
            tuple(part[:, :, s].transpose(1, 0, 2).copy() for s in range(own.count))
            for own, part in _parts(self._now[1], states)
        )

    def restore(self, rows: Any, state: Any) -> None:
        """Go on from states: of a `snapshot`, here or of a `Stream`, or what `Model.forward` returned for the past of sequences.

        Parameters
        ----------
        rows : int or (k,) integers
        state : tuple, or None
            In the form of `Model.forward` for k samples; None: zeros.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If a row is not open or comes twice, or the state does not have the shapes of the model's for k samples; all states
            are as before then.
        """
        index = self._checked_rows(rows, single=True)
        state = self.model.check_state(state, index.size)
        states = np.zeros((index.size, self._states.shape[1]), self._dtype)
        for (_, part), entry in zip(_parts(self._now[1], states), state or (), strict=False):
            for s, array in enumerate(entry):
                part[:, :, s] = array.transpose(1, 0, 2)
        self._states[index] = states

    def reset(self, rows: Any = None) -> None:
        """Set states to zero, the beginning of a sequence.

        Parameters
        ----------
        rows : int or (k,) integers, optional
            None: all open rows.

        Raises
        ------
        ShapeError, TypeError, ValueError
            If rows are not integers, a row is not open or comes twice.
        """
        self._states[self.rows if rows is None else self._checked_rows(rows, single=True)] = 0


def _parts(plan, states):
    """Yield each layer's description, and a view (rows, runs, states, hidden_size) of its states in rows of them."""
    for own in plan.states:
        part = states[:, own.at : own.at + own.runs * own.count * own.width]
        yield own, part.reshape(len(states), own.runs, own.count, own.width)[..., : own.hidden]


@functools.cache  # without a lock, as `numbarnn.network.program`'s
def _enter(weights, x, axes, dtype):
    """Return the entry point of `kernels.advance`; nothing looks at the types of its arguments."""
    integer = numba.types.int64
    arrays = ((x, axes), (integer, 1), (dtype, 1), (dtype, 2), (dtype, 1))  # x, rows, states, y, scratch
    given = [numba.types.Array(kind, count, "C") for kind, count in arrays]
    return kernels.advance.compile((weights, *given, integer, integer))


def _revived(model, n, n_threads, rows, state):
    """Return copied or unpickled streams."""
    streams = Streams(model, n, n_threads)
    streams._free = sorted(set(range(n)) - set(rows.tolist()))
    streams._begin(rows)
    streams.restore(rows, state)
    return streams


def streams_function(model: Any, n: int) -> Any:
    """Return (step_many, weights, states) that run a time step of many sequences inside compiled code of your own.

    Parameters
    ----------
    model : Model
        Of recurrent layers in one direction, `Dense`, `Activation`, `Embedding`, `EmbeddingBag`, `OneHot`, `Dropout`.
    n : int
        How many sequences.

    Returns
    -------
    step_many : function compiled by Numba
        ``step_many(weights, x, rows, states, y)`` reads the inputs x, an array (rows, features), or integer tokens (rows,) or
        (rows, bag), and advances those rows of `states` that the integers `rows` name, each once; y, an array (rows, outputs),
        receives the outputs. It is equal to `Model.stream` to the bit, and takes one thread. It is `numbarnn.step_many`, the same
        function for all models.
    weights : StepWeights
        A NamedTuple of arrays, read only: any number of threads may share it. It holds a copy of the parameters.
    states : (n, size) array
        The state of each sequence; a row of zeros is the beginning.

    Notes
    -----
    Let your function see `step_many` as a global (``from numbarnn import step_many``) and hand `weights` and `states` over as
    arguments; then Numba can cache your function on disk. It is compiled again after an upgrade of this package, since the type of
    `weights` names its sources. Hand over what this function returns anew when the parameters have changed.

    Threads of ``numba.prange`` may share `states`, each with rows of its own. A call allocates scratch memory once, some 64 KiB,
    so give it many rows: of a few `numbarnn.step` is faster.

    Raises
    ------
    ValueError, TypeError
        If a layer cannot be run step by step, or an argument has the wrong type or value.

    Examples
    --------
    In a file, write ``@numba.njit(cache=True)``.

    >>> import numba
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> from numbarnn import step_many
    >>> @numba.njit
    ... def simulate(weights, x, rows, states, y):
    ...     for t in range(len(x)):
    ...         step_many(weights, x[t], rows, states, y[t])
    >>> model = nr.Model([nr.GRU(4), nr.Dense(2)], input_size=3)
    >>> _, weights, states = nr.streams_function(model, 100)
    >>> x, y = np.ones((10, 100, 3), np.float32), np.zeros((10, 100, 2), np.float32)
    >>> simulate(weights, x, np.arange(100), states, y)
    >>> np.array_equal(y.swapaxes(0, 1), model.forward(x.swapaxes(0, 1))[0])
    True
    """
    if not hasattr(model, "step_plan"):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
    n = check_integer(n, "n", 1, COUNTED)
    plan = model.step_plan()
    return step_many, plan.weights, zeros((n, plan.stored), plan.weights.values.dtype)
