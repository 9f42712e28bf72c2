"""Jacobians over time: of a state by an earlier state, and of an output by the inputs."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import cells
from numbarnn.checks import COUNTED, check_integer
from numbarnn.diagnostics import tape
from numbarnn.network.network import Network

# Largest slopes of the activations of `numbarnn.cells.RNN`, by their codes.
_STEEPEST = {0: 1.0, 1: 1.0, 2: 0.25, 3: 1.0}


@dataclass(frozen=True)
class Jacobian:
    """ds_t / ds_k of one sample, where s is the whole state of a level: (h, c) of an LSTM, concatenated.

    ::

        ds_t / ds_k = J_t J_{t-1} ... J_{k+1},   J_j = ds_j / ds_{j-1}        (t - k factors)
        plain RNN:   J_j = diag(f'(U x_j + W s_{j-1} + b)) W
                     ||ds_t / ds_k|| <= (max f' ||W||)^(t - k)                Pascanu et al. 2013, eq. 6
        LSTM:        dc_t / dc_k = f_t * f_{t-1} * ... * f_{k+1}              with the recurrent path through the gates cut

    Attributes
    ----------
    t, k : int
    states : tuple of str
        Names of the states, in the order of rows and columns, `hidden` of each.
    hidden : int
    steps : (t - k, S * H, S * H) array
        J_{k+1}, ..., J_t: rows are the states after a step, columns those before it.
    forget : (t - k, H) array or None
        The forget gates at steps k + 1 to t, of a cell that has them.
    weight_bound : float or None
        (max f' ||W||)^(t - k), of the plain recurrent cell.

    References
    ----------
    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013; S. Hochreiter, J.
    Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).
    """

    t: int
    k: int
    states: tuple[str, ...]
    hidden: int
    steps: np.ndarray
    forget: np.ndarray | None
    weight_bound: float | None

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """ds_t / ds_k, (S * H, S * H)."""
        return functools.reduce(lambda product, step: step @ product, self.steps)

    def block(self, of: str, by: str) -> np.ndarray:
        """Return a part of `matrix`, such as ``block("c", "c")``: dc_t / dc_k.

        Parameters
        ----------
        of, by : str
            Names of `states`: of the state after step t, and of that after step k.

        Returns
        -------
        (H, H) array

        Raises
        ------
        ValueError
            If there is no such state.
        """
        return self._block(self.matrix, of, by)

    def _block(self, matrix, of, by):
        for name in (of, by):
            if name not in self.states:
                raise ValueError(f"there is no state {name!r}; the cell has {', '.join(self.states)}")
        at = {name: slice(s * self.hidden, (s + 1) * self.hidden) for s, name in enumerate(self.states)}
        return matrix[..., at[of], at[by]]

    @functools.cached_property
    def singular_values(self) -> np.ndarray:
        """Singular values of `matrix`, falling. Those below 1e-16 of the largest are noise."""
        return np.linalg.svd(self.matrix, compute_uv=False)

    @property
    def norm(self) -> float:
        """Spectral norm of `matrix`: how much the largest change of s_k is magnified."""
        return float(self.singular_values[0])

    @property
    def step_bound(self) -> float:
        """Product of the norms of the step Jacobians, an upper bound of `norm` for any cell."""
        return float(np.prod(np.linalg.norm(self.steps, 2, axis=(1, 2))))

    @functools.cached_property
    def by_lag(self) -> np.ndarray:
        """Singular values of ds_t / ds_{t-lag} for lag 1 to t - k, (t - k, S * H), falling in a row."""
        product, found = np.eye(self.steps.shape[1]), []
        for step in self.steps[::-1]:
            product = product @ step
            found.append(np.linalg.svd(product, compute_uv=False))
        return np.array(found)

    @property
    def forget_product(self) -> np.ndarray:
        """f_t * ... * f_{k+1}, (H,), of the forget gates as they were."""
        if self.forget is None or "c" not in self.states:
            raise ValueError("the cell has no cell state c with a forget gate f")
        return np.prod(self.forget, axis=0)

    @property
    def carry_path(self) -> np.ndarray:
        """dc_t / dc_k along the cell state (carry) alone, (H, H): the product of dc_j / dc_{j-1} at a constant h_{j-1}.

        Equal to diag(`forget_product`) for an LSTM without peepholes, which are a path through the gates of their own.
        """
        _ = self.forget_product
        own = self._block(self.steps, "c", "c")
        return functools.reduce(lambda product, step: step @ product, own)

    @property
    def carry_added(self) -> np.ndarray:
        """Contribution of the paths through the gates to dc_t / dc_k, (H, H)."""
        return self.block("c", "c") - self.carry_path

    def __repr__(self) -> str:
        return f"<Jacobian ds_{self.t} / ds_{self.k}: {'x'.join(map(str, self.matrix.shape))}, norm {self.norm:.3g}>"


def jacobian(
    model: Network,
    x: Any,
    t: int,
    k: int,
    *,
    sample: int = 0,
    layer: str | None = None,
    level: int = 0,
    reverse: bool = False,
    state: Any = None,
    lengths: Any = None,
) -> Jacobian:
    """Return the exact Jacobian ds_t / ds_k of a level of a recurrent layer, in float64.

    Parameters
    ----------
    model, x, state, lengths : as in `numbarnn.Model.forward`
    t, k : int
        Steps, counted from 0; s_t is the state after step t, and k = -1 the initial state. k < t; in the reverse direction k > t,
        and k = T the initial state.
    sample : int
    layer : str, optional
        Name of the layer; None: the first recurrent one.
    level : int
        Of its stack.
    reverse : bool
        Of a bidirectional layer, the reverse direction; True of a layer with ``reverse=True``.

    Returns
    -------
    Jacobian

    Raises
    ------
    ValueError
        If t, k, sample or the level do not exist.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> numbarnn.diagnostics.jacobian(model, np.ones((2, 5, 3)), t=4, k=0).matrix.shape
    (8, 8)
    """
    t, k = check_integer(t, "t", -1), check_integer(k, "k", -1)
    net, x = tape.in_float64(model, x, lengths)
    done = tape.run(net, x, state, lengths)
    chain = tape.chain_of(done, layer, level, reverse)
    sample = tape.check_sample(sample, len(x))
    length = int(chain.lengths[sample])
    low, high = (t, k) if reverse else (k, t)
    if not (-1 + reverse <= low < high <= length - 1 + reverse):
        rule = f"0 <= t < k <= {length}" if reverse else f"-1 <= k < t <= {length - 1}"
        raise ValueError(f"t and k must be steps, {rule} (sample {sample} has {length} steps), got t = {t}, k = {k}")
    steps = np.arange(k - 1, t - 1, -1) if reverse else np.arange(k + 1, t + 1)
    cell, hidden = chain.layer.cell, chain.layer.hidden_size
    forget = chain.saved["f"][sample, steps] if "f" in chain.saved else None
    bound = None
    if isinstance(cell, cells.RNN):
        bound = float((_STEEPEST[cell.activation] * np.linalg.norm(chain.weight("weight_hh"), 2)) ** len(steps))
    return Jacobian(t, k, cell.states, hidden, step_jacobians(chain, sample, steps), forget, bound)


def step_jacobians(chain: tape.Chain, sample: int, steps: np.ndarray) -> np.ndarray:
    """Return J_j = ds_j / ds_{j-1} for some steps of a sample, (steps, S * H, S * H)."""
    count, hidden = len(chain.before), chain.layer.hidden_size
    size = count * hidden
    unit = np.eye(size).reshape(size, count, hidden).transpose(1, 0, 2)
    rows = len(steps) * size
    _, before, _ = chain.pull(np.full(rows, sample), np.repeat(steps, size), np.tile(unit, (1, len(steps), 1)))
    return np.ascontiguousarray(before.transpose(1, 0, 2)).reshape(len(steps), size, size)


def sensitivity(model: Network, x: Any, t: int, output: int, *, state: Any = None, lengths: Any = None) -> np.ndarray:
    """Return d output / d input: how an output at step t depends on every input before and after it, in float64.

    Parameters
    ----------
    model, x, state, lengths : as in `numbarnn.Model.forward`
    t : int
        Step of the output; -1: the last. Of no effect where the model has one output per sample.
    output : int
        Which feature of the output; of a classifier, a logit. For nets trained with CTC, `alignment` gives the steps of the labels.

    Returns
    -------
    (samples, time steps, features) array
        Of tokens, the derivative by the one-hot vector, or by the embedding.

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        As `numbarnn.Model.forward`; ValueError also if the outputs have no feature `output`, or x no step t.

    References
    ----------
    A. Graves, "Supervised sequence labelling with recurrent neural networks" (2012), section 4.4 (its sequential Jacobian).

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> values = numbarnn.diagnostics.sensitivity(model, np.ones((2, 5, 3)), t=2, output=0)
    >>> values.shape, bool(values[:, 3:].any())  # nothing after step 2 reaches it
    ((2, 5, 3), False)
    """
    net, x = tape.in_float64(model, x, lengths)
    outputs, _, pullback = net.vjp(x, state, lengths)
    output, t = check_integer(output, "output", -COUNTED), check_integer(t, "t", -COUNTED)
    if not -outputs.shape[-1] <= output < outputs.shape[-1]:
        raise ValueError(
            f"output must be one of {outputs.shape[-1]} features, 0 to {outputs.shape[-1] - 1}, got {output}"
        )
    unit = np.zeros_like(outputs)
    if outputs.ndim == 2:
        unit[:, output] = 1
    else:
        if not -x.shape[1] <= t < x.shape[1]:
            raise ValueError(f"t must be a step, 0 to {x.shape[1] - 1}, got {t}")
        unit[:, t, output] = 1
    return pullback(unit).x
