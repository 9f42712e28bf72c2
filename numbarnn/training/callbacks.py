"""Callbacks of training, early stopping and the time limit."""

import time
from dataclasses import dataclass
from typing import Any

from numbarnn.checks import brief, check_flag, check_integer, check_real, to_list
from numbarnn.training.history import History


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a monitored value has not improved for some epochs.

    Parameters
    ----------
    patience : int
        Epochs without improvement before training stops.
    min_delta : float
        Smallest improvement that counts.
    monitor : str
        Column of the history, smaller is better; "val_loss".
    restore_best : bool
        End with the weights of the best epoch.
    """

    patience: int = 5
    min_delta: float = 0.0
    monitor: str = "val_loss"
    restore_best: bool = True

    def __post_init__(self):
        check_integer(self.patience, "EarlyStopping: patience", 1)
        check_real(self.min_delta, "EarlyStopping: min_delta", 0.0)
        if not isinstance(self.monitor, str):
            raise TypeError(f"EarlyStopping: monitor must be a column of the history, got {brief(self.monitor)}")
        check_flag("EarlyStopping", "restore_best", self.restore_best)


class Callback:
    """Base of callbacks; override what you need. Every method gets the trainer."""

    def on_train_begin(self, trainer: Any) -> None:
        """Before the first batch."""

    def on_batch_end(self, trainer: Any, loss: float) -> bool | None:
        """After every batch; return True to stop."""

    def on_epoch_end(self, trainer: Any, record: dict[str, Any]) -> bool | None:
        """After every epoch, also one that ended early; return True to stop."""

    def on_train_end(self, trainer: Any, history: History) -> None:
        """After the last epoch, also when interrupted."""


class TimeLimit(Callback):
    """Ends training some seconds after the end of the first batch."""

    def __init__(self, seconds):
        self.seconds, self.end = seconds, None

    def on_batch_end(self, trainer, loss):
        self.end = time.monotonic() + self.seconds if self.end is None else self.end
        return time.monotonic() >= self.end


METHODS = ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end")


def early_stopping(value) -> EarlyStopping | None:
    """Return early stopping for an argument: None, a patience, or an `EarlyStopping`."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    return EarlyStopping(patience=check_integer(value, "patience", 1))


def check_callbacks(callbacks) -> list[Callback]:
    """Return callbacks as a list; raise TypeError for what has not the methods of one."""
    found = to_list(callbacks, "callbacks", "callbacks")
    for index, callback in enumerate(found):
        missing = [name for name in METHODS if not callable(getattr(callback, name, None))]
        if missing:
            raise TypeError(
                f"callbacks[{index}] must be a Callback, with the methods {', '.join(METHODS)}, got {brief(callback)}"
            )
    return found


def one_stops(answers):
    """Return whether one of the callbacks, which have all been called, said True."""
    return sum(answer is True for answer in answers) > 0
