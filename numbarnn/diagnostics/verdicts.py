"""Verdicts on a net: findings with figures and advice."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn import cells, decoding
from numbarnn.checks import check_integer, check_lengths
from numbarnn.core.arrays import as_array
from numbarnn.core.html import html_table
from numbarnn.core.label_sequences import Labels, as_labels, too_short
from numbarnn.diagnostics import tape
from numbarnn.diagnostics.flow import GradientFlow, gradient_flow
from numbarnn.errors import ShapeError
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.losses.base import make_loss
from numbarnn.losses.ctc import CTC
from numbarnn.network.network import Network
from numbarnn.training.history import History

if TYPE_CHECKING:
    import pandas as pd

# Thresholds from which a verdict is a warning: rules of thumb, described in `diagnose`.
REACH = 0.25  # 99 % of the gradient within this share of the steps
SATURATED = 0.5  # share of a gate's values within 0.01 of 0 or 1
DEAD = 1e-4  # spread of a unit over all samples and steps
CLIPPED = 0.5  # share of clipped steps
RATIOS = (1e-4, 1e-1)  # update / weights
EXPLODING = 0.02  # decades per step
SILENT = 0.5  # share of the samples with labels for which the net predicts none
# Cells whose gates i, f, o, r and z, as far as they have them, are logistic functions and act as they are: those of MinLSTM act by
# their shares i / (i + f) and f / (i + f), which may be far from 0 and 1 where both are near 0.
GATED = (cells.LSTM, cells.PeepholeLSTM, cells.GRU, cells.ResetBeforeGRU, cells.MinGRU)


@dataclass(frozen=True)
class Verdict:
    """One finding.

    Attributes
    ----------
    topic : str
    warning : bool
        Whether something should be done.
    finding : str
        A sentence with the figures.
    advice : str
        What to do; empty without a warning.
    figures : dict
        The figures by name; rows as a list of their indices.
    """

    topic: str
    warning: bool
    finding: str
    advice: str
    figures: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Verdict: {'warning' if self.warning else 'ok'}, {self.topic}: {self.finding}>"

    def __str__(self) -> str:
        return f"{'!!' if self.warning else 'ok'}  {self.topic}: {self.finding}" + (
            f"\n    -> {self.advice}" if self.advice else ""
        )


@dataclass(frozen=True)
class Diagnosis:
    """Verdicts, the warnings first.

    Attributes
    ----------
    verdicts : list of Verdict
    flow : GradientFlow
        What the verdicts on the gradient come from.
    """

    verdicts: list[Verdict]
    flow: GradientFlow

    @property
    def warnings(self) -> list[Verdict]:
        """The verdicts that are warnings."""
        return [verdict for verdict in self.verdicts if verdict.warning]

    def to_frame(self) -> "pd.DataFrame":
        """Return the verdicts as a `pandas.DataFrame`."""
        import pandas as pd

        return pd.DataFrame([vars(verdict) for verdict in self.verdicts])

    def __repr__(self) -> str:
        topics = ", ".join(dict.fromkeys(verdict.topic for verdict in self.warnings))
        return (
            f"<Diagnosis: {len(self.warnings)} of {len(self.verdicts)} verdicts are warnings{topics and ': ' + topics}>"
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))

    def _repr_html_(self) -> str:
        rows = [("warning" if v.warning else "", v.topic, v.finding, v.advice) for v in self.verdicts]
        return html_table("Diagnosis", ("", "about", "what was found", "what to do"), rows)


def diagnose(
    model: Network,
    x: Any,
    y: Any,
    loss: Any = "softmax_cross_entropy",
    lengths: Any = None,
    *,
    history: History | None = None,
    samples: int = 32,
) -> Diagnosis:
    """Examine a net on some data and report what hinders learning.

    ================  ====================================================================================================
    reach             99 % of the gradient within less than a quarter of the steps; below that, long dependencies are not
                      learned
    exploding         the gradient grows by more than 0.02 decades per step back (a factor of 10 in 50 steps)
    gates             half of a gate's values within 0.01 of 0 or 1, where its gradient is below 1 % of the largest
    recurrence        spectral radius of W of a plain recurrent net (1: neither vanishing nor exploding, linearly)
    units             units whose value never changes by more than 1e-4
    clipping          more than half of the last epoch's steps clipped (needs `history`)
    learning rate     update / weights of the last epoch outside [1e-4, 1e-1] (needs `history`)
    alignments        under CTC, samples with fewer steps than their label sequence needs: their loss is infinite; all samples
                      are examined
    blanks            under CTC, more than half of the samples that have labels get none
    ================  ====================================================================================================

    Parameters
    ----------
    model, x, y, loss, lengths : as in `numbarnn.Model.loss_and_grad`
    history : History, optional
        Of its training.
    samples : int
        At most that many samples are examined, the first ones; under CTC, the first ones with enough steps for their labels.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ShapeError, TypeError, ValueError
        If an argument has the wrong shape, dtype or value.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> x, y = np.ones((2, 5, 3)), np.zeros((2, 5), int)
    >>> found = numbarnn.diagnostics.diagnose(model, x, y)
    >>> [verdict.finding for verdict in found.verdicts if verdict.topic == "units"]
    ['0 of 4 units of lstm.h_l0 never change']
    """
    samples = check_integer(samples, "samples", 1)
    if history is not None and not isinstance(history, History):
        raise TypeError(f"history must be what fit returned, a History, got {type(history).__name__}")
    tape.check_model(model)
    loss, x = make_loss(loss), as_array(x, "x")
    if x.ndim < 2 or len(x) == 0:
        raise ShapeError(f"x must be samples of time steps, (samples, time steps, ...), got shape {x.shape}")
    lengths = check_lengths(lengths, *x.shape[:2])
    verdicts, rows = [], np.arange(min(samples, len(x)))
    if isinstance(loss, CTC):
        labels = as_labels(y, len(x), "y")
        verdict, feasible = _of_alignments(model, x, labels, lengths)
        verdicts.append(verdict)
        rows = feasible[:samples] if len(feasible) else rows
        labels, loss = labels.take(rows), dataclasses.replace(loss, infeasible="zero")
        y = labels.flat, labels.counts
    else:
        y = _rows_of(y, rows)
    x, lengths = x[rows], None if lengths is None else lengths[rows]
    flow = gradient_flow(model, x, y, loss, lengths)
    net, values = tape.in_float64(model, x, lengths)
    done = tape.run(net, values, None, lengths)
    verdicts += _of_reach(flow, int(done.lengths.max()))
    for chain in done.chains:
        running = np.arange(values.shape[1]) < chain.lengths[:, None]
        verdicts += _of_gates(chain, running) + _of_recurrence(chain, flow) + _of_units(chain, running)
    if isinstance(loss, CTC) and net.signals[-1].sequence:
        verdicts += _of_blanks(done.outputs[-1], labels, done.lengths, loss.blank)
    if history is not None and len(history):
        verdicts += _of_history(history[-1])
    return Diagnosis(sorted(verdicts, key=lambda verdict: not verdict.warning), flow)


def _rows_of(y, rows):
    """Return targets of some samples."""
    try:
        y = np.asarray(y)
    except ValueError:
        raise ShapeError(
            "y must be an array of targets; sequences of different lengths are label sequences, which need loss='ctc'"
        ) from None
    return y[rows[rows < len(y)]] if y.ndim else y


def _of_alignments(model, x, labels: Labels, lengths):
    """Return the verdict on samples with too few steps for their labels, and the indices of the other samples."""
    steps = np.full(len(x), x.shape[1]) if lengths is None else lengths
    steps = steps if model.signals[-1].sequence else np.minimum(steps, 1)
    wrong = too_short(labels, steps)
    rows = np.flatnonzero(wrong)
    figures = {"infeasible": len(rows), "samples": len(x), "rows": rows.tolist()}
    if len(rows) == 0:
        least = int((steps - labels.counts - labels.repeats).min(initial=x.shape[1]))
        text = f"all {len(x)} samples have enough steps for their labels, the tightest with {least} steps to spare"
        return Verdict("alignments", False, text, "", figures), np.arange(len(x))
    n = rows[0]
    repeats = f" and {labels.repeats[n]} blanks between equal ones" if labels.repeats[n] else ""
    shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    text = (
        f"the loss of {len(rows)} of {len(x)} sequences is infeasible for CTC: rows {shown} have fewer steps than labels and "
        f"repeats (row {n}: {steps[n]} steps for {labels.counts[n]} labels{repeats})"
    )
    advice = "give them more steps (less down-sampling), leave them out, or train with CTC(infeasible='zero'), which skips them"
    if not model.signals[-1].sequence:
        advice = "the model has one output per sample: CTC needs one at every step, return_sequences=True"
    return Verdict("alignments", True, text, advice, figures), np.flatnonzero(~wrong)


def _of_blanks(logits, labels: Labels, lengths, blank):
    """Return the verdict on blanks: nets trained with CTC predict only blanks at first, and some never leave that state."""
    wanted = labels.counts > 0
    if not wanted.any():
        return []
    paths = decoding.best_path(logits, lengths, blank=blank)
    silent = int(sum(len(path) == 0 for path, some in zip(paths, wanted, strict=True) if some))
    count = int(wanted.sum())
    predicted = sum(map(len, paths)) / labels.counts.sum()
    text = f"{silent} of {count} sequences get no label at all; the net predicts {predicted:.2f} labels for each true label"
    bad = silent > SILENT * count
    advice = (
        "usual early in training, when the blank alone is learned: train longer; if it stays, raise the learning rate"
    )
    figures = {"silent": silent, "samples": count, "labels_per_label": float(predicted)}
    return [Verdict("blanks", bad, text, advice if bad else "", figures)]


def _of_reach(flow, steps):
    found = []
    for name in flow.norms:
        if steps < 3 or not np.nansum(flow.by_lag[name]):
            continue
        reach, decades = flow.steps_holding(0.99, name), flow.decades_per_step(name)
        figures = {"steps": reach, "of": steps, "decades_per_step": decades}
        text = f"99 % of the gradient of {name} lies within {reach} steps; sequences have {steps} ({decades:+.3f} decades per step)"
        short = reach < REACH * steps
        advice = (
            f"dependencies longer than {reach} steps are not learned: LSTM or GRU, a forget bias of log(steps) = "
            f"{math.log(steps):.1f}, init='orthogonal', or shorter sequences"
        )
        found.append(Verdict("reach", short, text, advice if short else "", figures))
        if decades > EXPLODING:
            text = f"the gradient of {name} grows by {decades:+.3f} decades per step back, {decades * steps:.1f} over {steps} steps"
            advice = "clip_norm=1.0, a smaller recurrent init ('orthogonal'), or truncated back-propagation (tbptt=)"
            found.append(Verdict("exploding", True, text, advice, figures))
    return found


def _of_gates(chain, running):
    """Return the verdicts on logistic gates, of cells that have such, by their names."""
    found, cell = [], chain.layer.cell
    names = {"i": "input", "f": "forget", "o": "output", "r": "reset", "z": "update"}
    if not isinstance(cell, GATED):
        return found
    for gate, values in chain.saved.items():
        if gate not in names or getattr(cell, f"fix_{gate}", 2.0) != 2.0:
            continue
        values = values[running]
        low, high = float((values < 0.01).mean()), float((values > 0.99).mean())
        bad = low + high > SATURATED
        text = f"{chain.name(gate)} ({names[gate]} gate): mean {values.mean():.2f}; "
        text += f"{low:.0%} of its values below 0.01, {high:.0%} above 0.99"
        advice = (
            "saturated gates do not learn: smaller inputs (scale them), a smaller learning rate, or a bias nearer 0"
        )
        found.append(
            Verdict("gates", bad, text, advice if bad else "", {"mean": float(values.mean()), "low": low, "high": high})
        )
    return found


def _of_recurrence(chain, flow):
    cell = chain.layer.cell
    if not isinstance(cell, cells.RNN):
        return []
    weight = chain.weight("weight_hh")
    radius, norm = float(np.abs(np.linalg.eigvals(weight)).max()), float(np.linalg.norm(weight, 2))
    text = f"{chain.name('weight_hh')} has spectral radius {radius:.2f} and norm {norm:.2f}"
    bad = radius > 1.5 or norm < 0.8
    advice = ""
    if radius > 1.5:
        advice = "gradients explode where units are not saturated: clip_norm=1.0, init='orthogonal'"
    elif norm < 0.8:
        tenth = -1 / math.log10(max(norm, 1e-300))
        advice = f"gradients vanish as {norm:.2f}^steps or faster (a tenth in {tenth:.0f} steps): init='orthogonal', LSTM or GRU"
    return [Verdict("recurrence", bad, text, advice, {"radius": radius, "norm": norm})]


def _of_units(chain, running):
    values, cell = chain.after[0][running], chain.layer.cell
    dead = int((np.ptp(values, axis=0) < DEAD).sum())
    text = f"{dead} of {values.shape[1]} units of {chain.name('h')} never change"
    figures = {"dead": dead, "units": values.shape[1]}
    if isinstance(cell, cells.RNN) and cell.activation == ACTIVATIONS["tanh"]:
        share = float((np.abs(values) > 0.99).mean())
        figures["saturated"] = share
        text += f"; {share:.0%} of their values lie beyond 0.99"
        dead = dead or share > SATURATED
    advice = "dead or saturated units pass no gradient: scale the inputs, lower the learning rate, another init or activation"
    return [Verdict("units", bool(dead), text, advice if dead else "", figures)]


def _of_history(record):
    found = []
    clipped, ratio = record.get("clipped", math.nan), record.get("update_ratio", math.nan)
    if clipped > 0:
        norms = f"norm {record['gradient_norm']:.3g} before, {record['clipped_norm']:.3g} after"
        text = f"{clipped:.0%} of the last epoch's steps were clipped ({norms})"
        advice = "clipping is meant for few steps: a smaller learning rate, or a higher limit if training is stable"
        found.append(
            Verdict("clipping", clipped > CLIPPED, text, advice if clipped > CLIPPED else "", {"clipped": clipped})
        )
    if math.isfinite(ratio):
        low, high = RATIOS
        text = f"an update is {ratio:.1e} of the weights (learning rate {record['learning_rate']:.3g}; about 1e-3 is usual)"
        advice = (
            ""
            if low <= ratio <= high
            else f"{'raise' if ratio < low else 'lower'} the learning rate by {abs(math.log10(ratio / 1e-3)):.1f} decades"
        )
        found.append(Verdict("learning rate", bool(advice), text, advice, {"update_ratio": ratio}))
    return found
