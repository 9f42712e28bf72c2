"""Unfolding: a net step by step with its values, and the terms of back-propagation through time one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import cells
from numbarnn.backends.device import host
from numbarnn.cells import contract
from numbarnn.checks import COUNTED, check_integer, naming
from numbarnn.core.arrays import as_array
from numbarnn.diagnostics import tape
from numbarnn.errors import ShapeError
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.layers import Dense
from numbarnn.losses.cross_entropy import SoftmaxCrossEntropy
from numbarnn.network.network import Network


@dataclass(frozen=True)
class Unfolded:
    """A recurrent classifier, step by step, and its gradient, term by term. Steps count from 0.

    ::

        s_t = f(U x_t + W s_{t-1} + b),  y^_t = o_t = softmax(V s_t + c),  E_t = -log o_t[y_t],  E = sum over t of E_t
        dE_t/dV = (y^_t - y_t) outer s_t
        dE_t/dW = sum over k = 0..t of  dE_t/ds_t  ds_t/ds_k  d+s_k/dW       ds_t/ds_k = J_t ... J_{k+1}, t - k factors

    where d+s_k/dW takes s_{k-1} as a constant. U, W and V are ``weight_ih``, ``weight_hh`` and the dense layer's ``weight``, b is
    the sum of ``bias_ih`` and ``bias_hh``, and c the dense layer's ``bias``; of a cell with gates, U, W and b are stacked by gate,
    and the terms hold as well. A net without biases, ``RNN(3, bias=False)`` and ``Dense(4, bias=False)``, has neither b nor c.

    Attributes
    ----------
    cell : NamedTuple
    x : (T, C) array
    y : (T,) integers
        Targets.
    s, s_before : (T, H) arrays
        s_t and s_{t-1}.
    o : (T, K) array
    E : (T,) array
    U, W, V : arrays
    b, c : arrays or None
        Biases of the pre-activations, by gate, and of the outputs; None without. A bias that the reset gate of a GRU multiplies
        is not added to the other one of its gate: it has the last rows of b.
    dV : (T, K, H) array
        dE_t/dV.
    dU, dW : (T, T, ...) arrays
        Entry [t, k] is the term k of dE_t/dU and dE_t/dW; zero for k > t.
    gradients : dict
        Gradient of E as training computes it, in float64: "U", "W", "V".
    """

    cell: tuple[Any, ...]
    x: np.ndarray
    y: np.ndarray
    s: np.ndarray
    s_before: np.ndarray
    o: np.ndarray
    E: np.ndarray
    U: np.ndarray
    W: np.ndarray
    V: np.ndarray
    b: np.ndarray | None
    c: np.ndarray | None
    dV: np.ndarray
    dU: np.ndarray
    dW: np.ndarray
    gradients: dict[str, np.ndarray]

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """U, W, b, V and c by name, in the order of the equations, without biases that the net does not have."""
        values = {name: getattr(self, name) for name in ("U", "W", "b", "V", "c")}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def difference(self) -> float:
        """Largest relative deviation of the summed terms from the gradient that training uses."""
        pairs = ((self.dV.sum(0), "V"), (self.dU.sum((0, 1)), "U"), (self.dW.sum((0, 1)), "W"))
        return float(
            max(
                np.abs(terms - self.gradients[name]).max()
                / max(np.abs(self.gradients[name]).max(), np.finfo(float).tiny)
                for terms, name in pairs
            )
        )

    def __str__(self) -> str:
        last = len(self.x) - 1
        lines = [self._equations(), ""]
        lines += [f"{name} = {_shown(values, 4)}" for name, values in self.parameters.items()]
        for t in range(last + 1):
            lines += [
                f"t = {t}:  x_{t} = {_shown(self.x[t])}",
                f"        s_{t} = {_shown(self.s[t])}",
                f"        o_{t} = {_shown(self.o[t])}   target {self.y[t]}   "
                f"E_{t} = -log {self.o[t, self.y[t]]:.4f} = {self.E[t]:.4f}",
            ]
        lines += [f"E = {' + '.join(f'{e:.4f}' for e in self.E)} = {self.E.sum():.4f}", ""]
        error = self.o[last] - np.eye(len(self.o[last]))[self.y[last]]
        lines.append(
            f"dE_{last}/dV = (y^_{last} - y_{last}) outer s_{last} = {_shown(error)} outer {_shown(self.s[last])}"
        )
        lines.append(f"        = {_shown(self.dV[last], 10)}")
        for name, terms in (("W", self.dW[last]), ("U", self.dU[last])):
            lines.append(f"dE_{last}/d{name}, term by term:")
            for k in range(last + 1):
                lines.append(f"  k = {k}: {_shown(terms[k], 9)}   norm {np.linalg.norm(terms[k]):.2e}")
            lines.append(f"  sum:   {_shown(terms.sum(0), 9)}   norm {np.linalg.norm(terms.sum(0)):.2e}")
        lines.append(
            f"Summed over all losses and k they are the gradients of training, within {self.difference:.1e} of the largest."
        )
        return "\n".join(lines)

    def _equations(self):
        names = {code: name for name, code in ACTIVATIONS.items()}
        b, c = " + b" if self.b is not None else "", " + c" if self.c is not None else ""
        step = f"s_t = {type(self.cell).__name__}(U x_t, W s_{{t-1}}{b.replace(' + ', ', ')})"
        if isinstance(self.cell, cells.RNN):
            step = f"s_t = {names[self.cell.activation]}(U x_t + W s_{{t-1}}{b})"
        absent = {"": "", "b": "; no bias b", "c": "; no bias c", "bc": "; no biases"}
        missing = absent["b" * (not b) + "c" * (not c)]
        return f"{step}, o_t = softmax(V s_t{c}), E_t = -log o_t[y_t], over {len(self.x)} steps{missing}"

    def __repr__(self) -> str:
        cell, hidden, classes = type(self.cell).__name__, self.s.shape[1], self.o.shape[1]
        return (
            f"<Unfolded: {cell}({hidden}) and {classes} classes over {len(self.x)} steps, E = {self.E.sum():.4g}; "
            "print shows every value>"
        )


def _shown(values, indent=0):
    """Return values as text; the further rows of a matrix begin at `indent`."""
    text = np.array2string(
        np.asarray(values), precision=3, suppress_small=True, sign=" ", max_line_width=110, threshold=200
    )
    return text.replace("\n", "\n" + " " * indent)


def unfold(model: Network, x: Any, steps: int = 4, y: Any = None, *, sample: int = 0, state: Any = None) -> Unfolded:
    """Unfold a recurrent classifier over its first steps, with the values of one sample.

    Parameters
    ----------
    model : Model
        Layers: tokens or numeric input, one recurrent layer of one level and direction, and `Dense`.
    x : array-like
        (samples, time steps, features) values or (samples, time steps) tokens.
    steps : int
        Steps to unfold.
    y : (samples, time steps) integers, optional
        Targets; None, for tokens: the next token, so x must have one step more.
    sample : int
    state : tuple, optional
        Initial states of all samples.

    Returns
    -------
    Unfolded
        ``print`` shows it, `numbarnn.plots.plot_unfolded` draws it.

    Raises
    ------
    ShapeError, TypeError, ValueError
        If the model is of another form, or x has too few steps.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> layers = [numbarnn.OneHot(4), numbarnn.RNN(3), numbarnn.Dense(4)]
    >>> model = numbarnn.Model(layers, dtype="float64", seed=1)
    >>> found = numbarnn.diagnostics.unfold(model, np.array([[3, 0, 2, 1, 3]]), steps=4)  # 4 tokens, each predicts the next
    >>> s = np.tanh(found.U @ found.x[1] + found.W @ found.s[0] + found.b)
    >>> bool(np.allclose(s, found.s[1]))
    True
    """
    x = as_array(x, "x")
    steps = check_integer(steps, "steps", 1, COUNTED)
    if x.ndim > 1 and x.shape[1] < steps + (y is None):
        raise ShapeError(
            f"steps must be at most {x.shape[1] - (y is None)} for x of shape {x.shape}"
            f"{' without y, where the next tokens are the targets' if y is None else ''}, got {steps}"
        )
    net, values = tape.in_float64(model, x)
    _check_form(net)
    sample = tape.check_sample(sample, len(x))
    if y is None:
        if not model.signals[0].tokens:
            raise ValueError("y must be given: only for tokens is the next one the target")
        y = x[:, 1:]
    y = as_array(y, "y")
    if y.shape != x.shape[:2] and y.shape != (len(x), x.shape[1] - 1):
        raise ShapeError(f"y must have shape {x.shape[:2]}: (samples, time steps), got {y.shape}")
    y = y[sample : sample + 1, :steps]
    start = (
        None
        if state is None
        else tuple(tuple(s[:, sample : sample + 1] for s in entry) for entry in net.check_state(state, len(x)))
    )
    done = tape.run(net, values[sample : sample + 1, :steps], start)
    (chain,), name = done.chains, net.names[-1]
    with naming("y", "target"):
        _, gradient, _ = host().losses.value_and_gradient(
            done.call, SoftmaxCrossEntropy(), done.rows, y, done.layout, "sum"
        )
    dy = host().batch.from_rows(done.call, gradient, done.layout)[0]
    logits = done.outputs[-1][0]
    o = np.exp(logits - logits.max(axis=1, keepdims=True))
    o /= o.sum(axis=1, keepdims=True)
    losses = -np.log(o[np.arange(steps), y[0]])
    s = chain.after[0, 0]
    V, U, W = net.params[f"{name}.weight"], chain.weight("weight_ih"), chain.weight("weight_hh")
    dU, dW = np.zeros((steps, steps, *U.shape)), np.zeros((steps, steps, *W.shape))
    for t in range(steps):
        g = np.zeros((len(chain.before), 1, chain.layer.hidden_size))
        g[0, 0] = dy[t] @ V
        for k in range(t, -1, -1):
            _, g, terms = chain.pull(np.array([0]), np.array([k]), g, params=True)
            dU[t, k], dW[t, k] = terms["weight_ih"], terms["weight_hh"]
    _, found = net.loss_and_grad(
        values[sample : sample + 1, :steps], y, SoftmaxCrossEntropy(), state=start, reduction="sum"
    )
    gradients = {"U": found[chain.name("weight_ih")], "W": found[chain.name("weight_hh")], "V": found[f"{name}.weight"]}
    dV = dy[:, :, None] * s[:, None, :]
    return Unfolded(
        cell=chain.layer.cell,
        x=values[sample, :steps],
        y=y[0],
        s=s,
        s_before=chain.before[0, 0],
        o=o,
        E=losses,
        U=U,
        W=W,
        V=V,
        b=_bias(chain, net),
        c=net.params.get(f"{name}.bias"),
        dV=dV,
        dU=dU,
        dW=dW,
        gradients=gradients,
    )


def _bias(chain, net):
    """Return b, stacked by gate, or None: the two biases of a gate are added where one pre-activation takes both."""
    ours, theirs = (net.params.get(chain.name(kind)) for kind in ("bias_ih", "bias_hh"))
    if ours is None or theirs is None:
        return ours if theirs is None else theirs
    cell, hidden = chain.layer.cell, chain.layer.hidden_size
    inputs = {gate: row for row, gate in cell.from_input.items()}
    products = {gate: row for row, gate in contract.used_hidden_rows(cell).items()}
    apart = [gate in inputs and gate in products and inputs[gate] != products[gate] for gate in cell.gates]
    ours, theirs = ours.reshape(-1, hidden), theirs.reshape(-1, hidden)
    return np.concatenate([np.where(np.array(apart)[:, None], ours, ours + theirs), theirs[apart]]).reshape(-1)


def _check_form(net):
    first, *rest = net.layers
    if not (
        len(rest) == 1
        and isinstance(rest[0], Dense)
        and rest[0].activation in (None, "identity")
        and first.state_names
        and first.num_layers * first.directions == 1
        and first.return_sequences
        and contract.used_hidden_rows(first.cell)
    ):
        raise ValueError(
            "unfold needs a recurrent layer with a recurrent product, of one level and direction and return_sequences=True, and a "
            f"Dense layer without activation after it; the model has {', '.join(type(layer).__name__ for layer in net.layers)}"
        )
