"""The record of a training run, its progress on the terminal, and early stopping."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numbarnn.checks import brief, check_integer, counted
from numbarnn.core.html import html_table

if TYPE_CHECKING:
    import pandas as pd

# Why training ended.
REASONS = ("epochs", "early stopping", "interrupted", "callback")


class History:
    """One record an epoch.

    ==================  ============================================================================================
    epoch, seconds      number of the epoch, and its duration
    loss, val_loss      mean over the valid steps, in training and, where there was validation, after the epoch
    learning_rate       at the beginning of the epoch
    gradient_norm       Euclidean norm of the gradient before clipping, mean over the optimizer steps
    clipped_norm        the same after clipping
    clipped             share of the optimizer steps whose gradient was clipped
    update_ratio        norm of an update / norm of the weights, mean over every 16th optimizer step; about 1e-3 is
                        usual, and far from it the learning rate is too large or too small
    ==================  ============================================================================================

    Attributes
    ----------
    records : list of dict
        Python numbers by column.
    stopped : str
        Why training ended: "epochs", "early stopping", "interrupted" or "callback".
    best : int or None
        Index of the record with the best monitored value, where early stopping stored its weights.
    """

    def __init__(self):
        self.records: list[dict[str, Any]] = []
        self.stopped = "epochs"
        self.best: int | None = None

    @classmethod
    def of(cls, records: list[dict[str, Any]], stopped: str, best: int | None = None) -> "History":
        """Return the history of a file's values; raise TypeError or ValueError unless they can be those of one."""
        if not isinstance(records, list):
            raise TypeError(f"records must be a list, got {type(records).__name__}")
        for record in records:
            check_integer(record["epoch"], "epoch of a record", 1)
            if isinstance(record["loss"], bool) or not isinstance(record["loss"], (int, float)):
                raise TypeError(f"loss of a record must be a number, got {brief(record['loss'])}")
        if stopped not in REASONS:
            raise ValueError(f"stopped must be one of {', '.join(REASONS)}, got {brief(stopped)}")
        if best is not None and check_integer(best, "best", 0) >= len(records):
            raise ValueError(f"best is record {best} of {len(records)}")
        history = cls()
        history.records, history.stopped, history.best = [dict(record) for record in records], stopped, best
        return history

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Any) -> Any:
        """Return a record by its index, or a column by its name."""
        if isinstance(key, str):
            return [record.get(key, math.nan) for record in self.records]
        return self.records[key]

    def to_frame(self) -> "pd.DataFrame":
        """Return the records as a `pandas.DataFrame` indexed by epoch."""
        import pandas as pd

        return pd.DataFrame(self.records).set_index("epoch") if self.records else pd.DataFrame()

    def __repr__(self) -> str:
        last = self.records[-1] if self.records else {}
        losses = [f"{name} {last[name]:.4g}" for name in ("loss", "val_loss") if name in last]
        best = [] if self.best is None else [f"best epoch {self.records[self.best]['epoch']}"]
        return f"<History of {', '.join([counted(len(self), 'epoch'), *losses, *best, f'ended by {self.stopped}'])}>"

    SHOWN = 20  # epochs in a notebook

    def _repr_html_(self) -> str:
        names = ("epoch", "loss", "val_loss", "learning_rate", "seconds")
        columns = [name for name in names if any(name in record for record in self.records)]
        rows = [[record.get(name, "") for name in columns] for record in self.records[-self.SHOWN :]]
        before = f"; the last {self.SHOWN} of {len(self)} epochs" if len(self) > self.SHOWN else ""
        return html_table("History", columns, rows, f"ended by {self.stopped}{before}")


@dataclass
class StepStatistics:
    """Sums over the optimizer steps of an epoch: what its record says of gradients and updates.

    Attributes
    ----------
    steps, clipped, ratios : int
        Steps, those among them whose gradient was clipped, and those whose update was measured.
    norm, clipped_norm, ratio : float
        Sums of the norms before and after clipping, and of norm of the update / norm of the weights.
    """

    steps: int = 0
    clipped: int = 0
    ratios: int = 0
    norm: float = 0.0
    clipped_norm: float = 0.0
    ratio: float = 0.0

    # An update is measured against a copy of the weights, two passes over the parameters; at every 16th step that costs nothing.
    EVERY = 16

    def due(self, waiting: int = 0) -> bool:
        """Return whether the update of the next step is to be measured, given the number of steps that are not counted yet."""
        return (self.steps + waiting) % self.EVERY == 0

    def add(self, norm: float, clipped_norm: float, ratio: float | None) -> None:
        """Count a step."""
        self.steps += 1
        self.clipped += clipped_norm != norm
        self.norm += norm
        self.clipped_norm += clipped_norm
        if ratio is not None:
            self.ratios += 1
            self.ratio += ratio

    def columns(self) -> dict[str, float]:
        """Return the columns of a `History`; NaN where there was no step."""
        steps, ratios = self.steps or math.nan, self.ratios or math.nan
        return {
            "gradient_norm": self.norm / steps,
            "clipped_norm": self.clipped_norm / steps,
            "clipped": self.clipped / steps,
            "update_ratio": self.ratio / ratios,
        }
