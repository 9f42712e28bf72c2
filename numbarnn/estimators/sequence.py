"""Estimators on scikit-learn's contract. Importing this module imports scikit-learn where it is installed; none of it is needed.

Forms of X, with n samples:

* (n, time steps, features) array;
* (n, time steps) array or DataFrame: one feature, each column a time step, as scikit-learn's own tools make tables;
* list of n arrays (time steps, features) or (time steps,), or of DataFrames, of any lengths;
* an array whose samples end in NaN: steps that are NaN in all features, up to the end, are padding.

Columns of a 2-D X are scikit-learn's features, so their number and names must be the same in `fit` and `predict`. Of a 3-D X or a
list only the features of a step must agree; lengths are free.
"""

import contextlib
import sys
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from numbarnn import io, metrics
from numbarnn.checks import (
    brief,
    check_choice,
    check_dtype,
    check_finite,
    check_flag,
    check_levels,
    check_seed,
    naming,
    refuse_mask,
)
from numbarnn.core.arrays import as_array, as_numeric
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.html import html_parameters
from numbarnn.core.ragged import Ragged, length_groups
from numbarnn.data import tables
from numbarnn.data.batches import ArraySource
from numbarnn.data.ragged import RaggedSource
from numbarnn.estimators import files as estimator_files
from numbarnn.estimators.scaling import SCALES, Samples, fitted_scaler
from numbarnn.estimators.settings import fitted_loss, loss_of_values, optimizer_of, predicted_values
from numbarnn.estimators.stream import EstimatorStream
from numbarnn.layers import Dense
from numbarnn.layers.kinds import recurrent
from numbarnn.losses import DistributionLoss, Loss, NegativeBinomial
from numbarnn.model import Model
from numbarnn.optim import EMA, Optimizer, Schedule
from numbarnn.sklearn_api import Parameters, not_fitted
from numbarnn.training.defaults import MOST_EPOCHS, default_epochs
from numbarnn.training.trainer import Trainer
from numbarnn.words import Suggesting

try:
    from sklearn.base import BaseEstimator, RegressorMixin
except ImportError:

    class BaseEstimator(Parameters):
        """Stands in for scikit-learn's base of this name."""

        _repr_html_ = html_parameters

    class RegressorMixin:
        """Stands in for scikit-learn's mixin of this name."""


# Samples that `predict` runs at once.
CHUNK = 1024


# Sections that the docstrings of the estimators share.
NET = """
    cell : str
        "lstm", "gru", "rnn", "indrnn", or another recurrent layer or registered cell.
    hidden_size, num_layers : int
    bidirectional : bool"""
SCALE = """
    scale : {"auto", "standard", "minmax", "robust"} or None
        How the features of X are scaled by the data of training; what predicts applies the same scales, and files have them.
        "auto": each feature less its mean, divided by its standard deviation, but for features that are 0 and 1 alone; None:
        as they are. Tokens and strings have no scale. See `numbarnn.estimators.scaling`."""
TRAINING = """
    optimizer : str or Optimizer
    learning_rate : float, optional
        Not beside an optimizer object, which has its own. None: 0.003 for "adam", for all others the optimizer's own.
    schedule : Schedule, optional
        Of `numbarnn.optim`: a factor of the learning rate over time.
    average : EMA or float, optional
        Moving average of the weights, which is validated, and which training ends with and goes on from; a number is its decay.
    epochs : int, optional
        None: as many as make 3,000 optimizer steps, at most {most}.
    batch_size : int
    validation : float
        {held_out}
    patience : int, optional
        Epochs without a better held-out loss after which training ends with the best weights.
    clip_norm : float, optional
        Limit of the gradient's norm.
    warm_start : bool
        Whether `fit` goes on with the weights it has.
    random_state : int, RandomState, Generator or None
        Of the initial weights, the order of samples, dropout, and what is held out at random. None: a new one every time.
    dtype : {{"float32", "float64"}}
    n_threads : int, optional
        Results do not depend on it. Set it to 1 under joblib's processes.
    device : {{"cpu", "cuda"}}
        Where the net trains and predicts, as in `numbarnn.Model`.
    verbose : int"""
FITTED = """
    model_ : Model
    history_ : History
        One record an epoch; ``history_.to_frame()``.
    n_iter_ : int
        Epochs done.
    scaler_ : SequenceScaler or None
        Of the features of a time step; None where they stay as they are."""


def described(**words):
    """Return a class decorator that fills words, and what the estimators share, into a docstring."""

    def fill(cls):
        if cls.__doc__ is not None:  # python -OO
            parts = {
                "net": NET,
                "scale": SCALE,
                "training": TRAINING.format(**{"most": "200"} | words),
                "fitted": FITTED,
            } | words
            cls.__doc__ = cls.__doc__.format(**{name: part.strip() for name, part in parts.items()})
        return cls

    return fill


@dataclass(eq=False, repr=False)
class SequenceEstimator(BaseEstimator, Suggesting):
    """Base of the estimators of sequences; `SequenceRegressor` documents it.

    Attributes
    ----------
    KIND : str
        Its name in files.
    """

    KIND: ClassVar[str]

    cell: str = "lstm"
    hidden_size: int = 32
    _: KW_ONLY
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    scale: str | None = "auto"
    optimizer: str | Optimizer = "adam"
    learning_rate: float | None = None
    schedule: Schedule | None = None
    average: EMA | float | None = None
    epochs: int | None = None
    batch_size: int = 32
    validation: float = 0.1
    patience: int | None = None
    clip_norm: float | None = 1.0
    warm_start: bool = False
    random_state: Any = None
    dtype: str = "float32"
    n_threads: int | None = None
    device: str = "cpu"
    verbose: int = 0

    _most_epochs = MOST_EPOCHS  # that training takes by default

    def _recurrent(self, **options):
        """Return the recurrent layers."""
        return recurrent(
            self.cell,
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            **options,
        )

    # Of a subclass

    def _learn(self, X, y, sample_weight, options, *, epochs, new, classes=None, validation=None, patience=None):
        """Train for some epochs (None: as many as are the default), a new model if `new`, and return the history."""
        raise NotImplementedError

    def _file_state(self):
        """Return what a file keeps of the fitted estimator beside settings and model: JSON values, and arrays by name."""
        raise NotImplementedError

    def _set_file_state(self, about, arrays):
        """Set what `_file_state` returned; raise KeyError, TypeError or ValueError where it contradicts the model."""
        raise NotImplementedError

    # Training

    def _fit(self, X, y, sample_weight, validation=None, **options):
        self._check_settings()
        go_on = self.warm_start and hasattr(self, "model_")
        with self._all_or_nothing():
            self.history_ = self._learn(
                X, y, sample_weight, options, epochs=self.epochs, new=not go_on, validation=validation, patience=self.patience
            )  # fmt: skip
            self.n_iter_ = self.trainer_.epoch
        return self

    def _check_settings(self):
        """Raise TypeError or ValueError where a setting that nothing below checks by its name is wrong."""
        check_flag(type(self).__name__, "warm_start", self.warm_start)
        check_dtype(self.dtype)
        check_choice(self.scale, "scale", SCALES, none=True)
        optimizer_of(self)

    def _partial_fit(self, X, y, classes, sample_weight, **options):
        self._check_settings()
        first = not hasattr(self, "model_")
        with self._all_or_nothing():
            history = self._learn(X, y, sample_weight, options, epochs=1, new=first, classes=classes)
            if first:
                self.history_ = history
            else:
                self.history_.records += history.records
            self.n_iter_ = self.trainer_.epoch
        return self

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Leave the estimator as it was if something raises, with the weights that it had."""
        before = dict(self.__dict__)
        weights = self.model_.params.flat.copy() if hasattr(self, "model_") else None
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            if weights is not None:
                self.model_.set_flat(weights)
            raise

    def _held_out_fraction(self) -> float:
        """Return `validation`; raise ValueError unless it is a fraction."""
        fraction = self.validation
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float, np.number)) or not 0 < fraction < 1:
            raise ValueError(f"validation must be a fraction in (0, 1) where patience is given, got {brief(fraction)}")
        return float(fraction)

    def _train(self, source, epochs, validation, patience):
        """Train on a source, and return the history."""
        epochs = default_epochs(len(source), self._most_epochs) if epochs is None else epochs
        return self._trainer().fit(source, epochs, validation=validation, patience=patience, verbose=self.verbose)

    def _trainer(self):
        """Return the trainer, with the settings of now and the optimizer's state of before."""
        optimizer = optimizer_of(self)
        trainer = Trainer(
            self.model_, self._loss, optimizer, schedule=self.schedule, clip_norm=self.clip_norm, average=self.average,
            seed=self.seed_, n_threads=self.n_threads,
        )  # fmt: skip
        before = self.trainer_
        if before is not None and type(before.optimizer) is type(optimizer):
            trainer.arrays, trainer.epoch, trainer.step = before.arrays, before.epoch, before.step
            trainer.passes = before.passes  # which dropout masks are drawn from
        self.trainer_ = trainer
        return trainer

    # Using

    def _forward(self, X) -> np.ndarray:
        """Return the model's outputs for samples, (n, outputs) float64."""
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        x = self._sequences(X, reset=False).cast(self.dtype, self.scaler_)
        outputs = np.empty((len(x), self.model_.signals[-1].size))
        for rows, found, _ in self._parts(x):
            outputs[rows] = found
        return outputs

    def _parts(self, x: Ragged | np.ndarray):
        """Yield (indices of some samples, the model's outputs for them, their lengths), samples of like lengths together."""
        if isinstance(x, Ragged):
            for rows in length_groups(x.lengths):
                steps = x.lengths[rows]
                yield rows, self.model_.forward(x.padded(rows), lengths=steps, n_threads=self.n_threads)[0], steps
        else:
            for first in range(0, len(x), CHUNK):
                rows = slice(first, first + CHUNK)
                yield rows, self.model_.forward(x[rows], n_threads=self.n_threads)[0], None

    def stream(self) -> EstimatorStream:
        """Return what takes the steps of one sequence one by one, in the units of X, and predicts after each.

        Returns
        -------
        EstimatorStream

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If the net is bidirectional: it reads sequences from their end, too.
        """
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        if any(getattr(layer, "bidirectional", False) for layer in self.model_.layers):
            raise ValueError(
                f"this {type(self).__name__} is bidirectional: it reads sequences from their end, too. Train one with "
                "bidirectional=False for streams"
            )
        return EstimatorStream(self)

    def _stream_pooling(self):
        """Return how outputs of steps are pooled: "mean", "max" or None."""
        return None

    def _stream_prediction(self, outputs, before):
        """Return what a stream predicts by the model's outputs (outputs,), and those of the step before or None."""
        raise NotImplementedError

    def _row(self, row):
        """Return a step of a stream as the model takes it."""
        names = getattr(self, "feature_names_in_", None)
        if hasattr(row, "keys") and not self._flat:
            if names is None:
                raise ValueError(f"row must be values in the order of the features, got {brief(row)}: X had no names")
            missing = [name for name in names if name not in row]
            if missing:
                raise ValueError(f"row lacks {missing}; this {type(self).__name__} was fitted to {list(names)}")
            row = [row[name] for name in names]
        features = self.model_.signals[0].size
        values = np.asarray(as_numeric(row, "row"), np.float64)
        if values.shape != (features,) and not (values.ndim == 0 and features == 1):
            raise ValueError(f"row must have shape ({features},), one value for each feature, got {values.shape}")
        check_finite(values, "row", "streams have no missing values")
        values = values.reshape(features)
        if self.scaler_ is not None:
            values = (values - self.scaler_.center_) / self.scaler_.scale_
        with np.errstate(over="ignore"):  # found below
            values = values.astype(self.model_.dtype)
        check_finite(values, f"row in {values.dtype}", "it is far beyond the data of fit")
        return values

    # Files

    def save(self, path: Any) -> None:
        """Write net, settings and all that predictions need to a safetensors file, beside the destination first and then renamed.

        Not stored: `n_threads` and `device`, which are a matter of the machine; the optimizer's state, so training that goes on
        after `load` starts it anew; and a generator given as `random_state`, of which the seed that it gave is stored.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If a label or a setting is of a kind that a file cannot hold: labels are strings, numbers, True and False, and tuples
            of these.
        OSError
            If the file cannot be written; what was there stays.
        """
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        io.write(path, self.KIND, *estimator_files.describe(self))

    @classmethod
    def load(cls, path: Any, device: Any = "cpu") -> "SequenceEstimator":
        """Return the estimator of a file that `save` wrote, on a device; nothing in it is executed.

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it holds something else, is damaged, or needs a cell that is not registered.
        """
        return cls.from_description(*io.read(path, cls.KIND), device)

    @classmethod
    def from_description(cls, description: Any, arrays: Any, device: Any = "cpu") -> "SequenceEstimator":
        """Return the estimator of a file's description and arrays, on a device."""
        return estimator_files.restore(cls, description, arrays, device)

    # Checks

    def _sequences(self, X, reset, empty=False) -> Samples:
        """Return X as samples of numbers; where an array holds samples that end in NaN, as samples of different lengths.

        What scikit-learn wants to know is noted if `reset`, else compared. Samples may have no time steps if `empty`.
        """
        if hasattr(X, "tocsr") or hasattr(X, "todense"):
            raise TypeError(f"{type(self).__name__} does not take sparse data; pass X.toarray()")
        X = _unboxed(as_pandas(X, "X"))
        if is_pandas(X) == "series":
            raise ValueError(
                "X is a Series: one column without samples. Reshape your data: X.to_frame() has one time step a sample"
            )
        names = _column_names(X)
        if isinstance(X, (list, tuple)) and X and all(is_pandas(item) == "frame" for item in X):
            names = _column_names(X[0])
            for index, item in enumerate(X):
                if list(item.columns) != list(X[0].columns):
                    raise ValueError(f"X[{index}] has columns {list(item.columns)}, X[0] has {list(X[0].columns)}")
            X = [as_numeric(item, f"X[{index}]") for index, item in enumerate(X)]
        listed = (
            isinstance(X, (list, tuple)) and X and all(isinstance(item, np.ndarray) and item.ndim > 0 for item in X)
        )
        array, parts = (None, _listed(X, empty)) if listed else (_array(X), None)
        shape = (len(X), *parts[0].shape) if listed else array.shape
        if shape[0] == 0:
            raise ValueError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
        if 0 in (shape[2:] if listed else shape[1:]):
            raise ValueError(
                f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required by {type(self).__name__}."
            )
        flat = not listed and array.ndim == 2
        self._check_features(shape, flat, names, reset)
        if listed:
            return Samples.of(parts, [len(part) for part in parts])
        array = array[:, :, None] if flat else array
        lengths, (samples, steps, features) = _tails(array), array.shape
        if lengths is None:
            return Samples.of([array.reshape(-1, features)], np.full(samples, steps), steps)
        return Samples.of([array[np.arange(steps) < lengths[:, None]]], lengths)

    def _check_features(self, shape, flat, names, reset):
        count = shape[-1]
        if reset:
            self.n_features_in_ = count
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = names
            self._flat = flat
            return
        known = getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and list(names) != list(known):
            raise ValueError(_names_message(list(known), list(names)))
        if flat != self._flat:
            axes = ("(samples, time steps, features)", "(samples, time steps)")
            raise ValueError(
                f"X is {axes[flat]}, {type(self).__name__} was fitted to {axes[self._flat]}; reshape it: "
                "X[:, :, None] and X[:, :, 0]"
            )
        if count != self.n_features_in_:
            hint = "" if flat else channels_first_hint(shape, self.n_features_in_)
            raise ValueError(
                f"X has {count} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input{hint}"
            )

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "model_" in state:
            model, trainer = state["model_"], state.pop("trainer_")
            state["model_"] = (model.description(), model.state_dict())
            kept = None if trainer is None else (
                trainer.optimizer, trainer.arrays, trainer.epoch, trainer.step, trainer.passes
            )  # fmt: skip
            state["trainer_"] = kept
        return state

    def __setstate__(self, state):
        parent = getattr(super(), "__setstate__", None)
        if parent is not None:
            parent(state)
        else:
            self.__dict__.update(state)
        if "model_" in self.__dict__:
            self.model_ = Model.from_description(*self.model_, self.device)
            self.model_.n_threads = self.n_threads
            kept, self.trainer_ = self.trainer_, None
            if kept is not None:
                optimizer, arrays, epoch, step, passes = kept
                self.trainer_ = trainer = Trainer(self.model_, self._loss, optimizer)
                trainer.arrays, trainer.epoch, trainer.step, trainer.passes = arrays, epoch, step, passes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")


@described(held_out="Last part of the samples, held out while `patience` is given.")
@dataclass(eq=False, repr=False, kw_only=True)
class SequenceRegressor(RegressorMixin, SequenceEstimator):
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
    {scale}
    {training}

    Attributes
    ----------
    {fitted}
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

    def _learn(self, X, y, sample_weight, options, *, epochs, new, classes=None, validation=None, patience=None):
        x = self._sequences(X, reset=new)
        target = self._targets(y, len(x), reset=new)
        weight = _weights(sample_weight, len(x))
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
            self.scaler_ = fitted_scaler(self.scale, x, counted)
            self._prepare(target[counted], None if weight is None else weight[counted])
            self._make(x.features)
        x = x.cast(self.dtype, self.scaler_)
        kind = RaggedSource if isinstance(x, Ragged) else ArraySource
        source = kind(x, self._encode(target).astype(self.dtype), sample_weight=weight, batch_size=self.batch_size)
        return self._train(source, epochs, held_out, patience)

    def _check_settings(self):
        super()._check_settings()
        loss_of_values(self.loss)

    def _make(self, features):
        """Make a new model for samples of that many features."""
        self.seed_ = _seed(self.random_state)
        layers = [self._recurrent(return_sequences=False), Dense(self._loss.size(len(self._center)))]
        self.model_ = Model(layers, features, self.dtype, self.seed_, self.n_threads, self.device)
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
        array = _array(y, "y", allow=(1, 2)).astype(np.float64)
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


def _array(data, name="X", allow=(2, 3)) -> np.ndarray:
    """Return data as an array of numbers with two or three axes."""
    data = as_pandas(data, name)
    if is_pandas(data):
        data = tables.as_table(data, name)
        array = data.values[:, 0] if data.flat else data.values
    else:
        refuse_mask(data, name)
        try:
            array = as_array(data, name)
        except ValueError:
            raise ValueError(
                f"{name} is a list of rows of different lengths; sequences of different lengths are a list of NumPy arrays"
            ) from None
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}")
    if array.dtype.kind == "O":
        if "pandas" in sys.modules:
            array = np.where(sys.modules["pandas"].isna(array), np.nan, array)
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be numbers; argument must be a string or a number: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got dtype {array.dtype}")
    if array.ndim not in allow:
        if name == "X":
            raise ValueError(
                f"Expected 2D array (samples, time steps) or 3D array (samples, time steps, features), got shape {array.shape}. "
                "Reshape your data, X.reshape(-1, 1) if it has a single feature or X.reshape(1, -1) for a single sample"
            )
        raise ValueError(
            f"y should be a 1d array, or 2d for several targets, got an array of shape {array.shape} instead."
        )
    return array


def _listed(items, empty):
    """Return a list of sequences as arrays (time steps, features)."""
    for index, item in enumerate(items):
        refuse_mask(item, f"X[{index}]")
    parts = [item[:, None] if item.ndim == 1 else item for item in items]
    features = parts[0].shape[-1]
    for index, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1] != features or part.dtype.kind not in "fiub":
            hint = channels_first_hint(items[index].shape, len(parts[0]))
            raise ValueError(
                f"X[{index}] must be numbers of shape (time steps, {features}) as X[0], got {part.dtype} {items[index].shape}{hint}"
            )
        if len(part) == 0 and not empty:
            raise ValueError(f"X[{index}] has no time steps")
    return parts


def _unboxed(X):
    """Return an array or Series of arrays as a list of them, other data as they are."""
    boxed = isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype == object
    if (boxed or is_pandas(X) == "series") and len(X) and all(isinstance(item, np.ndarray) and item.ndim for item in X):
        return list(X)
    if isinstance(X, (list, tuple)):
        return [as_pandas(item, f"X[{i}]") for i, item in enumerate(X)]
    return X


def _column_names(X):
    """Return the names of a DataFrame's columns where they are str, None for other data; raise TypeError where only some are."""
    if is_pandas(X) != "frame":
        return None
    names = np.asarray(X.columns, object)
    strings = [isinstance(name, str) for name in names]
    if any(strings) and not all(strings):
        raise TypeError("Feature names are only supported if all input features have string names")
    return names if all(strings) else None


def _tails(array):
    """Return the lengths of samples that NaN pads; None where nothing is padded."""
    if array.dtype.kind != "f" or not np.isnan(array[:, -1]).all(axis=-1).any():
        return None
    there = ~np.isnan(array).all(axis=2)
    lengths = np.where(there.any(axis=1), array.shape[1] - there[:, ::-1].argmax(axis=1), 0)
    if lengths.min() == 0:
        sample = int(lengths.argmin())
        raise ValueError(f"Input X contains NaN: sample {sample} has nothing but NaN; leave it out")
    return lengths


def _weights(sample_weight, samples):
    if sample_weight is None:
        return None
    refuse_mask(sample_weight, "sample_weight")
    weight = np.asarray(as_numeric(sample_weight, "sample_weight"), np.float64)
    if weight.ndim == 0:
        weight = np.full(samples, float(weight))
    if weight.shape != (samples,):
        raise ValueError(f"sample_weight must have shape ({samples},), got {weight.shape}")
    if not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() == 0:
        raise ValueError("sample_weight must be finite, not negative, and not zero for all samples")
    return weight


def _seed(random_state) -> int:
    """Return a seed for an argument `random_state`, as scikit-learn reads it."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    try:
        return check_seed(random_state)
    except ValueError:
        raise ValueError(
            f"random_state must be an integer >= 0, a RandomState, a Generator or None, got {brief(random_state)}"
        ) from None


def _names_message(known, names):
    """Return scikit-learn's words for columns that differ."""
    lines = ["The feature names should match those that were passed during fit."]
    unexpected, missing = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    for title, which in (
        ("Feature names unseen at fit time:", unexpected),
        ("Feature names seen at fit time, yet now missing:", missing),
    ):
        if which:
            lines += [title, *(f"- {name}" for name in which[:5]), *(["- ..."] if len(which) > 5 else [])]
    if not unexpected and not missing:
        lines.append("Feature names must be in the same order as they were in fit.")
    return "\n".join(lines) + "\n"
