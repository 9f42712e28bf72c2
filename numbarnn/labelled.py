"""What classifiers of sequences share: forms of input, labels, training that leaves nothing half done.

X may be what `numbarnn.estimators` lists, of numbers, and

* samples padded to one length, with ``lengths=``; what lies behind each length does not matter;
* all samples one after the other, (steps of all samples, features), with ``offsets=``: sample i is X[offsets[i]:offsets[i + 1]];
* integers below `tokens`, (n, time steps) or a list of n arrays, of which each has a learned vector;
* strings: a list of n lists of words, or of n strings, which are sequences of characters. Words of training are learned, with the
  features that ``tokens=WordFeatures(...)`` says.

Samples need no order and no packing.
"""

import contextlib

import numpy as np

from numbarnn import inputs
from numbarnn.data import tables
from numbarnn.data.ragged import Ragged, RaggedSource
from numbarnn.data.words import WordFeatures
from numbarnn.estimators import SequenceEstimator, _seed, _weights
from numbarnn.labels import Classes
from numbarnn.layers import Dense, Dropout, Embedding, EmbeddingBag
from numbarnn.metrics import flat_labels
from numbarnn.model import Model
from numbarnn.recipes import recurrent

# Steps that a prediction runs at once, padding included.
CHUNK_STEPS = 1 << 16


class LabelEstimator(SequenceEstimator):
    """What `numbarnn.SequenceClassifier` and `numbarnn.SegmentClassifier` share; they document it."""

    def __init__(
        self,
        cell="lstm",
        hidden_size=32,
        num_layers=1,
        *,
        bidirectional=False,
        dropout=0.0,
        input_dropout=0.0,
        recurrent_dropout=0.0,
        tokens=None,
        embedding_size=32,
        class_weight=None,
        optimizer="adam",
        learning_rate=0.01,
        epochs=50,
        batch_size=32,
        validation_fraction=0.1,
        patience=None,
        clip_norm=1.0,
        warm_start=False,
        random_state=None,
        dtype="float32",
        n_threads=None,
        verbose=0,
    ):
        super().__init__(
            cell,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            optimizer=optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            validation_fraction=validation_fraction,
            patience=patience,
            clip_norm=clip_norm,
            warm_start=warm_start,
            random_state=random_state,
            dtype=dtype,
            n_threads=n_threads,
            verbose=verbose,
        )
        self.input_dropout = input_dropout
        self.tokens = tokens
        self.embedding_size = embedding_size
        self.class_weight = class_weight

    # What a subclass says

    def _answers(self, y, x, sample_weight, options, reset):
        """Return (targets, weights) for a source, and set the classes and the loss if `reset`."""
        raise NotImplementedError

    def _strata(self, target):
        """Return the class of every sample, of which a held-out part has its share; None where samples have no class."""
        raise NotImplementedError

    def _head(self):
        """Return the options of the recurrent layers and the layers between them and the dense one."""
        raise NotImplementedError

    # Training

    @contextlib.contextmanager
    def _all_or_nothing(self):
        """Leave the estimator as it was if something raises."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _learn(self, X, y, sample_weight, options, *, epochs, new, classes=None, validation=None, stopping=None):
        """Train for some epochs and return the history."""
        x = self._read(X, options, reset=new)
        if new:
            self.classes_ = None
            if classes is not None:
                self._know(Classes.of(flat_labels(classes, "classes")[0]))
        target, weight = self._answers(y, x, sample_weight, options, reset=new)
        if new:
            self._make(x)
        source, held = RaggedSource(x, target, weight, batch_size=self.batch_size), None
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
                raise ValueError(
                    "validation must be (X, y), or (X, y, options) with a dict of lengths, offsets or segments"
                )
            x, y, *rest = validation
            rest = rest[0] if rest else {}
            x = self._read(x, rest, reset=False)
            held = RaggedSource(x, *self._answers(y, x, None, rest, reset=False), batch_size=256, shuffle=False)
        elif stopping is not None:
            kept, rows = self._held_out(len(x), self._strata(target))
            source, held = source.part(kept, True), source.part(rows, False)
        return self._trainer().fit(source, epochs, validation=held, stopping=stopping, verbose=self.verbose)

    def _fit(self, X, y, sample_weight, validation=None, **options):
        go_on = self.warm_start and hasattr(self, "model_")
        with self._all_or_nothing():
            self.history_ = self._learn(
                X, y, sample_weight, options, epochs=self.epochs, new=not go_on, validation=validation, stopping=self.patience
            )  # fmt: skip
            self.n_iter_ = self.trainer_.epoch
        return self

    def _partial_fit(self, X, y, classes, sample_weight, **options):
        first = not hasattr(self, "model_")
        with self._all_or_nothing():
            history = self._learn(X, y, sample_weight, options, epochs=1, new=first, classes=classes)
            if first:
                self.history_ = history
            else:
                self.history_.records += history.records
            self.n_iter_ = self.trainer_.epoch
        return self

    def _held_out(self, samples, strata):
        """Return the samples to train on and those held out: a random part, of every class its share."""
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie in (0, 1), got {self.validation_fraction!r}")
        generator = np.random.default_rng([self.seed_, 1])
        order = generator.permutation(samples)
        if strata is not None:
            # Samples one class after the other, then at even distances: every class in turn.
            order = order[np.argsort(strata[order], kind="stable")]
        count = max(1, round(samples * self.validation_fraction))
        if count >= samples:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves none of {samples} samples to train on"
            )
        held = order[((np.arange(count) + 0.5) * samples / count).astype(np.int64)]
        return np.setdiff1d(np.arange(samples), held), np.sort(held)

    def _know(self, classes):
        if len(classes) == 0:
            raise ValueError("y must have labels of at least one class, it has none")
        self._classes, self.classes_ = classes, classes.labels

    def _make(self, x):
        """Make a new model for samples."""
        self.seed_ = _seed(self.random_state)
        options, head = self._head()
        layers, features = [], None
        if self._table is not None:
            bag = self._table.features.bag
            layers.append(EmbeddingBag(len(self._table), self.embedding_size, bag, "uniform(0.1)"))
        elif self._size is not None:
            layers.append(Embedding(self._size, self.embedding_size, "uniform(0.1)"))
        else:
            features = x.values.shape[1]
        if self.input_dropout:
            layers.append(Dropout(self.input_dropout))
        layers.append(
            recurrent(
                self.cell,
                self.hidden_size,
                num_layers=self.num_layers,
                bidirectional=self.bidirectional,
                dropout=self.dropout,
                recurrent_dropout=self.recurrent_dropout,
                **options,
            )
        )
        layers += head
        if self.dropout:
            layers.append(Dropout(self.dropout))
        layers.append(Dense(len(self.classes_)))
        self.model_ = Model(layers, features, self.dtype, self.seed_, self.n_threads)
        self.trainer_ = None

    # Using

    def _logits(self, x: Ragged) -> np.ndarray:
        """Return the outputs of the model: of every sample, or of every step one after the other; float64."""
        lengths, each = x.lengths, self.model_.signals[-1].sequence
        size = self.model_.signals[-1].size
        outputs = np.empty((len(x.values) if each else len(x), size))
        order = np.argsort(lengths, kind="stable")
        first = 0
        while first < len(order):
            last = first + 1
            while last < len(order) and (last - first + 1) * lengths[order[last]] <= CHUNK_STEPS:
                last += 1
            rows = order[first:last]
            found, _ = self.model_.forward(x.padded(rows), lengths=lengths[rows], n_threads=self.n_threads)
            if each:
                places, valid = x.steps_of(rows)
                outputs[places[valid]] = found[valid]
            else:
                outputs[rows] = found
            first = last
        return outputs

    # Forms of input

    def _read(self, X, options, reset) -> Ragged:
        """Return X as features or tokens by step."""
        X = _separate(X, options.get("lengths"), options.get("offsets"))
        strings = _first_string(X) is not None
        if reset:
            if strings and not (self.tokens is None or isinstance(self.tokens, WordFeatures)):
                raise ValueError(f"X holds strings, so tokens must be None or a WordFeatures, got {self.tokens!r}")
            if isinstance(self.tokens, WordFeatures) and not strings:
                raise ValueError("tokens=WordFeatures(...) needs strings: lists of words, one a sample")
            self._table = self._size = None
            if not strings and self.tokens is not None:
                if isinstance(self.tokens, bool) or not isinstance(self.tokens, (int, np.integer)) or self.tokens < 1:
                    raise ValueError(
                        f"tokens must be None, a positive number of tokens or a WordFeatures, got {self.tokens!r}"
                    )
                self._size = int(self.tokens)
        elif strings != (self._table is not None):
            expected = "strings" if self._table is not None else "numbers"
            raise ValueError(
                f"this {type(self).__name__} was fitted to {expected}, X holds {'strings' if strings else 'numbers'}"
            )
        if strings:
            words, lengths = _words(X)
            if reset:
                self._table = (self.tokens or WordFeatures()).learn(words)
            return Ragged.of(self._table.encode(words), lengths)
        if self._size is not None:
            return _tokens(X, self._size)
        array, lengths = self._sequences(X, reset)
        lengths = np.full(len(array), array.shape[1]) if lengths is None else lengths
        steps = array[np.arange(array.shape[1]) < lengths[:, None]].astype(self.dtype)
        inputs.check_finite(steps, f"X in {np.dtype(self.dtype)}")
        return Ragged.of(steps, lengths)

    def _sample_weight(self, sample_weight, x):
        """Return weights of samples, or of steps as `Ragged`, or None."""
        if isinstance(sample_weight, (list, tuple)) and any(
            isinstance(item, (list, np.ndarray)) for item in sample_weight
        ):
            parts = [np.asarray(item, np.float64).reshape(-1) for item in sample_weight]
            lengths = np.array([len(part) for part in parts])
            if not np.array_equal(lengths, x.lengths):
                raise ValueError("sample_weight must have one number a sample, or one for each step of each sample")
            values = np.concatenate(parts)
            if not np.isfinite(values).all() or values.min() < 0 or values.sum() == 0:
                raise ValueError("sample_weight must be finite, not negative, and not zero for all steps")
            return Ragged.of(values, lengths)
        return _weights(sample_weight, len(x))

    def _target_missing(self, y):
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: X is not enough to learn from"
            )


def _separate(X, lengths, offsets):
    """Return X as a list of samples where they are padded or lie one after the other, else as it is."""
    if lengths is not None and offsets is not None:
        raise ValueError("lengths go with padded samples, offsets with samples one after the other; pass one of them")
    if isinstance(X, Ragged):
        return list(X)
    if tables.is_pandas(X) is not None and _first_string(X) is None and (lengths is not None or offsets is not None):
        X = X.to_numpy()
    if offsets is not None:
        return list(Ragged(np.asarray(X), offsets))
    if lengths is not None:
        longest = max((len(sample) for sample in X), default=0)
        lengths = inputs.check_lengths(lengths, len(X), longest)
        for sample, length in enumerate(lengths):
            if length > len(X[sample]):
                raise ValueError(f"lengths[{sample}] is {length}; X[{sample}] has {len(X[sample])} steps")
        samples = X if _first_string(X) is not None else [np.asarray(sample) for sample in X]
        return [sample[:length] for sample, length in zip(samples, lengths, strict=True)]
    if tables.is_pandas(X) == "series" and _first_string(X) is not None:
        return list(X)
    return X


def _first_string(X):
    """Return the first string of samples, or None where the first thing found is none."""
    if tables.is_pandas(X) == "frame" or hasattr(X, "tocsr") or not hasattr(X, "__iter__"):
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


def _words(X):
    """Return the words of all samples in one list, and the number of each sample's."""
    words, lengths = [], []
    for place, sample in enumerate(X):
        sample = list(sample)
        wrong = next((word for word in sample if not isinstance(word, str)), None)
        if wrong is not None or not sample:
            got = "nothing" if not sample else repr(wrong)
            raise ValueError(f"X[{place}] must be strings, at least one, got {got}")
        words += sample
        lengths.append(len(sample))
    if not lengths:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return words, lengths


def _tokens(X, size):
    """Return integer tokens by step."""
    parts = []
    for place, sample in enumerate(X):
        sample = np.asarray(sample)
        if sample.ndim != 1 or sample.dtype.kind not in "iu" or not sample.size:
            raise ValueError(
                f"X[{place}] must be integer tokens of shape (time steps,), at least one, got {sample.dtype} {sample.shape}"
            )
        inputs.check_tokens(sample, size, f"X[{place}]")
        parts.append(sample)
    if not parts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return Ragged.of(np.concatenate(parts).astype(np.int32), [len(part) for part in parts])
