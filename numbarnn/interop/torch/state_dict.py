"""State dicts, and layers that say what their parameters are, to models."""

import os

from numbarnn.checks import brief, check_file
from numbarnn.core.signal import Signal
from numbarnn.errors import InteropError
from numbarnn.interop.chain import Chain, reads_tokens
from numbarnn.interop.refusal import PICKLES, check_layers
from numbarnn.interop.torch.arrays import array_of
from numbarnn.layers import Recurrent
from numbarnn.model import Model


def read(path) -> dict:
    """Return the arrays of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = os.fspath(path)
    if path.endswith(PICKLES):
        raise ValueError(
            f"{path!r} is a pickle, which may run code when it is read; read it yourself, where you trust it: "
            "from_torch(torch.load(path, weights_only=True), layers=[...])"
        )
    check_file(path, "source")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InteropError(f"{path!r} cannot be converted:", [f"it is not a safetensors file: {error}"]) from None
    except TypeError as error:  # dtypes that NumPy does not have
        raise InteropError(f"{path!r} cannot be converted:", [f"its arrays cannot be read: {error}"]) from None


def model_of_state_dict(values, layers, input_size) -> Model:
    """Return the model of layers with the weights of a state dict."""
    groups: dict[str, dict] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"source must have names of parameters as keys, got {brief(name)}")
        prefix, _, last = name.rpartition(".")
        groups.setdefault(prefix, {})[last] = array_of(value)
    check_layers(layers)
    chain = Chain("state dict")
    named = {layer.name for layer in layers if layer.name in groups}
    rest = iter([prefix for prefix in groups if prefix not in named])
    for index, layer in enumerate(layers):
        wanted = _wanted(layer)
        if not wanted:
            chain.add(layer)
            continue
        prefix = layer.name if layer.name in named else next(rest, None)
        where = f"layers[{index}] ({type(layer).__name__})"
        if prefix is None:
            chain.reasons.append(f"{where} has parameters, and the state dict has none left for it")
            continue
        group = groups[prefix]
        if isinstance(layer, Recurrent) and set(group) == {name.removesuffix("_l0") for name in wanted}:  # of a cell
            group = {f"{name}_l0": array for name, array in group.items()}
        missing, unknown = sorted(wanted - set(group)), sorted(set(group) - wanted)
        if missing or unknown:
            chain.reasons.append(
                f"{where} does not have the parameters of {prefix or 'the state dict'!r}: missing "
                f"{', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}"
            )
        chain.add(layer, **group)
    left = list(rest)
    if left:
        chain.reasons.append(f"the state dict has parameters that no layer takes: {', '.join(map(repr, left))}")
    chain.refuse_if_reasons()
    return chain.model(input_size)


def _wanted(layer):
    """Return the names of a layer's parameters, which do not depend on its input."""
    size = getattr(layer, "size", 1)
    tokens = reads_tokens(layer)
    return {spec.name for spec in layer.specs(Signal(size if tokens else 1, tokens=tokens))}
