"""The context of a pass that is written down, and its memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.kernels.cpu import whole_steps
from numbarnn.kernels.cpu.calls import OWN, SCRATCH, Library, Ref, Value, refs
from numbarnn.kernels.cpu.layout import to_time_major
from numbarnn.kernels.cpu.memory import ALIGNMENT, padded
from numbarnn.kernels.cpu.simd import tile_table

# Regions of a net: weights, arrays of the optimizer, average of the weights, inputs and targets of all samples, numbers; of a net
# and step: indices of the batch's samples, coefficients of the optimizer, losses of the rows, record, seed and number of the pass.
(
    WEIGHTS,
    MOMENT,
    MOMENT_2,
    MOMENT_3,
    AVERAGE,
    INPUTS,
    TARGETS,
    NUMBERS,
    ORDER,
    COEFFICIENTS,
    LOSSES,
    RECORD,
    KEY,
    MEASURE,
) = range(OWN, OWN + 14)
REGIONS = MEASURE + 1


@dataclass(frozen=True)
class Rows:
    """Activations of a batch: a row for every (step, sample), as of `numbarnn.backends.cpu.batch`."""

    values: Ref
    size: int

    @property
    def tokens(self) -> bool:
        """Whether the rows are tokens."""
        return self.values.dtype.kind == "i"


class Call:
    """A pass that is written down: where memory is taken from, and the calls so far.

    Parameters
    ----------
    library : Library
    dtype : numpy.dtype
    parameters : int
        Number of weights.
    training : bool
        Whether dropout acts.

    Attributes
    ----------
    needs : dict of int to (int, dtype)
        Bytes of each region of a net, or of a net and step, that the calls use, and what these are.
    """

    def __init__(self, library: Library, dtype: np.dtype, parameters: int, training: bool = True):
        self.library, self.dtype, self.table, self.training = library, dtype, tile_table(dtype), training
        self.used, self.calls, self.parameters = 0, [], parameters
        self.needs: dict[int, tuple[int, np.dtype]] = {}
        self.seed = Value(Ref(KEY, 0, (1,), np.dtype(np.int64)))
        self.step = Value(Ref(KEY, 8, (1,), np.dtype(np.int64)))

    def empty(self, shape: Any, dtype: Any = None) -> Ref:
        """Return uninitialised memory of the thread."""
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        found = Ref(SCRATCH, self.used, tuple(shape), dtype)
        self.used += -(-found.size * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return found

    def zeros(self, shape: Any) -> Ref:
        """Return memory that is set to zero."""
        found = self.empty(shape)
        self.fill(found, 0.0)
        return found

    def fill(self, ref: Ref, value: float) -> None:
        """Set all values of an array."""
        if ref.size:
            self.run(whole_steps.fill, ref.flat(), value)

    def run(self, kernel: Any, *arguments: Any) -> None:
        """Write a call down."""
        for ref in refs(*arguments):
            if ref.region >= OWN:
                end = ref.at + ref.size * ref.dtype.itemsize
                self.needs[ref.region] = max(end, self.needs.get(ref.region, (0,))[0]), ref.dtype
        self.calls.append(self.library.call(kernel, *arguments))

    def words(self) -> list[int]:
        """Return the program."""
        return [len(self.calls), *(word for call in self.calls for word in call)]


def own(region: int, size: int, dtype: Any, *, readonly: bool = False) -> Ref:
    """Return an array that is all of a region."""
    return Ref(region, 0, (size,), np.dtype(dtype), readonly)


def feature_rows(call: Call, samples: int, size: int, layout) -> Rows:
    """Write down how the rows of a batch are taken from the values of all samples."""
    width = padded(size, call.dtype)
    rows = call.empty((layout.steps * layout.samples, width))
    inputs = own(INPUTS, samples * layout.steps * size, call.dtype)
    order = own(ORDER, layout.samples, np.int64)
    call.run(
        to_time_major, inputs, layout.samples, layout.steps, size, order, rows.flat(), width, 0, layout.samples
    )  # fmt: skip
    return Rows(rows, size)


def token_rows(call: Call, samples: int, size: int, layout) -> Rows:
    """Write down how the tokens of a batch are taken from those of all samples."""
    return Rows(gathered(call, INPUTS, samples, 1, np.int32, layout), size)


def gathered(call: Call, region: int, samples: int, columns: int, dtype: Any, layout) -> Ref:
    """Write down how rows of a batch, in time-major order, are taken from those of all samples."""
    chosen = call.empty((layout.steps * layout.samples * columns,), dtype)
    rows, order = own(region, samples * layout.steps * columns, dtype), own(ORDER, layout.samples, np.int64)
    call.run(whole_steps.gather_rows, rows, samples, columns, order, layout.steps, chosen)
    return chosen
