"""Base of the estimators of sequences: settings, training that leaves nothing half done, streams, files and pickles."""

import contextlib
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from numbarnn import io
from numbarnn.checks import brief, check_choice, check_dtype, check_finite, check_flag
from numbarnn.core.arrays import as_numeric
from numbarnn.core.axes import channels_first_hint
from numbarnn.core.ragged import Ragged, length_groups
from numbarnn.estimators import files as estimator_files
from numbarnn.estimators.forms import Numbers, names_message
from numbarnn.estimators.linear import summaries
from numbarnn.estimators.samples import Samples
from numbarnn.estimators.scaling import SCALES
from numbarnn.estimators.scikit import BaseEstimator
from numbarnn.estimators.settings import optimizer_of
from numbarnn.estimators.stream import EstimatorStream
from numbarnn.layers.kinds import recurrent
from numbarnn.model import Model
from numbarnn.optim import EMA, Optimizer, Schedule
from numbarnn.sklearn_api import not_fitted
from numbarnn.training.defaults import check_epochs, default_average, default_epochs
from numbarnn.training.rounds import Round, Rounds, Training, alone
from numbarnn.training.trainer import Trainer
from numbarnn.words import Suggesting

# Samples that `predict` runs at once.
CHUNK = 1024


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
    average: EMA | float | str | None = "auto"
    epochs: int | None = None
    batch_size: int = 32
    validation: float = 0.1
    patience: int | None = None
    clip_norm: float | None = 1.0
    memory_limit: int | str | None = None
    warm_start: bool = False
    random_state: Any = None
    dtype: str = "float32"
    n_threads: int | None = None
    device: str = "cpu"
    verbose: int = 0

    linear_ = None  # the linear path, of those estimators that have one
    _label_each_step = False  # whether every step has a label of its own, or every segment

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

    def _learn(
        self, X, y, sample_weight, options, *, epochs, average, new, classes=None, validation=None, patience=None, linear=False
    ) -> Rounds:  # fmt: skip
        """Train for some epochs (None: as many as are the default), a new model if `new`, and return the history; in rounds.

        average : that of the weights, or "auto"
        linear : whether a linear path is learned as well.
        """
        raise NotImplementedError

    def _file_state(self):
        """Return what a file keeps of the fitted estimator beside settings and model: JSON values, and arrays by name."""
        raise NotImplementedError

    def _set_file_state(self, about, arrays):
        """Set what `_file_state` returned; raise KeyError, TypeError or ValueError where it contradicts the model."""
        raise NotImplementedError

    # Training

    def _fit(self, X, y, sample_weight, validation=None, **options):
        return alone(self._fit_rounds(X, y, sample_weight, validation, **options))

    def _fit_rounds(self, X, y, sample_weight=None, validation=None, **options) -> Rounds:
        """Fit in rounds, in which nets of other estimators can be trained as well."""
        self._check_settings()
        go_on = self.warm_start and hasattr(self, "model_")
        with self._all_or_nothing():
            self.history_ = yield from self._learn(
                X, y, sample_weight, options, epochs=self.epochs, average=self.average, new=not go_on, validation=validation,
                patience=self.patience, linear=not go_on and getattr(self, "linear", None) is not None,
            )  # fmt: skip
            self._trained()
        return self

    def _check_settings(self):
        """Raise TypeError or ValueError where a setting that nothing below checks by its name is wrong."""
        check_flag(type(self).__name__, "warm_start", self.warm_start)
        check_dtype(self.dtype)
        check_choice(self.scale, "scale", SCALES, none=True)
        check_choice(getattr(self, "linear", None), "linear", ("auto",), none=True)
        optimizer_of(self)

    def _partial_fit(self, X, y, classes, sample_weight, **options):
        self._check_settings()
        first = not hasattr(self, "model_")
        with self._all_or_nothing():
            average = default_average(self.average, 0)  # "auto" is none: no call knows how many will follow
            learning = self._learn(X, y, sample_weight, options, epochs=1, average=average, new=first, classes=classes)
            history = alone(learning)
            if first:
                self.history_ = history
            else:
                self.history_.records += history.records
            self._trained()
        return self

    def _trained(self):
        """Note what follows from a training that ended."""
        self.n_iter_ = self.trainer_.epoch
        if getattr(self, "linear", None) is None:  # set since the path was learned
            self.linear_ = None

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

    def _round(self, *arguments, **options) -> Round:
        """Return the round of the net alone; arguments are those of `_train`."""
        return Round(lambda: [self._training(*arguments, **options)], lambda: [self._train(*arguments, **options)])

    def _train(self, source, epochs, average, *, validation=None, patience=None, verbose=0):
        """Train on a source, and return the history."""
        trainer, source, epochs, *_ = self._training(source, epochs, average)
        return trainer.fit(source, epochs, validation=validation, patience=patience, verbose=verbose)

    def _training(self, source, epochs, average, *, validation=None, patience=None, verbose=0) -> Training:
        """Return the training on a source."""
        check_epochs(epochs)
        epochs = default_epochs(len(source), self._label_each_step) if epochs is None else epochs
        trainer = self._trainer(default_average(average, epochs * len(source)))
        return Training(trainer, source, epochs, validation, patience, verbose=verbose)

    def _trainer(self, average=None):
        """Return the trainer, with the settings of now and the optimizer's state of before."""
        optimizer = optimizer_of(self)
        trainer = Trainer(
            self.model_, self._loss, optimizer, schedule=self.schedule, clip_norm=self.clip_norm, average=average,
            memory_limit=self.memory_limit, seed=self.seed_, n_threads=self.n_threads,
        )  # fmt: skip
        before = self.trainer_
        if before is not None and type(before.optimizer) is type(optimizer):
            trainer.arrays, trainer.epoch, trainer.step = before.arrays, before.epoch, before.step
            trainer.passes = before.passes  # which dropout masks are drawn from
        self.trainer_ = trainer
        return trainer

    def _with_new_model(self):
        """Return an estimator that shares all with this one but its net, a new one that is not trained."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__
        other.model_ = self._new_model(self.model_.layers, self.model_.signals[0].size)
        other.trainer_ = None
        return other

    def _new_model(self, layers, features):
        return Model(layers, features, self.dtype, self.seed_, self.n_threads, self.device)

    # Using

    def _forward(self, X) -> np.ndarray:
        """Return the outputs for samples, (n, outputs) float64."""
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        x = self._sequences(X, reset=False).cast(self.dtype, self.scaler_)
        return self._mixed(self._net_outputs(x), x)

    def _net_outputs(self, x: Ragged | np.ndarray) -> np.ndarray:
        outputs = np.empty((len(x), self.model_.signals[-1].size))
        for rows, found, _ in self._parts(x):
            outputs[rows] = found
        return outputs

    def _mixed(self, outputs, x: Ragged | np.ndarray) -> np.ndarray:
        """Return outputs of the net for samples, averaged with those of the linear path where there is one."""
        return outputs if self.linear_ is None else self.linear_.mixed(outputs, summaries(x))

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

        Not stored: `n_threads`, `memory_limit` and `device`, which are a matter of the machine; the optimizer's state, so training
        that goes on after `load` starts it anew; and a generator given as `random_state`, of which the seed that it gave is stored.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If a label or a setting is of a kind that a file cannot store: labels are strings, numbers, True and False, and tuples
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
            If there is no file, or it contains something else, is damaged, or needs a cell that is not registered.
        """
        return cls.from_description(*io.read(path, cls.KIND), device)

    @classmethod
    def from_description(cls, description: Any, arrays: Any, device: Any = "cpu") -> "SequenceEstimator":
        """Return the estimator of a file's description and arrays, on a device."""
        return estimator_files.restore(cls, description, arrays, device)

    # Checks

    def _sequences(self, X, reset, empty=False) -> Samples:
        """Return X as samples of numbers, which may have no time steps if `empty`.

        What scikit-learn wants to know is noted if `reset`, else compared.
        """
        found = Numbers.of(X, type(self).__name__, empty)
        self._check_features(found, reset)
        return found.samples()

    def _check_features(self, found, reset):
        """Note number and names of features if `reset`, else compare them."""
        shape, flat, names, count = found.shape, found.flat, found.names, found.shape[-1]
        if reset:
            self.n_features_in_ = count
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = names
            self._flat = flat
            return
        known = getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and list(names) != list(known):
            raise ValueError(names_message(list(known), list(names)))
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
