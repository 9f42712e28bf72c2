"""Files of Keras: ``.keras``, which says what its layers are, and ``.weights.h5``, which has arrays alone."""

import io
import json
import zipfile

import numpy as np

from numbarnn.errors import InteropError
from numbarnn.interop.chain import Chain
from numbarnn.interop.gates import suffixes
from numbarnn.interop.keras.arrays import counted, ours
from numbarnn.interop.keras.hdf5 import Arrays, group_names, h5py_package
from numbarnn.interop.keras.read import model_of
from numbarnn.interop.refusal import check_layers
from numbarnn.layers import RNN, Dense, Embedding, Recurrent
from numbarnn.model import Model

# A file may not unfold into more memory than this for every byte of it, and besides.
UNFOLDED, SPARE = 4, 2**24


def model_of_file(path) -> Model:
    """Return the model of a .keras file."""
    h5py = h5py_package()
    with open(path, "rb") as opened:
        content = opened.read()
    refused = f"{path!r} cannot be converted:"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
            if sum(member.file_size for member in members) > UNFOLDED * len(content) + SPARE:
                raise InteropError(refused, ["its content is much larger than the file"])
            config, weights = (archive.read(member) for member in members)
        description = json.loads(config)
        with h5py.File(io.BytesIO(weights), "r") as file:
            return model_of(description, _Weights(Arrays(file, len(weights)), description).of)
    except InteropError:
        raise
    except Exception as error:  # whatever a damaged file makes zipfile, json and h5py raise
        raise InteropError(refused, [f"it is not a .keras file of Keras 3, or damaged ({error})"]) from None


class _Weights:
    """Arrays of a file of weights by the names of layers."""

    def __init__(self, arrays, description):
        self.arrays = arrays
        kinds = {layer["config"]["name"]: layer["class_name"] for layer in description["config"]["layers"]}
        self.groups = dict(zip(kinds, group_names(kinds.values()), strict=True))

    def of(self, name, *inner) -> list[np.ndarray]:
        """Return the arrays of a layer, or of a layer within it."""
        return self.arrays.of("/".join(["layers", self.groups[name], *inner]))


def model_of_weights(path, layers) -> Model:
    """Return the model of layers with the weights of a .weights.h5 file."""
    h5py = h5py_package()
    check_layers(layers)
    chain = Chain("file of weights")
    levels = [(layer, level) for layer in layers for level in range(getattr(layer, "num_layers", 1))]
    groups = list(group_names(_kind_of(layer) for layer, _ in levels))
    with open(path, "rb") as opened:
        content = opened.read()
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            stored = Arrays(file, len(content))
            for (layer, level), group in zip(levels, groups, strict=True):
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
    if isinstance(layer, Recurrent) and layer.bidirectional:
        return "Bidirectional"
    return "SimpleRNN" if isinstance(layer, RNN) else type(layer).__name__


def _of_level(stored, layer, level, group) -> dict:
    """Return the parameters of a layer, or of one level of a recurrent one."""
    if isinstance(layer, Dense):
        found = counted(stored.of(f"layers/{group}"), 1 + bool(layer.bias))
        return dict(zip(("weight", "bias"), [found[0].T, *found[1:]], strict=False))
    if isinstance(layer, Embedding):
        return {"weight": counted(stored.of(f"layers/{group}"), 1)[0]}
    if not isinstance(layer, Recurrent):
        return {}
    inner = ("forward_layer", "backward_layer") if layer.bidirectional else ("",)
    arrays = {}
    for sub, suffix in zip(inner, suffixes(layer.bidirectional, layer.reverse, level), strict=True):
        given = stored.of("/".join(filter(None, ("layers", group, sub))))
        found = ours(type(layer).__name__, given, layer.bias, getattr(layer, "reset_after", False))
        if layer.bias is True and "bias_hh" not in found:
            found["bias_hh"] = np.zeros_like(found["bias_ih"])
        arrays |= {name + suffix: array for name, array in found.items()}
    return arrays
