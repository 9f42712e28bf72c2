"""One layer of a Keras model, and what is checked of every one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief
from numbarnn.interop.chain import Chain
from numbarnn.interop.keras.names import ACTIVATIONS

DTYPES = (None, "float32", "float64", "int32", "int64")


@dataclass
class Part:
    """A layer of a Keras model, and the chain that it is added to.

    Attributes
    ----------
    chain : Chain
    kind : str
        Class of the layer.
    config : dict
        Its options.
    where : str
        The layer, in messages.
    weights : callable
        Returns the arrays of the layer, or those of a layer within it by the names of attributes.
    last : bool
        Whether nothing comes after it.
    """

    chain: Chain
    kind: str
    config: dict
    where: str
    weights: Callable[..., list[np.ndarray]]
    last: bool

    def append(self, kind, *options, arrays=None, **more) -> None:
        """Append a layer of a class, unless its options are out of range, which is noted."""
        layer = self.chain.make(self.where, kind, *options, **more)
        if layer is not None:
            self.chain.add(layer, **(arrays or {}))

    def check(self, config) -> None:
        """Note dtypes that are not those of weights, and quantization."""
        policy = config.get("dtype")
        policy = policy["config"]["name"] if isinstance(policy, dict) else policy
        if policy not in DTYPES:
            self.chain.reasons.append(f"{self.where} computes in {policy}; float32 and float64 are known")
        if config.get("quantization_config"):
            self.chain.reasons.append(f"{self.where} is quantized")

    def check_options(self, **known) -> None:
        """Raise ValueError for an option whose value is not among those known."""
        for option, values in known.items():
            if self.config.get(option) not in values:
                raise ValueError(f"{option}={self.config[option]!r} is not {values[-1]!r}")


def activation_of(name) -> str:
    """Return an activation of Keras by its name here; raise ValueError if there is none such."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        found = "softmax before the last layer" if name == "softmax" else brief(name)
        raise ValueError(f"the activation {found} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
