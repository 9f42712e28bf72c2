"""A model as `numbarnn.kernels.cpu.walk` runs it over sequences: one array of weights, and a program for single steps too."""

from dataclasses import dataclass

import numpy as np

from numbarnn import parallel
from numbarnn.backends.device import host
from numbarnn.kernels.cpu import step, walk
from numbarnn.kernels.cpu.entries import LINE
from numbarnn.kernels.cpu.memory import padded
from numbarnn.kernels.cpu.walk import ADD, EACH, LAST, MAX, MEAN, ONE_BUFFER, OTHER_BUFFER, OUTSIDE, SET, SET_SUM, Stage
from numbarnn.layers import Pool, Recurrent
from numbarnn.network.program import Builder, Plan, has_step, reads_itself

_POOLED = {"mean": MEAN, "max": MAX, "last": LAST}


@dataclass(frozen=True)
class Walk:
    """The weights of a model for passes over sequences and, where it has single steps, for these.

    Attributes
    ----------
    plan : Plan
        Records of the cells, program, weights; size and form of a state, which is that of steps.
    dtype : numpy.dtype
    sequence : bool
        Whether there is an output for every step, or one for a sample.
    step : bool
        Whether the model can be run step by step.
    sample : bool
        Whether it can read its own samples; the state then has room for sampling.
    buffers : int
        Values of the scratch memory for every step.
    """

    plan: Plan
    dtype: np.dtype
    sequence: bool
    step: bool
    sample: bool
    buffers: int

    @property
    def cells(self) -> np.ndarray:
        """The records of the cells, packed."""
        return self.plan.weights.cells

    @property
    def program(self) -> np.ndarray:
        """The program, int64; the addresses of tiles at its beginning are those of this process."""
        return self.plan.weights.program

    @property
    def values(self) -> np.ndarray:
        """All weights."""
        return self.plan.weights.values

    @property
    def state_bytes(self) -> int:
        """Size of the state of one sequence, a multiple of 64."""
        return self.plan.size * self.dtype.itemsize

    def work_size(self, samples: int, steps: int) -> int:
        """Return how many values of scratch memory `walk` takes: the same for any number of samples, which run one by one."""
        return self.plan.size + self.buffers * max(steps, 1)


class _Stages:
    """Cuts the operations of layers into stages."""

    def __init__(self, build, tokens):
        self.build = build
        # Fields and operations of each, and the length of the rows of its target.
        self.stages, self.widths = [], []
        self.first, self.single, self.source = 0, False, OUTSIDE
        self.in_at, self.inputs = build.x_at, 0 if tokens else build.signal.size
        # By the index of an operation: where it finds its input in a step, whose rows go through no buffer.
        self.chained = {}
        # The last stages, which write to the same rows.
        self.group = []

    @property
    def pending(self):
        """Whether there are operations that no stage has yet."""
        return len(self.build.operations) > self.first

    def end(self, kind, at, size):
        """Make a stage of the operations since the one before, whose result is at `at`; return where the next finds it."""
        self.group = [self.stage(self.build.operations[self.first :], kind, at, size, size)]
        return self.go_on(kind, at, size)

    def level(self, operations, kind, outputs, columns, total, merged):
        """Make a stage of each run of a level."""
        self.group = []
        for index, (operation, at, backwards) in enumerate(operations):
            merge = SET if not merged else ADD if index else SET_SUM if kind == LAST else SET
            options = {"backwards": int(backwards), "column": columns[index], "merge": merge}
            moved = _reading(operation, self.in_at)
            self.group.append(self.stage([moved], kind, at, outputs, total, **options))
        return self.go_on(kind, None, total)

    def stage(self, operations, kind, at, size, width, *, backwards=0, column=0, merge=SET):
        """Append a stage that writes `size` columns of rows of a width, and return its index."""
        pooled_at = at if kind == EACH else self.build.room(size)
        fields = Stage(
            length=walk.OPERATIONS_AT + sum(map(len, operations)), kind=kind, single=int(self.single), backwards=backwards,
            source=self.source, x_at=self.in_at, inputs=self.inputs, y_at=at, outputs=size, pooled_at=pooled_at,
            target=self.target(), column=column, merge=merge, operations=len(operations),
        )  # fmt: skip
        self.stages.append((fields, operations))
        self.widths.append(padded(width, self.build.dtype))
        return len(self.stages) - 1

    def target(self):
        """Return the buffer that the next stage writes to."""
        return OTHER_BUFFER if self.source == ONE_BUFFER else ONE_BUFFER

    def go_on(self, kind, at, size):
        """Let the next stage read what the last ones wrote; return where its operations find that."""
        self.source, self.single = self.target(), self.single or kind != EACH
        self.first, self.inputs, self.in_at = len(self.build.operations), size, self.build.room(size)
        if at is not None:
            self.chained[self.first] = at
        return self.in_at

    def finish(self, at, size):
        """Let the last stage, or one that is added, write the outputs."""
        if self.pending or not self.stages:
            self.group = [self.stage(self.build.operations[self.first :], EACH, at, size, size)]
        for index in self.group:
            fields, operations = self.stages[index]
            self.stages[index] = fields._replace(target=OUTSIDE), operations

    def buffers(self):
        """Return how many buffers are written to, and the distance of their rows."""
        own = [(fields.target, width) for (fields, _), width in zip(self.stages, self.widths, strict=True)]
        used = [(target, width) for target, width in own if target != OUTSIDE]
        return tuple(max(column) for column in zip(*used, strict=True)) if used else (0, 0)

    def integers(self):
        """Return the stages as the program has them."""
        return [[*fields, *(value for operation in own for value in operation)] for fields, own in self.stages]

    def steps(self):
        """Return the operations of a single step."""
        operations = list(self.build.operations)
        for index, at in self.chained.items():
            if index < len(operations):
                operations[index] = _reading(operations[index], at)
        return operations


def make_walk(model) -> Walk:
    """Return the weights of a model for passes over sequences in code that needs no Python.

    Parameters
    ----------
    model : Model

    Returns
    -------
    Walk

    Raises
    ------
    TypeError
        If a layer is none that can be walked.
    """
    layers, signals, dtype = model.layers, model.signals, model.dtype
    call = host().batch.Call(dtype, parallel.check_threads(model.n_threads))
    packed = [weights for _, weights in model.host_passes(call)]
    build = Builder(dtype, layers, signals[0])
    stages, at = _Stages(build, signals[0].tokens), build.x_at
    described = zip(layers, signals, signals[1:], packed, strict=False)
    for layer, before, after, weights in described:
        if isinstance(layer, Recurrent) and not layer.causal:
            if stages.pending:
                at = stages.end(EACH, at, before.size)
            at = _add_directions(build, stages, layer, before, weights)
        elif isinstance(layer, Pool):
            at = stages.end(_POOLED[layer.kind], at, before.size)
        else:
            at = build.add(layer, before, weights, at)
            if build.bag[0] and not stages.stages:
                stages.in_at, stages.inputs = build.x_at, 0
            if isinstance(layer, Recurrent) and not layer.return_sequences:
                at = stages.end(LAST, at, after.size)
    size, stepped = signals[-1].size, has_step(layers)
    y_at = stages.chained.get(len(build.operations), at)
    stages.finish(at, size)
    sample = reads_itself(layers, signals)
    sample_at = build.room((LINE + 8 * size) // dtype.itemsize) if sample else 0
    buffers, row = stages.buffers()
    program = build.program(stages.steps() if stepped else [], size, y_at, stages.integers(), row, sample_at)
    return Walk(build.plan(program), dtype, signals[-1].sequence, stepped, sample, buffers * row)


def _add_directions(build, stages, layer, signal, weights):
    """Add a recurrent layer that reads sequences from their end too, and return where the next layer finds its outputs."""
    first, hidden, at = len(build.operations), layer.hidden_size, 0
    build.add(layer, signal, weights, stages.in_at)
    operations = build.operations[first:]
    columns = [layer.column(direction) for direction in range(layer.directions)]
    for level in range(layer.num_layers):
        runs = range(level * layer.directions, (level + 1) * layer.directions)
        own = [(operations[run], operations[run][_H_AT], weights[run].run.reverse) for run in runs]
        last = level == layer.num_layers - 1 and not layer.return_sequences
        at = stages.level(own, LAST if last else EACH, hidden, columns, layer.output_size, layer.merge == "sum")
    return at


# Where the offset of the input lies in an operation, and that of the states in one of a cell.
_X_AT = {step.AFFINE: 1, step.ACTIVATE: 2, step.CELL: 2}
_H_AT = 1 + step.Cell._fields.index("h_at")


def _reading(operation, x_at):
    """Return an operation that finds its input elsewhere; of a token it finds none."""
    index = _X_AT.get(operation[0])
    return operation if index is None else (*operation[:index], max(x_at, 0), *operation[index + 1 :])
