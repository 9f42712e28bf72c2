"""Base of the classifiers of sequences: forms of input, labels, training that leaves nothing half done.

X may be what `numbarnn.estimators.sequence` lists, and

* samples padded to one length, with ``lengths=``; values past each length do not matter;
* concatenated samples, (steps of all samples, features), with ``offsets=``: sample i is X[offsets[i]:offsets[i + 1]]; or
  with ``lengths=`` that add up to the rows;
* integers below `tokens`, (n, time steps) or a list of n arrays, of which each has a learned vector;
* strings: a list of n lists of words, or of n strings, which are sequences of characters. Words of training are learned, with the
  features that ``tokens=WordFeatures(...)`` says.

Samples need no order and no packing.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import brief, check_flag, check_integer, check_lengths, check_number, check_tokens
from numbarnn.core import seeds
from numbarnn.core.arrays import as_array, as_numeric
from numbarnn.core.frames import as_pandas, is_pandas
from numbarnn.core.ragged import Ragged
from numbarnn.data.ragged import RaggedSource
from numbarnn.data.words import WordFeatures, WordTable
from numbarnn.errors import ShapeError
from numbarnn.estimators import files as estimator_files
from numbarnn.estimators.labels import Classes, check_labels
from numbarnn.estimators.scaling import Samples, fitted_scaler
from numbarnn.estimators.sequence import FITTED, SCALE, SequenceEstimator, _seed, _weights, described
from numbarnn.layers import Dense, Dropout, Embedding, EmbeddingBag
from numbarnn.metrics.labels import flat_labels
from numbarnn.model import Model
from numbarnn.sklearn_api import not_fitted

# Sections that the docstrings of the label estimators share.
INPUT = """
    dropout : float
        Probability of zeroing an output of a recurrent layer on its way to the next layer or the dense one, in training.
    input_dropout : float
        Probability of zeroing a feature, or a value of an embedded token, in training.
    recurrent_dropout : float
        As in `numbarnn.Recurrent`.
    tokens : None, int or WordFeatures
        None: X holds numbers, or strings, each of which gets a vector; an integer: X holds tokens below it; `WordFeatures`: what is
        learned of strings.
    embedding_size : int
        Length of the vectors of tokens."""
CLASS_WEIGHT = """
    loss : str or Loss
        "auto": "softmax_cross_entropy" where y has one label, "binary_cross_entropy" where it has several; or such an object with
        its options, such as ``numbarnn.losses.SoftmaxCrossEntropy(label_smoothing=0.1)``.
    class_weight : None, "balanced" or dict
        Weight of each class in the loss: n / (classes * its count), or by label, 1 where none is given. Of several labels, each a
        question of its own, the weight of its positive answers; "balanced": n / (2 count) of both answers."""
HELD_OUT = "Random part of the samples{strata}, held out while `patience` is given and `fit` gets no `validation`."


# The attributes of fitted label estimators, around those of all.
LABELS = """
    classes_ : array
        {classes}"""
FEATURES = """
    n_features_in_ : int
        Where X holds numbers: columns of a 2-D X, else features of a time step."""


def label_estimator(strata="", classes="Labels in order; the columns of probabilities.", most="200"):
    """Return a class decorator that fills what the label estimators share into a docstring."""
    attributes = LABELS.format(classes=classes) + FITTED + FEATURES
    held_out = HELD_OUT.format(strata=strata)
    return described(held_out=held_out, most=most, input=INPUT + SCALE, class_weight=CLASS_WEIGHT, fitted=attributes)


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

    def _learn(self, X, y, sample_weight, options, *, epochs, new, classes=None, validation=None, patience=None):
        x = self._read(X, options, reset=new)
        if new:
            self.seed_, self.classes_ = _seed(self.random_state), None
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
                x, self._sample_weight(sample_weight, x, options.get("offsets") is not None), kept
            )
            self._make(x)
        source = RaggedSource(self._scaled(x), target, weight, batch_size=self.batch_size)
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
            source, held = source.part(kept, True), source.part(rows, False)
        return self._train(source, epochs, held, patience)

    def _fitted_scaler(self, x, weight, kept):
        """Return the scaler of the samples that are not held out and not of weight 0; None of tokens and strings."""
        if not isinstance(x, Samples):
            if self.scale not in (None, "auto"):
                raise ValueError(
                    f"scale must be 'auto' or None where X holds tokens or strings, got {brief(self.scale)}"
                )
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
        self.model_ = Model(layers, features, self.dtype, self.seed_, self.n_threads, self.device)
        self.trainer_ = None

    # Using

    def _logits(self, x: Ragged) -> np.ndarray:
        """Return the outputs of the model: of every sample, or of all steps, concatenated; float64."""
        outputs = np.empty((len(x.values) if self.EACH_STEP else len(x), self.model_.signals[-1].size))
        for rows, found, lengths in self._parts(x):
            if not self.EACH_STEP:
                outputs[rows] = found
                continue
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
            self._table = _word_table(**about["words"])
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
        X = _separate(X, options.get("lengths"), options.get("offsets"))
        strings = _first_string(X) is not None
        if reset:
            if strings and not (self.tokens is None or isinstance(self.tokens, WordFeatures)):
                raise ValueError(f"X holds strings, so tokens must be None or a WordFeatures, got {brief(self.tokens)}")
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
                f"this {type(self).__name__} was fitted to {expected}, X holds {'strings' if strings else 'numbers'}"
            )
        if strings:
            words, lengths = _words(X, self.EMPTY)
            if reset:
                self._table = (self.tokens or WordFeatures()).learn(words)
            return Ragged.of(self._table.encode(words), lengths)
        if self._size is not None:
            return _tokens(as_numeric(X, "X") if is_pandas(X) == "frame" else X, self._size, self.EMPTY)
        return self._sequences(X, reset, empty=self.EMPTY)

    def _sample_weight(self, sample_weight, x, concatenated=False):
        """Return weights of samples, or of steps as `Ragged`, or None; one array for all steps if `concatenated`."""
        if sample_weight is None:
            return None
        parts = _weights_of_steps(sample_weight, x, concatenated)
        if parts is not None:
            lengths = np.array([len(part) for part in parts])
            if not np.array_equal(lengths, x.lengths):
                raise ValueError(
                    f"sample_weight must have one value a sample, or one for each step of each sample: "
                    f"{_first_difference(lengths, x.lengths)}"
                )
            values = np.concatenate(parts).astype(np.float64)
            if not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
                raise ValueError("sample_weight must be finite, not negative, and not zero for all steps")
            return Ragged.of(values, lengths)
        return _weights(sample_weight, len(x))

    def _target_missing(self, y):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: X is not enough to learn from"
            )


def _weights_of_steps(given, x, concatenated):
    """Return the weights of each sample's steps, or None where there is one for each sample."""
    if isinstance(given, Ragged):
        given = list(given)
    if isinstance(given, (list, tuple)) and any(isinstance(item, list) or np.ndim(item) > 0 for item in given):
        return [np.ravel(as_numeric(item, f"sample_weight[{i}]")) for i, item in enumerate(given)]
    given = as_numeric(given, "sample_weight")
    if given.ndim == 2 and len(given) == len(x) and given.shape[1] >= x.lengths.max():
        return [row[:length] for row, length in zip(given, x.lengths, strict=True)]
    return list(Ragged(given, x.offsets)) if concatenated and given.shape == (x.offsets[-1],) else None


def _first_difference(found, expected):
    """Return where numbers of weights and of steps differ, in words."""
    if len(found) != len(expected):
        return f"X has {len(expected)} samples, sample_weight {len(found)}"
    sample = np.flatnonzero(found != expected)[0]
    return f"X[{sample}] has {expected[sample]} steps, sample_weight[{sample}] {found[sample]}"


def _word_table(features, known) -> WordTable:
    """Return the table of a file; raise unless it is one."""
    features = WordFeatures(**features)
    found = tuple((check_integer(index, "index of a feature", 0), feature) for index, feature in known)
    if len(set(found)) != len(found) or not all(index < features.bag and type(word) is str for index, word in found):
        raise ValueError("features of words that are repeated, unknown or not strings")
    return WordTable(features, found)


def _separate(X, lengths, offsets):
    """Return X as a list of samples where they are padded or concatenated, else as it is."""
    if not _is_data(X):
        raise TypeError(f"X must be a list of sequences or an array, got {brief(X)}")
    if lengths is not None and offsets is not None:
        raise ValueError("lengths go with padded samples, offsets with concatenated samples; pass one of them")
    if isinstance(X, Ragged):
        return list(X)
    X = as_pandas(X, "X")
    if is_pandas(X) is not None and _first_string(X) is None and (lengths is not None or offsets is not None):
        X = as_numeric(X, "X")
    if isinstance(X, (list, tuple)) and len(X) and not all(hasattr(sample, "__len__") for sample in X):
        bad = next(index for index, sample in enumerate(X) if not hasattr(sample, "__len__"))
        raise TypeError(f"X[{bad}] must be a sequence of time steps, got {brief(X[bad])}")
    lengths = None if lengths is None else as_array(lengths, "lengths")
    if lengths is not None and _concatenated(X, lengths):
        counts = lengths
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise TypeError(f"lengths must be integers, one a sample and none negative, got {brief(lengths)}")
        if counts.sum() != len(X):
            raise ShapeError(
                f"lengths add up to {counts.sum()} for {len(counts)} samples, X has {len(X)} rows: they must add up to the rows"
            )
        offsets, lengths = np.concatenate([[0], np.cumsum(counts)]), None
    if offsets is not None:
        steps = np.asarray(X) if _first_string(X) is not None else as_array(X, "X")
        return list(Ragged(steps, as_array(offsets, "offsets")))
    if lengths is not None:
        longest = max((len(sample) for sample in X), default=0)
        lengths = check_lengths(lengths, len(X), longest)
        for sample, length in enumerate(lengths):
            if length > len(X[sample]):
                raise ValueError(f"lengths[{sample}] is {length}; X[{sample}] has {len(X[sample])} steps")
        samples = X if _first_string(X) is not None else [as_array(sample, f"X[{i}]") for i, sample in enumerate(X)]
        return [sample[:length] for sample, length in zip(samples, lengths, strict=True)]
    if is_pandas(X) == "series" and _first_string(X) is not None:
        return list(X)
    return X


def _is_data(X):
    """Return whether something has samples; sparse matrices have, and are refused by name."""
    if hasattr(X, "tocsr"):
        return True
    return not isinstance(X, (str, bytes, Mapping, set)) and (hasattr(X, "__len__") or hasattr(X, "__array__"))


def _concatenated(X, lengths):
    """Return whether an array with lengths has the steps of all samples, since its rows cannot be the samples."""
    if not isinstance(X, np.ndarray) or X.ndim not in (1, 2):
        return False
    return len(X) != lengths.size or (X.ndim == 1 and X.dtype.kind in "iufb")


def _first_string(X):
    """Return the first string of samples, or None where the first value found is not one."""
    if is_pandas(X) == "frame" or hasattr(X, "tocsr") or not hasattr(X, "__iter__"):
        return None
    if isinstance(X, np.ndarray) and X.ndim == 0:
        return None
    for sample in X:
        if isinstance(sample, str):
            return sample
        if not isinstance(sample, (list, tuple, np.ndarray)) or (isinstance(sample, np.ndarray) and sample.ndim == 0):
            return None
        if len(sample):
            return sample[0] if isinstance(sample[0], str) else None
    return None


def _words(X, empty):
    """Return the words of all samples in one list, and the number of each sample's, which may be zero if `empty`."""
    words, lengths = [], []
    for index, sample in enumerate(X):
        sample = list(sample)
        wrong = next((word for word in sample if not isinstance(word, str)), None)
        if wrong is not None or not (sample or empty):
            got = "nothing" if not sample else repr(wrong)
            raise ValueError(f"X[{index}] must be strings{'' if empty else ', at least one'}, got {got}")
        words += sample
        lengths.append(len(sample))
    if not lengths:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return words, lengths


def _tokens(X, size, empty):
    """Return integer tokens by step, of samples that may have none if `empty`."""
    parts = []
    for index, sample in enumerate(X):
        sample = as_array(sample, f"X[{index}]")
        if empty and sample.shape == (0,):
            sample = sample.astype(np.int32)
        if sample.ndim != 1 or sample.dtype.kind not in "iu" or not (sample.size or empty):
            least = "" if empty else ", at least one"
            raise ValueError(
                f"X[{index}] must be integer tokens of shape (time steps,){least}, got {sample.dtype} {sample.shape}"
            )
        check_tokens(sample, size, f"X[{index}]")
        parts.append(sample)
    if not parts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return Ragged.of(np.concatenate(parts, dtype=np.int32, casting="unsafe"), [len(part) for part in parts])
