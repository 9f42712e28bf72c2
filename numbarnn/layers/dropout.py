"""Dropout between layers."""

from dataclasses import dataclass, field

from numbarnn.checks import check_flag, check_number
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.layers.base import Layer, layer


@layer
@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """In training, set every feature to zero with probability `rate` and divide the others by 1 - rate; else do nothing.

    Parameters
    ----------
    rate : float
        In [0, 1).
    name : str or None
    same_over_time : bool
        False: every step has a mask of its own. True: a sample has one mask for all its steps, so that a feature is there for the
        whole sequence or not at all (Gal & Ghahramani 2016; ``SpatialDropout1D`` and ``noise_shape=(samples, 1, features)`` of
        Keras). Either way there are new masks for every training step, and for every chunk of truncated back-propagation.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a number in [0, 1), or `same_over_time` not True or False.

    Notes
    -----
    A mask depends on the seed, the training step, the layer and the sample's index in its batch, not on lengths, padding or
    threads. For the recurrent product there is ``recurrent_dropout`` of the recurrent layers.

    References
    ----------
    Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014) 1929-1958.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import GRU, Dense, Dropout, Model
    >>> model = Model([GRU(8), Dropout(0.5, same_over_time=True), Dense(2)], input_size=3)
    >>> model.forward(np.ones((4, 10, 3)))[0].shape  # nothing is dropped outside of training
    (4, 10, 2)
    """

    rate: float = 0.5
    name: str | None = None
    same_over_time: bool = field(default=False, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        check_number("Dropout", "rate", self.rate, 0, 1, include_high=False)
        check_flag("Dropout", "same_over_time", self.same_over_time)

    def output(self, signal: Signal) -> Signal:
        if signal.tokens:
            raise ShapeError(f"Dropout needs features, got {signal}; put it after Embedding or a recurrent layer")
        return signal
