"""Blocks of nets whose optimizer steps run without Python between them: some steps of all nets in one compiled call a thread."""

import contextlib
import time
from typing import Any

import numpy as np

from numbarnn.backends import recorded
from numbarnn.backends.recorded import batch as regions
from numbarnn.core import seeds
from numbarnn.data.batches import ArraySource
from numbarnn.kernels.cpu.whole_steps import (
    BEGUN,
    CLIP_NORM,
    CLIP_VALUE,
    CLIPPED,
    DECAY,
    FIELDS,
    NORM,
    NUMBERS,
    OK,
    RATIO,
)
from numbarnn.network.recorded import Programs, rows_of_all, unrecorded
from numbarnn.optim import Optimizer

# Seconds of a compiled call, after which progress is shown and Ctrl-C is answered; the most steps and bytes of one.
SECONDS, MOST_STEPS, MOST_BYTES = 0.05, 64, 2**24


def reason_alone(fitting: Any) -> str | None:
    """Return why a net has to be trained by steps of its own; None where they can run in a block."""
    trainer = fitting.trainer
    reason = unrecorded(trainer.model, trainer.loss) or _no_arrays(fitting.source)
    if reason is not None:
        return reason
    if fitting.callbacks:
        return "callbacks"
    for name, usual in (("tbptt", None), ("memory_limit", None), ("accumulate", 1)):
        if getattr(trainer, name) != usual:
            return name
    if type(trainer.optimizer).update is not Optimizer.update:
        return f"the optimizer {type(trainer.optimizer).__name__}"
    return None


def _no_arrays(source):
    """Return what a source has beside arrays of samples of equal lengths, or None."""
    if type(source) is not ArraySource:
        return f"a source that is not an ArraySource, {type(source).__name__}"
    for name in ("lengths", "sample_weight"):
        if getattr(source, name) is not None:
            return name
    return None


def make_blocks(fittings: list[Any], n_threads: int) -> tuple[list["Block"], dict[Any, str]]:
    """Return the nets as blocks of at least two, and those that are left, with the reasons."""
    groups: dict[Any, list[Any]] = {}
    alone, rows = {}, _Rows()
    for fitting in fittings:
        reason = reason_alone(fitting)
        if reason is None and rows.of(fitting.trainer, fitting.source) is None:
            reason = "targets that are ignored, or do not fit"
        if reason is not None:
            alone[fitting] = reason
            continue
        trainer = fitting.trainer
        model, optimizer = trainer.model, trainer.optimizer
        common = model.layers, model.signals[0], model.dtype, repr(trainer.loss), optimizer.kernel
        groups.setdefault(common, []).append(fitting)
    for common in [common for common, group in groups.items() if len(group) == 1]:
        alone[groups.pop(common)[0]] = "no other net with its layers, loss and kind of optimizer"
    return [Block(group, rows, n_threads) for group in groups.values()], alone


class _Rows:
    """Inputs and targets of sources by rows, each made once; None of a source that cannot be."""

    def __init__(self):
        self._found: dict[Any, Any] = {}

    def of(self, trainer, source):
        model = trainer.model
        key = id(source), model.dtype, repr(trainer.loss)
        if key not in self._found:
            try:
                x, targets, weights = rows_of_all(model, trainer.loss, source.x, source.y)
                found = None if weights.size else (x, targets)
            except (TypeError, ValueError):  # which its own steps say
                found = None
            self._found[key] = found, source  # the source, whose address is the key, stays
        return self._found[key][0]


class Block:
    """Nets of one architecture, loss and kind of optimizer.

    Parameters
    ----------
    fittings : list of Fitting
    rows : _Rows
    n_threads : int
    """

    def __init__(self, fittings: list[Any], rows: Any, n_threads: int):
        self.fittings, self.n_threads, self._rows = fittings, n_threads, rows
        trainer = fittings[0].trainer
        self._programs = Programs(trainer.model, trainer.loss, trainer.optimizer)
        self._seconds_of_step = {}

    def train_epoch(self, fittings: list[Any], progress: Any, interrupted: Any) -> tuple[str, dict[Any, Exception]]:
        """Train an epoch of some of the nets from where their runs stand.

        Returns
        -------
        stopped : str
            "epochs", or what ended the epoch early.
        failed : dict of Fitting to DivergedError
            Nets that diverged, which end it too.
        """
        started, before = time.perf_counter(), [fitting.run.seconds for fitting in fittings]
        orders, done, stopped, failed = [], 0, "epochs", {}
        for fitting in fittings:
            trainer = fitting.trainer
            trainer.model.loss = trainer.loss
            drawn = fitting.source.orders(seeds.generator(trainer.seed, "order", trainer.epoch))
            orders.append(list(drawn)[fitting.run.pieces :])
        longest = max(map(len, orders))
        while done < longest and stopped == "epochs" and not failed:
            steps = min(longest - done, self._steps(orders, True))
            failed = self._train([order[done : done + steps] for order in orders], fittings, progress)
            done += steps
            for fitting, seconds in zip(fittings, before, strict=True):
                fitting.run.seconds = seconds + time.perf_counter() - started
            stopped = "interrupted" if interrupted() else stopped
            for fitting in fittings:
                file = fitting.file
                if file is not None and (stopped != "epochs" or (done < longest and file.due(fitting.trainer.step))):
                    fitting.write()
        return stopped, failed

    def evaluate(self, fittings: list[Any]) -> dict[Any, float]:
        """Return the validation losses, as `Trainer.evaluate` has them, of the nets whose validation is of arrays too."""
        found = {}
        chosen = [fitting for fitting in fittings if fitting.validation is not None]
        chosen = [fitting for fitting in chosen if _no_arrays(fitting.validation) is None]
        chosen = [fitting for fitting in chosen if self._rows.of(fitting.trainer, fitting.validation) is not None]
        if not chosen:
            return found
        orders, sums = [], []
        for fitting in chosen:
            trainer = fitting.trainer
            orders.append(list(fitting.validation.orders(seeds.generator(trainer.seed, "evaluation"))))
            sums.append(trainer.model.backend.optim.LossSum(trainer.model.dtype))
        done, longest = 0, max(map(len, orders))
        while done < longest:
            steps = min(longest - done, self._steps(orders, False))
            part = [order[done : done + steps] for order in orders]
            sources = [fitting.validation for fitting in chosen]
            weights = [fitting.trainer.average for fitting in chosen]
            weights = [
                fitting.trainer.model.params.flat if own is None else own
                for fitting, own in zip(chosen, weights, strict=True)
            ]
            by_net = [{regions.WEIGHTS: own} for own in weights]
            losses = self._run(part, chosen, sources, by_net, {}, training=False)
            for own, values in zip(sums, losses, strict=True):
                for loss, count in values:
                    own.add(loss, count)
            done += steps
        return {fitting: own.mean() for fitting, own in zip(chosen, sums, strict=True)}

    def _steps(self, orders, training):
        """Return how many steps the next compiled call has."""
        if training not in self._seconds_of_step:
            return 1
        model = self._programs.model
        each = max(len(rows) for order in orders for rows in order)
        if model.signals[-1].sequence:
            each *= max(fitting.source.x.shape[1] for fitting in self.fittings)
        most = min(MOST_STEPS, MOST_BYTES // (8 * each * len(orders)))
        return int(max(1, min(SECONDS / self._seconds_of_step[training], most)))

    def _train(self, orders, fittings, progress):
        """Do some steps of all nets; return the errors of those that diverged."""
        trainers = [fitting.trainer for fitting in fittings]
        dtype, steps, nets = trainers[0].model.dtype, max(map(len, orders)), len(fittings)
        known: dict[Any, np.ndarray] = {}
        coefficients = np.zeros((steps, nets, len(trainers[0].optimizer.coefficients(1, 0.0))), dtype)
        keys, measure = np.zeros((steps, nets, 2), np.int64), np.zeros((steps, nets), np.int64)
        records, numbers = np.zeros((steps, nets, FIELDS)), np.full((nets, NUMBERS), -1.0)
        for net, (trainer, order) in enumerate(zip(trainers, orders, strict=True)):
            for step in range(len(order)):
                given = trainer.optimizer, trainer.step + step + 1, trainer.rate_at(trainer.step + step)
                if given not in known:
                    known[given] = trainer.optimizer.coefficients_in(dtype, *given[1:])
                coefficients[step, net] = known[given]
                keys[step, net] = trainer.seed, trainer.passes + step
                measure[step, net] = trainer.statistics.due(step)
            for field, value in ((CLIP_NORM, trainer.clip_norm), (CLIP_VALUE, trainer.clip_value)):
                numbers[net, field] = -1.0 if value is None else value
            if trainer.ema is not None:
                numbers[net, DECAY], numbers[net, BEGUN] = trainer.ema.decay, trainer.average is not None
        averages = [np.empty(t.model.params.size, dtype) if t.average is None else t.average for t in trainers]
        by_step = {
            regions.COEFFICIENTS: coefficients, regions.KEY: keys, regions.MEASURE: measure, regions.RECORD: records,
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            by_net = []
            for trainer, average, own in zip(trainers, averages, numbers, strict=True):
                flat = stack.enter_context(trainer.model.params.writing())
                moments = dict(zip(recorded.optim.MOMENTS, trainer.arrays, strict=False))
                by_net.append({regions.WEIGHTS: flat, regions.AVERAGE: average, regions.NUMBERS: own, **moments})
            sources = [fitting.source for fitting in fittings]
            losses = self._run(orders, fittings, sources, by_net, by_step, training=True)
        failed = {}
        for net, (fitting, trainer, order) in enumerate(zip(fittings, trainers, orders, strict=True)):
            run = fitting.run
            if trainer.ema is not None and numbers[net, BEGUN]:
                trainer.average = averages[net]
            found = zip(order, losses[net], records[:, net].tolist(), measure[:, net].tolist(), strict=False)
            for rows, (loss, count), record, measured in found:
                trainer.passes += 1
                if record[OK] == 0:
                    failed[fitting] = trainer.diverged(loss, record[NORM])
                    break
                trainer.step += 1
                trainer.statistics.add(record[NORM], record[CLIPPED], record[RATIO] if measured else None)
                run.add(loss, count)
                progress.batch(trainer.epoch - run.begin, len(rows), run.end_batch(len(rows)))
        return failed

    def _run(self, orders, fittings, sources, by_net, by_step, *, training):
        """Run the programs of some batches; return (mean loss, weight) of each, by net."""
        steps, nets, began = max(map(len, orders)), len(orders), time.perf_counter()
        starts, counts = np.full((steps, nets), -1, np.int64), np.zeros((steps, nets), np.int64)
        samples = np.zeros((steps, nets, max(len(rows) for order in orders for rows in order)), np.int64)
        by_net = list(by_net)
        for net, (fitting, source, order) in enumerate(zip(fittings, sources, orders, strict=True)):
            x, targets = self._rows.of(fitting.trainer, source)
            by_net[net] = {**by_net[net], regions.INPUTS: x, regions.TARGETS: targets}
            for step, rows in enumerate(order):
                samples[step, net, : len(rows)] = rows
                found = self._programs.program(len(rows), x, targets, training=training)
                starts[step, net], counts[step, net] = found
        losses = np.zeros((steps, nets, counts.max()))
        given = {**by_step, regions.ORDER: samples, regions.LOSSES: losses}
        self._programs.run(starts, by_net, given, self.n_threads)
        self._seconds_of_step[training] = (time.perf_counter() - began) / steps
        result = []
        for net, order in enumerate(orders):
            own = [
                (losses[step, net, :count].sum(), count)
                for step, count in enumerate(counts[: len(order), net].tolist())
            ]
            result.append([(float(value) * (1.0 / float(count)), float(count)) for value, count in own])
        return result
