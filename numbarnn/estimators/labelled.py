"""Base of the classifiers of sequences: what the forms of X and the labels have in common."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief, check_flag, check_integer, check_number
from numbarnn.core import seeds
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import is_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.data.ragged import RaggedSource
from numbarnn.data.words import WordFeatures
from numbarnn.estimators import files as estimator_files
from numbarnn.estimators.base import SequenceEstimator
from numbarnn.estimators.forms import first_string, separate
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.estimators.samples import Samples
from numbarnn.estimators.scaling import fitted_scaler
from numbarnn.estimators.settings import seed_of
from numbarnn.estimators.tokens import read_tokens, read_words, word_table
from numbarnn.estimators.weights import weights_of
from numbarnn.layers import Dense, Dropout, Embedding, EmbeddingBag
from numbarnn.metrics.labels import flat_labels
from numbarnn.sklearn_api import not_fitted
from numbarnn.training.rounds import history_of


@dataclass(eq=False, repr=False, kw_only=True)
class LabelEstimator(SequenceEstimator):
    """Base of `numbarnn.SequenceClassifier`, `numbarnn.SegmentClassifier` and `numbarnn.TemporalClassifier`, which document it.

    Attributes
    ----------
    BLANKS : int
        Outputs of the net before those of the classes.
    EMPTY : bool
        Whether samples of no steps are samples.
    EACH_STEP : bool
        Whether the net has outputs at every step, or one set for a sample.
    """

    BLANKS = 0
    EMPTY = False
    EACH_STEP = True

    # Whether samples or steps may have several labels, and the loss of labels that files have.
    _several = False
    _label_loss = None

    input_dropout: float = 0.0
    tokens: int | WordFeatures | None = None
    embedding_size: int = 32

    def _check_settings(self):
        super()._check_settings()
        check_number(type(self).__name__, "input_dropout", self.input_dropout, 0, 1, include_high=False)

    # Of a subclass

    def _encode_targets(self, y, x, sample_weight, options, reset):
        """Return (targets, weights) for a source, and set the classes and the loss if `reset`."""
        raise NotImplementedError

    def _strata(self, target):
        """Return the class of every sample, of which a held-out part has its share; None where samples have no class."""
        raise NotImplementedError

    def _set_file_loss(self, loss):
        """Set the loss of a file; raise ValueError unless it is one for the classes."""
        raise NotImplementedError

    def _layers_before_output(self):
        """Return the options of the recurrent layers and the layers between them and the dense one."""
        raise NotImplementedError

    # Training

    def _learn(
        self, X, y, sample_weight, options, *, epochs, average, new, classes=None, validation=None, patience=None, linear=False
    ):  # fmt: skip
        x = self._read(X, options, reset=new)
        if new:
            self.seed_, self.classes_, self.linear_ = seed_of(self.random_state), None, None
            if classes is not None:
                labels = check_labels(flat_labels(classes, "classes")[0], "classes")
                if not labels:
                    raise ValueError("classes must have at least one label, it has none")
                self._set_classes(Classes.of(labels))
        target, weight = self._encode_targets(y, x, sample_weight, options, reset=new)
        kept = rows = held = None
        if validation is None and patience is not None:
            kept, rows = self._held_out(len(x), self._strata(target))
        if new:
            self.scaler_ = self._fitted_scaler(
                x, weights_of(sample_weight, x, options.get("offsets") is not None), kept
            )
            self._make(x)
        source = RaggedSource(self._scaled(x), target, weight, batch_size=self.batch_size)
        numbers = isinstance(x, Samples)
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
                raise ValueError(
                    "validation must be (X, y), or (X, y, options) with a dict of those arguments of fit that say what X and y are"
                )
            x, y, *rest = validation
            rest = rest[0] if rest else {}
            known = (*options, "sample_weight")
            if not isinstance(rest, Mapping) or not set(rest) <= set(known):
                raise ValueError(
                    f"options of validation must be a dict with keys among {', '.join(known)}, got {brief(rest)}"
                )
            x, weight = self._read(x, rest, reset=False), rest.get("sample_weight")
            targets = self._encode_targets(y, x, weight, rest, reset=False)
            held = RaggedSource(self._scaled(x), *targets, batch_size=256, shuffle=False)
        elif kept is not None:
            held = source.part(rows, False)
        everything = np.arange(len(source.y))
        learned = everything if kept is None else kept
        outcomes = yield self._round(
            source if kept is None else source.part(kept, True), epochs, average, validation=held, patience=patience,
            verbose=self.verbose,
        )  # fmt: skip
        history = history_of(outcomes)
        if linear and numbers and not self.EACH_STEP and history.stopped != "interrupted":
            out = None if patience is None else (held, held.samples)
            self.linear_ = yield from self._linear_path(source, learned, out, epochs, history, self._strata(target))
        return history

    def _fitted_scaler(self, x, weight, kept):
        """Return the scaler of the samples that are not held out and not of weight 0; None of tokens and strings."""
        if not isinstance(x, Samples):
            if self.scale not in (None, "auto"):
                raise ValueError(f"scale must be 'auto' or None where X has tokens or strings, got {brief(self.scale)}")
            return None
        counted = np.ones(len(x), bool) if weight is None or isinstance(weight, Ragged) else weight > 0
        if kept is not None:
            counted &= np.isin(np.arange(len(x)), kept)
        return fitted_scaler(self.scale, x, counted)

    def _held_out(self, samples, strata):
        """Return the samples to train on and those held out: a random part, of every class its share."""
        fraction = self._held_out_fraction()
        generator = seeds.generator(self.seed_, "holdout")
        order = generator.permutation(samples)
        if strata is not None:
            # Samples one class after the other, then at even distances: every class in turn.
            order = order[np.argsort(strata[order], kind="stable")]
        count = max(1, round(samples * fraction))
        if count >= samples:
            raise ValueError(f"validation={self.validation} leaves none of {samples} samples to train on")
        held = order[((np.arange(count) + 0.5) * samples / count).astype(np.int64)]
        return np.setdiff1d(np.arange(samples), held), np.sort(held)

    def _set_classes(self, classes):
        if len(classes) == 0:
            raise ValueError("y must have labels of at least one class, it has none")
        self._classes, self.classes_ = classes, classes.labels

    def _make(self, x):
        """Make a new model for samples."""
        options, head = self._layers_before_output()
        layers, features = [], None
        if self._table is not None:
            bag = self._table.features.bag
            layers.append(EmbeddingBag(len(self._table), self.embedding_size, bag, "uniform(0.1)"))
        elif self._size is not None:
            layers.append(Embedding(self._size, self.embedding_size, "uniform(0.1)"))
        else:
            features = x.features
        if self.input_dropout:
            layers.append(Dropout(self.input_dropout))
        layers.append(self._recurrent(**options))
        layers += head
        if self.dropout:
            layers.append(Dropout(self.dropout))
        layers.append(Dense(self.BLANKS + len(self.classes_)))
        self.model_ = self._new_model(layers, features)
        self.trainer_ = None

    # Using

    def _logits(self, x: Ragged) -> np.ndarray:
        """Return the outputs: of every sample, or of all steps, concatenated; float64."""
        if not self.EACH_STEP:
            return self._mixed(self._net_outputs(x), x)
        outputs = np.empty((len(x.values), self.model_.signals[-1].size))
        for rows, found, lengths in self._parts(x):
            for start, steps, length in zip(x.offsets[rows], found, lengths, strict=True):
                outputs[start : start + length] = steps[:length]
        return outputs

    def _row(self, row):
        if self._table is not None:
            if not isinstance(row, str):
                raise TypeError(f"row must be a str, as X had, got {brief(row)}")
            return self._table.encode([row])[0]
        return row if self._size is not None else super()._row(row)

    # Files

    def _file_state(self):
        about = {
            "labels": [estimator_files.label_out(label) for label in self.classes_.tolist()],
            "tokens": self._size,
            "several": self._several,
            "loss": None if self._label_loss is None else estimator_files.setting_out("loss", self._label_loss),
        }
        if self._table is not None:
            features = dataclasses.asdict(self._table.features)
            about["words"] = {"features": features, "known": list(map(list, self._table.known))}
        return about, {}

    def _set_file_state(self, about, arrays):
        labels = about["labels"]
        if not isinstance(labels, list):
            raise TypeError(f"labels that are none: {labels!r}")
        labels = check_labels([estimator_files.label_in(label) for label in labels], "labels")
        if not labels or len(set(labels)) != len(labels):
            raise ValueError("no labels, or not all different")
        self._set_classes(Classes.listed(labels))
        self._size, self._table = about["tokens"], None
        if self._size is not None:
            check_integer(self._size, "tokens", 1)
        if "words" in about:
            self._table = word_table(**about["words"])
        first, last = self.model_.signals[0], self.model_.signals[-1]
        if self._table is not None:
            expected = len(self._table), True, self._table.features.bag
        elif self._size is not None:
            expected = self._size, True, 0
        else:
            expected = first.size, False, 0
        outputs = self.BLANKS + len(labels), False, self.EACH_STEP
        if (first.size, first.tokens, first.bag) != expected or (last.size, last.tokens, last.sequence) != outputs:
            raise ValueError(f"a model from {first} to {last} for {len(labels)} labels")
        check_flag("the file", "several", about["several"])
        self._several = about["several"]
        self._set_file_loss(estimator_files.setting_in("loss", about["loss"]))

    # Forms of input

    def _input(self, X, options) -> Ragged:
        """Return samples to predict, as the model takes them."""
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        return self._scaled(self._read(X, options, reset=False))

    def _scaled(self, x) -> Ragged:
        """Return samples as the model takes them."""
        if not isinstance(x, Samples):
            return x
        values = x.cast(self.dtype, self.scaler_)
        return values if isinstance(values, Ragged) else Ragged(values.reshape(-1, x.features), x.offsets)

    def _read(self, X, options, reset) -> Samples | Ragged:
        """Return X as samples of numbers, or as tokens by step."""
        X = separate(X, options.get("lengths"), options.get("offsets"))
        strings = first_string(X) is not None
        if reset:
            if strings and not (self.tokens is None or isinstance(self.tokens, WordFeatures)):
                raise ValueError(f"X has strings, so tokens must be None or a WordFeatures, got {brief(self.tokens)}")
            if isinstance(self.tokens, WordFeatures) and not strings:
                raise ValueError("tokens=WordFeatures(...) needs strings: lists of words, one a sample")
            self._table = self._size = None
            for name in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(name, None)
            if not strings and self.tokens is not None:
                if isinstance(self.tokens, bool) or not isinstance(self.tokens, (int, np.integer)) or self.tokens < 1:
                    raise ValueError(
                        f"tokens must be None, a positive number of tokens or a WordFeatures, got {brief(self.tokens)}"
                    )
                self._size = int(self.tokens)
        elif strings != (self._table is not None):
            expected = "strings" if self._table is not None else "numbers"
            raise ValueError(
                f"this {type(self).__name__} was fitted to {expected}, X has {'strings' if strings else 'numbers'}"
            )
        if strings:
            words, lengths = read_words(X, self.EMPTY)
            if reset:
                self._table = (self.tokens or WordFeatures()).learn(words)
            return Ragged.of(self._table.encode(words), lengths)
        if self._size is not None:
            return read_tokens(as_numeric(X, "X") if is_pandas(X) == "frame" else X, self._size, self.EMPTY)
        return self._sequences(X, reset, empty=self.EMPTY)

    def _target_missing(self, y):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: X is not enough to learn from"
            )
