"""From a sequence to one vector."""

from dataclasses import dataclass

from numbarnn.checks import check_choice
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.layers.base import Layer, layer

KINDS = ("mean", "max", "last")


@layer
@dataclass(frozen=True, repr=False)
class Pool(Layer):
    """One vector a sample from its valid steps: their mean, the maximum of each feature, or the last step.

    Parameters
    ----------
    kind : {"mean", "max", "last"}
    name : str or None

    Notes
    -----
    A sample of length 0 gives zeros. The gradient of a maximum goes to the first step that has it. After a bidirectional layer the
    last step has seen all of the sequence in one direction and one step in the other; ``return_sequences=False`` of the
    recurrent layer gives the end of each direction instead. A pooled model has no single steps (`Model.step`).

    Raises
    ------
    ValueError
        If `kind` is not one of the three.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import GRU, Dense, Model, Pool
    >>> model = Model([GRU(8), Pool("mean"), Dense(2)], input_size=3)
    >>> model.forward(np.ones((4, 10, 3)), lengths=[10, 3, 5, 1])[0].shape
    (4, 2)
    """

    kind: str = "mean"
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        check_choice(self.kind, "Pool: kind", KINDS)

    def output(self, signal: Signal) -> Signal:
        if signal.tokens or not signal.sequence:
            raise ShapeError(f"Pool needs a sequence of features, got {signal}")
        return Signal(signal.size, sequence=False)
