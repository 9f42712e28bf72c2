"""The protocol of a layer, and the registry.

Layers are immutable descriptions. They hold no weights, no state and no buffers: parameters come from `Params`, state
enters and leaves as a value, and everything a backward pass needs goes into a tape that belongs to the call.
"""

from dataclasses import fields

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal


class Layer:
    """A layer of a model; every method is pure.

    A subclass is a frozen dataclass whose last field is ``name``, and is entered into `LAYERS` by its class name, by
    which saved models find it.
    """

    state_names: tuple[str, ...] = ()

    def output(self, signal: Signal) -> Signal:
        """Return what the layer makes of an input signal; raise ShapeError if it cannot take it."""
        raise NotImplementedError

    def specs(self, signal: Signal) -> list:
        """Return the layer's parameters, named without the layer's own name."""
        return []

    def pack(self, call: Call, params, prefix: str, signal: Signal, backward: bool, old=None):
        """Return the weights as the kernels want them, with or without those of the backward pass.

        old : what this method returned for earlier values of the parameters; its memory is used again.
        """
        return None

    def forward(self, call: Call, packed, x: Rows, layout: Layout, state, number: int):
        """Return (output, its layout, final states, tape); `number` is the layer's place in the model."""
        raise NotImplementedError

    def backward(
        self, call: Call, packed, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int
    ):
        """Write the gradients of the parameters into the flat `gradient`; return (gradient of x or None, of the initial states).

        layout : that of the input. dfinal : gradients of the final states, or None.
        """
        raise NotImplementedError

    def config(self) -> dict:
        """Return the options as JSON values; `from_config` makes the layer again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_config(cls, config: dict) -> "Layer":
        """Return the layer of a `config`."""
        return cls(**config)


LAYERS: dict[str, type[Layer]] = {}


def layer(cls: type[Layer]) -> type[Layer]:
    """Enter a layer class into `LAYERS` by its class name."""
    LAYERS[cls.__name__] = cls
    return cls
