"""Regressor of sequences, on scikit-learn's contract."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import metrics
from numbarnn.checks import check_finite, check_flag, check_levels, naming
from numbarnn.core.ragged import Ragged
from numbarnn.data.batches import ArraySource
from numbarnn.data.ragged import RaggedSource
from numbarnn.estimators import files as estimator_files
from numbarnn.estimators.base import SequenceEstimator
from numbarnn.estimators.forms import as_values
from numbarnn.estimators.linear import fit_values
from numbarnn.estimators.path import PathMixin
from numbarnn.estimators.scaling import fitted_scaler
from numbarnn.estimators.scikit import RegressorMixin
from numbarnn.estimators.sections import described
from numbarnn.estimators.settings import fitted_loss, loss_of_values, predicted_values, seed_of
from numbarnn.estimators.weights import weights_of_samples, weights_or_ones
from numbarnn.layers import Dense
from numbarnn.losses import DistributionLoss, Loss, MeanAbsoluteError, NegativeBinomial
from numbarnn.training.rounds import history_of


@described(held_out="Last part of the samples, held out while `patience` is given.")
@dataclass(eq=False, repr=False, kw_only=True)
class SequenceRegressor(RegressorMixin, PathMixin, SequenceEstimator):
    """Recurrent net that predicts values from a whole sequence, on scikit-learn's contract.

    Recurrent layers read the sequence; a dense layer turns the last valid output into the targets. Features and targets are
    standardised by the data of training, so their units do not matter; predictions are in the units of y.

    Parameters
    ----------
    {net}
    dropout, recurrent_dropout : float
        As in `numbarnn.Recurrent`.
    loss : str or Loss
        Of values, by name ("mse", "mae", "huber", "quantile", "gaussian", "negative_binomial") or as an object with its options;
        see `numbarnn.losses`. It sees standardised targets: a huber `delta` is in standard deviations of y. Under a loss of
        distributions `predict` gives the mean, under "quantile" the median, and ``predict(X, quantiles=)`` any level. Counts, the
        targets of "negative_binomial", are not standardised.
    {linear}
        Losses of distributions and quantiles have no linear path.
    {scale}
    {training}

    Attributes
    ----------
    {fitted}
    {path}
    n_features_in_ : int
        Columns of a 2-D X, else features of a time step.
    feature_names_in_ : array of str
        Columns of a DataFrame.

    Examples
    --------
    >>> import numpy as np
    >>> X = 1000 + 50 * np.random.default_rng(0).standard_normal((64, 6, 2))  # (samples, time steps, features)
    >>> regressor = SequenceRegressor("gru", 8, random_state=0).fit(X, X[:, :, 0].sum(axis=1))
    >>> regressor.score(X, X[:, :, 0].sum(axis=1)) > 0.9
    True
    """

    KIND = "sequence_regressor"

    loss: str | Loss = "mse"
    linear: str | None = "auto"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SequenceRegressor":
        """Train on samples, from new weights unless `warm_start`. After an error the estimator is as it was.

        Parameters
        ----------
        X : array-like or list of arrays
            Samples; see `numbarnn.estimators`.
        y : (n,) or (n, targets) array-like
        sample_weight : (n,) array-like, optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SequenceRegressor":
        """Train one epoch more, on other samples or the same, from where training stands; the optimizer's state goes on.

        Parameters are those of `fit`. Target scaling is that of the first call.

        Returns
        -------
        self

        Raises
        ------
        ShapeError, TypeError, ValueError
            If an argument has the wrong shape, dtype or value.
        """
        return self._partial_fit(X, y, None, sample_weight)

    def _learn(
        self, X, y, sample_weight, options, *, epochs, average, new, classes=None, validation=None, patience=None, linear=False
    ):  # fmt: skip
        x = self._sequences(X, reset=new)
        target = self._targets(y, len(x), reset=new)
        weight = weights_of_samples(sample_weight, len(x))
        counted, held_out = np.ones(len(x), bool) if weight is None else weight > 0, None
        if patience is not None:
            held_out = self._held_out_fraction()
            counted[len(x) - max(1, round(len(x) * held_out)) :] = False
        if not counted.any():
            raise ValueError(
                f"validation={self.validation} leaves none of {len(x)} samples to train on, of weight above 0"
            )
        if not new and type(loss_of_values(self.loss)) is not type(self._loss):
            raise ValueError(
                f"loss is {self.loss!r}, but the model was made for {self._loss.name!r}: fit with warm_start=False"
            )
        if new:
            self.seed_, self.linear_ = seed_of(self.random_state), None
            self.scaler_ = fitted_scaler(self.scale, x, counted)
            self._prepare(target[counted], None if weight is None else weight[counted])
            self._make(x.features)
        x = x.cast(self.dtype, self.scaler_)
        kind = RaggedSource if isinstance(x, Ragged) else ArraySource
        source = kind(x, self._encode(target).astype(self.dtype), sample_weight=weight, batch_size=self.batch_size)
        options = {"validation": held_out, "patience": patience, "verbose": self.verbose}
        history = history_of((yield self._round(source, epochs, average, **options)))
        if linear and history.stopped != "interrupted":
            held = None if patience is None else (source, np.flatnonzero(~counted))
            self.linear_ = yield from self._linear_path(source, np.flatnonzero(counted), held, epochs, history)
        return history

    def _path_targets(self, source):
        if isinstance(self._loss, DistributionLoss):
            return None
        return source.y.astype(np.float64), weights_or_ones(source.sample_weight, len(source.y))

    def _fitted_path(self, rows, target, weight):
        return fit_values(rows, target, weight)

    def _losses(self, outputs, target):
        measure = np.abs if isinstance(self._loss, MeanAbsoluteError) else np.square
        return measure(outputs - target).mean(axis=1)

    def _check_settings(self):
        super()._check_settings()
        loss_of_values(self.loss)

    def _make(self, features):
        """Make a new model for samples of that many features."""
        layers = [self._recurrent(return_sequences=False), Dense(self._loss.size(len(self._center)))]
        self.model_ = self._new_model(layers, features)
        self.trainer_ = None

    def predict(self, X: Any, *, quantiles: Any = None) -> np.ndarray:
        """Return predictions in the units of y.

        Parameters
        ----------
        X : as in `fit`
        quantiles : float or sequence of float, optional
            Levels in (0, 1): return these quantiles of what is predicted, under a loss of distributions or of quantiles.

        Returns
        -------
        (n,) or (n, targets) float64 array
            As y was in `fit`. Of several `quantiles` with a last axis of levels.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If `quantiles` are given under a loss that has none.
        ValueError
            If X has the wrong shape, dtype or values, or not the features of `fit`.
        """
        outputs = self._forward(X)
        if quantiles is None:
            return self._in_units(predicted_values(self._loss, outputs))
        if not isinstance(self._loss, DistributionLoss):
            raise TypeError(
                f"quantiles needs a loss such as 'quantile' or 'gaussian', that of fit was {self._loss.name!r}"
            )
        many = not isinstance(quantiles, (int, float, np.number))
        levels = check_levels(quantiles if many else [quantiles], "quantiles")
        found = self._loss.quantiles(outputs, levels) * self._scale[:, None] + self._center[:, None]
        found = found if many else found[..., 0]
        return found[:, 0] if self._one else found

    def _in_units(self, values):
        """Return scaled values (..., targets) in the units of y, in its form."""
        values = values * self._scale + self._center
        return values[..., 0] if self._one else values

    def _stream_prediction(self, outputs, before):
        values = self._in_units(predicted_values(self._loss, outputs))
        return float(values) if self._one else values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination of ``predict(X)``, the mean of those of several targets."""
        with naming("y", "truth"):
            return metrics.r2(y, self.predict(X), sample_weight)

    def _targets(self, y, samples, reset):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: X is not enough to learn from"
            )
        array = as_values(y, "y", allow=(1, 2)).astype(np.float64)
        if len(array) != samples:
            raise ValueError(f"y has {len(array)} targets, X has {samples} samples: there must be one for each")
        check_finite(array, "y")
        one = array.ndim == 1
        array = array[:, None] if one else array
        if isinstance(loss_of_values(self.loss), NegativeBinomial) and ((array < 0) | (array != np.floor(array))).any():
            raise ValueError(f"y must be counts, integers >= 0, under loss={self.loss!r}")
        if not reset and array.shape[1] != len(self._center):
            raise ValueError(f"y has {array.shape[1]} targets, the model was made for {len(self._center)}")
        if reset:
            self._one = one
        return array

    def _prepare(self, target, weight):
        """Set the loss and the scales of the targets by those of training."""
        self._loss = fitted_loss(loss_of_values(self.loss), target)
        if isinstance(self._loss, NegativeBinomial):  # counts, which a scale would make fractions of
            self._center, self._scale = np.zeros(target.shape[1]), np.ones(target.shape[1])
            return
        with np.errstate(over="ignore", invalid="ignore"):  # found below
            center = np.average(target, axis=0, weights=weight)
            scale = np.sqrt(np.average((target - center) ** 2, axis=0, weights=weight))
        if not (np.isfinite(center).all() and np.isfinite(scale).all()):
            raise ValueError("y has values too large to be standardised in float64; divide them by a constant first")
        self._center, self._scale = center, np.where(scale > 0, scale, 1.0)

    def _encode(self, target):
        return (target - self._center) / self._scale

    def _file_state(self):
        about = {"one": self._one, "loss": estimator_files.setting_out("loss", self._loss)}
        return about, {"target.center": self._center, "target.scale": self._scale}

    def _set_file_state(self, about, arrays):
        center, scale = (arrays[f"target.{name}"] for name in ("center", "scale"))
        if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("scales that are not finite and positive")
        self._loss = loss_of_values(estimator_files.setting_in("loss", about["loss"]))
        for array in (center, scale):
            targets = self._loss.count_targets(self.model_.signals[-1].size)
            if array.dtype != np.float64 or array.shape != (targets,):
                raise ValueError(f"scales of {array.shape} targets, a model of {targets}")
        if self.model_.signals[-1].sequence or (about["one"] and len(center) != 1):
            raise ValueError(f"a model that gives {self.model_.signals[-1]}")
        check_flag("the file", "one", about["one"])
        self._one, self._center, self._scale = about["one"], center, scale

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
