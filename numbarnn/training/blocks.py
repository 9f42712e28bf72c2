"""Blocks of nets whose optimizer steps run without Python between them: some steps of all nets in one compiled call a thread."""

import contextlib
import mmap
import time
from typing import Any

import numpy as np

from numbarnn import parallel
from numbarnn.backends import recorded
from numbarnn.backends.recorded import batch as regions
from numbarnn.checks import check_flat
from numbarnn.core import seeds
from numbarnn.data.batches import ArraySource
from numbarnn.errors import CheckpointError, ShapeError
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
from numbarnn.kernels.interrupts import DeferredInterrupt
from numbarnn.losses.pointwise import PointwiseLoss
from numbarnn.network.recorded import Programs, samples_of, unrecorded
from numbarnn.optim import Optimizer

# Seconds of a compiled call, after which progress is shown and Ctrl-C is answered; the most steps and bytes of one.
SECONDS, MOST_STEPS, MOST_BYTES = 0.1, 64, 2**24


def reason_alone(fitting: Any) -> str | None:
    """Return why a net has to be trained by steps of its own; None where they can run in a block."""
    trainer = fitting.trainer
    reason = unrecorded(trainer.model, trainer.loss) or _no_arrays(fitting.source, trainer.model)
    if reason is not None:
        return reason
    if fitting.callbacks:
        return "callbacks"
    for name, usual in (("tbptt", None), ("memory_limit", None), ("accumulate", 1)):
        if getattr(trainer, name) != usual:
            return name
    if trainer.ranks.size > 1:
        return "comm"
    if type(trainer.optimizer).update is not Optimizer.update:
        return f"the optimizer {type(trainer.optimizer).__name__}"
    return None


def _no_arrays(source, model):
    """Return what a source has beside arrays of samples of equal lengths, which memory holds as the model reads them, or None."""
    if type(source) is not ArraySource:
        return f"a source that is not an ArraySource, {type(source).__name__}"
    for name in ("lengths", "sample_weight"):
        if getattr(source, name) is not None:
            return name
    as_it_is = not model.signals[0].tokens and source.x.dtype == model.dtype and source.x.flags.c_contiguous
    if not as_it_is and _in_a_file(source.x):
        return f"a memory-mapped x that is not a C-contiguous array of {model.dtype}, of which memory would have a copy"
    if model.signals[-1].sequence and _in_a_file(source.y):
        return "a memory-mapped y of every step, of which memory would have a copy"
    return None


def _in_a_file(array):
    """Return whether an array is one that is memory-mapped, or a view of one."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


def _all_of(record):
    """Return what is equal of two losses, or optimizers, that do the same; of one that cannot be compared its address.

    Neither the repr nor == tell, for fields may be left out of both.
    """
    try:
        found = type(record), record, tuple(sorted(vars(record).items()))
        hash(found)
    except TypeError:
        return type(record), id(record)
    return found


def _common(trainer):
    """Return what nets have in common whose sources have the same rows, and whose programs the same losses."""
    model, loss = trainer.model, trainer.loss
    first, last = model.signals[0], model.signals[-1]
    term = ()
    if isinstance(loss, PointwiseLoss):
        term = type(loss.record), loss.options(last.size, model.dtype).tobytes()
    return first, last, model.dtype, _all_of(loss), term


def make_blocks(fittings: list[Any], n_threads: int) -> tuple[list["Block"], dict[Any, str]]:
    """Return the nets as blocks of at least two, and those that are left, with the reasons."""
    groups: dict[Any, list[Any]] = {}
    alone, rows = {}, _Rows()
    for fitting in fittings:
        reason = reason_alone(fitting)
        if reason is None and rows.of(fitting.trainer, fitting.source) is None:
            reason = "targets that are ignored, or have the wrong shape"
        if reason is not None:
            alone[fitting] = reason
            continue
        trainer = fitting.trainer
        common = trainer.model.layers, trainer.optimizer.kernel, _common(trainer)
        groups.setdefault(common, []).append(fitting)
    for common, group in list(groups.items()):
        reason = None
        if len(group) == 1:
            reason = "no other net with its layers, loss and kind of optimizer"
        elif 2 * len(group) <= n_threads and all(map(_shared_by_threads, group)):
            reason = "more threads than nets, which share the steps of nets this large"
        if reason is not None:
            alone |= dict.fromkeys(groups.pop(common), reason)
    return [Block(group, rows, n_threads) for group in groups.values()], alone


def _shared_by_threads(fitting):
    """Return whether a step of a net alone has work for two threads."""
    source = fitting.source
    operations = min(source.batch_size, source.items) * source.x.shape[1] * fitting.trainer.model.params.size
    return operations >= 2 * parallel.GRAIN


class _Rows:
    """Inputs and targets of sources by rows, made once for all nets; None of a source that has no such."""

    def __init__(self):
        self._found: dict[Any, Any] = {}

    def of(self, trainer, source):
        if source is None or _no_arrays(source, trainer.model) is not None:
            return None
        try:
            key = id(source), _common(trainer)
            if key not in self._found:
                samples, weights = samples_of(trainer.model, trainer.loss, source.x, source.y)
                # Source and loss, whose addresses may be in the key, stay.
                self._found[key] = None if weights.size else samples, source, trainer.loss
        except (TypeError, ValueError):  # which its own steps say
            return None
        return self._found[key][0]


class Block:
    """Nets of one architecture, loss and kind of optimizer.

    Parameters
    ----------
    fittings : list of Fitting
    rows : _Rows
    n_threads : int
    """

    def __init__(self, fittings: list[Any], rows: _Rows, n_threads: int):
        self.fittings, self.n_threads = fittings, n_threads
        trainer = fittings[0].trainer
        self._programs = Programs(trainer.model, trainer.loss, trainer.optimizer)
        self._rows = {fitting: rows.of(fitting.trainer, fitting.source) for fitting in fittings}
        found = {fitting: rows.of(fitting.trainer, fitting.validation) for fitting in fittings}
        self._validation = {fitting: own for fitting, own in found.items() if own is not None}
        self._seconds_of_step: dict[bool, float] = {}

    def train_epoch(
        self, fittings: list[Any], progress: Any, interrupted: Any
    ) -> tuple[dict[Any, str], dict[Any, Exception]]:
        """Train an epoch of some of the nets from where their runs stand.

        Returns
        -------
        stopped : dict of Fitting to str
            "epochs", or what ended the epoch of a net early; of those that did not fail.
        failed : dict of Fitting to Exception
            What `Fitting.train_epoch` would have raised. One of a net that is needed ends the epoch of all.
        """
        started, before = time.perf_counter(), {fitting: fitting.run.seconds for fitting in fittings}
        begun = {fitting: fitting.run.pieces for fitting in fittings}
        orders, done, heard = {}, 0, False
        for fitting in fittings:
            trainer = fitting.trainer
            trainer.model.loss = trainer.loss
            drawn = list(fitting.source.orders(seeds.generator(trainer.seed, "order", trainer.epoch)))
            try:
                fitting.check_given(len(drawn), begun[fitting])
            except CheckpointError as error:
                return {}, {fitting: error}
            orders[fitting] = drawn[begun[fitting] :]
        failed: dict[Any, Exception] = {}
        while not heard and not any(fitting.needed for fitting in failed):
            left = {fitting: order[done:] for fitting, order in orders.items() if len(order) > done}
            if not left:
                break
            steps = min(max(map(len, left.values())), self._steps(left.values(), True))
            diverged = self._train({fitting: order[:steps] for fitting, order in left.items()}, progress)
            done, failed = done + steps, failed | diverged
            heard = interrupted()
            orders = {fitting: order for fitting, order in orders.items() if fitting not in diverged}
            for fitting, order in orders.items():
                if fitting in left:
                    fitting.run.seconds = before[fitting] + time.perf_counter() - started
                file = fitting.file
                if file is not None and (heard or (done < len(order) and file.due(fitting.trainer.step))):
                    fitting.write()
        stopped = {fitting: "epochs" if done >= len(order) else "interrupted" for fitting, order in orders.items()}
        for fitting, why in stopped.items():
            try:
                if why == "epochs":
                    fitting.check_counted(begun[fitting])
            except (CheckpointError, ShapeError) as error:
                failed[fitting] = error
        return stopped, failed

    def evaluate(self, fittings: list[Any]) -> dict[Any, float]:
        """Return the validation losses, as `Trainer.evaluate` has them, of the nets whose validation is of arrays too."""
        chosen = [fitting for fitting in fittings if fitting in self._validation]
        if not chosen:
            return {}
        orders, sums, by_net = [], [], []
        for fitting in chosen:
            trainer = fitting.trainer
            orders.append(list(fitting.validation.orders(seeds.generator(trainer.seed, "evaluation"))))
            sums.append(trainer.model.backend.optim.LossSum(trainer.model.dtype))
            weights = trainer.model.params.flat if trainer.average is None else trainer.average
            by_net.append({regions.WEIGHTS: weights})
        data, done, longest = [self._validation[fitting] for fitting in chosen], 0, max(map(len, orders))
        while done < longest:
            steps = min(longest - done, self._steps(orders, False))
            losses = self._run([order[done : done + steps] for order in orders], data, by_net, {}, training=False)
            for own, values in zip(sums, losses, strict=True):
                for loss, count in values:
                    own.add(loss, count)
            done += steps
        return {fitting: own.mean() for fitting, own in zip(chosen, sums, strict=True)}

    def _steps(self, orders, training):
        """Return how many steps the next compiled call has."""
        if training not in self._seconds_of_step:
            return 1
        each = max(len(rows) for order in orders for rows in order)
        if self._programs.model.signals[-1].sequence:
            each *= max(own.steps for own in (self._rows if training else self._validation).values())
        most = min(MOST_STEPS, MOST_BYTES // (8 * each * len(orders)))
        return int(max(1, min(SECONDS / self._seconds_of_step[training], most)))

    def _train(self, of_nets, progress):
        """Do some steps of nets, given the samples of each; return the errors of those that diverged."""
        # Between compiled steps and what is noted of them Ctrl-C would leave weights that nobody knows the step of.
        with DeferredInterrupt():
            failed, items, shown = self._train_and_note(list(of_nets), list(of_nets.values()))
        if shown:
            epochs = (fitting.trainer.epoch - fitting.run.begin for fitting in of_nets)
            progress.batch(max(epochs), items, sum(shown) / len(shown))
        return failed

    def _train_and_note(self, fittings, orders):
        """Return the errors of nets that diverged, the number of items done, and the losses of the batches."""
        trainers = [fitting.trainer for fitting in fittings]
        by_step = self._by_step(trainers, orders)
        with contextlib.ExitStack() as stack:
            by_net = []
            for trainer in trainers:
                flat = stack.enter_context(trainer.model.params.writing())
                moments = [check_flat(array, f"arrays[{i}]", flat) for i, array in enumerate(trainer.arrays)]
                numbers, average = _numbers(trainer), flat
                if trainer.ema is not None:
                    average = np.empty_like(flat) if trainer.average is None else trainer.average
                own = dict(zip(recorded.optim.MOMENTS[: trainer.optimizer.arrays], moments, strict=True))
                average = check_flat(average, "average", flat)
                by_net.append({regions.WEIGHTS: flat, regions.NUMBERS: numbers, regions.AVERAGE: average, **own})
            losses = self._run(orders, [self._rows[own] for own in fittings], by_net, by_step, training=True)
        records, measured = by_step[regions.RECORD], by_step[regions.MEASURE]
        failed, items, shown = {}, 0, []
        for net, (fitting, trainer, order) in enumerate(zip(fittings, trainers, orders, strict=True)):
            run, own = fitting.run, by_net[net]
            if trainer.ema is not None and own[regions.NUMBERS][BEGUN]:
                trainer.average = own[regions.AVERAGE]
            found = zip(order, losses[net], records[:, net].tolist(), measured[:, net].tolist(), strict=False)
            for rows, (loss, count), record, with_ratio in found:
                trainer.passes += 1
                if record[OK] == 0:
                    failed[fitting] = trainer.diverged(loss, record[NORM])
                    break
                trainer.step += 1
                trainer.statistics.add(record[NORM], record[CLIPPED], record[RATIO] if with_ratio else None)
                run.add(loss, count)
                items += len(rows)
                shown.append(run.end_batch(len(rows)))
        return failed, items, shown

    @staticmethod
    def _by_step(trainers, orders):
        """Return what differs by net and step, by region."""
        dtype, shape = trainers[0].model.dtype, (max(map(len, orders)), len(orders))
        coefficients = np.zeros((*shape, len(trainers[0].optimizer.coefficients(1, 0.0))), dtype)
        keys, measured, ahead = np.zeros((*shape, 2), np.int64), np.zeros(shape, np.int64), np.arange(shape[0])
        keys[:, :, 0] = [trainer.seed for trainer in trainers]
        keys[:, :, 1] = np.add.outer(ahead, [trainer.passes for trainer in trainers])
        known: dict[Any, np.ndarray] = {}
        for net, (trainer, order) in enumerate(zip(trainers, orders, strict=True)):
            first, count = trainer.step, len(order)
            given = _all_of(trainer.optimizer), first, tuple(trainer.rate_at(first + step) for step in range(count))
            if given not in known:
                rates = enumerate(given[2], first + 1)
                found = [trainer.optimizer.coefficients_in(dtype, step, rate) for step, rate in rates]
                known[given] = np.array(found, dtype).reshape(count, -1) if count else coefficients[:0, net]
            coefficients[:count, net] = known[given]
            measured[:, net] = trainer.statistics.due(ahead)
        records = np.zeros((*shape, FIELDS))
        return {
            regions.COEFFICIENTS: coefficients, regions.KEY: keys, regions.MEASURE: measured, regions.RECORD: records,
        }  # fmt: skip

    def _run(self, orders, data, by_net, by_step, *, training):
        """Run the programs of some batches; return (mean loss, weight) of each, by net."""
        steps, nets, began = max(map(len, orders)), len(orders), time.perf_counter()
        starts, counts = np.full((steps, nets), -1, np.int64), np.zeros((steps, nets), np.int64)
        samples = np.zeros((steps, nets, max(len(rows) for order in orders for rows in order)), np.int64)
        for net, (own, order) in enumerate(zip(data, orders, strict=True)):
            by_net[net] |= {regions.INPUTS: own.inputs, regions.TARGETS: own.targets}
            found = {}
            for step, rows in enumerate(order):
                size = len(rows)
                samples[step, net, :size] = rows
                if size not in found:
                    found[size] = self._programs.program(size, own, training=training)
                starts[step, net], counts[step, net] = found[size]
        losses = np.zeros((steps, nets, counts.max()))
        self._programs.run(
            starts, by_net, {**by_step, regions.ORDER: samples, regions.LOSSES: losses}, self.n_threads
        )  # fmt: skip
        self._seconds_of_step[training] = (time.perf_counter() - began) / steps
        if (counts == counts[0, 0]).all():
            sums = losses.sum(axis=2)
        else:
            sums = np.array(
                [
                    [own[:count].sum() for own, count in zip(*pair, strict=True)]
                    for pair in zip(losses, counts, strict=True)
                ]
            )
        weights = counts.astype(np.float64)
        means = sums * (1.0 / np.maximum(weights, 1.0))
        return [
            list(zip(means[: len(order), net].tolist(), weights[: len(order), net].tolist(), strict=True))
            for net, order in enumerate(orders)
        ]


def _numbers(trainer):
    """Return the numbers of a net that its steps read."""
    numbers = np.full(NUMBERS, -1.0)
    for field, value in ((CLIP_NORM, trainer.clip_norm), (CLIP_VALUE, trainer.clip_value)):
        if value is not None:
            numbers[field] = value
    if trainer.ema is not None:
        numbers[DECAY], numbers[BEGUN] = trainer.ema.decay, trainer.average is not None
    return numbers
