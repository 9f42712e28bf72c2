"""Layers of a network one after another: their names, the signals between them, and the parameters of a file."""

from numbarnn.checks import brief, check_integer, to_list
from numbarnn.core.signal import Signal
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.layers.base import Layer, check_name


def checked_layers(layers) -> tuple[Layer, ...]:
    """Return layers as a tuple; raise TypeError or ValueError unless they are a list of at least one."""
    if isinstance(layers, Layer):
        raise TypeError(f"layers must be a list of layers, got {brief(layers)}; pass it in a list")
    found = tuple(to_list(layers, "layers", "layers"))
    if not found:
        raise ValueError("layers must be a list of at least one layer, got none")
    for index, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{index}] must be a numbarnn layer, got {brief(layer)}")
    return found


def names_of(layers) -> tuple[str, ...]:
    """Return the layers' names: their own, or the class name in lower case, numbered where it repeats."""
    counts, names = {}, []
    for layer in layers:
        if layer.name is not None:
            check_name(layer)  # again, since a layer of the user's own may not have done it
            names.append(layer.name)
            continue
        base = type(layer).__name__.lower()
        counts[base] = counts.get(base, 0) + 1
        names.append(base if counts[base] == 1 else f"{base}_{counts[base]}")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"layers of the same name: {', '.join(sorted(twice))}")
    return tuple(names)


def signals_of(layers, input_size) -> list[Signal]:
    """Return the signal that enters the first layer, and those that leave each; raise ShapeError where a layer cannot take one."""
    first = layers[0]
    tokens = type(first).__name__ in ("OneHot", "Embedding", "EmbeddingBag")
    size = input_size
    if tokens:
        if size not in (None, first.size):
            raise ShapeError(f"input_size must be left out or {first.size}, the vocabulary of layers[0], got {size}")
        size = first.size
    elif size is None:
        raise ShapeError("input_size, the number of features of a step, must be given")
    else:
        check_integer(size, "input_size", 1, 2**24)
    signals = [Signal(int(size), tokens=tokens, bag=getattr(first, "bag", 0))]
    for layer in layers:
        signals.append(layer.output(signals[-1]))
    if signals[-1].tokens:
        raise ShapeError("OneHot needs a layer after it that reads tokens: a recurrent layer or Dense")
    return signals


def check_parameter(arrays, spec, dtype) -> None:
    """Raise ModelFileError unless there is an array of a parameter's name, shape and dtype."""
    array = arrays.get(spec.name)
    if array is None:
        found = f"missing {spec.name!r}"
    elif array.shape != spec.shape:
        found = f"{spec.name}: expected shape {spec.shape}, got {array.shape}"
    elif array.dtype != dtype:
        found = f"{spec.name}: expected {dtype}, got {array.dtype}"
    else:
        return
    raise ModelFileError(f"the file's parameters do not match its description: {found}")
