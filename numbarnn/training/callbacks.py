"""Callbacks of training, and early stopping."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from numbarnn.checks import brief, check_flag
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
        if isinstance(self.patience, bool) or not isinstance(self.patience, int) or self.patience < 1:
            raise ValueError(f"EarlyStopping: patience must be a positive integer, got {brief(self.patience)}")
        check_flag("EarlyStopping", "restore_best", self.restore_best)


class Callback:
    """Base of callbacks; override what you need. Every method gets the trainer."""

    def on_train_begin(self, trainer) -> None:
        """Before the first batch."""

    def on_batch_end(self, trainer, loss: float) -> bool | None:
        """After every batch; return True to stop."""

    def on_epoch_end(self, trainer, record: dict[str, Any]) -> bool | None:
        """After every epoch, also one that ended early; return True to stop."""

    def on_train_end(self, trainer, history: History) -> None:
        """After the last epoch, also when interrupted."""


def early_stopping(value) -> EarlyStopping | None:
    """Return early stopping for an argument: None, a patience, or an `EarlyStopping`."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    value = value.item() if hasattr(value, "item") else value  # of NumPy
    return dataclasses.replace(EarlyStopping(), patience=value)
