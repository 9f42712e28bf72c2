"""What every conversion checks and refuses in the same way: packages that are missing, arguments, layers without a counterpart."""

import importlib
from collections.abc import Iterable

from numbarnn.checks import brief
from numbarnn.errors import InteropError
from numbarnn.layers.base import Layer
from numbarnn.model import Model

# Files of torch.save and of pickle: never read, since reading them may run code.
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def package(name: str, function: str, install: str):
    """Return a package that a conversion needs; raise ModuleNotFoundError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{function} needs {name}: pip install {install}") from None


def check_model(model) -> None:
    """Raise TypeError unless the argument is a model."""
    if not isinstance(model, Model):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")


def check_layers(layers) -> None:
    """Raise TypeError unless the argument `layers` has layers alone."""
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{index}] must be a numbarnn layer, got {brief(layer)}")


def refuse_if(reasons: Iterable[str], target: str) -> None:
    """Raise InteropError if anything of a model has no counterpart in another package."""
    reasons = list(reasons)
    if reasons:
        raise InteropError(f"the model cannot be converted to {target}:", reasons)


def named_layers(model: Model) -> Iterable[tuple[str, Layer]]:
    """Yield what a layer is called in a refusal, and the layer."""
    for name, layer in zip(model.names, model.layers, strict=True):
        yield f"{name} ({type(layer).__name__})", layer
