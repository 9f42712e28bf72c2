"""Batches made by a thread while the steps before them run."""

import collections
import contextvars
import math
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_integer
from numbarnn.data.batches import Batch, batches_of

PAUSE = 1.0  # seconds after which a thread looks whether it is still wanted, should nobody have told it


class Prefetch:
    """A source whose next batches a thread reads while a training step runs.

    Batches, their order, and so all that is learned are those of `source`; a checkpoint of a run with it is one of a run without
    it. It pays where batches take time in which the GIL is released: reading files, decompressing, NumPy on large arrays.

    An exception of the source is raised where its batch was due. Where an iteration is abandoned (an error, Ctrl-C, ``break``) the
    thread ends with the batch that it is making, which is waited for. A forked child can begin epochs, but not go on with its
    parent's.

    Parameters
    ----------
    source : source, or iterable of batches
        See `numbarnn.data`.
    batches : int
        Most batches that are ready and wait; one more may be in the making. Memory is theirs.

    Raises
    ------
    TypeError, ValueError
        If `source` has no batches, or `batches` is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> x = np.random.default_rng(0).normal(size=(60, 8, 1))
    >>> source = nr.data.Prefetch(nr.data.ArraySource(x, x.cumsum(axis=1)))
    >>> model = nr.Model([nr.LSTM(4), nr.Dense(1)], input_size=1)
    >>> history = model.fit(source, loss="mse", epochs=2, verbose=0)
    """

    def __init__(self, source: Any, batches: int = 2):
        data = isinstance(source, (str, bytes, np.ndarray, tuple, dict))
        if data or not (hasattr(source, "batches") or hasattr(source, "__iter__")):
            raise TypeError(f"source must have batches(generator), or be an iterable of batches, got {brief(source)}")
        self.source, self.most = source, check_integer(batches, "batches", 1, math.inf)

    def __getattr__(self, name: str) -> Any:
        # What a source may have or not have (`numbarnn.data.batches`), this one has as the one inside.
        if name in ("items", "unit", "check", "fingerprint"):
            return getattr(self.source, name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self.source)

    def __repr__(self) -> str:
        return f"<Prefetch of {self.most} batches of {self.source!r}>"

    def split(self, fraction: float) -> tuple["Prefetch", Any]:
        """Return the source without its last `fraction` of samples, and those."""
        first, last = self.source.split(fraction)
        return Prefetch(first, self.most), last

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch.

        Parameters
        ----------
        generator : numpy.random.Generator
            Handed to the source; nobody else may use it before the epoch ends.

        Yields
        ------
        Batch

        Raises
        ------
        RuntimeError
            In a forked child, if the epoch began in its parent.
        """
        reader = _Reader(batches_of(self.source, generator), self.most)
        try:
            reader.thread.start()
            while True:
                batch = reader.next()
                if batch is None:
                    return
                yield batch
        finally:
            reader.stop()


class _Reader:
    """A thread that fills a queue from an iterator; `next` and `stop` are called by its one reader."""

    def __init__(self, iterator, most):
        self.iterator, self.most = iterator, most
        self.ready, self.error = collections.deque(), None
        self.ended = self.stopped = False
        self.process = os.getpid()
        # Its lock is one that a thread may take again: the garbage collector may stop this reader in the thread itself.
        self.changed = threading.Condition()
        # The context is the reader's, and so is NumPy's errstate, which before NumPy 2 is of a thread and not of the context.
        run, self.errstate = contextvars.copy_context().run, np.geterr()
        self.thread = threading.Thread(target=run, args=(self._read,), name="numbarnn-prefetch", daemon=True)

    def _read(self):
        error = None
        try:
            try:
                with np.errstate(**self.errstate):
                    self._fill()
            finally:
                if hasattr(self.iterator, "close"):
                    self.iterator.close()  # here, not where the last reference goes: files are closed by who opened them
        except BaseException as problem:
            error = problem
        with self.changed:
            self.error, self.ended = error, True
            self.changed.notify_all()

    def _fill(self):
        for batch in self.iterator:
            with self.changed:
                self.ready.append(batch)
                self.changed.notify_all()
                while len(self.ready) >= self.most and not self.stopped:
                    self.changed.wait(PAUSE)
            del batch
            if self.stopped:
                break

    def next(self):
        """Return the next batch, None at the end; raise what the iterator raised."""
        if os.getpid() != self.process:
            raise RuntimeError(
                "the process was forked within an epoch of a Prefetch source, whose thread is its parent's: begin the epoch in the "
                "child, or start the child with multiprocessing's method 'spawn'"
            )
        with self.changed:
            while not (self.ready or self.ended):
                self.changed.wait()
            if self.ready:
                batch = self.ready.popleft()
                self.changed.notify_all()
                return batch
            error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        return None

    def stop(self):
        """End the thread, and wait for it."""
        if os.getpid() != self.process:  # there is none, and the lock may be shut for good
            return
        self.stopped = True  # first: a second Ctrl-C may come at any line
        with self.changed:
            self.ready.clear()
            self.changed.notify_all()
        if self.thread.ident is not None and self.thread is not threading.current_thread():
            self.thread.join()
