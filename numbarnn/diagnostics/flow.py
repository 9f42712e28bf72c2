"""Gradient flow: norms of the loss's gradient by time step, and contributions of the losses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn.backends.device import host
from numbarnn.checks import check_flag, naming
from numbarnn.diagnostics import tape
from numbarnn.losses.base import make_loss
from numbarnn.network.network import Network

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class GradientFlow:
    """Norms of the gradient by time step, and the contributions of the losses.

    States are named as in `trace`: ``lstm.h_l0``, ``lstm.c_l0``. The state of a step counts as a whole, (h_t, c_t): the gradient of
    c_t is the part that comes back along the cell state, without the part through h_t = o_t tanh(c_t) at the same step.

    Attributes
    ----------
    loss : float
    norms : dict
        State -> (T,) array: ||dL/ds_t||, Euclidean over samples and units.
    contributions : dict
        State -> (T, T) array: entry [t, k] is ||dE_t/ds_k||, how much of the loss at step t reaches step k. One row, of the last
        step, where the model has one output per sample. Empty if they were not requested.
    by_lag : dict
        State -> (T,) array: mean over samples and losses that are not masked of ||dE_t/ds_{t-lag}||; NaN at lags that do not occur.
    """

    loss: float
    norms: dict[str, np.ndarray]
    contributions: dict[str, np.ndarray]
    by_lag: dict[str, np.ndarray]
    _summed: dict[str, np.ndarray]

    def decades_per_step(self, name: str | None = None) -> float:
        """Return by how many powers of ten the gradient changes per step back: the slope of log10 `by_lag`; below 0 it vanishes.

        Parameters
        ----------
        name : str, optional
            A state; None: the first.

        Returns
        -------
        float
            NaN where fewer than two lags have a gradient.

        Raises
        ------
        ValueError, KeyError
            If contributions were not computed, or there is no such state.
        """
        values = self._of(self.by_lag, name)
        lags = np.flatnonzero(np.isfinite(values) & (values > 0))
        if len(lags) < 2:
            return float("nan")
        return float(np.polyfit(lags, np.log10(values[lags]), 1)[0])

    def share_within(self, steps: int, name: str | None = None) -> float:
        """Return the share of the summed norms ||dE_t/ds_k|| that lies within some steps: t - k < steps.

        Parameters
        ----------
        steps : int
        name : str, optional
            A state; None: the first.

        Returns
        -------
        float
            In [0, 1]; NaN where all norms are zero.

        Raises
        ------
        ValueError, KeyError
            If contributions were not computed, or there is no such state.
        """
        summed = self._of(self._summed, name)
        total = summed.sum()
        return float(summed[: max(int(steps), 0)].sum() / total) if total > 0 else float("nan")

    def steps_holding(self, share: float = 0.99, name: str | None = None) -> int:
        """Return the fewest steps within which a share of the summed norms lies.

        Parameters
        ----------
        share : float
            In [0, 1].
        name : str, optional
            A state; None: the first.

        Returns
        -------
        int

        Raises
        ------
        ValueError, KeyError
            If contributions were not computed, or there is no such state.
        """
        summed = self._of(self._summed, name)
        reached = np.cumsum(summed) >= share * summed.sum() * (1 - 1e-12)
        return int(np.argmax(reached)) + 1

    def _of(self, values, name):
        if not values:
            raise ValueError("contributions were not computed: gradient_flow(..., contributions=True)")
        name = next(iter(values)) if name is None else name
        if name not in values:
            raise KeyError(f"there is no state {name!r}; there are {', '.join(values)}")
        return values[name]

    def to_frame(self) -> "pd.DataFrame":
        """Return `norms` as a tidy `pandas.DataFrame`: columns state, step, norm."""
        import pandas as pd

        parts = [pd.DataFrame({"state": n, "step": np.arange(len(v)), "norm": v}) for n, v in self.norms.items()]
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        steps = len(next(iter(self.norms.values())))
        return f"<GradientFlow: loss {self.loss:.4g}, {steps} time steps, states {', '.join(self.norms)}>"

    def __str__(self) -> str:
        lines = [f"loss {self.loss:.4g}"]
        for name, norms in self.norms.items():
            line = f"{name:20} ||dL/ds|| first step {norms[0]:.2e}, last step {norms[-1]:.2e}"
            if self.by_lag:
                line += f"; {self.decades_per_step(name):+.3f} decades per step, 99 % within {self.steps_holding(0.99, name)} steps"
            lines.append(line)
        return "\n".join(lines)


def gradient_flow(
    model: Network,
    x: Any,
    y: Any,
    loss: Any = "softmax_cross_entropy",
    lengths: Any = None,
    state: Any = None,
    *,
    sample_weight: Any = None,
    contributions: bool = True,
) -> GradientFlow:
    """Back-propagate a batch and return the norm of the gradient at every step, and the contributions of the losses.

    ::

        dL/ds_k = sum over t of dE_t/ds_k,     dE_t/ds_k = dE_t/ds_t  ds_t/ds_{t-1} ... ds_{k+1}/ds_k

    L is the mean loss over the valid steps, as in training, and E_t the part of it that passes through the output of step t.

    Parameters
    ----------
    model, x, lengths, state : as in `numbarnn.Model.forward`
    y : array-like
        Targets in the form that the loss takes.
    loss : str or Loss
    sample_weight : array, optional
    contributions : bool
        Whether to back-propagate the loss of every step separately, for `contributions`, `by_lag` and the methods; the work is
        T / 2 times that of one backward pass.

    Returns
    -------
    GradientFlow

    Raises
    ------
    ShapeError, TypeError, ValueError
        If an argument has the wrong shape, dtype or value.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> x, y = np.ones((2, 5, 3)), np.zeros((2, 5), int)
    >>> numbarnn.diagnostics.gradient_flow(model, x, y).contributions["lstm.h_l0"].shape
    (5, 5)
    """
    net, x = tape.in_float64(model, x, lengths)
    loss = make_loss(loss)
    check_flag("gradient_flow", "contributions", contributions)
    total = _Sums(x.shape[1], net.signals[-1].sequence, contributions)
    value, dy, done = _output_gradient(net, x, y, loss, lengths, state, sample_weight)
    # Blocks hold a value for every (loss, sample, step, feature): a few samples are back-propagated at a time.
    widest = max(signal.size for signal in net.signals)
    losses = x.shape[1] if contributions and net.signals[-1].sequence else 1
    piece = max(1, tape.BUDGET // (losses * x.shape[1] * widest))
    for first in range(0, len(x), piece):
        _follow(net, done, slice(first, min(first + piece, len(x))), dy, total)
    return total.result(value)


def _output_gradient(net, x, y, loss, lengths, state, sample_weight):
    done = tape.run(net, x, state, lengths)
    with naming("y", "target"):
        value, gradient, _ = host().losses.value_and_gradient(
            done.call, loss, done.rows, y, done.layout, "mean", sample_weight
        )
    dy = host().batch.from_rows(done.call, gradient, done.layout)
    return value, dy, done


class _Sums:
    """Squared norms over samples, by state: of the whole gradient, and of the loss of every step."""

    def __init__(self, steps, sequence, contributions):
        self.steps, self.sequence, self.follow = steps, sequence, contributions
        self.whole, self.parts, self.lags, self.counts = {}, {}, {}, {}

    @property
    def losses(self):
        """Number of losses that are back-propagated separately."""
        return self.steps if self.sequence and self.follow else 1

    def add(self, name, t, gradient, distance):
        """Add the gradient of a state after step t, (losses, samples, H); distance : (losses, samples), -1 where there is none."""
        whole = self.whole.setdefault(name, np.zeros(self.steps))
        whole[t] += np.square(gradient.sum(axis=0)).sum()
        if not self.follow:
            return
        squares = np.square(gradient).sum(axis=2)
        parts = self.parts.setdefault(name, np.zeros((self.losses, self.steps)))
        parts[:, t] += squares.sum(axis=1)
        sums = self.lags.setdefault(name, np.zeros(self.steps))
        counts = self.counts.setdefault(name, np.zeros(self.steps))
        valid = distance >= 0
        np.add.at(sums, distance[valid], np.sqrt(squares[valid]))
        np.add.at(counts, distance[valid], 1)

    def result(self, value):
        with np.errstate(invalid="ignore"):
            by_lag = {
                name: sums / np.where(self.counts[name] > 0, self.counts[name], np.nan)
                for name, sums in self.lags.items()
            }
        return GradientFlow(
            value,
            {name: np.sqrt(squares) for name, squares in self.whole.items()},
            {name: np.sqrt(squares) for name, squares in self.parts.items()},
            by_lag,
            self.lags,
        )


def _follow(net, done, part, dy, total):
    """Back-propagate some samples, from the last layer to the first.

    A gradient is "flat", (N, T, F), while every step has that of its own loss alone, or (losses, N, T, F).
    """
    lengths = done.lengths[part]
    gradient, flat = dy[part], True
    # A loss that is masked or past the end counts in no mean.
    counted = (np.abs(gradient).max(axis=2) > 0).T if total.losses > 1 else np.ones((1, len(lengths)), bool)
    for index in reversed(range(len(net.layers))):
        layer = net.layers[index]
        if layer.state_names:
            gradient = _through_recurrent(done, index, layer, part, lengths, gradient, flat, counted, total)
            flat = False
        else:
            before = done.outputs[index - 1] if index else None
            if before is None:
                return
            gradient = _through_steps(net, index, before[part], gradient)


def _through_steps(net, index, before, gradient):
    """Return the gradient below a layer that treats every step independently."""
    before = before if before.ndim == 3 else before[:, None]
    layer, name = net.layers[index], net.names[index]
    single = Network([layer], before.shape[2], np.float64, n_threads=net.n_threads)
    single.params.load({own: net.params[own] for own in net.params if own.startswith(f"{name}.")})
    blocks = gradient if gradient.ndim == 4 else gradient[None]
    _, _, pullback = single.vjp(np.tile(before, (len(blocks), 1, 1)))
    below = pullback(blocks.reshape(-1, *blocks.shape[2:])).x.reshape(*blocks.shape[:3], -1)
    return below if gradient.ndim == 4 else below[0]


def _through_recurrent(done, index, layer, part, lengths, gradient, flat, counted, total):
    for level in reversed(range(layer.num_layers)):
        below = None
        for chain in done.chains:
            if (chain.layer_index, chain.level) != (index, level):
                continue
            column = layer.column(layer.directions - 1) if chain.reverse else 0
            own = gradient[..., column : column + layer.hidden_size]
            single = level == layer.num_layers - 1 and not layer.return_sequences
            dx = _through_chain(chain, part, lengths, own, flat, single, counted, total)
            below = dx if below is None else below + dx
        gradient, flat = below, False
    return gradient


def _through_chain(chain, part, lengths, gradient, flat, single, counted, total):
    """Return (losses, N, T, C), the gradient of a chain's input; record the norms of its states' gradients.

    single : whether the output is that of the last step of the chain alone. counted : (losses, N), mask of the losses that count.
    """
    count, samples, steps = total.losses, len(lengths), total.steps
    states, hidden = len(chain.before), chain.layer.hidden_size
    rows = np.arange(samples)
    samples_of = np.arange(part.start, part.stop)
    carry = np.zeros((states, count, samples, hidden))
    dx = np.zeros((count, samples, steps, chain.x.shape[2]))
    last = np.zeros(samples, np.int64) if chain.reverse else lengths - 1
    for t in range(steps) if chain.reverse else reversed(range(steps)):
        g = carry
        if single:
            at = rows[(last == t) & (lengths > 0)]
            values = gradient if gradient.ndim == 4 else gradient[None]
            g[0][:, at] += values[:, at, 0]
        elif flat:
            g[0][t if count > 1 else 0] += gradient[:, t]
        else:
            g[0] += gradient[:, :, t]
        running = t < lengths
        g[:, :, ~running] = 0
        # The step of a block's loss: its own index, or the last step of the chain.
        origin = np.arange(count)[:, None] if total.sequence else (last if chain.reverse else lengths - 1)[None]
        distance = np.abs(np.broadcast_to(origin, (count, samples)) - t)
        past = (origin < t) if not chain.reverse else (origin > t)
        reached = running & counted & ~(past & (np.abs(g).max(axis=(0, 3)) == 0))
        distance = np.where(reached, distance, -1)
        for s, name in enumerate(chain.layer.state_names):
            total.add(chain.name(name), t, g[s], distance)
        active = np.argwhere(np.abs(g).max(axis=(0, 3)) > 0)
        carry = np.zeros_like(g)
        if len(active):
            b, n = active.T
            below, before, _ = chain.pull(samples_of[n], np.full(len(n), t), g[:, b, n])
            carry[:, b, n] = before
            dx[b, n, t] = below
    return dx
