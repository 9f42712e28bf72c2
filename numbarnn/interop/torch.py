"""torch's modules and state dicts to models, and back."""

import os
import sys
from collections.abc import Mapping

import numpy as np

from numbarnn.checks import brief, check_integer, to_list
from numbarnn.core.signal import Signal
from numbarnn.errors import InteropError
from numbarnn.interop.chain import Chain
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, Recurrent
from numbarnn.layers.base import Layer
from numbarnn.model import Model

SAMPLES, STEPS = 3, 5  # of the batch by which a conversion is compared with its source
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def from_torch(source, *, layers=None, input_size: int | None = None) -> Model:
    """Return the model of a torch module, or of a state dict and layers.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path-like
        A module: RNN, LSTM, GRU or one of their cells, a `Sequential`, or a module of the user's own whose parts are these with
        Embedding, Linear, Dropout, Tanh, ReLU, Sigmoid, Identity and a last Softmax or LogSoftmax. Its parts are taken in the
        order in which they were assigned, and what its ``forward`` goes on with after the last recurrent part (all steps, the last
        one, their mean or maximum, the final states) is found by running both on one small batch: a module whose outputs
        differ is refused.

        With `layers`: a state dict of tensors or arrays, or the path of a safetensors file with one. Nothing is run then.
    layers : sequence of Layer, optional
        Of a state dict, the layers of the model. Parameters are matched by the layers' names, where these are the first parts of
        the names in the state dict, else in order.
    input_size : int, optional
        Features of a step, where no layer has weights that tell it.

    Returns
    -------
    Model
        Of the parameters' dtype, float32 or float64. It reads (samples, time steps, features) whatever ``batch_first`` is. Softmax
        and LogSoftmax become `Model.predict_proba`: outputs are logits.

    Raises
    ------
    InteropError
        If the source has something that a numbarnn model cannot compute; `reasons` lists all of it.
    TypeError, ValueError
        If an argument has the wrong type or value.

    Examples
    --------
    >>> class Tagger(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.rnn = torch.nn.LSTM(5, 32, batch_first=True)
    ...         self.out = torch.nn.Linear(32, 3)
    ...
    ...     def forward(self, x):
    ...         return self.out(self.rnn(x)[0])
    >>> model = numbarnn.interop.from_torch(Tagger())
    >>> model = numbarnn.interop.from_torch("tagger.safetensors", layers=[LSTM(32), Dense(3)])
    """
    if input_size is not None:
        check_integer(input_size, "input_size", 1, 2**24)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        if layers is not None:
            raise ValueError(
                "layers must be left out with a module, whose parts say what they are; with layers=, pass its state_dict()"
            )
        return _from_module(torch, source, input_size)
    if isinstance(source, (str, os.PathLike)):
        source = _read(source)
    if not isinstance(source, Mapping):
        raise TypeError(f"source must be a torch module, a state dict or a path of one, got {brief(source)}")
    if layers is None:
        raise ValueError("layers must be given with a state dict, which has weights alone: layers=[LSTM(32), Dense(3)]")
    return _from_state_dict(source, to_list(layers, "layers", "layers"), input_size)


def to_torch(model: Model):
    """Return a torch module that computes what a model computes.

    Parameters
    ----------
    model : Model
        Of RNN ("tanh", "relu"), LSTM and GRU layers in either direction or both, Dense, Embedding, OneHot, Activation, Dropout
        and Pool.

    Returns
    -------
    torch.nn.Module
        Its ``forward(x, state=None, lengths=None)`` takes and returns tensors as `Model.forward` does arrays: (samples, time
        steps, features) first, then states by layer. Parameters have the model's names. It trains as any module.

    Raises
    ------
    InteropError
        If a layer has no counterpart in torch; `reasons` lists all of them.
    ModuleNotFoundError
        If torch is not installed.

    Examples
    --------
    >>> module = numbarnn.interop.to_torch(model)
    >>> outputs, state = module(torch.zeros(8, 20, 5))
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_torch needs torch: pip install torch") from None
    from numbarnn.interop.torch_module import RecurrentModule, reasons_against

    reasons = reasons_against(model)
    if reasons:
        raise InteropError("the model cannot be converted to torch:", reasons)
    return RecurrentModule(model)


# From modules


def _from_module(torch, source, input_size):
    """Return the model of a module, once its outputs are those of the module."""
    chain = Chain("torch module")
    parts = list(_parts(torch, source, "", chain))
    scaled = bool(parts) and isinstance(parts[-1][1], (torch.nn.Softmax, torch.nn.LogSoftmax))
    for where, part in parts[:-1] if scaled else parts:
        _add(torch, chain, where, part)
    chain.refuse_if_reasons()
    given = chain.model(input_size).signals[0]
    x = _batch(given)
    recurrent = [part for _, part in parts if isinstance(part, torch.nn.RNNBase)]
    steps_first = bool(recurrent) and not recurrent[0].batch_first
    expected = _run(torch, source, x, steps_first)
    least = np.inf
    for ending in chain.endings():
        try:
            model = ending.model(input_size)
        except InteropError:  # such as pooling after pooling
            continue
        found = _result(model, x, parts[-1][1] if scaled else None, torch)
        theirs = expected.swapaxes(0, 1) if steps_first and expected.ndim == 3 else expected
        if found.shape != theirs.shape:
            continue
        difference = float(np.abs(found - theirs).max() / (1.0 + np.abs(theirs).max()))
        if difference <= TOLERANCE[model.dtype.name]:
            return model
        least = min(least, difference)
    found = "have another shape than" if least == np.inf else f"differ by {least:.1g} (relative) from"
    raise InteropError(
        "the torch module cannot be converted:",
        [
            f"its outputs {found} those of its parts in order, so its forward does something else between them; pass its "
            "state_dict() with layers= where you know what"
        ],
    )


def _parts(torch, module, where, chain):
    """Yield the parts of a module that are converted, with their names."""
    if isinstance(module, _kinds(torch)):
        yield where, module
        return
    own = [name for name, _ in module.named_parameters(recurse=False)]
    children = list(module.named_children())
    if own or not children:
        what = f"has parameters of its own ({', '.join(own)})" if own and children else "has no counterpart in numbarnn"
        chain.reasons.append(f"{where or 'the module'} ({type(module).__name__}) {what}")
        return
    for name, child in children:
        yield from _parts(torch, child, f"{where}.{name}" if where else name, chain)


def _kinds(torch):
    nn = torch.nn
    return (
        nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.Embedding, nn.Linear, nn.Dropout, nn.Tanh, nn.ReLU,
        nn.Sigmoid, nn.Identity, nn.Softmax, nn.LogSoftmax,
    )  # fmt: skip


def _add(torch, chain, where, part):
    """Append a part to a chain."""
    nn = torch.nn
    arrays = {name: _array(tensor) for name, tensor in part.state_dict().items()}
    named = f"{where or 'the module'} ({type(part).__name__})"
    if isinstance(part, nn.Identity):
        return
    if isinstance(part, (nn.Softmax, nn.LogSoftmax)):
        chain.reasons.append(f"{named} is not the last part; probabilities are made of the outputs alone")
        return
    if isinstance(part, (nn.RNNBase, nn.RNNCellBase)):
        _add_recurrent(torch, chain, named, part, arrays)
        return
    if isinstance(part, nn.Embedding):
        if part.max_norm is not None:
            chain.reasons.append(f"{named} renormalizes its vectors (max_norm={part.max_norm:g})")
        layer = chain.make(named, Embedding, part.num_embeddings, part.embedding_dim)
    elif isinstance(part, nn.Linear):
        layer = chain.make(named, Dense, part.out_features, part.bias is not None)
    elif isinstance(part, nn.Dropout):
        layer = chain.make(named, Dropout, float(part.p))
    else:
        layer = Activation(type(part).__name__.lower())
    if layer is not None:
        chain.add(layer, **arrays)


def _add_recurrent(torch, chain, named, part, arrays):
    """Append a recurrent part to a chain."""
    nn = torch.nn
    if getattr(part, "proj_size", 0):
        chain.reasons.append(f"{named} projects its states (proj_size={part.proj_size})")
        return
    kind = next(kind for kind in (RNN, LSTM, GRU) if isinstance(part, _classes(nn, kind)))
    options = {"bias": bool(part.bias)} | ({"activation": part.nonlinearity} if kind is RNN else {})
    if isinstance(part, nn.RNNBase):
        options |= {
            "num_layers": part.num_layers,
            "bidirectional": part.bidirectional,
            "dropout": float(part.dropout) if part.num_layers > 1 else 0.0,
        }
    else:
        arrays = {f"{name}_l0": array for name, array in arrays.items()}
    layer = chain.make(named, kind, part.hidden_size, **options)
    if layer is not None:
        chain.add(layer, **arrays)


def _classes(nn, kind):
    """Return torch's classes of a recurrent layer."""
    return getattr(nn, kind.__name__), getattr(nn, f"{kind.__name__}Cell")


def _batch(signal):
    """Return a small batch for a model's input."""
    generator = np.random.default_rng(0)
    if signal.tokens:
        return generator.integers(0, signal.size, (SAMPLES, STEPS))
    return generator.standard_normal((SAMPLES, STEPS, signal.size))


def _run(torch, source, x, steps_first):
    """Return the outputs of a module for a batch, in evaluation; its modes stay as they were."""
    first = next(source.parameters(), None)
    options = {} if first is None or x.dtype.kind == "i" else {"dtype": first.dtype}
    tensor = torch.as_tensor(x, device=None if first is None else first.device, **options)
    modes = [(module, module.training) for module in source.modules()]
    try:
        source.eval()
        with torch.no_grad():
            if isinstance(source, torch.nn.RNNCellBase):
                outputs, state = [], None
                for t in range(x.shape[1]):
                    state = source(tensor[:, t], state)
                    outputs.append(state[0] if isinstance(state, tuple) else state)
                found = torch.stack(outputs, dim=1)
            else:
                found = source(tensor.transpose(0, 1) if steps_first else tensor)
    except Exception as error:
        raise InteropError(
            "the torch module cannot be converted:",
            [
                f"it does not run on one batch of shape {tuple(x.shape)}, by which the conversion is checked "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); pass its state_dict() with layers="
            ],
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise InteropError(
            "the torch module cannot be converted:", [f"its forward returns {type(found).__name__}, not a tensor first"]
        )
    return _array(found)


def _result(model, x, softmax, torch):
    """Return what a model gives for a batch, as the module whose last part is a softmax does."""
    if softmax is None:
        return model.forward(x)[0]
    probabilities = model.predict_proba(x)
    return np.log(probabilities) if isinstance(softmax, torch.nn.LogSoftmax) else probabilities


def _array(tensor) -> np.ndarray:
    """Return a tensor or an array as a NumPy array; tensors of dtypes that NumPy does not have as float32."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if "bfloat16" in str(tensor.dtype) or "float8" in str(tensor.dtype):
            raise InteropError(
                "the torch model cannot be converted:",
                [f"it has parameters of {tensor.dtype}; convert it with .float()"],
            )
        return tensor.numpy()
    return np.asarray(tensor)


# From state dicts


def _read(path):
    """Return the arrays of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = os.fspath(path)
    if path.endswith((".pt", ".pth", ".bin", ".ckpt", ".pkl")):
        raise ValueError(
            f"{path!r} is a pickle, which may run code when it is read; read it yourself, where you trust it: "
            "from_torch(torch.load(path, weights_only=True), layers=[...])"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InteropError(f"{path!r} cannot be converted:", [f"it is not a safetensors file: {error}"]) from None


def _from_state_dict(values, layers, input_size):
    """Return the model of layers with the weights of a state dict."""
    groups: dict[str, dict] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"source must have names of parameters as keys, got {brief(name)}")
        prefix, _, last = name.rpartition(".")
        groups.setdefault(prefix, {})[last] = _array(value)
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{index}] must be a numbarnn layer, got {brief(layer)}")
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
    tokens = type(layer).__name__ in ("OneHot", "Embedding", "EmbeddingBag")
    return {spec.name for spec in layer.specs(Signal(size if tokens else 1, tokens=tokens))}
