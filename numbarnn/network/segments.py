"""Checkpointed back-propagation through time: a pass that keeps states at the edges of segments, and makes the rest again.

A batch is cut along its steps. The way forward keeps the states before each segment alone; the way back goes from the last
segment to the first, makes the tape of a segment from these states once more, and carries the gradient of the states on. Whatever
is computed twice is computed alike, dropout's masks included, and gradients of weights are summed in the blocks and the order of
a pass in one piece (`numbarnn.kernels.cpu.weight_gradient.RowRange`), so all results are equal to the bit.

T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174 (2016); A. Gruslys,
R. Munos, I. Danihelka, M. Lanctot, A. Graves, "Memory-Efficient Backpropagation Through Time", NIPS 2016, the variant that
memorises hidden states (BPTT-HSM).
"""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from numbarnn.checks import refuse_mask
from numbarnn.core.layout import Layout
from numbarnn.layers import Recurrent
from numbarnn.network.program import has_step


def cut_layers(layers) -> int:
    """Return how many layers, from the first on, can be run by segments: they know a step without those after it."""
    for number, layer in enumerate(layers):
        if not has_step([layer]):
            return number
        if isinstance(layer, Recurrent) and not layer.return_sequences:
            return number + 1
    return len(layers)


def takes_rows(network, loss) -> bool:
    """Return whether a loss can be made of some rows at a time, as the outputs of segments come."""
    by_segments = cut_layers(network.layers) == len(network.layers) and network.signals[-1].sequence
    return by_segments and network.backend.losses.by_rows(loss)


@dataclass
class _Segments:
    """The segments of one batch, and the layers that are run by them: `cut` layers of the network, the others in one piece."""

    network: Any
    call: Any
    weights: list
    array: np.ndarray
    layout: Layout
    edges: list
    cut: int
    arena: Any

    def __post_init__(self):
        self.segment = self.network.backend.segments.Segment()
        self.rows_before = np.concatenate([[0], np.cumsum(self.layout.active)])

    @property
    def count(self):
        return len(self.edges) - 1

    def enter(self, index, **options):
        """Return what a pass through a segment takes: call, rows and geometry."""
        first, last = self.edges[index : index + 2]
        self.arena.reset()
        self.segment.enter(first, int(self.rows_before[first]))
        own = replace(self.call, arena=self.arena, segment=self.segment, **options)
        part = self.layout.part(first, last)
        rows, _ = self.network.backend.batch.as_rows(own, self.network.signals[0], self.array[:, first:last], part)
        return own, rows, part

    def row(self, index):
        """Return the first row of a segment."""
        return self.edges[index] * self.layout.samples

    def states(self, start, stop, end, then=None):
        """Return the states before each segment and after the last, running the layers before `end` through `stop` segments.

        ``then(index, call, rows, layout)`` is given what the layers make of each segment.
        """
        states = [start]
        for index in range(stop):
            own, rows, part = self.enter(index, keep=False)
            rows, after, final, _ = self.network._forward(own, self.weights, rows, part, states[-1], 0, end)
            states.append(final)
            if then is not None:
                then(index, own, rows, after)
        return states

    def back(self, states, gradient, dfinal, dy):
        """Write the gradients of the layers, from the last segment to the first; return the states after the last.

        ``dy(index, call, outputs)`` returns the gradient of the outputs of a segment, or None.
        """
        final = ()
        for index in reversed(range(self.count)):
            own, rows, part = self.enter(index, keep=True)
            out, _, end, tape = self.network._forward(own, self.weights, rows, part, states[index], 0, self.cut)
            final = end if index == self.count - 1 else final
            _, dfinal = self.network._backward(own, self.weights, tape, dy(index, own, out), gradient, dfinal)
            del rows, out, tape
        return final


def differentiate(network, call, array, layout, target, loss, state, gradient, reduction, sample_weight, length):
    """As `Network.differentiate`, by segments of `length` steps."""
    refuse_mask(target, "target")
    backend, end = network.backend, network.signals[-1]
    # The weights first, as `Network.differentiate` has them.
    with network.lent_weights(call) as weights, backend.batch.lent_arena() as arena:
        outputs_layout = layout if end.sequence else layout.last()
        run = backend.losses.prepare(call, loss, end.size, target, outputs_layout, reduction, sample_weight)
        # The way back begins with a segment of full length, for which the arena then has the memory of all.
        edges = [0, *range((layout.steps - 1) % length + 1, layout.steps + 1, length)]
        segments = _Segments(network, call, weights, array, layout, edges, cut_layers(network.layers), arena)
        run_all = _by_rows if takes_rows(network, loss) else _with_rest
        return run_all(segments, run, state, gradient)


def _by_rows(segments, run, state, gradient):
    """Make loss and gradient of a net whose loss is made row by row: nothing is kept of all steps but the losses."""
    network = segments.network
    losses = np.empty(segments.layout.steps * segments.layout.samples)

    def loss_part(index, own, outputs, _=None):
        return run.part(own, outputs, segments.row(index), losses)

    if gradient is None:
        final = segments.states(state, segments.count, None, loss_part)[-1]
        return run.value(losses), final, run.total
    # The last segment is run once, with its tape; of the others no more is needed than the states.
    recurrent = [number for number, layer in enumerate(network.layers) if layer.state_names]
    states = [state] * segments.count
    if recurrent:
        states = segments.states(state, segments.count - 1, recurrent[-1] + 1)
    final = segments.back(states, gradient, None, loss_part)
    return run.value(losses), final, run.total


def _with_rest(segments, run, state, gradient):
    """Make loss and gradient where layers, or the loss, need all steps at once: these are run in one piece."""
    network, call, layout, cut = segments.network, segments.call, segments.layout, segments.cut
    layers, samples = network.layers, layout.samples
    one = isinstance(layers[cut - 1], Recurrent) and not layers[cut - 1].return_sequences
    below = sum(bool(layer.state_names) for layer in layers[:cut])
    own_state, rest_state = (None, None) if state is None else (state[:below], state[below:])
    whole = None

    def gather(index, _, rows, __):
        nonlocal whole
        if whole is None:
            whole = replace(rows, values=call.empty((layout.steps * samples, rows.values.shape[1])))
        first = segments.row(index)
        whole.values[first : first + len(rows.values)] = rows.values

    states = segments.states(own_state, segments.count, cut, None if one else gather)
    if one:
        whole = _last_rows(network, call, layers[cut - 1], states[-1][-1][0][-1], layout)
    inner = layout.last() if one else layout
    out, _, rest_final, tape = network._forward(call, segments.weights, whole, inner, rest_state, cut)
    value, dy, total = run(out)
    final = (*states[-1], *rest_final)
    if gradient is None:
        return value, final, total
    del out
    if tape:
        dy, _ = network._backward(call, segments.weights, tape, dy, gradient, need_dx=True, first=cut)
    if one:
        segments.back(states, gradient, _last_gradient(network, layers[:cut], dy, layout), lambda *_: None)
    else:
        ends = [*itertools.accumulate(np.diff(segments.edges) * samples, initial=0)]

        def part(index, *_):
            return replace(dy, values=dy.values[ends[index] : ends[index + 1]])

        segments.back(states, gradient, None, part)
    return value, final, total


def _last_rows(network, call, layer, h, layout):
    """Return the last outputs of each sample as rows; zero where there is none."""
    begun = layout.begun
    rows = network.backend.batch.feature_rows(call, np.zeros((layout.samples, 1, layer.output_size)), layout.last())
    rows.values[:begun, : layer.hidden_size] = layout.sort(h)[:begun]
    return rows


def _last_gradient(network, layers, dy, layout):
    """Return the gradient of the final states where that of the last outputs is given."""
    layer, begun = layers[-1], layout.begun
    found = [None] * (sum(bool(one.state_names) for one in layers) - 1)
    states = [np.zeros(layer.state_shape(layout.samples), network.dtype) for _ in layer.state_names]
    last = np.zeros((layout.samples, layer.hidden_size), network.dtype)
    last[:begun] += dy.values[:begun, : layer.hidden_size]
    states[0][-1] = layout.unsort(last)
    return (*found, tuple(states))
