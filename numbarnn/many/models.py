"""The check of an argument `models`."""

from typing import Any

from numbarnn.checks import brief, to_list
from numbarnn.network.network import Network


def check_models(models: Any) -> list[Network]:
    """Return models as a list.

    Raises
    ------
    TypeError
        If they are not a list or another collection of models.
    ValueError
        If there are none, one of them comes twice, or their architectures differ.
    """
    found = to_list(models, "models", "models")
    if not found:
        raise ValueError("models must have at least one model, got none")
    for index, model in enumerate(found):
        if not isinstance(model, Network):
            raise TypeError(f"models[{index}] must be a numbarnn.Model, got {brief(model)}")
        if any(model is other for other in found[:index]):
            raise ValueError(
                f"models[{index}] is an object that models has before: each net needs a model of its own, such as "
                "Model(layers, input_size, seed=...)"
            )
        own, first = (_architecture(model) for model in (model, found[0]))
        if own != first:
            name, given, expected = next((name, own[name], first[name]) for name in own if own[name] != first[name])
            raise ValueError(
                f"models must be of one architecture: {name} of models[{index}] is {given}, that of models[0] is {expected}"
            )
    return found


def _architecture(model):
    return {
        "layers": list(model.layers),
        "input_size": model.signals[0].size,
        "dtype": model.dtype.name,
        "device": model.device,
    }
