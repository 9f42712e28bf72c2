"""What an importer gathers from a foreign model: layers in order, their arrays, and what cannot be converted."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from numbarnn.errors import InteropError, ShapeError
from numbarnn.layers import Activation, Dense, Dropout, Embedding, EmbeddingBag, OneHot, Pool, Recurrent
from numbarnn.layers.base import Layer
from numbarnn.model import Model


def reads_tokens(layer: Layer) -> bool:
    """Return whether a layer reads tokens, not features."""
    return isinstance(layer, (OneHot, Embedding, EmbeddingBag))


@dataclass
class Chain:
    """Layers of a foreign model, one after another.

    Attributes
    ----------
    what : str
        The foreign model, in messages.
    layers : list of Layer
    arrays : list of dict
        Of each layer, parameters by name.
    reasons : list of str
        What cannot be converted.
    """

    what: str
    layers: list[Layer] = field(default_factory=list)
    arrays: list[dict] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, layer: Layer, **arrays: np.ndarray) -> None:
        """Append a layer with its parameters."""
        self.layers.append(layer)
        self.arrays.append(arrays)

    def make(self, where: str, kind, *options, **more):
        """Return a layer of a class; None, with the reason noted, where its options are out of range."""
        try:
            return kind(*options, **more)
        except (TypeError, ValueError) as error:
            self.reasons.append(f"{where}: {error}")
            return None

    def refuse_if_reasons(self) -> None:
        """Raise InteropError if anything stands in the way."""
        if self.reasons:
            raise InteropError(f"the {self.what} cannot be converted:", dict.fromkeys(self.reasons))

    def model(self, input_size: int | None = None) -> Model:
        """Return the model of the layers; raise InteropError for what stands in the way."""
        dtypes = {array.dtype.name for arrays in self.arrays for array in arrays.values()}
        if not self.layers and not self.reasons:
            self.reasons.append("it has no layers")
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            self.reasons.append(
                f"its parameters have the dtypes {', '.join(sorted(dtypes))}; convert all to float32 or to float64"
            )
        self.refuse_if_reasons()
        if input_size is None:
            input_size = self.input_size()
        try:
            model = Model.without_weights(
                self.layers, input_size, dtypes.pop() if dtypes else "float32", 0, None, "cpu"
            )
            model.params.load(self.named(model))
        except (KeyError, TypeError, ValueError) as error:
            raise InteropError(f"the {self.what} cannot be converted:", [str(error)]) from error
        return model

    def named(self, model: Model) -> dict[str, np.ndarray]:
        """Return the parameters by their names in a model of the layers."""
        return {
            f"{layer}.{name}": array
            for layer, arrays in zip(model.names, self.arrays, strict=True)
            for name, array in arrays.items()
        }

    def input_size(self) -> int | None:
        """Return the features of a step, as the first layer with weights has them; None of tokens."""
        if reads_tokens(self.layers[0]):
            return None
        for arrays in self.arrays:
            for name in ("weight_ih_l0", "weight_ih_l0_reverse", "weight"):
                if name in arrays and arrays[name].ndim == 2:
                    return arrays[name].shape[1]
        raise ShapeError("input_size, the number of features of a step, must be given: no layer has weights to tell it")

    def endings(self) -> Iterable[tuple[tuple, "Chain"]]:
        """Yield the chain as it is, and those that go on from the last recurrent layer with one vector a sample.

        With each comes a key; chains of the same key compute the same function.
        """
        yield ("all",), self
        recurrent = [index for index, layer in enumerate(self.layers) if isinstance(layer, Recurrent)]
        if not recurrent:
            return
        last, end = recurrent[-1], len(self.layers)
        layers = list(self.layers)
        layers[last] = replace(layers[last], return_sequences=False)
        yield ("last",) if layers[last].causal else ("final",), replace(self, layers=layers)
        after = self.layers[last + 1 :]
        affine = all(
            isinstance(layer, Dropout) or (isinstance(layer, Dense) and not layer.activation) for layer in after
        )
        monotone = all(isinstance(layer, (Activation, Dropout)) for layer in after)
        commutes = {"last": True, "mean": affine, "max": monotone}
        for position in dict.fromkeys((last + 1, end)):
            for kind in ("last", "mean", "max"):
                layers, arrays = list(self.layers), list(self.arrays)
                layers.insert(position, Pool(kind))
                arrays.insert(position, {})
                key = (kind,) if commutes[kind] else (kind, position)
                yield key, replace(self, layers=layers, arrays=arrays)
