"""Layers for tokens: a learned vector for each, or its one-hot vector."""

from dataclasses import dataclass

from numbarnn.checks import check_number
from numbarnn.core import initializers
from numbarnn.core.params import ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.layers.base import Layer, layer


def _check_tokens(owner, vocabulary, signal):
    if not signal.tokens:
        raise ShapeError(f"{owner} takes integer tokens, got {signal}; it must be the first layer of its model")
    if signal.size != vocabulary:
        raise ShapeError(f"{owner} has a vocabulary of {vocabulary}, its input one of {signal.size}")


@layer
@dataclass(frozen=True, repr=False)
class OneHot(Layer):
    """A token as its one-hot vector (the lecture's 1-of-k code), which is never made: the next layer gathers columns instead.

    Parameters
    ----------
    size : int
        Size of the vocabulary.
    name : str or None

    Raises
    ------
    TypeError, ValueError
        If `size` is not a positive integer.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import GRU, Model, OneHot
    >>> model = Model([OneHot(4), GRU(8)])
    >>> model.forward(np.array([[2, 0]]))[0].shape
    (1, 2, 8)
    """

    size: int
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        check_number("OneHot", "size", self.size, 1, 2**31 - 1, kind=int)

    def output(self, signal: Signal) -> Signal:
        _check_tokens("OneHot", self.size, signal)
        return signal


@layer
@dataclass(frozen=True, repr=False)
class Embedding(Layer):
    """A learned vector for every token.

    Parameters
    ----------
    size : int
        Size of the vocabulary.
    features : int
        Length of the vectors.
    init : str
        "normal" (standard normal, as in torch) or a scheme of `numbarnn.core.initializers`.
    name : str or None
        Prefix of the parameter's name ``weight`` (size, features).

    Raises
    ------
    TypeError, ValueError
        If `size` or `features` is not a positive integer, or `init` not a scheme.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import GRU, Embedding, Model
    >>> model = Model([Embedding(100, 8), GRU(16)])
    >>> model.forward(np.array([[3, 99, 0]]))[0].shape
    (1, 3, 16)
    """

    size: int
    features: int
    init: str = "normal"
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        check_number("Embedding", "size", self.size, 1, 2**31 - 1, kind=int)
        check_number("Embedding", "features", self.features, 1, 2**24, kind=int)
        if not (isinstance(self.init, str) and self.init == "normal"):
            initializers.scheme(self.init, self.features)

    def output(self, signal: Signal) -> Signal:
        _check_tokens("Embedding", self.size, signal)
        return Signal(self.features, sequence=signal.sequence)

    def specs(self, signal: Signal) -> list[ParamSpec]:
        if self.init == "normal":
            return [ParamSpec("weight", (self.size, self.features), lambda g, shape: g.standard_normal(shape))]
        return [ParamSpec("weight", (self.size, self.features), initializers.scheme(self.init, self.features).input)]


@layer
@dataclass(frozen=True, repr=False)
class EmbeddingBag(Layer):
    """The sum of the learned vectors of several tokens a step: y_t = sum over k of weight[x_tk].

    So a word may be known by itself, its ending and its spelling at once (`numbarnn.data.WordFeatures`). The input has shape
    (samples, time steps, bag); a token of -1 adds nothing. `torch.nn.EmbeddingBag` with ``mode="sum"``, for every step.

    Parameters
    ----------
    size, features : int
        As of `Embedding`.
    bag : int
        Tokens a step.
    init, name : str
        As of `Embedding`.

    Raises
    ------
    TypeError, ValueError
        If `size`, `features` or `bag` is not a positive integer, or `init` not a scheme.

    References
    ----------
    P. Bojanowski et al., "Enriching word vectors with subword information", TACL 5 (2017), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import GRU, EmbeddingBag, Model
    >>> model = Model([EmbeddingBag(100, 8, bag=3), GRU(16)])
    >>> model.forward(np.zeros((2, 5, 3), int))[0].shape  # from (samples, time steps, tokens of a step)
    (2, 5, 16)
    """

    size: int
    features: int
    bag: int
    init: str = "normal"
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        Embedding(self.size, self.features, self.init)
        check_number("EmbeddingBag", "bag", self.bag, 1, 2**20, kind=int)

    def output(self, signal: Signal) -> Signal:
        _check_tokens("EmbeddingBag", self.size, signal)
        return Signal(self.features, sequence=signal.sequence)

    specs = Embedding.specs  # its table is that of one token a step
