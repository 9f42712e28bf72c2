"""Predictions step by step, as the steps of a sequence are measured."""

import numpy as np

from numbarnn.estimators.linear import RunningSummaries
from numbarnn.layers import Dense
from numbarnn.layers.pool import Pool
from numbarnn.model import Model


class EstimatorStream:
    """Takes the steps of one sequence one by one, in the units of X, and predicts after each.

    Made by the method `stream` of estimators, whose scales, names of features and vocabulary it applies. What it predicts is what
    the estimator predicts for the sequence up to there: to the bit, where nothing is averaged over the steps (as by `pooling` and
    linear paths), else to rounding. The estimator stays as it is.

    Attributes
    ----------
    steps : int
        Steps taken since the beginning of the sequence.
    outputs : (outputs,) float64 array
        For the sequence up to there: logits, or scaled values.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> x = 1000 + 50 * np.random.default_rng(0).standard_normal((40, 10, 2))
    >>> y = np.where(x[:, :, 0].mean(axis=1) > 1000, "high", "low")
    >>> net = nr.SequenceClassifier("gru", 8, bidirectional=False, epochs=2, random_state=0).fit(x, y)
    >>> stream = net.stream()
    >>> for row in x[0]:
    ...     label = stream.step(row)
    >>> bool(label == net.predict(x[:1])[0])
    True
    """

    def __init__(self, estimator):
        self._estimator = estimator
        self._pooling, model = estimator._stream_pooling(), estimator.model_
        self._head = None
        pools = [index for index, layer in enumerate(model.layers) if isinstance(layer, Pool)]
        if pools:
            model, self._head = _cut(model, pools[0])
        self._stream = model.stream()
        self._linear = estimator.linear_
        self.reset()

    def reset(self) -> None:
        """Begin another sequence."""
        self._stream.reset()
        self.steps, self.outputs, self._pooled, self._last = 0, None, None, None
        self._summaries = RunningSummaries()

    def step(self, row):
        """Take the next step, and predict.

        Parameters
        ----------
        row : array-like or mapping, number, token or str
            The features of a step in the units of X: in their order, or by name (a dict or a Series) where X had names; one feature
            may be a number. Of estimators of tokens an integer, of strings a word or character.

        Returns
        -------
        label, indicators or values
            What `predict` gives for the sequence up to there: of a classifier the label (of several labels their indicators), of a
            regressor a float or an array (targets,) in the units of y. Of a `SegmentClassifier` of steps or segments the label of
            this step. Of a `TemporalClassifier` the label that begins at this step on the best path, or None.

        Raises
        ------
        ShapeError, TokenError, TypeError, ValueError
            If the row has another number of values, names are missing, or values are missing or no numbers. The stream is then as
            it was before.
        """
        row = self._estimator._row(row)
        outputs = self._stream.step(row).astype(np.float64)
        self.steps += 1
        if self._pooling is not None:
            outputs = self._pool(outputs)
        outputs = outputs if self._head is None else self._head @ np.append(outputs, 1.0)
        if self._linear is not None:
            outputs = self._linear.mixed(outputs[None], self._summaries.add(row))[0]
        self.outputs = outputs
        prediction = self._estimator._stream_prediction(self.outputs, self._last)
        self._last = self.outputs
        return prediction

    def _pool(self, values):
        """Return the mean or maximum over the steps up to there."""
        if self._pooled is None:
            self._pooled = values
        elif self._pooling == "mean":
            self._pooled = self._pooled + values
        else:
            self._pooled = np.maximum(self._pooled, values)
        return self._pooled / self.steps if self._pooling == "mean" else self._pooled

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities (classes,) after the newest step, as `predict_proba` gives them.

        Raises
        ------
        AttributeError
            If the estimator is a regressor.
        ValueError
            If there was no step.
        """
        if not hasattr(self._estimator, "classes_"):
            raise AttributeError(f"a {type(self._estimator).__name__} predicts values, which have no probabilities")
        if self.outputs is None:
            raise ValueError("probabilities are those after a step; call step first")
        return self._estimator._probabilities(self.outputs[None])[0]

    def __repr__(self) -> str:
        return f"{self._estimator!r}.stream()"


def _cut(model, index):
    """Return the model of the layers before a layer that pools, and the matrix (outputs, features + 1) of the dense layer after."""
    values = model.params.for_file()
    before = tuple(model.names[:index])
    parts = {name: array for name, array in values.items() if name.partition(".")[0] in before}
    layers, signal = model.layers[:index], model.signals[0]
    cut = Model.without_weights(
        layers, None if signal.tokens else signal.size, model.dtype.name, model.seed, 1, "cpu", arrays=parts
    )
    cut.load_state_dict(parts)
    (name,) = [
        name
        for name, layer in zip(model.names[index + 1 :], model.layers[index + 1 :], strict=True)
        if isinstance(layer, Dense)
    ]
    weight, bias = (np.asarray(values[f"{name}.{part}"], np.float64) for part in ("weight", "bias"))
    return cut, np.column_stack([weight, bias])
