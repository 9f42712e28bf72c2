"""Steps and evaluations of a network as programs of kernel calls, which run for many nets of one architecture."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import inputs, parallel
from numbarnn.backends import recorded
from numbarnn.backends.device import passes_of
from numbarnn.backends.recorded import batch as regions
from numbarnn.core.layout import Layout
from numbarnn.kernels.cpu import denormals
from numbarnn.kernels.cpu.calls import SCRATCH, Library
from numbarnn.kernels.cpu.memory import empty


def unrecorded(model: Any, loss: Any) -> str | None:
    """Return why the steps of a model under a loss cannot be recorded, or None."""
    if model.device != "cpu":
        return f"a model on the device {model.device}"
    for layer in model.layers:
        try:
            passes_of(recorded, layer)
        except TypeError:
            return f"the layer {type(layer).__name__}"
        if type(layer).__name__ == "EmbeddingBag":
            return "bags of tokens"
        if getattr(layer, "cell", None) is not None and layer.cell.diagonal and layer.hidden_size == 1:
            return "a single unit with a diagonal weight, whose gradient NumPy sums in an order of its own"
    return None if recorded.losses.known(loss) else f"the loss {loss.name}"


@dataclass(frozen=True)
class Samples:
    """All samples of a source, as programs read them.

    Attributes
    ----------
    inputs : array
        Values (samples, time steps, features) in the model's dtype, or tokens by rows.
    targets : array
        By rows.
    samples, steps : int
    """

    inputs: np.ndarray
    targets: np.ndarray
    samples: int
    steps: int


def samples_of(model: Any, loss: Any, x: Any, y: Any) -> tuple[Samples, np.ndarray]:
    """Return all samples, once for all steps, and the weights of their rows, empty where all are one.

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        If x or y have the wrong shape, dtype or value.
    """
    array, layout = inputs.check(x, model.signals[0], None)
    end = layout if model.signals[-1].sequence else layout.last()
    given = model.signals[-1].size, end.samples * end.steps, y, end, model.dtype, "mean", None
    targets, weights, _, _ = loss.prepare(*given)
    tokens = model.signals[0].tokens
    rows = inputs.token_rows(array, layout) if tokens else np.require(array, model.dtype, ["C", "A"])
    return Samples(rows, targets, layout.samples, layout.steps), weights


class Programs:
    """Programs of the steps and evaluations of nets that have an architecture, a loss and a kind of optimizer in common.

    Parameters
    ----------
    model : Network
        One of them.
    loss : Loss
    optimizer : Optimizer
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any):
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self._library, self._words, self._begins, self._needs = Library(), [], {}, {}
        self._size, self._scratch = 0, []
        self._mode = np.zeros(1, np.int64)

    def program(self, size: int, samples: Samples, *, training: bool = True) -> tuple[int, int]:
        """Return where the program of a batch of `size` of the samples begins, and the number of its rows that have a loss."""
        key = size, samples.samples, samples.steps, samples.targets.size, samples.targets.dtype, training
        if key not in self._begins:
            call = regions.Call(self._library, self.model.dtype, self.model.params.size, training)
            count = self._write(call, Layout.make(samples.steps, size), samples)
            self._begins[key] = len(self._words), count
            self._needs[len(self._words)] = call.needs
            self._words += call.words()
            self._size = max(self._size, call.used)
        return self._begins[key]

    def _write(self, call, layout, samples):
        model, tape = self.model, []
        call.run(denormals.mode, denormals.FLUSH)
        passes = [(layer, passes_of(recorded, layer)) for layer in model.layers]
        described = zip(passes, model.names, model.signals, strict=False)
        weights = [
            own.prepare(call, layer, model.params, f"{name}.", signal) for (layer, own), name, signal in described
        ]
        take = regions.token_rows if model.signals[0].tokens else regions.feature_rows
        rows = take(call, samples.samples, model.signals[0].size, layout)
        for number, (layer, own) in enumerate(passes):
            before = layout
            rows, layout, _, saved = own.forward(call, layer, weights[number], rows, layout, None, number)
            tape.append((saved, before))
        count = layout.samples * layout.steps
        dy = recorded.losses.run(call, self.loss, rows, samples.samples, samples.targets, layout, 1.0 / float(count))
        if call.training:
            gradient = call.empty((model.params.size,))
            for number in reversed(range(len(passes))):
                (layer, own), (saved, layout) = passes[number], tape[number]
                wanted = model._learning_below[number]
                dy, _ = own.backward(call, layer, weights[number], saved, dy, layout, None, gradient, wanted, number)
            recorded.optim.step(call, self.optimizer, count, gradient, model.params.size, self._mode)
        return count

    def run(
        self, starts: np.ndarray, by_net: list[dict[int, np.ndarray]], by_step: dict[int, np.ndarray], n_threads: int
    ) -> None:
        """Run programs of some nets in the threads of the pool; a thread takes one net after the other, with all of its steps.

        Parameters
        ----------
        starts : (steps, nets) int64
            Where the program of each begins; -1: there is none.
        by_net : list of dict
            Arrays of each net by region.
        by_step : dict
            Arrays (steps, nets, ...) by region.
        n_threads : int

        Raises
        ------
        RuntimeError
            If an array is not what the programs read; nothing was run.
        Exception
            Whatever a kernel raises.
        """
        nets = len(by_net)
        for net, own in enumerate(by_net):
            for begin in set(starts[:, net].tolist()) - {-1}:
                _check(self._needs[begin], own, by_step, net)
        table, strides = np.zeros((nets, regions.REGIONS), np.int64), np.zeros(regions.REGIONS, np.int64)
        for net, own in enumerate(by_net):
            for region, array in own.items():
                table[net, region] = array.__array_interface__["data"][0]
        for region, array in by_step.items():
            table[:, region] = array.ctypes.data + np.arange(nets) * array.strides[1]
            strides[region] = array.strides[0]
        mode = denormals.mode_entry()
        self._mode[0] = mode(denormals.KEEP)
        entry, program = self._library.entry(), np.array(self._words, np.int64)
        taken, jobs = np.zeros(1, np.int64), []
        for piece in range(min(n_threads, nets)):
            bases = np.zeros(regions.REGIONS, np.int64)
            bases[SCRATCH] = self._memory(piece).ctypes.data
            given = program, starts, table, strides, bases, taken
            jobs.append(functools.partial(_job, mode, entry, self._library.arguments, *given))
        parallel.run(jobs)

    def _memory(self, piece):
        """Return the scratch memory of a thread."""
        while len(self._scratch) <= piece:
            self._scratch.append(empty((0,), np.uint8))
        if self._scratch[piece].size < self._size:
            self._scratch[piece] = empty((self._size,), np.uint8)
        return self._scratch[piece]


def _check(needs, own, by_step, net):
    """Raise RuntimeError unless the memory of a net is what a program reads; compiled code takes any address."""
    for region, (size, dtype) in needs.items():
        array = own.get(region, by_step.get(region))
        if array is None:
            raise RuntimeError(f"net {net} has no memory for region {region} of its program")
        given = array.nbytes if region in own else array.strides[1]
        fits = given == size if region in own else given >= size
        if not fits or array.dtype != dtype or not (array.flags.c_contiguous and array.flags.aligned):
            raise RuntimeError(
                f"region {region} of the program of net {net} is {size} bytes of {dtype}, got {given} of {array.dtype}, strides "
                f"{array.strides}"
            )


def _job(mode, entry, *given):
    try:
        entry(*given)
    finally:
        mode(denormals.FLUSH)  # a net that diverged leaves the caller's
