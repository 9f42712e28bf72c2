"""The description of a layer, and the registry.

Layers are immutable descriptions. They hold no weights, no state and no buffers, and compute nothing: `numbarnn.backends` has
the passes of each device, by the class name of the layer.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from numbarnn.checks import brief
from numbarnn.core.signal import Signal
from numbarnn.words import Suggesting


def check_name(layer) -> None:
    """Raise TypeError or ValueError unless a layer's name can be the first part of its parameters' names."""
    name = getattr(layer, "name", None)
    if name is None:
        return
    owner = type(layer).__name__
    if not isinstance(name, str):
        raise TypeError(f"{owner}: name must be a str or None, got {brief(name)}")
    if not name or "." in name:
        raise ValueError(f"{owner}: name must not be empty or have dots, got {brief(name)}")


class Layer(Suggesting):
    """A layer of a model.

    A subclass is a frozen dataclass whose last field is ``name``, and is entered into `LAYERS` by its class name, by
    which saved models find it.

    Raises
    ------
    TypeError, ValueError
        If the name is not a str, is empty or has dots.
    """

    state_names: tuple[str, ...] = ()

    def __post_init__(self):
        check_name(self)

    # Options of other packages that the layer does not have, and what to do instead.
    refused: dict[str, str] = {}

    def __new__(cls, *args, **options):
        for name in options.keys() & cls.refused.keys():
            raise TypeError(f"{cls.__name__}: {name} must be left out, got {brief(options[name])}: {cls.refused[name]}")
        return super().__new__(cls, **options)

    def __repr__(self) -> str:
        shown = ((f.name, getattr(self, f.name)) for f in fields(self) if f.init and getattr(self, f.name) != f.default)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown)})"

    def output(self, signal: Signal) -> Signal:
        """Return the signal that the layer outputs.

        Parameters
        ----------
        signal : Signal
            Its input.

        Returns
        -------
        Signal

        Raises
        ------
        ShapeError
            If the layer cannot take the input.
        """
        raise NotImplementedError

    def specs(self, signal: Signal) -> Iterable[Any]:
        """Return the layer's parameters.

        Parameters
        ----------
        signal : Signal
            Its input.

        Returns
        -------
        iterable of ParamSpec
            Their names (without the layer's own), shapes and initial values.
        """
        return []

    def config(self) -> dict[str, Any]:
        """Return the options as JSON values; `from_config` makes the layer again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Layer":
        """Return the layer of a `config`.

        Parameters
        ----------
        config : dict
            Options by name.

        Returns
        -------
        Layer

        Raises
        ------
        TypeError, ValueError
            If an option is unknown, or has the wrong type or value.
        """
        return cls(**config)


LAYERS: dict[str, type[Layer]] = {}


_L = TypeVar("_L", bound=Layer)


def layer(cls: type[_L]) -> type[_L]:
    """Enter a layer class into `LAYERS` by its class name."""
    LAYERS[cls.__name__] = cls
    return cls
