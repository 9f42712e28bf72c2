"""Keras 3 models and files to models, and back."""

import io as memory
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from numbarnn import io
from numbarnn.checks import brief, to_list
from numbarnn.errors import InteropError
from numbarnn.interop.chain import Chain
from numbarnn.interop.gates import KERAS, OURS, reordered
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, OneHot, Pool, Recurrent
from numbarnn.layers.base import Layer
from numbarnn.model import Model

RECURRENT = {"SimpleRNN": RNN, "LSTM": LSTM, "GRU": GRU}
ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "logistic", "linear": "identity"}
KNOWN = {
    *RECURRENT, "Bidirectional", "TimeDistributed", "Dense", "Embedding", "Dropout", "SpatialDropout1D", "Activation", "ReLU",
    "Softmax", "Masking", "InputLayer", "GlobalAveragePooling1D", "GlobalMaxPooling1D",
}  # fmt: skip
POOLING = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
IDENTITY = 4096  # vocabulary up to which one-hot vectors become the rows of an identity matrix
# A file may not unfold into more memory than this for every byte of it, and besides.
UNFOLDED, SPARE = 4, 2**24
MOST = 4  # arrays of a layer


def from_keras(source, *, layers=None) -> Model:
    """Return the model of a Keras 3 model, ``.keras`` file or ``.weights.h5`` file.

    Known are SimpleRNN, LSTM, GRU (both ``reset_after``), Bidirectional, Embedding, Dense, TimeDistributed(Dense), Activation,
    Dropout, SpatialDropout1D, Masking, GlobalAveragePooling1D and GlobalMaxPooling1D, in a Sequential or in a functional model that
    is a chain.

    Parameters
    ----------
    source : keras.Model or path-like
        Files are read by h5py alone: Keras need not be installed, and nothing in a file is run.
    layers : sequence of Layer, optional
        Of a ``.weights.h5`` file, which has no description: the layers of the model. Of recurrent layers with two biases the second
        one is 0.

    Returns
    -------
    Model
        A mask of Keras is `lengths` here: where ``mask_zero`` or Masking pads samples at their end, pass
        ``lengths=(x != 0).sum(axis=1)``. Outputs past them are 0. A last softmax becomes `Model.predict_proba`.

    Raises
    ------
    InteropError
        If something cannot be computed by a numbarnn model; `reasons` lists all of it.
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If h5py is not installed, and the source is a file.

    Examples
    --------
    >>> model = from_keras("tagger.keras")  # doctest: +SKIP
    >>> model = from_keras("tagger.weights.h5", layers=[LSTM(32), Dense(3)])  # doctest: +SKIP
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if path.endswith((".h5", ".hdf5")):
            if layers is None:
                raise ValueError("layers must be given with a file of weights alone: layers=[LSTM(32), Dense(3)]")
            return _from_weights(path, to_list(layers, "layers", "layers"))
        if layers is not None:
            raise ValueError("layers must be left out with a .keras file, which says what its layers are")
        return _from_file(path)
    if layers is not None:
        raise ValueError("layers must be left out with a model, which says what its layers are")
    if not hasattr(source, "to_json") or not hasattr(source, "get_layer"):
        raise TypeError(f"source must be a Keras model or the path of a file, got {brief(source)}")

    def weights(name: str, *inner: str) -> list[np.ndarray]:
        layer = source.get_layer(name)
        for attribute in inner:
            layer = getattr(layer, attribute)
        return [np.asarray(array) for array in layer.get_weights()]

    return _model(json.loads(source.to_json()), weights)


def to_keras(model: Model, path: str | os.PathLike | None = None):
    """Return the Keras model of a model, and write it to a ``.keras`` file where a path is given.

    Parameters
    ----------
    model : Model
        Of RNN, LSTM and GRU layers, Dense, Embedding, OneHot, Activation, Dropout and Pool ("mean", "max").
    path : path-like, optional

    Returns
    -------
    keras.Sequential
        Where an LSTM or RNN has two biases, Keras' one is their sum, rounded. One-hot vectors are rows of an identity matrix.

    Raises
    ------
    InteropError
        If a layer has no counterpart in Keras; `reasons` lists all of them.
    ModuleNotFoundError
        If Keras, or the package it computes with, is not installed.

    Examples
    --------
    >>> to_keras(Model([LSTM(32), Dense(3)], 5), "tagger.keras").summary()  # doctest: +SKIP
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}")
    if path is not None and not os.fspath(path).endswith(".keras"):
        raise ValueError(f"path must end in .keras, got {brief(os.fspath(path))}")
    try:
        import keras
    except ModuleNotFoundError:
        raise ModuleNotFoundError("to_keras needs keras: pip install 'numbarnn[keras]'") from None
    reasons = list(_reasons_against(model))
    if reasons:
        raise InteropError("the model cannot be converted to Keras:", reasons)
    result = _sequential(keras, model)
    if path is not None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "model.keras")
            result.save(file)
            with open(file, "rb") as written:
                io.replace(path, written.read())
    return result


# Descriptions


def _model(description, weights: Callable[..., list]) -> Model:
    """Return the model of a description as in config.json; `weights(name, *attributes)` returns arrays of a layer."""
    chain = Chain("Keras model")
    try:
        layers = _layers(description, chain)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # as of a forged file
        chain.reasons.append(f"its description is not one of Keras 3 ({type(error).__name__}: {error})")
        layers = []
    chain.refuse_if_reasons()
    size, masked = None, None
    for index, (kind, config) in enumerate(layers):
        where = f"{config.get('name', index)!r} ({kind})"
        try:
            if kind == "InputLayer":
                size = _input_size(config, where, chain)
            elif kind == "GlobalMaxPooling1D" and masked:
                raise ValueError(f"takes the maximum of masked steps too; numbarnn leaves out what {masked} masks")
            else:
                masked = where if kind == "Masking" or config.get("mask_zero") else masked
                _add(chain, kind, config, where, weights, last=index == len(layers) - 1)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reasons = getattr(error, "reasons", None) or [f"{where}: {error}"]
            chain.reasons += reasons
    return chain.model(size)


def _layers(description, chain) -> list:
    """Return the layers of a description in order, as (class name, config)."""
    kind, config = description["class_name"], description["config"]
    for layer in config["layers"]:
        if layer["class_name"] in KNOWN:  # the others are refused by name
            chain.reasons += _reasons_not_own(layer, repr(layer["config"]["name"]))
    found = [(layer["class_name"], dict(layer["config"])) for layer in config["layers"]]
    if kind in ("Sequential", "Functional", "Model"):
        chain.reasons += _reasons_not_own(description, "the model")
    if kind == "Sequential":
        for _, config in found:
            if config.get("return_state") or config.get("layer", {}).get("config", {}).get("return_state"):
                chain.reasons.append(f"{config['name']!r} gives states beside its outputs (return_state=True)")
        return found
    if kind not in ("Functional", "Model"):
        chain.reasons.append(f"it is a {kind}: Sequential and functional models are known")
        return []
    return _followed(config, chain)


def _reasons_not_own(description, where) -> list[str]:
    """Return why a class is not Keras' own, whatever its name."""
    kind, module, registered = (description.get(key) for key in ("class_name", "module", "registered_name"))
    if isinstance(module, str) and f"{module}.".startswith("keras.") and registered in (None, kind):
        return []
    return [f"{where} is not of Keras' own class {kind}"]


def _followed(config, chain) -> list:
    """Return the layers of a functional model from its input to its output; note what is not a chain."""
    layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    masks = _masks(layers)
    outputs = _history(config["output_layers"])
    if len(outputs) != 1:
        chain.reasons.append(f"it has {len(outputs)} outputs; numbarnn has chains with one")
        return []
    order, (name, index) = [], outputs[0]
    while len(order) <= len(layers):
        layer = layers[name]
        order.insert(0, (layer["class_name"], dict(layer["config"])))
        where = f"{name!r} ({layer['class_name']})"
        if index != 0:
            chain.reasons.append(f"{where}: its output {index} is taken, which is a state")
        nodes = layer["inbound_nodes"]
        if len(nodes) > 1:
            chain.reasons.append(f"{where} is used {len(nodes)} times; numbarnn has chains of layers")
            return []
        if not nodes:
            break
        inputs, more = _tensors(nodes[0]["args"]), nodes[0].get("kwargs", {})
        others = [other for other, _ in _tensors(more) if other not in masks]
        if more.get("training"):
            chain.reasons.append(f"{where} is called with training={more['training']!r}")
        if len(inputs) != 1 or others:
            chain.reasons.append(f"{where} has {len(inputs) + len(others)} inputs; numbarnn has chains of layers")
            return []
        name, index = inputs[0]
    left = [name for name in layers if name not in masks and name not in {config["name"] for _, config in order}]
    if left:
        chain.reasons.append(f"layers beside the chain: {', '.join(map(repr, left))}")
    return order


def _masks(layers) -> set:
    """Return the operations that compute the mask of a Masking or Embedding layer of a functional model."""
    made, masks = [], set()
    for layer in layers.values():
        kind, config = layer["class_name"], layer["config"]
        if kind == "Masking" or (kind == "Embedding" and config.get("mask_zero")):
            made += [(_tensors(node["args"]), config.get("mask_value", 0), kind) for node in layer["inbound_nodes"]]
    compared = {}
    for name, layer in layers.items():
        if layer["class_name"] == "NotEqual" and not _reasons_not_own(layer, name):
            (node,) = layer["inbound_nodes"]
            inputs, (_, value) = _tensors(node["args"]), node["args"]
            kinds = {kind for given, mask, kind in made if given == inputs and mask == value}
            compared |= {name: kinds} if kinds else {}
            masks |= {name} if kinds else set()
    for name, layer in layers.items():
        if layer["class_name"] == "Any" and not _reasons_not_own(layer, name):
            (node,) = layer["inbound_nodes"]
            ((given, _),) = _tensors(node["args"])
            over = layer["config"].get("axis")
            if "Masking" in compared.get(given, ()) and over in (-1, [-1]) and not layer["config"].get("keepdims"):
                masks.add(name)
    return masks


def _history(outputs):
    """Return the (layer, index) pairs of the outputs of a model."""
    if len(outputs) == 3 and isinstance(outputs[0], str):
        return [(outputs[0], outputs[2])]
    return [(name, index) for name, _, index in outputs]


def _tensors(value) -> list:
    """Return the (layer, index) pairs of the tensors within a value."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, _, index = value["config"]["keras_history"]
            return [(name, index)]
        value = list(value.values())
    return [pair for item in value for pair in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _input_size(config, where, chain):
    """Return the features of an input, None of tokens."""
    shape = config["batch_shape"]
    if len(shape) not in (2, 3):
        chain.reasons.append(f"{where} has the shape {shape}: (samples, time steps, features) and tokens are known")
    return shape[-1] if len(shape) == 3 else None


# Layers


def _add(chain, kind, config, where, weights, last):
    """Append the layers of one of Keras."""
    name = config.get("name")
    _check(config, where, chain)
    if kind in RECURRENT:
        _add_recurrent(chain, kind, config, where, [weights(name)])
    elif kind == "Bidirectional":
        _add_bidirectional(chain, config, where, weights)
    elif kind == "TimeDistributed":
        inner = config["layer"]
        if inner["class_name"] != "Dense":
            raise ValueError(f"of {inner['class_name']}: Dense is known")
        chain.reasons += _reasons_not_own(inner, f"the layer of {where}")
        _check(inner["config"], where, chain)
        _add_dense(chain, inner["config"], where, weights(name, "layer"), last)
    elif kind == "Dense":
        _add_dense(chain, config, where, weights(name), last)
    elif kind == "Embedding":
        (table,) = _counted(weights(name), 1)
        _append(chain, where, Embedding, config["input_dim"], config["output_dim"], arrays={"weight": table})
    elif kind in ("Dropout", "SpatialDropout1D"):
        shape = config.get("noise_shape")
        if shape is not None and not (len(shape) == 3 and shape[1] == 1 and shape[0] is None and shape[2] is None):
            raise ValueError(f"noise_shape {shape} is not (None, 1, None)")
        same = kind == "SpatialDropout1D" or shape is not None
        _append(chain, where, Dropout, float(config["rate"]), same_over_time=same)
    elif kind in POOLING:
        _check_default(config, keepdims=(None, False), data_format=(None, "channels_last"))
        _append(chain, where, Pool, POOLING[kind])
    elif kind in ("Activation", "ReLU", "Softmax"):
        zero, axis = (None, 0.0), (None, [-1], -1)
        _check_default(config, max_value=(None,), negative_slope=zero, threshold=zero, axis=axis)
        _add_activation(chain, where, config["activation"] if kind == "Activation" else kind.lower(), last)
    elif kind not in ("Masking", "InputLayer"):
        raise ValueError("has no counterpart in numbarnn")


def _check(config, where, chain):
    """Note dtypes that are not those of weights, and quantization."""
    policy = config.get("dtype")
    policy = policy["config"]["name"] if isinstance(policy, dict) else policy
    if policy not in (None, "float32", "float64", "int32", "int64"):
        chain.reasons.append(f"{where} computes in {policy}; float32 and float64 are known")
    if config.get("quantization_config"):
        chain.reasons.append(f"{where} is quantized")


def _check_default(config, **known):
    """Raise ValueError for an option whose value is not among those known."""
    for option, values in known.items():
        if config.get(option) not in values:
            raise ValueError(f"{option}={config[option]!r} is not {values[-1]!r}")


def _counted(arrays, count):
    """Return arrays; raise ValueError if there are more or fewer, as with LoRA."""
    if len(arrays) != count:
        raise ValueError(f"it has {len(arrays)} arrays of weights; {count} are known")
    return arrays


def _append(chain, where, kind, *options, arrays=None, **more):
    layer = chain.make(where, kind, *options, **more)
    if layer is not None:
        chain.add(layer, **(arrays or {}))


def _add_dense(chain, config, where, arrays, last):
    """Append a dense layer, and note a softmax that is not the last."""
    activation = config.get("activation") or "linear"
    kernel, *bias = _counted(arrays, 1 + bool(config["use_bias"]))
    named = {"weight": kernel.T} | ({"bias": bias[0]} if bias else {})
    own = ACTIVATIONS.get(activation) if isinstance(activation, str) else None
    softmax = activation == "softmax" and last
    if own is None and not softmax:
        raise ValueError(_unknown_activation(activation))
    own = None if own == "identity" else own
    _append(chain, where, Dense, config["units"], bool(bias), activation=own, arrays=named)


def _add_activation(chain, where, activation, last):
    """Append an activation; a last softmax is not a layer here."""
    if activation == "softmax" and last:
        return
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(_unknown_activation(activation))
    _append(chain, where, Activation, ACTIVATIONS[activation])


def _unknown_activation(activation):
    found = "softmax before the last layer" if activation == "softmax" else brief(activation)
    return f"the activation {found} is not one of {', '.join(ACTIVATIONS)}"


def _add_bidirectional(chain, config, where, weights):
    """Append a bidirectional layer."""
    name, inner, mode = config["name"], config["layer"], config.get("merge_mode")
    kind, options = inner["class_name"], inner["config"]
    if kind not in RECURRENT or mode not in ("concat", "sum"):
        raise ValueError(
            f"of {kind} with merge_mode={mode!r}: SimpleRNN, LSTM and GRU with 'concat' or 'sum' are known"
        )
    other = config.get("backward_layer") or inner
    for description in (inner, other):
        chain.reasons += _reasons_not_own(description, f"the layer of {where}")
        _check(description["config"], where, chain)
    same = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences", "stateful")
    if other["class_name"] != kind or any(other["config"].get(key) != options.get(key) for key in same):
        raise ValueError("its two directions are not alike")
    if options.get("go_backwards"):
        raise ValueError("its forward layer has go_backwards=True")
    found = [weights(name, "forward_layer"), weights(name, "backward_layer")]
    _add_recurrent(chain, kind, options, where, found, merge=mode)


def _add_recurrent(chain, kind, config, where, arrays, merge="concat"):
    """Append a recurrent layer with the weights of one direction or two."""
    cls = RECURRENT[kind]
    if config.get("stateful"):
        raise ValueError("stateful=True keeps states from one call to the next; numbarnn takes them as an argument")
    if kind != "SimpleRNN" and (config["activation"], config["recurrent_activation"]) != ("tanh", "sigmoid"):
        raise ValueError(
            f"activation={config['activation']!r} and recurrent_activation={config['recurrent_activation']!r} are not 'tanh' "
            "and 'sigmoid'"
        )
    options = {
        "bias": "single" if config["use_bias"] else False,
        "return_sequences": config["return_sequences"],
        "recurrent_dropout": float(config.get("recurrent_dropout", 0.0)),
        "bidirectional": len(arrays) == 2,
    }
    if len(arrays) == 2:
        options["merge"] = merge
    elif config.get("go_backwards"):
        if config["return_sequences"]:
            raise ValueError(
                "go_backwards with return_sequences gives its outputs from the last step to the first, numbarnn in the order "
                "of the input"
            )
        options["reverse"] = True
    if kind == "SimpleRNN":
        if config["activation"] not in ACTIVATIONS:
            raise ValueError(_unknown_activation(config["activation"]))
        options["activation"] = ACTIVATIONS[config["activation"]]
    if kind == "GRU":
        options["reset_after"] = config["reset_after"]
        if config["use_bias"] and config["reset_after"]:
            options["bias"] = True
    if config.get("dropout"):
        _append(chain, where, Dropout, float(config["dropout"]), same_over_time=True)
    named = {}
    for suffix, found in zip(_suffixes(options), arrays, strict=True):
        ours = _ours(cls.__name__, found, config["use_bias"], config.get("reset_after"))
        named |= {name + suffix: array for name, array in ours.items()}
    _append(chain, where, cls, config["units"], arrays=named, **options)


def _suffixes(options):
    """Return the ends of the names of the parameters of the directions."""
    if options["bidirectional"]:
        return "_l0", "_l0_reverse"
    return ("_l0_reverse",) if options.get("reverse") else ("_l0",)


def _ours(kind, arrays, use_bias, reset_after) -> dict:
    """Return kernel, recurrent kernel and bias of Keras as our parameters."""
    kernel, recurrent, *bias = _counted(arrays, 2 + bool(use_bias))
    found = {"weight_ih": kernel.T, "weight_hh": recurrent.T}
    if bias:
        if bias[0].ndim != (2 if kind == "GRU" and reset_after else 1):
            raise ValueError(f"its bias has the shape {bias[0].shape}, as that of a GRU with the other reset_after")
        found |= zip(("bias_ih", "bias_hh"), np.atleast_2d(bias[0]), strict=False)
    return {name: reordered(kind, array, KERAS, OURS) for name, array in found.items()}


# Files


def _from_file(path) -> Model:
    """Return the model of a .keras file."""
    h5py = _h5py()
    with open(path, "rb") as opened:
        content = opened.read()
    refused = f"{path!r} cannot be converted:"
    try:
        with zipfile.ZipFile(memory.BytesIO(content)) as archive:
            members = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
            if sum(member.file_size for member in members) > UNFOLDED * len(content) + SPARE:
                raise InteropError(refused, ["its content is much larger than the file"])
            config, weights = (archive.read(member) for member in members)
        description = json.loads(config)
        with h5py.File(memory.BytesIO(weights), "r") as file:
            return _model(description, _Weights(_Arrays(file, len(weights)), description).of)
    except InteropError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, json and h5py raise
        raise InteropError(refused, [f"it is not a .keras file of Keras 3, or damaged ({error})"]) from None


def _h5py():
    try:
        import h5py
    except ModuleNotFoundError:
        raise ModuleNotFoundError("files of Keras are read by h5py: pip install h5py") from None
    return h5py


class _Weights:
    """Arrays of a file of weights by the names of layers."""

    def __init__(self, arrays, description):
        self.arrays = arrays
        kinds = {layer["config"]["name"]: layer["class_name"] for layer in description["config"]["layers"]}
        self.groups = dict(zip(kinds, group_names(kinds.values()), strict=True))

    def of(self, name, *inner) -> list[np.ndarray]:
        """Return the arrays of a layer, or of a layer within it."""
        return self.arrays.of("/".join(["layers", self.groups[name], *inner]))


def group_names(kinds) -> Iterator[str]:
    """Return the groups of layers in a file: their classes, in words with _, numbered where they repeat."""
    counts: dict[str, int] = {}
    for kind in kinds:
        base = re.sub(r"\W+", "", kind)
        base = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", base)).lower()
        counts[base] = counts.get(base, -1) + 1
        yield f"{base}_{counts[base]}" if counts[base] else base


class _Arrays:
    """Arrays of an HDF5 file by the groups of layers, together not larger than the file."""

    def __init__(self, file, size):
        self.file, self.left = file, size

    def of(self, group: str) -> list[np.ndarray]:
        """Return the arrays of a layer's group, or of its cell's, in order."""
        h5py = _h5py()
        for path in (f"{group}/cell/vars", f"{group}/vars"):
            node, found = self.file, True
            for part in path.split("/"):
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) and part in node else None
                found = found and isinstance(link, h5py.HardLink)  # no link out of the file
                if not found:
                    break
                node = node[part]
            if found and len(node) > MOST:
                raise ValueError(f"{path} has {len(node)} arrays; layers have {MOST} at most")
            if found and len(node):
                return [self._dataset(node, str(index), f"{path}/{index}") for index in range(len(node))]
        raise ValueError(f"the file has no weights {group!r}")

    def _dataset(self, group, name, where) -> np.ndarray:
        """Return the array of a dataset that is whole and within the file."""
        h5py = _h5py()
        link = group.get(name, getlink=True)
        dataset = group[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.dtype.kind != "f":
            raise ValueError(f"{where} is not an array of numbers in the file")
        size = dataset.size * dataset.dtype.itemsize
        if dataset.id.get_storage_size() < size:
            raise ValueError(f"{where} has fewer bytes than its shape {dataset.shape} says")
        if size > self.left:
            raise ValueError(f"{where} and the arrays before it are larger than the file")
        self.left -= size
        return dataset[()]

    def check_left(self, groups) -> None:
        """Raise ValueError if the file has arrays of layers other than those of the groups."""
        h5py, left = _h5py(), []

        def visit(name, node):
            if isinstance(node, h5py.Dataset) and node.dtype.kind == "f" and name.partition("/")[0] not in groups:
                left.append(name.partition("/")[0])

        layers = self.file.get("layers")
        if isinstance(layers, h5py.Group):
            layers.visititems(visit)
        if left:
            raise ValueError(f"the file has weights that no layer takes: {', '.join(dict.fromkeys(left))}")


def _from_weights(path, layers) -> Model:
    """Return the model of layers with the weights of a .weights.h5 file."""
    h5py = _h5py()
    chain, steps = Chain("file of weights"), []
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{index}] must be a numbarnn layer, got {brief(layer)}")
        steps += [(layer, level) for level in range(layer.num_layers)] if isinstance(layer, Recurrent) else [(layer, 0)]
    kinds = [_kind_of(layer) for layer, _ in steps]
    with open(path, "rb") as opened:
        content = opened.read()
    try:
        with h5py.File(memory.BytesIO(content), "r") as file:
            stored, groups = _Arrays(file, len(content)), list(group_names(kinds))
            for (layer, level), kind, group in zip(steps, kinds, groups, strict=True):
                arrays = {}
                if kind in ("Dense", "Embedding"):
                    count = 1 + bool(kind == "Dense" and layer.bias)
                    found = _counted(stored.of(f"layers/{group}"), count)
                    arrays = dict(zip(("weight", "bias"), found, strict=False))
                    arrays |= {"weight": found[0].T} if kind == "Dense" else {}
                elif isinstance(layer, Recurrent):
                    arrays = _of_level(stored, layer, level, group)
                if level:
                    chain.arrays[-1] |= arrays
                else:
                    chain.add(layer, **arrays)
            stored.check_left(groups)
    except Exception as error:  # whatever a damaged file makes h5py raise
        raise InteropError(f"{path!r} cannot be converted:", [str(error)]) from None
    return chain.model()


def _kind_of(layer) -> str:
    """Return the class of Keras that a layer is."""
    if isinstance(layer, Recurrent):
        return (
            "Bidirectional" if layer.bidirectional else "SimpleRNN" if isinstance(layer, RNN) else type(layer).__name__
        )
    return type(layer).__name__


def _of_level(stored, layer, level, group):
    """Return the parameters of one level of a recurrent layer."""
    inner = ("forward_layer", "backward_layer") if layer.bidirectional else ("",)
    arrays = {}
    for sub, run in zip(inner, range(2), strict=False):
        given = stored.of("/".join(filter(None, ("layers", group, sub))))
        found = _ours(type(layer).__name__, given, layer.bias, getattr(layer, "reset_after", False))
        if layer.bias is True and "bias_hh" not in found:
            found["bias_hh"] = np.zeros_like(found["bias_ih"])
        suffix = f"_l{level}" + ("_reverse" if layer.reverse or run else "")
        arrays |= {name + suffix: array for name, array in found.items()}
    return arrays


# To Keras


def _reasons_against(model) -> Iterator[str]:
    """Return what of a model Keras has no counterpart of."""
    for index, (name, layer) in enumerate(zip(model.names, model.layers, strict=True)):
        where = f"{name} ({type(layer).__name__})"
        if type(layer) in (RNN, LSTM, GRU):
            for option in ("peepholes", "coupled", "fix"):
                if getattr(layer, option, None):
                    yield f"{where} has {option}={getattr(layer, option)!r}"
            if layer.reverse and (layer.return_sequences or layer.num_layers > 1):
                yield f"{where} has reverse=True and gives all steps, which Keras gives from the last to the first"
        elif isinstance(layer, OneHot) and layer.size > IDENTITY:
            yield f"{where} has a vocabulary of more than {IDENTITY}"
        elif isinstance(layer, Pool) and layer.kind == "last" and not _is_causal(model.layers[:index]):
            yield f"{where} takes the last step of a layer that reads in both directions"
        elif type(layer) not in (Dense, Embedding, OneHot, Activation, Dropout, Pool):
            yield f"{where} has no counterpart in Keras"
    counts = Counter(own for name, layer in zip(model.names, model.layers, strict=True) for own in _names(name, layer))
    for name, count in counts.items():
        if count > 1:
            yield f"{count} layers would be called {name!r} in Keras, which has a layer for each level; rename one"


def _names(name, layer) -> list[str]:
    """Return the names of the Keras layers of a layer."""
    if isinstance(layer, Pool) and layer.kind == "last":
        return []
    if not isinstance(layer, Recurrent) or layer.num_layers == 1:
        return [name]
    own = [f"{name}_l{level}" for level in range(layer.num_layers)]
    return [*own, *(f"{one}_dropout" for one in own[:-1] if layer.dropout)]


def _is_causal(layers):
    """Return whether the last layer is recurrent, and reads forward."""
    return bool(layers) and isinstance(layers[-1], Recurrent) and layers[-1].causal


def _sequential(keras, model):
    """Return the Keras model."""
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    first, dtype = model.signals[0], model.dtype.name
    shape = (None,) if first.tokens else (None, first.size)
    parts, weights = [keras.Input(shape, dtype="int32" if first.tokens else dtype)], []

    def add(layer, *arrays):
        parts.append(layer)
        weights.append(arrays)

    layers = list(model.layers)
    for index, layer in enumerate(layers):
        if isinstance(layer, Pool) and layer.kind == "last":
            layers[index - 1] = replace(layers[index - 1], return_sequences=False)
    for name, layer in zip(model.names, layers, strict=True):
        params = {key.partition(".")[2]: array for key, array in model.params.items() if key.startswith(f"{name}.")}
        if isinstance(layer, Recurrent):
            for level in range(layer.num_layers):
                part, arrays = _of_keras(keras, name, layer, level, params, dtype, names)
                add(part, *arrays)
                if layer.dropout and level + 1 < layer.num_layers:
                    add(keras.layers.Dropout(layer.dropout, name=f"{name}_l{level}_dropout", dtype=dtype))
        elif isinstance(layer, Dense):
            activation = names[layer.activation or "identity"]
            part = keras.layers.Dense(layer.size, activation, layer.bias, name=name, dtype=dtype)
            add(part, params["weight"].T, *([params["bias"]] if layer.bias else []))
        elif isinstance(layer, Embedding):
            add(keras.layers.Embedding(layer.size, layer.features, name=name, dtype=dtype), params["weight"])
        elif isinstance(layer, OneHot):
            part = keras.layers.Embedding(layer.size, layer.size, trainable=False, name=name, dtype=dtype)
            add(part, np.eye(layer.size, dtype=dtype))
        elif isinstance(layer, Activation):
            add(keras.layers.Activation(names[layer.activation], name=name, dtype=dtype))
        elif isinstance(layer, Dropout):
            noise = (None, 1, None) if layer.same_over_time else None
            add(keras.layers.Dropout(layer.rate, noise, name=name, dtype=dtype))
        elif layer.kind != "last":
            pooling = {kind: theirs for theirs, kind in POOLING.items()}[layer.kind]
            add(getattr(keras.layers, pooling)(name=name, dtype=dtype))
    result = keras.Sequential(parts)
    for part, arrays in zip(parts[1:], weights, strict=True):
        if arrays:
            part.set_weights(list(arrays))
    return result


def _of_keras(keras, name, layer, level, params, dtype, names):
    """Return the Keras layer of one level, and its weights."""
    kind = {RNN: "SimpleRNN"}.get(type(layer), type(layer).__name__)
    options = {
        "use_bias": bool(layer.bias),
        "return_sequences": layer.return_sequences or level + 1 < layer.num_layers,
        "recurrent_dropout": layer.recurrent_dropout,
        "dtype": dtype,
    }
    options |= {"activation": names[layer.activation]} if kind == "SimpleRNN" else {}
    options |= {"reset_after": layer.reset_after} if kind == "GRU" else {}
    options |= {"go_backwards": True} if layer.reverse else {}
    own = name if layer.num_layers == 1 else f"{name}_l{level}"
    suffixes = (
        (f"_l{level}", f"_l{level}_reverse") if layer.bidirectional else (f"_l{level}{'_reverse' * layer.reverse}",)
    )
    arrays = [array for suffix in suffixes for array in _theirs(layer, params, suffix)]
    make = getattr(keras.layers, kind)
    if layer.bidirectional:
        inner = make(layer.hidden_size, **options)
        return keras.layers.Bidirectional(inner, merge_mode=layer.merge, name=own, dtype=dtype), arrays
    return make(layer.hidden_size, name=own, **options), arrays


def _theirs(layer, params, suffix):
    """Return kernel, recurrent kernel and bias of Keras."""
    kind = type(layer).__name__
    found = {
        key: reordered(kind, params[key + suffix], OURS, KERAS)
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if key + suffix in params
    }
    arrays = [found["weight_ih"].T, found["weight_hh"].T]
    if not layer.bias:
        return arrays
    second = found.get("bias_hh", np.zeros_like(found["bias_ih"]))
    two = isinstance(layer, GRU) and layer.reset_after
    return [*arrays, np.stack([found["bias_ih"], second]) if two else found["bias_ih"] + second]
