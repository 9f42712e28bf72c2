"""Signal: the shape and kind of what one layer passes to the next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """Shape and kind of what one layer passes to the next, known before any data.

    Attributes
    ----------
    size : int
        Features of a step, or the size of the vocabulary.
    tokens : bool
        Whether each step is an integer below `size` instead of `size` values.
    sequence : bool
        Whether there is one output per step, or one per sample.
    bag : int
        Tokens per step along an axis of their own; 0: one token per step, without such an axis.
    """

    size: int
    tokens: bool = False
    sequence: bool = True
    bag: int = 0

    def __str__(self) -> str:
        axes = ("samples, time steps" if self.sequence else "samples") + (f", {self.bag}" if self.bag else "")
        return f"({axes}) tokens below {self.size}" if self.tokens else f"({axes}, {self.size})"
