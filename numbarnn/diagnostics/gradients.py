"""Gradient check: gradients against central differences."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn.backends.device import host
from numbarnn.checks import check_integer, check_real, check_seed, naming
from numbarnn.core import seeds
from numbarnn.diagnostics import tape
from numbarnn.layers import Recurrent
from numbarnn.losses.base import make_loss
from numbarnn.network.network import Network

if TYPE_CHECKING:
    import pandas as pd

# Step of the differences, relative to a weight or to 1. Two of them, d(h) and d(2 h), make one of fourth order,
# (4 d(h) - d(2 h)) / 3, whose error, of the order of h^4 and of the rounding of the loss over h, is about 1e-12.
STEP = 1e-3


@dataclass(frozen=True)
class GradientCheck:
    """Largest errors of a gradient, by parameter and gate.

    Attributes
    ----------
    rows : list of dict
        For every block of a parameter that belongs to one gate: ``parameter``, ``gate`` (or None), ``checked`` (entries), ``error``
        (the largest deviation over the largest gradient of the block, or over 1e-3 of the largest of all where that is more), and
        of the entry that deviates most ``index``, ``gradient`` and ``difference``.
    tolerance : float
    """

    rows: list[dict[str, Any]]
    tolerance: float

    @property
    def worst(self) -> dict[str, Any]:
        """The row with the largest error."""
        return max(self.rows, key=lambda row: row["error"])

    @property
    def ok(self) -> bool:
        """Whether no error is above `tolerance`."""
        return bool(self.worst["error"] <= self.tolerance)

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a `pandas.DataFrame`, the worst first."""
        import pandas as pd

        return pd.DataFrame(self.rows).sort_values("error", ascending=False, ignore_index=True)

    def __repr__(self) -> str:
        found = "ok" if self.ok else "WRONG"
        checked = sum(row["checked"] for row in self.rows)
        return f"<GradientCheck: {found}, {checked} entries, largest error {self.worst['error']:.1e}>"

    def __str__(self) -> str:
        worst = self.worst
        gate = f", gate {worst['gate']}" if worst["gate"] else ""
        verdict = "the gradients are right" if self.ok else "WRONG"
        return (
            f"{verdict}: the worst of {sum(row['checked'] for row in self.rows)} entries is "
            f"{worst['parameter']}{list(worst['index'])}{gate}: "
            f"gradient {worst['gradient']:.9g}, central difference {worst['difference']:.9g}, error {worst['error']:.1e} "
            f"(tolerance {self.tolerance:.0e})"
        )


def check_gradients(
    model: Network,
    x: Any,
    y: Any,
    loss: Any = "softmax_cross_entropy",
    lengths: Any = None,
    state: Any = None,
    *,
    entries: int | None = 20,
    tolerance: float = 1e-7,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient of every parameter with central differences of the loss, in float64.

    For a custom cell, loss or layer; a few samples and steps suffice.

    Parameters
    ----------
    model, x, lengths, state : as in `numbarnn.Model.forward`
    y : array-like
        Targets in the form that the loss takes.
    loss : str or Loss
    entries : int or None
        Number of entries of each parameter and gate to compare, drawn at random; None: all.
    tolerance : float
        Of `GradientCheck.ok`.
    seed : int
        Of the draw.

    Returns
    -------
    GradientCheck

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        As `numbarnn.Model.loss_and_grad`; ValueError also if `entries` is neither None nor a positive integer.

    Notes
    -----
    Where an activation has a kink (relu, absolute errors) a difference across it is wrong; more entries tell it from an error.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> x, y = np.ones((2, 5, 3)), np.zeros((2, 5), int)
    >>> numbarnn.diagnostics.check_gradients(model, x, y, entries=5).ok
    True
    """
    if entries is not None:
        check_integer(entries, "entries", 1)
    tolerance, seed = check_real(tolerance, "tolerance", 0.0), check_seed(seed)
    net, x = tape.in_float64(model, x, lengths)
    loss = make_loss(loss)
    with naming("y", "target"):
        _, gradients = net.loss_and_grad(x, y, loss, lengths, state, "mean")
    start, largest = net.params.flat.copy(), max(np.abs(g).max(initial=0) for g in gradients.values())

    def difference(index, step):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            net.set_flat(moved)
            done = tape.run(net, x, state, lengths)
            values.append(host().losses.value_and_gradient(done.call, loss, done.rows, y, done.layout, "mean")[0])
        return (values[0] - values[1]) / (2 * step)

    generator, rows = seeds.generator(seed, "entries"), []
    for name, gate, first, last in _blocks(net):
        gradient = gradients[name].reshape(-1)
        indices = np.arange(first, last)
        if entries is not None and entries < len(indices):
            indices = np.sort(generator.choice(indices, entries, replace=False))
        found = []
        for i in indices:
            at = net.params.offsets[name] + i
            step = STEP * max(1.0, abs(start[at]))
            found.append((4 * difference(at, step) - difference(at, 2 * step)) / 3)
        errors = np.abs(gradient[indices] - found)
        scale = max(np.abs(gradient[first:last]).max(), 1e-3 * largest, np.finfo(float).tiny)
        worst = int(errors.argmax())
        index = tuple(int(i) for i in np.unravel_index(indices[worst], gradients[name].shape))
        rows.append(
            {
                "parameter": name, "gate": gate, "checked": len(indices), "error": float(errors[worst] / scale), "index": index,
                "gradient": float(gradient[indices[worst]]), "difference": float(found[worst]),
            }
        )  # fmt: skip
    return GradientCheck(rows, tolerance)


def _blocks(net):
    """Yield (parameter, gate or None, first entry, last entry): the rows of every gate of every parameter."""
    for name, values in net.params.items():
        owner, _, kind = name.partition(".")
        layer = net.layers[net.names.index(owner)]
        gates = layer.cell.gates if isinstance(layer, Recurrent) else ()
        if not kind.startswith(("weight_ih", "weight_hh", "bias_ih", "bias_hh")) or len(gates) < 2:
            yield name, None, 0, values.size
            continue
        size = values.size // len(gates)
        for k, gate in enumerate(gates):
            yield name, gate, k * size, (k + 1) * size
