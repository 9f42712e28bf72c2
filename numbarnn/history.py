"""The record of a training run, its progress on the terminal, and early stopping."""

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

from numbarnn.kernels import cache


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
        Plain numbers.
    stopped : str
        Why training ended: "epochs", "early stopping", "interrupted" or "callback".
    best : int or None
        Place of the record with the best monitored value, where early stopping kept its weights.
    """

    def __init__(self):
        self.records: list[dict[str, Any]] = []
        self.stopped = "epochs"
        self.best: int | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key):
        """Return a record by its place, or a column by its name."""
        if isinstance(key, str):
            return [record.get(key, math.nan) for record in self.records]
        return self.records[key]

    def to_frame(self):
        """Return the records as a `pandas.DataFrame` indexed by epoch."""
        import pandas as pd

        return pd.DataFrame(self.records).set_index("epoch") if self.records else pd.DataFrame()

    def __repr__(self) -> str:
        last = f", last {self.records[-1]}" if self.records else ""
        return f"<History of {len(self)} epochs, ended by {self.stopped}{last}>"


@dataclass
class Measures:
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

    @property
    def due(self) -> bool:
        """Whether the update of the next step is to be measured."""
        return self.steps % self.EVERY == 0

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
            raise ValueError(f"EarlyStopping: patience must be a positive integer, got {self.patience!r}")


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


class Progress:
    """Shows how training goes: one tqdm bar on a terminal or in a notebook, plain lines elsewhere, nothing at verbose 0.

    Parameters
    ----------
    verbose : int
        0: silent; 1: a bar or lines.
    total : int or None
        Items of the whole run.
    unit : str
    epochs : int
    seconds : float, optional
        Time that training may take, counted from the end of the first batch.
    """

    LINE_EVERY = 10.0  # seconds between the plain lines inside an epoch

    def __init__(self, verbose: int, total: int | None, unit: str, epochs: int, seconds: float | None = None):
        self.unit, self.total, self.seconds = unit, None if seconds else total, seconds
        self.of_epochs = "" if seconds else f"/{epochs}"
        self.bar, self.on = None, verbose > 0
        self.done = self.uncounted = 0
        self.counting = False
        self.started = self.spoken = time.monotonic()
        if not self.on:
            return
        cache.on_compile.append(self._compiling)
        if sys.stderr.isatty() or "ipykernel" in sys.modules:
            from tqdm.auto import tqdm

            short = {"characters": "char", "bytes": "B", "words": "word", "samples": "sample"}.get(unit, unit)
            self.bar = tqdm(total=self.total, unit=short, unit_scale=True, dynamic_ncols=True, smoothing=0.05)

    def _compiling(self, place):
        self.write(f"compiling kernels for this processor; they are kept in {place} for the next time")
        cache.on_compile.remove(self._compiling)

    def resume(self, items: int, text: str) -> None:
        """Say that the run goes on, after so many items."""
        self.done = items
        if self.bar is not None:
            self.bar.initial = self.bar.n = items
        self.write(text)

    def batch(self, epoch: int, items: int, loss: float) -> None:
        """Count a batch of an epoch, counted from 0."""
        self.done += items
        if not self.counting:  # the first batch may have compiled kernels, which says nothing of the speed
            self.started, self.uncounted, self.counting = time.monotonic(), self.done, True
        if self.bar is not None:
            left = f", {self._left():.0f} s left" if self.seconds else ""
            self.bar.set_description(f"epoch {epoch + 1}{self.of_epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {loss:.4f}{left}", refresh=False)
            self.bar.update(items)
        elif self.on and time.monotonic() - self.spoken > self.LINE_EVERY:
            self._line(f"epoch {epoch + 1}{self.of_epochs}  loss {loss:.4f}")

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the record of an epoch that ended."""
        if not self.on:
            return
        text = f"epoch {record['epoch']}{self.of_epochs}  loss {record['loss']:.4f}"
        if "val_loss" in record:
            text += f"  val_loss {record['val_loss']:.4f}"
        if self.bar is not None:
            self.bar.write(f"{text}  {record['seconds']:.1f} s", file=sys.stderr)
        else:
            self._line(text)

    def _line(self, text):
        self.spoken = time.monotonic()
        if self.done > self.uncounted:
            rate = (self.done - self.uncounted) / max(self.spoken - self.started, 1e-9)
            text += f"  {rate:,.0f} {self.unit}/s"
            left = self._left() if self.seconds else (self.total - self.done) / rate if self.total else 0
            text += f"  {left:,.0f} s left" if left > 0 else ""
        print(text, file=sys.stderr, flush=True)

    def _left(self):
        return max(self.seconds - (time.monotonic() - self.started), 0.0)

    def write(self, text: str) -> None:
        """Show a line without disturbing the bar."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
        elif self.on:
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a text that was asked for, also where progress is silent."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._compiling in cache.on_compile:
            cache.on_compile.remove(self._compiling)
        if self.bar is not None:
            self.bar.close()


def early_stopping(value) -> EarlyStopping | None:
    """Return early stopping for an argument: None, a patience, or an `EarlyStopping`."""
    if value is None or isinstance(value, EarlyStopping):
        return value
    value = value.item() if hasattr(value, "item") else value  # of NumPy
    return dataclasses.replace(EarlyStopping(), patience=value)
