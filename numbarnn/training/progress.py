"""Progress of a training run: on the terminal, and as records of `logging` for programs without one."""

import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numbarnn.checks import check_integer
from numbarnn.kernels import cache

# Has no handler of its own: records go where the program sends them, and nowhere without `logging.basicConfig` or its kin.
LOGGER = logging.getLogger("numbarnn")


def _logged_here() -> bool:
    """Return whether the program shows the records on the stream of the lines, which would say the same twice."""
    if not LOGGER.isEnabledFor(logging.INFO):
        return False
    logger: logging.Logger | None = LOGGER
    while logger is not None:
        for handler in logger.handlers:
            if getattr(handler, "stream", None) in (sys.stderr, sys.stdout) and handler.level <= logging.INFO:
                return True
        logger = logger.parent if logger.propagate else None
    return False


def check_verbose(verbose) -> int:
    """Return how much is shown; raise TypeError or ValueError unless it is a flag or an integer that is not negative."""
    return int(verbose) if isinstance(verbose, (bool, np.bool_)) else check_integer(verbose, "verbose", 0)


# Kernels that the first step of a recurrent net compiles where none is cached, by measurement; others need a few more or less.
FIRST_KERNELS = 22
LINE_EVERY = 10.0  # seconds between plain lines
NARROW = 60  # columns of a terminal that are too few for tqdm's own line
SHORT = {
    True: "{desc} {percentage:.0f}%|{bar}| {remaining}{postfix}",
    False: "{desc} {n_fmt}{postfix}",
}  # with a total or without


class Progress:
    """Shows how training goes: one tqdm bar on a terminal or in a notebook, plain lines elsewhere, nothing at verbose 0.

    Whatever `verbose`, every epoch is a record of level INFO of the logger "numbarnn", whose attribute `epoch` is that of the
    history. Where the program shows these records on the terminal, the lines of epochs that ended are left out.

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

    def __init__(self, verbose: int, total: int | None, unit: str, epochs: int, seconds: float | None = None):
        self.unit, self.total, self.seconds = unit, None if seconds else total, seconds
        self.of_epochs = "" if seconds else f"/{epochs}"
        self.bar, self.on = None, check_verbose(verbose) > 0
        self.done = self.uncounted = 0
        self.counting = False
        self.compiled = 0
        self.began = self.started = self.spoken = time.monotonic()
        if not self.on:
            return
        cache.on_compile.append(self._compiling)
        if sys.stderr.isatty() or "ipykernel" in sys.modules:
            from tqdm.auto import tqdm

            short = {"characters": "char", "bytes": "B", "words": "word", "samples": "sample"}.get(unit, unit)
            narrow = shutil.get_terminal_size().columns < NARROW
            form = {"bar_format": SHORT[self.total is not None]} if narrow else {}
            self.bar = tqdm(total=self.total, unit=short, unit_scale=True, dynamic_ncols=True, smoothing=0.05, **form)

    def _compiling(self, folder):
        """Show that a kernel is about to be compiled, and how many were."""
        if self.compiled == 0:
            where = "and not stored" if folder is None else f"which are stored in {folder} for the next time"
            self.write(f"compiling kernels for this processor, {where}")
        self.compiled += 1
        if self.counting:
            return
        passed = time.monotonic() - self.began
        of = f" of about {FIRST_KERNELS}" if self.compiled <= FIRST_KERNELS else ""
        text = f"kernel {self.compiled}{of}, {passed:.0f} s"
        if self.bar is not None:
            self.bar.set_description(f"compiling {text}")
        elif time.monotonic() - self.spoken > LINE_EVERY:
            self.spoken = time.monotonic()
            self.write(f"compiling {text}")

    def resume(self, items: int, text: str) -> None:
        """Say that the run goes on, after that many items."""
        self.done = items
        if self.bar is not None:
            self.bar.initial = self.bar.n = items
        self.write(text)

    def batch(self, epoch: int, items: int, loss: float) -> None:
        """Count a batch of an epoch, counted from 0."""
        self.done += items
        first = not self.counting
        if first:  # the first batch may have compiled kernels, which says nothing of the speed
            self.started = self.spoken = time.monotonic()
            self.uncounted, self.counting = self.done, True
            if self.compiled:
                self.write(f"{self.compiled} kernels compiled in {self.started - self.began:.1f} s")
        if self.bar is not None:
            left = f", {self._left():.0f} s left" if self.seconds else ""
            self.bar.set_description(f"epoch {epoch + 1}{self.of_epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {loss:.4f}{left}", refresh=False)
            if first:
                self._restart_clock(self.done)
            else:
                self.bar.update(items)
        elif self.on and time.monotonic() - self.spoken > LINE_EVERY:
            self._line(f"epoch {epoch + 1}{self.of_epochs}  loss {loss:.4f}")

    def _restart_clock(self, done):
        """Let the bar's speed and time left be those of the batches to come."""
        self.bar.n = self.bar.initial = self.bar.last_print_n = done
        self.bar.start_t = self.bar.last_print_t = self.bar._time()
        self.bar.refresh()

    def epoch(self, record: dict[str, Any]) -> None:
        """Show and log the record of an epoch that ended."""
        text = f"epoch {record['epoch']}{self.of_epochs}  loss {record['loss']:.4f}"
        if "val_loss" in record:
            text += f"  val_loss {record['val_loss']:.4f}"
        LOGGER.info("%s  %.1f s", text, record["seconds"], extra={"epoch": dict(record)})
        if not self.on:
            return
        if _logged_here():
            self.spoken = time.monotonic()
            return
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


def counted(items: Sequence[Any], verbose: int, unit: str) -> Iterator[Any]:
    """Yield items, and show how many are done: a bar of tqdm on a terminal or in a notebook, else lines; at verbose 0 nothing."""
    if not verbose:
        yield from items
        return
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        from tqdm.auto import tqdm

        yield from tqdm(items, unit=unit, dynamic_ncols=True)
        return
    spoken = time.monotonic()
    for number, item in enumerate(items):
        yield item
        if time.monotonic() - spoken > LINE_EVERY or number + 1 == len(items):
            spoken = time.monotonic()
            print(f"{unit} {number + 1} of {len(items)}", file=sys.stderr, flush=True)
