"""torch's modules and state dicts to models, and back."""

import copy
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

# Batches by which a conversion is compared with its source: samples and time steps, and a scale of larger inputs.
SMALL, LONG, SCALE = (3, 5), (2, 150), 10.0
DRAWS = 8  # of parameters, until one way on from the last recurrent part is left
SPREAD = 0.5  # of random biases and recurrent weights
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def from_torch(source, *, layers=None, input_size: int | None = None) -> Model:
    """Return the model of a torch module, or of a state dict and layers.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path-like
        A module: RNN, LSTM, GRU or one of their cells, a `Sequential`, or a module of the user's own whose parts are these with
        Embedding, Linear, Dropout, Tanh, ReLU, Sigmoid, Identity and a last Softmax or LogSoftmax. Its parts are taken in the
        order in which they were assigned, and what its ``forward`` goes on with after the last recurrent part (all steps, the last
        one, their mean or maximum, the final states) is found by running a copy of it and the model on a few batches, with its
        parameters and with random ones: a module whose outputs differ is refused.

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
    >>> weights = {"out.weight": np.ones((1, 3)), "out.bias": np.array([0.5])}
    >>> from_torch(weights, layers=[Dense(1)]).params["dense.bias"]
    array([0.5])

    >>> import torch  # doctest: +SKIP
    >>> class Tagger(torch.nn.Module):  # doctest: +SKIP
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.rnn = torch.nn.LSTM(5, 32, batch_first=True)
    ...         self.out = torch.nn.Linear(32, 3)
    ...
    ...     def forward(self, x):
    ...         return self.out(self.rnn(x)[0])
    >>> model = from_torch(Tagger())  # doctest: +SKIP
    >>> model = from_torch("tagger.safetensors", layers=[LSTM(32), Dense(3)])  # doctest: +SKIP
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
    >>> module = to_torch(Model([LSTM(32), Dense(3)], 5))  # doctest: +SKIP
    >>> outputs, state = module(torch.zeros(8, 20, 5))  # doctest: +SKIP
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
    try:
        probe = copy.deepcopy(source).eval()
    except Exception as error:  # whatever a module of the user's own raises
        raise _refused(f"it cannot be copied to be run beside the model ({_said(error)})") from error
    chain, softmax = _chain(torch, probe)
    chain.refuse_if_reasons()
    given, left = chain.model(input_size).signals[0], None
    for draw in range(1 + DRAWS):
        if draw:
            _redraw(torch, probe, draw)
            chain, _ = _chain(torch, probe)
        left = _matching(torch, probe, chain, input_size, _batches(torch, probe, given, draw), softmax, left)
        if draw and len(set(left.values())) == 1:
            chain, _ = _chain(torch, source)
            return list(chain.endings())[min(left)][1].model(input_size)
    raise _refused(
        "its outputs do not show what its forward goes on with after its last recurrent part; pass its state_dict() with layers="
    )


def _refused(reason):
    """Return the error of a module that is not converted."""
    return InteropError("the torch module cannot be converted:", [reason])


def _said(error):
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _chain(torch, module):
    """Return the chain of a module's parts, and its last softmax, if any."""
    chain = Chain("torch module")
    parts = list(_parts(torch, module, "", chain))
    softmax = parts[-1][1] if parts and isinstance(parts[-1][1], (torch.nn.Softmax, torch.nn.LogSoftmax)) else None
    for where, part in parts[:-1] if softmax is not None else parts:
        _add(torch, chain, where, part)
    return chain, softmax


def _redraw(torch, module, seed):
    """Draw the parameters of a module, so that what is 0 in the beginning, or constant, does not hide what its forward does.

    Weights are smaller where they are many: recurrent parts that amplify would amplify rounding, too, over many time steps.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                inputs = 1 if parameter.ndim < 2 or isinstance(part, torch.nn.Embedding) else parameter.shape[-1]
                spread = SPREAD if parameter.ndim < 2 or name.startswith("weight_hh") else 1.0
                values = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(values * spread / inputs**0.5)


def _batches(torch, module, signal, draw):
    """Return batches for a model's input; the first one is also the last, for modules that keep something between calls."""
    generator = np.random.default_rng(draw)
    if signal.tokens:
        batches = [generator.integers(0, signal.size, SMALL)]
        padding = {getattr(part, "padding_idx", None) for part in module.modules()} - {None} | {0}
        for token in sorted(padding):
            padded = generator.integers(0, signal.size, SMALL)
            padded[0, 3:] = padded[1, 1] = padded[2, :2] = token
            batches.append(padded)
    else:
        batches = [generator.standard_normal((*SMALL, signal.size))]
        batches.append(SCALE * generator.standard_normal((*SMALL, signal.size)))
    if draw:  # only then are weights known not to amplify rounding over many steps
        tokens = signal.tokens
        batches.append(
            generator.integers(0, signal.size, LONG) if tokens else generator.standard_normal((*LONG, signal.size))
        )
    return [*batches, batches[0]]


def _matching(torch, module, chain, input_size, batches, softmax, among):
    """Return the endings of a chain, as {index: key}, whose outputs are those of a module; refuse where there are none."""
    expected = [_run(torch, module, x) for x in batches]
    if isinstance(softmax, torch.nn.LogSoftmax):
        expected = [np.exp(y) for y in expected]
    found, least = {}, np.inf
    for index, (key, ending) in enumerate(chain.endings()):
        if among is not None and index not in among:
            continue
        try:
            model = ending.model(input_size)
        except InteropError:  # such as pooling after pooling
            continue
        difference = max(
            _difference(model.forward(x)[0] if softmax is None else model.predict_proba(x), y)
            for x, y in zip(batches, expected, strict=True)
        )
        least = min(least, difference)
        if difference <= TOLERANCE[model.dtype.name]:
            found[index] = key
    if not found:
        how = "are not" if least == np.inf else f"differ by {least:.1g} (relative) from"
        raise _refused(
            f"its outputs {how} those of its parts in order, so its forward does something else between them; pass its "
            "state_dict() with layers= where you know what"
        )
    return found


def _difference(found, expected):
    """Return how far outputs are apart, relative to the largest; infinity where they cannot be compared."""
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return np.inf
    return float(np.abs(found - expected).max() / (1.0 + np.abs(expected).max()))


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


def _run(torch, module, x):
    """Return the outputs of a module for a batch, samples first."""
    first = next(module.parameters(), None)
    recurrent = [part for part in module.modules() if isinstance(part, torch.nn.RNNBase)]
    steps_first = bool(recurrent) and not recurrent[0].batch_first
    options = {} if first is None or x.dtype.kind == "i" else {"dtype": first.dtype}
    tensor = torch.as_tensor(x, device=None if first is None else first.device, **options)
    try:
        with torch.no_grad():
            if isinstance(module, torch.nn.RNNCellBase):
                outputs, state = [], None
                for t in range(x.shape[1]):
                    state = module(tensor[:, t], state)
                    outputs.append(state[0] if isinstance(state, tuple) else state)
                found = torch.stack(outputs, dim=1)
            else:
                found = module(tensor.transpose(0, 1) if steps_first else tensor)
    except Exception as error:
        raise _refused(
            f"it does not run on a batch of shape {x.shape}, by which the conversion is checked ({_said(error)}); pass its "
            "state_dict() with layers="
        ) from error
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise _refused(f"its forward returns {type(found).__name__}, not a tensor first")
    found = _array(found)
    return found.swapaxes(0, 1) if steps_first and found.ndim == 3 else found


def _array(tensor) -> np.ndarray:
    """Return a tensor or an array as a NumPy array."""
    if "bfloat16" in (kind := str(getattr(tensor, "dtype", ""))) or "float8" in kind:
        raise InteropError(
            "the torch model cannot be converted:", [f"it has parameters of {kind}; convert it with .float()"]
        )
    try:
        return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:  # of meta, lazy and sparse tensors
        raise InteropError(
            "the torch model cannot be converted:", [f"it has parameters without an array ({_said(error)})"]
        ) from error


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
    except TypeError as error:  # dtypes that NumPy does not have
        raise InteropError(f"{path!r} cannot be converted:", [f"its arrays cannot be read: {error}"]) from None


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
