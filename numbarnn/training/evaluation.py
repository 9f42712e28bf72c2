"""Metrics of a model on data: what counts of targets and predictions, batch by batch."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numbarnn import inputs
from numbarnn.checks import brief, to_list
from numbarnn.core import seeds
from numbarnn.core.label_sequences import as_labels
from numbarnn.data.batches import batches_of
from numbarnn.data.sources import make_source
from numbarnn.errors import ShapeError
from numbarnn.losses import CTC, BinaryCrossEntropy, DistributionLoss, SegmentCrossEntropy, SoftmaxCrossEntropy
from numbarnn.words import did_you_mean

# Metrics that are one number for two arguments, truth and predictions.
LABELS = ("accuracy", "f1")
VALUES = ("mae", "rmse", "r2")
SEQUENCES = ("label_error_rate", "sequence_error")


def check_metrics(metrics) -> dict[str, Callable[[Any, Any], float]]:
    """Return metrics by name; raise TypeError or ValueError unless each is a name of `numbarnn.metrics` or a function."""
    found = {}
    for index, metric in enumerate(to_list(metrics, "metrics", "names and functions")):
        names = (*LABELS, *VALUES, *SEQUENCES)
        if not callable(metric) and not (isinstance(metric, str) and metric in names):
            raise ValueError(
                f"metrics[{index}] must be one of {', '.join(names)}, or a function of (truth, predicted), got {brief(metric)}"
                f"{did_you_mean(metric, names)}"
            )
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if name in found or name == "loss":
            raise ValueError(f"metrics[{index}] must have a name of its own, got {name!r} again")
        found[name] = metric
    return found


def measure(trainer, source, metrics: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of a source under a trainer's model and loss.

    Raises
    ------
    TypeError, ValueError
        If a metric does not go with the loss, or is not a number.
    """
    from numbarnn.metrics import accuracy, f1, label_error_rate, mae, r2, rmse, sequence_error

    loss, kind = trainer.loss, _kind(trainer.loss)
    for name, metric in metrics.items():
        if isinstance(metric, str) and name not in kind:
            raise ValueError(f"metrics must be among {', '.join(kind)} under the loss {loss.name}, got {name!r}")
    truth, predicted = _counted(trainer, source)
    named = {
        "accuracy": accuracy, "f1": lambda *pair: f1(*pair)["F1"].mean(), "label_error_rate": label_error_rate,
        "mae": mae, "r2": r2, "rmse": rmse, "sequence_error": sequence_error,
    }  # fmt: skip
    result = {}
    for name, metric in metrics.items():
        value = named.get(metric, metric)(truth, predicted) if isinstance(metric, str) else metric(truth, predicted)
        if np.ndim(value) or not isinstance(value, (int, float, np.number, np.bool_, np.ndarray)):
            raise TypeError(f"metrics: {name} must return a number, got {brief(value)}")
        result[name] = float(value)
    return result


def _kind(loss):
    """Return the named metrics that go with a loss."""
    if isinstance(loss, SegmentCrossEntropy):
        raise ValueError(
            "metrics must be left out under the loss segment_cross_entropy, whose targets are segments; "
            "numbarnn.SegmentClassifier predicts and scores their labels"
        )
    if isinstance(loss, CTC):
        return SEQUENCES
    return VALUES if loss.output_activation is None else LABELS


def _counted(trainer, source):
    """Return what counts of the truth and the predictions of a source."""
    model, loss = trainer.model, trainer.loss
    truths, predictions, state, samples = [], [], None, 0
    for batch in batches_of(make_source(source, shuffle=False), seeds.generator(trainer.seed, "evaluation")):
        if not batch.keep_state:
            state = None
        elif state:
            inputs.check_carried(len(batch.x), samples)
        outputs, state = model.forward(batch.x, state, batch.lengths, n_threads=trainer.n_threads)
        samples = len(batch.x)
        if isinstance(loss, CTC):
            from numbarnn import decoding

            lengths = None if batch.lengths is None else np.asarray(batch.lengths)
            truths += [row.tolist() for row in as_labels(batch.y).rows()]
            predictions += [np.asarray(row).tolist() for row in decoding.best_path(outputs, lengths, blank=loss.blank)]
            continue
        predicted = (
            loss.mean(outputs)
            if isinstance(loss, DistributionLoss)
            else model.predictions_of(outputs, None, loss.output_activation)
        )
        truth = np.asarray(batch.y)
        steps = outputs.shape[1] if model.signals[-1].sequence else 1
        if isinstance(loss, SoftmaxCrossEntropy) and truth.dtype.kind == "f" and truth.ndim > predicted.ndim:
            truth = truth.argmax(axis=-1)  # probabilities of the classes
        truth = truth.reshape(samples, steps, -1)
        predicted = predicted.reshape(samples, steps, -1)
        counts = np.ones((samples, steps), bool)
        if batch.lengths is not None and model.signals[-1].sequence:
            counts &= np.arange(steps) < np.asarray(batch.lengths)[:, None]
        if batch.sample_weight is not None:
            weight = np.asarray(batch.sample_weight)
            counts &= (weight if weight.ndim == 2 else weight[:, None]) > 0
        if isinstance(loss, SoftmaxCrossEntropy) and truth.dtype.kind in "iu":
            counts &= truth[:, :, 0] != loss.ignore_index
        truths.append(truth[counts])
        predictions.append(predicted[counts])
    if isinstance(loss, CTC):
        return truths, predictions
    truth, predicted = np.concatenate(truths), np.concatenate(predictions)
    if len(truth) == 0:
        raise ShapeError("x has no step that counts: all lengths are 0, all weights 0, or all targets ignored")
    if isinstance(loss, BinaryCrossEntropy):
        truth = (truth >= 0.5).astype(np.int64)  # targets may be probabilities
    return (truth[:, 0], predicted[:, 0]) if truth.shape[1] == 1 else (truth, predicted)
