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
from numbarnn.checks import brief, check_dtype, check_finite, check_flag, check_seed, naming, refuse_mask
from numbarnn.core.arrays import as_array, as_numeric, in_dtype
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.ragged import Ragged, length_groups
from numbarnn.data import tables
from numbarnn.data.batches import ArraySource
from numbarnn.data.ragged import RaggedSource
from numbarnn.estimators import files as estimator_files
from numbarnn.layers import Dense
from numbarnn.layers.kinds import recurrent
from numbarnn.model import Model
from numbarnn.optim import EMA, Optimizer, Schedule, optimizer_with
from numbarnn.sklearn_api import Parameters, not_fitted
from numbarnn.training.trainer import Trainer

try:
    from sklearn.base import BaseEstimator, RegressorMixin
except ImportError:
    BaseEstimator = Parameters

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
TRAINING = """
    optimizer : str or Optimizer
    learning_rate : float or None
        Instead of the optimizer's own; None: its own.
    schedule : Schedule, optional
        Of `numbarnn.optim`: a factor of the learning rate over time.
    average : EMA or float, optional
        Moving average of the weights, which is validated, and which training ends with and goes on from; a number is its decay.
    epochs, batch_size : int
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
        Epochs done."""


def described(**words):
    """Return a class decorator that fills words, and what the estimators share, into a docstring."""

    def fill(cls):
        if cls.__doc__ is not None:  # python -OO
            parts = {"net": NET, "training": TRAINING.format(**words), "fitted": FITTED} | words
            cls.__doc__ = cls.__doc__.format(**{name: part.strip() for name, part in parts.items()})
        return cls

    return fill


@dataclass(eq=False, repr=False)
class SequenceEstimator(BaseEstimator):
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
    optimizer: str | Optimizer = "adam"
    learning_rate: float | None = 0.01
    schedule: Schedule | None = None
    average: EMA | float | None = None
    epochs: int = 50
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

    _loss = "mse"

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
        """Train for some epochs, a new model if `new`, and return the history."""
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

    def _trainer(self):
        """Return the trainer, with the settings of now and the optimizer's state of before."""
        optimizer = optimizer_with(self.optimizer, self.learning_rate)
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
        x = self._sequences(X, reset=False)
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

    def _sequences(self, X, reset, empty=False):
        """Return X as an array (samples, time steps, features), or `Ragged` of a list of arrays and of samples that end in NaN.

        What scikit-learn wants to know is noted if `reset`, else compared. Samples may have no time steps if `empty`. Values of
        `Ragged` have the model's dtype.
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
            return _joined(parts, [len(part) for part in parts], self.dtype)
        array = array[:, :, None] if flat else array
        lengths = _tails(array)
        if lengths is None:
            _finite(array)
            return _in_range(in_dtype(array, self.dtype))
        return _joined([array[np.arange(array.shape[1]) < lengths[:, None]]], lengths, self.dtype)

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

    Recurrent layers read the sequence; a dense layer turns the last valid output into the targets. The loss is the mean squared
    error of targets standardised by the training targets, so their unit does not matter; X is taken as it is:
    ``make_pipeline(SequenceScaler(), SequenceRegressor())`` scales it.

    Parameters
    ----------
    {net}
    dropout, recurrent_dropout : float
        As in `numbarnn.Recurrent`.
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
    >>> regressor = SequenceRegressor("gru", 16, random_state=0)
    >>> X = np.random.default_rng(0).normal(size=(50, 6, 2))  # samples, time steps, features
    >>> regressor.fit(X, X[:, -1, 0]).predict(X).shape
    (50,)
    """

    KIND = "sequence_regressor"

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
        if new:
            self._prepare(target, weight)
            self._make(1 if self._flat else self.n_features_in_)
        kind = RaggedSource if isinstance(x, Ragged) else ArraySource
        source = kind(x, self._encode(target).astype(self.dtype), sample_weight=weight, batch_size=self.batch_size)
        held_out = None if patience is None else self._held_out_fraction()
        return self._trainer().fit(source, epochs, validation=held_out, patience=patience, verbose=self.verbose)

    def _make(self, features):
        """Make a new model for samples of that many features."""
        self.seed_ = _seed(self.random_state)
        layers = [self._recurrent(return_sequences=False), Dense(len(self._center))]
        self.model_ = Model(layers, features, self.dtype, self.seed_, self.n_threads, self.device)
        self.trainer_ = None

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions in the units of y.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        (n,) or (n, targets) float64 array
            As y was in `fit`.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has the wrong shape, dtype or values, or not the features of `fit`.
        """
        values = self._forward(X) * self._scale + self._center
        return values[:, 0] if self._one else values

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
        if not reset and array.shape[1] != len(self._center):
            raise ValueError(f"y has {array.shape[1]} targets, the model was made for {len(self._center)}")
        if reset:
            self._one = one
        return array

    def _prepare(self, target, weight):
        with np.errstate(over="ignore", invalid="ignore"):  # found below
            center = np.average(target, axis=0, weights=weight)
            scale = np.sqrt(np.average((target - center) ** 2, axis=0, weights=weight))
        if not (np.isfinite(center).all() and np.isfinite(scale).all()):
            raise ValueError("y has values too large to be standardised in float64; divide them by a constant first")
        self._center, self._scale = center, np.where(scale > 0, scale, 1.0)

    def _encode(self, target):
        return (target - self._center) / self._scale

    def _file_state(self):
        return {"one": self._one}, {"target.center": self._center, "target.scale": self._scale}

    def _set_file_state(self, about, arrays):
        center, scale = (arrays[f"target.{name}"] for name in ("center", "scale"))
        if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("scales that are not finite and positive")
        for array in (center, scale):
            if array.dtype != np.float64 or array.shape != (self.model_.signals[-1].size,):
                raise ValueError(f"scales of {array.shape} targets, a model of {self.model_.signals[-1].size}")
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


def _joined(parts, lengths, dtype) -> Ragged:
    """Return arrays of steps as one of a dtype, with the length of each sample; raise ValueError where one is not finite."""
    with np.errstate(over="ignore"):  # found below
        x = Ragged.of(np.concatenate(parts, dtype=dtype, casting="unsafe"), lengths)
    if not np.isfinite(x.values).all():
        for sample, values in enumerate(Ragged.of(np.concatenate(parts), lengths)):
            _finite(values, f"X[{sample}]")
        _in_range(x.values)
    return x


def _in_range(x):
    """Return finite values that were cast to a dtype; raise ValueError where it cannot hold one."""
    check_finite(x, f"X in {x.dtype}", "scale X (numbarnn.data.SequenceScaler), or pass dtype='float64'")
    return x


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


def _finite(array, name="X"):
    """Raise ValueError where an array holds NaN or infinity."""
    try:
        check_finite(array, name)
    except ValueError as error:
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(
            f"Input X contains {what}: {error} (NaN at the end of a sample, in all features, is padding)"
        ) from None


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
