"""What is known of a graph while its nodes are read: the chain of layers so far, and what its values and axes are."""

from dataclasses import replace

from numbarnn.errors import ShapeError
from numbarnn.interop.chain import Chain
from numbarnn.interop.onnx.values import Constant, Derived, Factor, Input, Output, size_of

ORDER = "samples", "steps"
FEATURES = ("directions", "features")
# Bytes that folding constants may make, and that layers may take, for every byte of the file, and besides.
FOLDED, SPARE = 2, 2**20


class State:
    """What is known after the nodes read so far.

    Parameters
    ----------
    results : set of str
        Names of the outputs of the graph.
    opset : int
        Version of the operators.
    size : int
        Bytes of the file.
    tensors : Tensors
        What reads the arrays.

    Attributes
    ----------
    chain : Chain
    version : int
        Rises with every layer, and every change of one: older values are then of another chain.
    values : dict
        Values by name; "" is an input that is left out.
    known : dict
        What the axes of the input are, as a recurrent node has told.
    budget : int
        Bytes that may still be made of constants.
    weights : int
        Bytes of the layers' parameters so far.
    lengths : str or None
        The name of the input of lengths, once a node has told.
    node_lengths : set
        That name, or None, of every recurrent node.
    masked : bool
        Whether something besides recurrent nodes heeds the lengths.
    pooled : list of str
        Nodes that reduce over all steps, whatever the lengths.
    used_states : dict
        Of inputs of states, the rows that nodes have taken.
    """

    def __init__(self, results: set, opset: int, size: int, tensors):
        self.results, self.opset, self.size, self.tensors = results, opset, size, tensors
        self.chain, self.version = Chain("ONNX graph"), 0
        self.values: dict[str, object] = {"": None}
        self.known: dict[str, str] = {}
        self.budget = FOLDED * size + SPARE
        self.weights = 0
        self.lengths: str | None = None
        self.node_lengths: set[str | None] = set()
        self.masked = False
        self.pooled: list[str] = []
        self.used_states: dict[str, int] = {}

    # The chain

    def add(self, layer, **arrays) -> None:
        """Append a layer; raise if nodes take the same weights so often that a model would be much larger than the file."""
        self.weights += sum(array.nbytes for array in arrays.values())
        if self.weights > FOLDED * (self.size + self.tensors.loaded) + SPARE:  # a float16 file may cast to float32
            raise ShapeError("it and the nodes before it take more weights than the file has, each once and as float32")
        self.chain.add(layer, **arrays)
        self.version += 1

    def change(self, index: int, **options) -> None:
        """Change the options of a layer: values made before are then of another chain."""
        self.chain.layers[index] = replace(self.chain.layers[index], **options)
        self.version += 1

    def newest(self, value) -> Output:
        """Return a value that the chain goes on with; raise unless it is that of the newest layer."""
        if not isinstance(value, Output):
            raise ShapeError("it takes something other than the output of the layer before")
        if value.version != self.version:
            raise ShapeError(
                "it takes the output of an earlier layer: numbarnn has chains of layers, without skips or branches"
            )
        if value.ended:
            raise ShapeError("it goes on after a softmax: probabilities are made of the outputs alone")
        if value.cell:
            raise ShapeError("it goes on with the cell state c of an LSTM; layers give h")
        if value.direction is not None:
            raise ShapeError("it takes one of two directions; numbarnn goes on with both")
        if value.final is not None:
            self.change(value.final, return_sequences=False)
            value = replace(value, final=None, version=self.version)
        return value

    def features(self, value) -> tuple[Output, int | str]:
        """Return the newest value and its features, which are along the last axis."""
        value = self.newest(value)
        if value.tokens:
            raise ShapeError("it takes integers; numbarnn reads tokens by Embedding or OneHot")
        if value.masked in ("rows", "bag", "sum"):
            raise ShapeError("it takes a sum that is not complete")
        last = value.axes[-1]
        if not is_features(last):
            raise ShapeError("it works along another axis than the features")
        if any(factor.tag in FEATURES and factor.size != 1 for axis in value.axes[:-1] for factor in axis):
            raise ShapeError("features are along two axes, such as directions that are not joined")
        return value, size_of(last)

    def after(self, value, size=None) -> Output:
        """Return the value that the layer just appended gives."""
        axes = value.axes if size is None else (*value.axes[:-1], (Factor("features", size),))
        return Output(axes, self.version)

    # Axes

    def tags(self, axis) -> list[str]:
        """Return what the factors of an axis are."""
        return [self.known.get(factor.tag, factor.tag) for factor in axis]

    def tag(self, value, axis: int) -> str | None:
        """Return what an axis of a value is, unless it is several things."""
        tags = self.tags(value.axes[axis]) if len(value.axes) > 1 else []
        return tags[0] if len(tags) == 1 else None

    def bind(self, value, order) -> None:
        """Learn which axes of the input are samples and steps; raise if a node before said otherwise."""
        for axis, tag in zip(value.axes[:2], order, strict=True):
            if len(value.axes) != 3 or len(axis) > 1:
                raise ShapeError("its input does not have three axes: steps, samples and features")
            for factor in axis:
                before = self.known.get(factor.tag, factor.tag)
                if before in ORDER and before != tag:
                    raise ShapeError(f"it reads along {before} as along {tag}")
                if before not in ORDER:
                    self.known[before] = tag

    # Constants

    def fold(self, array) -> Constant:
        """Return a constant made of constants; raise if a file would fill the memory with them."""
        self.afford(array.nbytes)
        self.budget -= array.nbytes
        return Constant(array)

    def afford(self, count: int) -> None:
        """Raise if that many bytes are more than constants may have."""
        if count > self.budget + FOLDED * self.tensors.loaded:
            raise ShapeError("its constants are more than the file has")

    # Lengths

    def is_of_lengths(self, value, pattern: str, **more) -> bool:
        """Return whether a value is a pattern of lengths, those of the recurrent nodes."""
        inputs = [name for name, given in self.values.items() if isinstance(given, Input)]
        for name in [self.lengths] if self.lengths else inputs:
            if value == Derived(pattern.format(lengths=name, **more)):
                self.lengths, self.masked = name, True
                return True
        return False


def is_features(axis) -> bool:
    """Return whether an axis is the features, those of the forward direction first."""
    return [factor.tag for factor in axis] in (["features"], ["directions"], ["directions", "features"])
