"""Temporal classification: label strings whose places are unknown, on the contract of `numbarnn.estimators`.

The most general of three tasks. A label for a whole sequence is a label string of length one, whose place is not asked for; and
where every step has a label of its own and no two neighbours are equal, the CTC loss is the sum of the steps' cross-entropies, to
rounding.
"""

import contextlib
import itertools
from collections.abc import Hashable

import numpy as np

from numbarnn import ctc, decoding, metrics
from numbarnn.contract import not_fitted
from numbarnn.data.batches import ArraySource
from numbarnn.errors import ShapeError
from numbarnn.estimators import CHUNK, SequenceEstimator, _seed, _weights
from numbarnn.inputs import check_lengths
from numbarnn.label_strings import Labels
from numbarnn.layers import Dense
from numbarnn.losses import CTC
from numbarnn.model import Model
from numbarnn.recipes import recurrent

BLANK = 0  # column of the blank; label k of classes_ has column k + 1


class TemporalClassifier(SequenceEstimator):
    """Recurrent net that reads sequences and writes label strings, trained without knowing where the labels are.

    Recurrent layers read the sequence, and a dense layer with a softmax gives every step the probabilities of the labels and of a
    blank; the loss is connectionist temporal classification (`numbarnn.losses.CTC`). X is taken as it is:
    ``make_pipeline(SequenceScaler(), TemporalClassifier())`` scales it.

    Forms of X are those of `numbarnn.estimators`, and further:

    * (samples, time steps, features) with `lengths`, the valid steps of each sample; what follows them may be anything;
    * (all time steps, features), sample after sample, with `offsets` (samples + 1,) or with `lengths` that add up to its rows.

    Forms of y: a list of label strings, each a list, tuple, array or `str` (whose characters are the labels), empty ones included;
    or with `y_lengths` an array (samples, longest) of which the first ones count, or all labels one behind the other. Labels are
    hashable values of any kind but None and NaN.

    Parameters
    ----------
    cell : str
        "lstm", "gru", "rnn", "indrnn", or another recurrent layer or registered cell.
    hidden_size, num_layers : int
    bidirectional : bool
        Whether a label may depend on what follows it. True unless outputs are wanted while the sequence goes on.
    dropout, recurrent_dropout : float
        As in `numbarnn.Recurrent`.
    infeasible : {"error", "zero"}
        What becomes of samples with fewer steps than labels plus adjacent repeats: refused by number, or without effect.
    optimizer : str or Optimizer
    learning_rate : float or None
        Instead of the optimizer's own; None: its own.
    epochs, batch_size : int
    validation_fraction : float
        Last part of the samples, held out while `patience` is given and `fit` gets no `validation`.
    patience : int, optional
        Epochs without a better held-out loss after which training ends with the best weights.
    clip_norm : float, optional
        Limit of the gradient's norm.
    warm_start : bool
        Whether `fit` goes on with the weights it has.
    random_state : int, RandomState, Generator or None
        Of the initial weights, the order of samples and dropout. None: a new one every time.
    dtype : {"float32", "float64"}
    n_threads : int, optional
        Results do not depend on it.
    verbose : int

    Attributes
    ----------
    classes_ : array
        Labels in order. Column k + 1 of probabilities is label k, column 0 the blank.
    model_ : Model
    history_ : History
        One record an epoch; ``history_.to_frame()``.
    n_iter_ : int
        Epochs done.
    n_features_in_ : int
        Columns of a 2-D X, else features of a time step.

    Examples
    --------
    >>> classifier = TemporalClassifier("lstm", 64, random_state=0)
    >>> classifier.fit(X, ["yes no", "no"]).predict(X)  # X a list of arrays (time steps, features); characters are the labels
    >>> classifier.decode(X, beam_width=20, n_best=3)  # strings with their log probabilities
    """

    def __init__(
        self,
        cell="lstm",
        hidden_size=32,
        num_layers=1,
        *,
        bidirectional=True,
        dropout=0.0,
        recurrent_dropout=0.0,
        infeasible="error",
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
        self.infeasible = infeasible

    @property
    def _loss(self):
        return CTC(BLANK, self.infeasible)

    # Training

    def fit(self, X, y, sample_weight=None, *, lengths=None, offsets=None, y_lengths=None, validation=None):
        """Train on samples, from new weights unless `warm_start`. What does not fit is refused, and the estimator stays as it was.

        Parameters
        ----------
        X, y, lengths, offsets, y_lengths : see the class
        sample_weight : (n,) array-like, optional
        validation : (X, y) tuple of lists, optional
            Held out instead of a part of X.

        Returns
        -------
        self

        Raises
        ------
        ShapeError
            If X, y, lengths or offsets do not fit together, or samples have too few steps for their labels.
        ValueError, TypeError
            If X holds NaN or infinity, y something that is no label, or, under `warm_start`, labels that the model does not know.
        """
        go_on = self.warm_start and hasattr(self, "model_")
        with self._unchanged_on_error():
            source = self._source(X, y, sample_weight, lengths, offsets, y_lengths, None, reset=True, go_on=go_on)
            held_out = None
            if validation is not None:
                if not isinstance(validation, tuple) or len(validation) != 2:
                    raise ValueError("validation must be a tuple (X, y)")
                held_out = self._source(*validation, None, None, None, None, None, reset=False, go_on=True)
            elif self.patience is not None:
                held_out = self.validation_fraction
            self._build(source.x.shape[2], go_on)
            self.history_ = self._trainer().fit(
                source, self.epochs, validation=held_out, stopping=self.patience, verbose=self.verbose
            )
            self.n_iter_ = self.trainer_.epoch
        return self

    def partial_fit(
        self, X, y, classes=None, sample_weight=None, *, lengths=None, offsets=None, y_lengths=None
    ) -> "TemporalClassifier":
        """Train one epoch more, on other samples or the same, from where training stands; the optimizer's state goes on.

        Parameters
        ----------
        X, y, sample_weight, lengths, offsets, y_lengths : as in `fit`
        classes : sequence of labels, optional
            All labels that will ever come, at the first call; None: those of y.
        """
        first = not hasattr(self, "model_")
        with self._unchanged_on_error():
            source = self._source(
                X,
                y,
                sample_weight,
                lengths,
                offsets,
                y_lengths,
                classes if first else None,
                reset=first,
                go_on=not first,
            )
            self._build(source.x.shape[2], not first)
            history = self._trainer().fit(source, 1, verbose=self.verbose)
            if first:
                self.history_ = history
            else:
                self.history_.records += history.records
            self.n_iter_ = self.trainer_.epoch
        return self

    @contextlib.contextmanager
    def _unchanged_on_error(self):
        """Leave the estimator as it was where a block raises, with the weights that it had."""
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

    def _source(self, X, y, sample_weight, lengths, offsets, y_lengths, classes, *, reset, go_on):
        x, lengths = self._read(X, lengths, offsets, reset=reset)
        strings = _strings(y, y_lengths)
        if len(strings) != len(x):
            raise ShapeError(f"X has {len(x)} samples, y has {len(strings)} label strings: there must be one for each")
        if not go_on:
            self.classes_ = _classes({label for string in strings for label in string} if classes is None else classes)
        labels = self._numbers(strings)
        if self._loss.infeasible == "error":
            steps = np.full(len(x), x.shape[1]) if lengths is None else lengths
            advice = "Give them more steps (repeat each), leave them out, or set infeasible='zero'"
            ctc.check_lengths(labels, steps, advice)
        weight = _weights(sample_weight, len(x))
        return ArraySource(x, labels.padded(), lengths=lengths, sample_weight=weight, batch_size=self.batch_size)

    def _build(self, features, go_on):
        if go_on:
            if self.model_.signals[0].size != features:
                raise ValueError(
                    f"training goes on with a model of {self.model_.signals[0].size} features, X has {features}; set "
                    "warm_start=False to begin anew"
                )
            return
        self.seed_ = _seed(self.random_state)
        layer = recurrent(
            self.cell,
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
        )
        dense = Dense(len(self.classes_) + 1)
        self.model_ = Model([layer, dense], features, self.dtype, self.seed_, self.n_threads)
        self.trainer_ = None

    # Using

    def predict(self, X, *, lengths=None, offsets=None) -> list[list]:
        """Return the label string of each sample by the best path, a list of labels each.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X does not fit what was fitted.
        """
        found = []
        for logits, steps in self._logits(X, lengths, offsets):
            found += [self._labels(string) for string in decoding.best_path(logits, steps, blank=BLANK)]
        return found

    def predict_proba(self, X, *, lengths=None, offsets=None) -> list[np.ndarray]:
        """Return the probabilities of the blank (column 0) and the labels at every step, a (steps, classes + 1) array a sample."""
        found = []
        for logits, steps in self._logits(X, lengths, offsets):
            shares = np.exp(logits - logits.max(axis=2, keepdims=True))
            shares /= shares.sum(axis=2, keepdims=True)
            found += [rows[:count] for rows, count in zip(shares, steps, strict=True)]
        return found

    def decode(
        self, X, *, beam_width: int = 10, n_best: int = 1, lengths=None, offsets=None
    ) -> list[list[decoding.Hypothesis]]:
        """Return the most probable label strings of each sample with their log probabilities: `numbarnn.decoding.beam_search`."""
        found = []
        for logits, steps in self._logits(X, lengths, offsets):
            options = {"beam_width": beam_width, "n_best": n_best, "blank": BLANK, "n_threads": self.n_threads}
            for hypotheses in decoding.beam_search(logits, steps, **options):
                found.append([h._replace(labels=tuple(self._labels(h.labels))) for h in hypotheses])
        return found

    def align(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> list[decoding.Alignment]:
        """Return where the labels of given strings are: `numbarnn.decoding.align`, its path in columns of `predict_proba`."""
        return self._with_strings(decoding.align, X, y, lengths, offsets, y_lengths)

    def occupancy(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> list[np.ndarray]:
        """Return the probability of each place of given strings at every step: `numbarnn.decoding.occupancy`."""
        return self._with_strings(decoding.occupancy, X, y, lengths, offsets, y_lengths)

    def score(self, X, y, *, lengths=None, offsets=None, y_lengths=None) -> float:
        """Return 1 - label error rate of `predict`, negative where it writes more wrong labels than there are.

        A label that the model does not know is wrong.
        """
        strings = _strings(y, y_lengths)
        return 1.0 - metrics.label_errors(strings, self.predict(X, lengths=lengths, offsets=offsets)).rate

    def _with_strings(self, function, X, y, lengths, offsets, y_lengths):
        strings, found = _strings(y, y_lengths), []
        parts = self._logits(X, lengths, offsets)
        count = sum(len(logits) for logits, _ in parts)
        if len(strings) != count:
            raise ShapeError(f"X has {count} samples, y has {len(strings)} label strings: there must be one for each")
        for logits, steps in parts:
            part = self._numbers(strings[len(found) : len(found) + len(logits)])
            found += function(logits, (part.flat, part.counts), steps, blank=BLANK)
        return found

    def _logits(self, X, lengths, offsets):
        """Return a list of (logits (samples, steps, classes + 1) float64, lengths)."""
        if not hasattr(self, "model_"):
            raise not_fitted(self)
        x, lengths = self._read(X, lengths, offsets, reset=False)
        lengths = np.full(len(x), x.shape[1]) if lengths is None else lengths
        parts = []
        for first in range(0, len(x), CHUNK):
            rows = slice(first, first + CHUNK)
            outputs = self.model_.forward(x[rows], lengths=lengths[rows], n_threads=self.n_threads)[0]
            parts.append((outputs.astype(np.float64), lengths[rows]))
        return parts

    def _read(self, X, lengths, offsets, *, reset):
        """Return X as (samples, time steps, features), and lengths or None."""
        if lengths is None and offsets is None:
            return self._sequences(X, reset)
        if lengths is not None and offsets is not None:
            raise ValueError("give lengths or offsets, not both")
        array = np.asarray(X)
        if offsets is None and array.ndim == 2 and len(lengths) != len(array):
            counts = np.asarray(lengths)
            if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
                raise TypeError(f"lengths must be integers, one a sample and none negative, got {lengths!r}")
            if counts.sum() != len(array):
                raise ShapeError(
                    f"X has {len(array)} rows, lengths add up to {counts.sum()} for {len(counts)} samples: they must add up to the "
                    "rows"
                )
            offsets = np.concatenate([[0], np.cumsum(counts)])
        if offsets is not None:
            edges = np.asarray(offsets)
            if edges.ndim != 1 or edges.dtype.kind not in "iu" or len(edges) < 2:
                raise TypeError(f"offsets must be integers (samples + 1,), got {offsets!r}")
            if edges[0] != 0 or edges[-1] != len(array) or (np.diff(edges) < 0).any():
                raise ShapeError(
                    f"offsets must rise from 0 to the {len(array)} rows of X, got {edges[0]} to {edges[-1]}"
                    + (", falling in between" if (np.diff(edges) < 0).any() else "")
                )
            return self._sequences([array[a:b] for a, b in itertools.pairwise(edges)], reset)
        if array.ndim not in (2, 3):
            raise ShapeError(f"X with lengths must be (samples, time steps, features), got {array.shape}")
        counts = check_lengths(lengths, *array.shape[:2])
        past = np.arange(array.shape[1]) >= counts[:, None]
        array = np.where(past.reshape(past.shape + (1,) * (array.ndim - 2)), 0, array)
        if array.ndim == 2:
            array = array[:, :, None]
        return self._sequences(array, reset)[0], counts

    def _numbers(self, strings) -> Labels:
        """Return label strings as columns of probabilities."""
        places = {label: place + 1 for place, label in enumerate(self.classes_.tolist())}
        flat = [places.get(label, 0) for string in strings for label in string]
        if 0 in flat:
            strange = _ordered({label for string in strings for label in string if label not in places})
            raise ValueError(
                f"y holds labels that the model does not know: {_shown(strange)}; it knows {_shown(self.classes_.tolist())}"
            )
        return Labels(np.array(flat, np.int64), np.array([len(string) for string in strings], np.int64))

    def _labels(self, string):
        return [self.classes_[place - 1] for place in string]


def _strings(y, y_lengths) -> list[list]:
    """Return label strings as lists of hashable labels."""
    if y is None:
        raise ValueError("y must be a list of label strings, one a sample, got None")
    if y_lengths is not None:
        counts, array = np.asarray(y_lengths), np.asarray(y)
        if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
            raise TypeError(f"y_lengths must be integers, one a sample and none negative, got {y_lengths!r}")
        if array.ndim == 1:
            if counts.sum() != len(array):
                raise ShapeError(f"y has {len(array)} labels, y_lengths add up to {counts.sum()}")
            y = np.split(array, np.cumsum(counts)[:-1])
        elif array.ndim == 2 and len(array) == len(counts) and counts.max(initial=0) <= array.shape[1]:
            y = [row[:count] for row, count in zip(array, counts, strict=True)]
        else:
            raise ShapeError(
                f"y with y_lengths must be (samples, longest) or (all labels,), got {array.shape} with {len(counts)} lengths up to "
                f"{counts.max(initial=0)}"
            )
    elif isinstance(y, (str, bytes)):
        raise TypeError("y must be a list of label strings, one a sample, got one string")
    strings = []
    for place, string in enumerate(y):
        if not isinstance(string, (str, list, tuple, np.ndarray)) and not hasattr(string, "__array__"):
            raise TypeError(
                f"y[{place}] must be a sequence of labels, got {string!r}; a string of one label is a list of one label"
            )
        found = [label.item() if isinstance(label, np.generic) else label for label in string]
        for label in found:
            if label is None or label != label or not isinstance(label, Hashable):
                raise ValueError(f"y[{place}] holds {label!r}, which is no label: None, NaN and lists are none")
        strings.append(found)
    return strings


def _classes(labels) -> np.ndarray:
    """Return labels in order, as an array of numbers or strings where all are of one kind, else of objects."""
    labels = _ordered({label.item() if isinstance(label, np.generic) else label for label in labels})
    if not labels:
        raise ValueError("y holds no labels at all: there is nothing to learn")
    kinds = {type(label) for label in labels}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return np.array(labels)
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def _ordered(labels):
    try:
        return sorted(labels)
    except TypeError:
        return sorted(labels, key=lambda label: (type(label).__name__, repr(label)))


def _shown(labels):
    return ", ".join(map(repr, labels[:8])) + (", ..." if len(labels) > 8 else "")
