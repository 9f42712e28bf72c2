"""A description of a Keras model and its arrays to a model."""

from collections.abc import Callable
from functools import partial

from numbarnn.interop.chain import Chain
from numbarnn.interop.keras.description import layers_of
from numbarnn.interop.keras.layers import READERS
from numbarnn.interop.keras.part import Part
from numbarnn.model import Model

# As of a forged description, in which something is missing or of another type.
WRONG = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def model_of(description, weights: Callable[..., list]) -> Model:
    """Return the model of a description as in config.json; raise InteropError for what stands in the way.

    Parameters
    ----------
    description : dict
    weights : callable
        ``weights(name, *attributes)`` returns the arrays of a layer, or of a layer within it.
    """
    chain = Chain("Keras model")
    try:
        layers = layers_of(description, READERS, chain.reasons)
    except WRONG as error:
        chain.reasons.append(f"its description is not one of Keras 3 ({type(error).__name__}: {error})")
    chain.refuse_if_reasons()
    size, masked = None, None
    for index, (kind, config) in enumerate(layers):
        where = f"{config.get('name', index)!r} ({kind})"
        part = Part(chain, kind, config, where, partial(weights, config.get("name")), index == len(layers) - 1)
        try:
            if kind == "InputLayer":
                size = _input_size(part)
                continue
            if kind == "GlobalMaxPooling1D" and masked:
                raise ValueError(f"takes the maximum of masked steps too; numbarnn leaves out what {masked} masks")
            masked = where if kind == "Masking" or config.get("mask_zero") else masked
            part.check(config)
            if kind not in READERS:
                raise ValueError("has no counterpart in numbarnn")
            READERS[kind](part)
        except WRONG as error:
            chain.reasons += getattr(error, "reasons", None) or [f"{where}: {error}"]
    return chain.model(size)


def _input_size(part: Part) -> int | None:
    """Return the features of an input, None of tokens."""
    shape = part.config["batch_shape"]
    if len(shape) not in (2, 3):
        raise ValueError(f"it has the shape {shape}: (samples, time steps, features) and tokens are known")
    return shape[-1] if len(shape) == 3 else None
