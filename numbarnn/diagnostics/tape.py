"""Tapes of diagnostic passes: gates, states and outputs of every step, and backward passes of single time steps.

The passes are those of training: the tape that back-propagation reads is read here too. The backward pass of a single step uses the
same kernels, called for one time step; many steps, samples and directions are the samples of one call.
"""

import functools
from dataclasses import dataclass

import numpy as np

from numbarnn import parallel
from numbarnn.backends.device import host
from numbarnn.cells import contract
from numbarnn.checks import brief, check_finite, check_flag, check_integer
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.layers import Recurrent
from numbarnn.network.network import Network

# Approximate limit of the values in the arrays of one call; larger batches of steps are cut.
BUDGET = 2**23


@dataclass(frozen=True)
class Chain:
    """One cell running through the steps in one direction: a level of a recurrent layer.

    Attributes
    ----------
    model : Network
    layer : Recurrent
    layer_index : int
        Index of the layer in the model.
    level : int
    reverse : bool
    x : (N, T, C) array, or None for tokens
        Its input.
    before, after : (S, N, T, H) arrays
        The states before and after every step, in the order of computation; zero past a sample's length.
    saved : dict
        Name -> (N, T, H): the gates, and the other saved values of the cell.
    lengths : (N,) int64
    """

    model: Network
    layer: Recurrent
    layer_index: int
    level: int
    reverse: bool
    x: np.ndarray | None
    before: np.ndarray
    after: np.ndarray
    saved: dict[str, np.ndarray]
    lengths: np.ndarray

    @property
    def suffix(self) -> str:
        """Ending of the names of its parameters: "_l0", "_l1_reverse"."""
        return f"_l{self.level}" + ("_reverse" if self.reverse else "")

    def name(self, quantity: str) -> str:
        """Return the full name of a gate or state: "lstm.f_l0"."""
        return f"{self.model.names[self.layer_index]}.{quantity}{self.suffix}"

    def weight(self, kind: str) -> np.ndarray:
        """Return a parameter of the chain by its kind, such as "weight_hh"."""
        return self.model.params[self.name(kind)]

    @functools.cached_property
    def step(self) -> Network:
        """The chain as a model of its own."""
        layer = self.layer
        single = Recurrent(layer.hidden_size, bias=layer.bias, name="step", cell=layer.cell)
        net = Network([single], self.x.shape[2], self.model.dtype, n_threads=self.model.n_threads)
        kinds = {name: name.removeprefix("step.").removesuffix("_l0") for name in net.params}
        net.params.load({name: self.weight(kind) for name, kind in kinds.items()})
        return net

    def pull(self, samples: np.ndarray, steps: np.ndarray, gradients: np.ndarray, params: bool = False):
        """Back-propagate through single steps.

        Parameters
        ----------
        samples, steps : (R,) integers
            Sample and step of each row.
        gradients : (S, R, H) array
            Gradients of the states after the steps.
        params : bool
            Whether gradients of the parameters are wanted, summed over the rows.

        Returns
        -------
        dx : (R, C) array
        dbefore : (S, R, H) array
        dparams : dict, kind of parameter -> array; empty unless wanted
        """
        rows, hidden = len(samples), self.layer.hidden_size
        dx, dbefore, sums = np.empty((rows, self.x.shape[2])), np.empty(gradients.shape), {}
        piece = max(1, BUDGET // (16 * hidden + self.x.shape[2]))
        for first in range(0, rows, piece):
            part = slice(first, min(first + piece, rows))
            n, t = samples[part], steps[part]
            state = (tuple(values[None, n, t] for values in self.before),)
            outputs, _, pullback = self.step.vjp(self.x[n, t][:, None], state)
            found = pullback(np.zeros_like(outputs), (tuple(g[None, part] for g in gradients),))
            dx[part] = found.x[:, 0]
            for whole, values in zip(dbefore, found.state[0], strict=True):
                whole[part] = values[0]
            if params:
                for name, values in found.params.items():
                    kind = name.removeprefix("step.").removesuffix("_l0")
                    sums[kind] = sums.get(kind, 0) + values
        return dx, dbefore, sums


@dataclass(frozen=True)
class Tape:
    """A pass through a model.

    Attributes
    ----------
    model : Network
    outputs : list of arrays
        Of every layer, (N, T, features), or (N, features) after ``return_sequences=False``; None for tokens.
    chains : list of Chain
        In the order of computation.
    lengths : (N,) int64
    rows, layout : Rows, Layout
        The last layer's output and its geometry, as losses take them.
    call : Call
    """

    model: Network
    outputs: list
    chains: list[Chain]
    lengths: np.ndarray
    rows: object
    layout: Layout
    call: object


def run(model: Network, x, state=None, lengths=None) -> Tape:
    """Run a batch through a model and return its tape. Parameters as in `numbarnn.Model.forward`."""
    call = _call(model, keep=True)
    rows, layout = host().batch.to_rows(call, x, model.signals[0], lengths)
    states = iter(model._states(state, layout.samples) or ())
    passes, outputs, chains, begun = model.host_passes(call), [], [], layout
    for number, layer in enumerate(model.layers):
        start = next(states, None) if layer.state_names else None
        own, weights = passes[number]
        rows, after, _, saved = own.forward(call, layer, weights, rows, layout, start, number)
        if isinstance(layer, Recurrent):
            chains += _chains(model, call, layer, number, saved, layout)
        layout = after
        values = None if rows.tokens else host().batch.from_rows(call, rows, layout)
        outputs.append(values if values is None or model.signals[number + 1].sequence else values[:, 0])
    return Tape(model, outputs, chains, begun.unsort(begun.lengths), rows, layout, call)


def _call(model, **options):
    return host().batch.Call(model.dtype, parallel.check_threads(model.n_threads), **options)


def _chains(model, call, layer, number, tapes, layout):
    for index, saved_tape in enumerate(tapes):
        level, direction = divmod(index, layer.directions)
        reverse = layer.reverse or direction == 1
        running = np.arange(layout.steps) < layout.unsort(layout.lengths)[:, None]

        def array(values, running=running):
            """Return (T, N, Hp) as (N, T, H) in the caller's order."""
            values = layout.unsort(np.swapaxes(values[:, :, : layer.hidden_size], 0, 1))
            return np.where(running[:, :, None], values, 0)

        slots = saved_tape.states[:, 1:], saved_tape.states[:, :-1]
        before, after = slots if reverse else slots[::-1]
        cell = layer.cell
        saved = {name: array(saved_tape.saved[:, k]) for k, name in enumerate(cell.saved)}
        if contract.has_inner(cell):
            saved |= {name: array(saved_tape.inner_saved[:, k]) for k, name in enumerate(cell.inner_saved)}
            saved |= {name: array(saved_tape.inner) for name in cell.inner}
        yield Chain(
            model, layer, number, level, reverse,
            None if saved_tape.x.tokens else host().batch.from_rows(call, saved_tape.x, layout),
            np.stack([array(values) for values in before]), np.stack([array(values) for values in after]),
            {name: values for name, values in saved.items() if name not in cell.states},
            layout.unsort(layout.lengths),
        )  # fmt: skip


def check_model(model) -> None:
    """Raise TypeError or ValueError unless a model has recurrent layers."""
    if not isinstance(model, Network):
        inner = [name for name in ("model", "model_") if isinstance(getattr(model, name, None), Network)]
        hint = f"; pass its attribute {inner[0]}" if inner else ""
        raise TypeError(f"model must be a numbarnn.Model, got {type(model).__name__}{hint}")
    if not model.recurrent_layers:
        raise ValueError("the model has no recurrent layer, so there are no states over time")


def in_float64(model: Network, x, lengths=None) -> tuple[Network, np.ndarray]:
    """Return a float64 copy of a model and its numeric input.

    Tokens are replaced by the output of the first layer, one-hot vectors or embeddings, and that layer is left out, so that
    derivatives with respect to the input exist.

    Raises
    ------
    TypeError
        If `model` is not a model.
    ValueError
        If it has no recurrent layer, or x has NaN.
    """
    check_model(model)
    _, layout = host().batch.to_rows(_call(model), x, model.signals[0], lengths)
    running = np.arange(layout.steps) < layout.unsort(layout.lengths)[:, None]
    first, layers, x = model.layers[0], model.layers, np.asarray(x)
    if model.signals[0].tokens:
        x, layers = np.where(running, x, 0), layers[1:]
        weight = model.params.get(f"{model.names[0]}.weight")  # an embedding's
        x = np.eye(first.size)[x] if weight is None else np.float64(weight)[x]
    x = np.where(running[:, :, None], x, 0).astype(np.float64)
    check_finite(x, "x")
    named = [_named(layer, name) for layer, name in zip(layers, model.names[-len(layers) :], strict=True)]
    net = Network(named, x.shape[2], np.float64, n_threads=model.n_threads)
    net.params.load({name: model.params[name] for name in net.params})
    return net, x


def _named(layer, name):
    """Return a layer with an explicit name."""
    return layer if layer.name is not None else type(layer).from_config({**layer.config(), "name": name})


def chain_of(tape: Tape, layer: str | None, level: int, reverse: bool) -> Chain:
    """Return a chain of a tape by the name of its layer (None: the first recurrent one), level and direction.

    Raises
    ------
    ValueError
        If there is none; the message names the existing ones.
    """
    names = [(tape.model.names[chain.layer_index], chain.level, chain.reverse) for chain in tape.chains]
    level = check_integer(level, "level", 0)
    check_flag("jacobian", "reverse", reverse)
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"layer must be the name of a layer or None, got {brief(layer)}")
    wanted = (names[0][0] if layer is None else layer, level, bool(reverse))
    if wanted not in names:
        existing = ", ".join(f"layer={n!r} level={at} reverse={back}" for n, at, back in names)
        raise ValueError(
            f"layer, level and reverse must name a chain of states of the model, which has {existing}; "
            f"got layer={layer!r} level={level} reverse={reverse}"
        )
    return tape.chains[names.index(wanted)]


def check_sample(sample: int, count: int) -> int:
    """Return the index of a sample; raise ShapeError unless it is one of `count`."""
    if isinstance(sample, bool) or not isinstance(sample, (int, np.integer)) or not 0 <= sample < count:
        raise ShapeError(f"sample must be an integer from 0 to {count - 1}, got {brief(sample)}")
    return int(sample)
