"""The exceptions of the package; each is also the built-in one that a caller would expect."""

import re

__all__ = [
    "CheckpointError",
    "DeviceError",
    "DeviceMemoryError",
    "DivergedError",
    "FreezeError",
    "InteropError",
    "ModelFileError",
    "RefitError",
    "ShapeError",
    "TokenError",
]

# Control characters but tabs and line breaks, and lone surrogates, which no encoding can write.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text in which what could command a terminal is escaped as Python writes it; line breaks and tabs stay.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], text)


class ShapeError(ValueError):
    """An array has the wrong rank or the wrong extent along an axis."""


class TokenError(ValueError):
    """A token or a label lies outside its vocabulary, or a character is unknown to a model."""


class _FileError(ValueError):
    def __init__(self, message: str):
        super().__init__(printable(message))  # names in it may be the file's


class ModelFileError(_FileError):
    """A file is not a model of this package, or is damaged.

    Parameters
    ----------
    message : str
    """


class DivergedError(ArithmeticError):
    """Training produced a loss or a gradient that is not a finite number."""


class CheckpointError(_FileError):
    """A checkpoint belongs to another model, other data or other settings.

    Parameters
    ----------
    message : str
    """


class RefitError(ValueError):
    """A backtest with refits stopped at one that failed; `__cause__` is its error.

    Parameters
    ----------
    message : str
    finished : DataFrame, optional
        Forecasts of the refits before it, as `Forecaster.backtest` returns them; an attribute, None where it was the first.
    """

    def __init__(self, message: str, finished=None):
        super().__init__(message)
        self.finished = finished


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used, or a launch, a copy or an allocation on it failed."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The device has no memory left for what was asked of it."""


class InteropError(ValueError):
    """A model cannot be converted from or to another package.

    Parameters
    ----------
    message : str
    reasons : iterable of str
        What stands in the way, one a layer, node or parameter; a list as an attribute.
    """

    def __init__(self, message: str, reasons=()):
        self.reasons = [printable(reason) for reason in reasons]  # names in them may be a file's
        one = len(self.reasons) == 1
        parts = self.reasons if one else [f"- {reason}" for reason in self.reasons]
        super().__init__((" " if one else "\n").join([printable(message), *parts]))


class FreezeError(RuntimeError):
    """A model cannot be frozen here: no linker, a system that libraries are not made on, or a cell that cannot be compiled."""
