"""The exceptions of the package; each is also the built-in one that a caller would expect."""


class ShapeError(ValueError):
    """An array has the wrong rank or the wrong extent along an axis."""


class TokenError(ValueError):
    """A token or a label lies outside its vocabulary, or a character is unknown to a model."""


class ModelFileError(ValueError):
    """A file is not a model of this package, or is damaged."""


class DivergedError(ArithmeticError):
    """Training produced a loss or a gradient that is not a finite number."""


class CheckpointError(ValueError):
    """A checkpoint belongs to another model, other data or other settings."""


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used."""
