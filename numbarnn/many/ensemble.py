"""Ensembles: nets of one estimator that differ in their seeds, and predict together."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from numbarnn import io
from numbarnn.checks import check_flag, check_integer, naming
from numbarnn.core import seeds
from numbarnn.core.warned import warn
from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor
from numbarnn.estimators.scikit import BaseEstimator
from numbarnn.estimators.settings import seed_of
from numbarnn.many import files
from numbarnn.many.fits import check_kind, fit_rounds
from numbarnn.metrics import r2
from numbarnn.model import Model
from numbarnn.sklearn_api import OfClassifiers, clone, not_fitted
from numbarnn.training.rounds import Rounds, alone, together
from numbarnn.words import Suggesting

KINDS = (SequenceRegressor, SequenceClassifier, SegmentClassifier)
ADVICE = (
    "; a Forecaster has ensembles of its own, Forecaster(ensemble=10), and nets with a blank emit their labels at different "
    "steps, so that the means of their probabilities say little"
)


@dataclass(eq=False, repr=False)
class Ensemble(BaseEstimator, Suggesting):
    """Nets of one estimator from several seeds, whose mean prediction is taken, with scikit-learn's estimator interface.

    The mean of nets has a smaller error than a net on average, and their spread says where they know little: beyond the data of
    training they disagree. All nets see all samples. Each of them is the one, to the bit, that `estimator` with the same
    `random_state` fits alone; small nets on samples of one length train faster together.

    Parameters
    ----------
    estimator : SequenceRegressor, SequenceClassifier or SegmentClassifier
        Not fitted; it stays as it is.
    n : int
        Nets.
    random_state : int, RandomState, Generator or None
        What the seeds of the nets are drawn from. None: the `random_state` of `estimator`.

    Attributes
    ----------
    estimators_ : list of estimators
        Fitted, each with the seed of its own as `random_state`. Fewer than `n` where Ctrl-C came before the training of some began.
    seed_ : int
        Of the seeds.
    model_ : Model
        Of the first of them.
    classes_ : array
        Labels in order, of a classifier: the columns of probabilities.
    n_features_in_, feature_names_in_ : int, array of str
        As `estimator` has them.

    References
    ----------
    B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles",
    NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import Ensemble, SequenceRegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (64, 6, 1))  # (samples, time steps, features)
    >>> y = X.sum(axis=(1, 2))
    >>> net = SequenceRegressor("gru", 8, epochs=20, linear=None)  # y is linear in X: a linear path would know all
    >>> ensemble = Ensemble(net, n=3, random_state=0).fit(X, y)
    >>> mean, spread = ensemble.predict(X, return_std=True)
    >>> mean.shape, spread.shape
    ((64,), (64,))
    >>> far = ensemble.predict(10 * X, return_std=True)[1]  # the nets never saw such samples
    >>> bool(far.mean() > spread.mean())
    True
    """

    KIND: ClassVar[str] = "ensemble"

    estimator: Any
    n: int = 10
    _: KW_ONLY
    random_state: Any = None

    # Training

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> "Ensemble":
        """Train all nets on samples, from new weights. After an error the ensemble is as it was.

        Parameters
        ----------
        X, y, sample_weight, **options : as in `fit` of the estimator

        Returns
        -------
        self

        Raises
        ------
        DivergedError
            If the loss of a net is not finite, naming the net.
        TypeError, ValueError
            If an argument has the wrong type or value.

        Notes
        -----
        Ctrl-C ends the training of all nets after the step at hand, as it ends that of one: they stay in the ensemble as they are
        then, and their histories say "interrupted". Nets that were not begun are left out.
        """
        return alone(self._fit_rounds(X, y, sample_weight, **options))

    def _fit_rounds(self, X, y, sample_weight=None, **options) -> Rounds:
        """Fit in rounds, in which nets of other estimators can be trained as well."""
        check_kind(self, KINDS, ADVICE)
        check_integer(self.n, "n", 1)
        if self.estimator.warm_start:
            raise ValueError("Ensemble: warm_start of the estimator must be False: fit trains new nets")
        seed = seed_of(self.estimator.random_state if self.random_state is None else self.random_state)
        own = seeds.generator(seed, "members").integers(2**31, size=self.n)
        members = [clone(self.estimator, random_state=int(one)) for one in own]
        found = yield from together(
            {
                number: _named(number, member, fit_rounds("Ensemble", member, X, y, sample_weight, options))
                for number, member in enumerate(members)
            }
        )
        self.estimators_, self.seed_ = list(found.values()), seed
        if len(found) < self.n:
            warn(
                f"training was interrupted before that of {self.n - len(found)} of {self.n} nets began; the ensemble has the others"
            )
        return self

    # Using

    def predict(self, X: Any, *, return_std: bool = False, **options: Any) -> Any:
        """Return what the nets predict together: means of values, and the labels whose mean probability is greatest.

        Parameters
        ----------
        X, **options : as in `predict` of the estimator
        return_std : bool
            Of a regressor: whether to return the spread as well.

        Returns
        -------
        array or list of arrays
            As `predict` of the estimator returns it.
        (array, array) tuple
            With `return_std` the mean, and the standard deviation of the predictions of the nets about it. It measures how
            far the nets disagree, not the noise of y; for the latter use a distribution as the loss, such as "gaussian". 0 where
            the linear paths of the nets have the whole share.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If `return_std` is asked of a classifier.
        """
        first = self._first()
        check_flag("Ensemble.predict", "return_std", return_std)
        if isinstance(first, SequenceRegressor):
            found = np.stack([member.predict(X, **options) for member in self.estimators_])
            mean = found.mean(axis=0)
            return (mean, found.std(axis=0)) if return_std else mean
        if return_std:
            raise TypeError(
                f"return_std needs an ensemble of regressors, this is one of {type(first).__name__}; predict_proba and votes say "
                "how sure the nets are"
            )
        return _each(self._labels, self.predict_proba(X, **options))

    @OfClassifiers
    def predict_proba(self, X: Any, **options: Any) -> Any:
        """Return the mean of the probabilities that the nets give each class of `classes_`.

        Parameters
        ----------
        X, **options : as in `predict_proba` of the estimator

        Returns
        -------
        array or list of arrays
            As `predict_proba` of the estimator returns it.

        Raises
        ------
        AttributeError
            If the estimator is a regressor: those have no such method.
        NotFittedError
            If `fit` was not called.
        """
        self._first()
        return _mean([member.predict_proba(X, **options) for member in self.estimators_])

    @OfClassifiers
    def votes(self, X: Any, **options: Any) -> Any:
        """Return the share of the nets that predict each class of `classes_`, in the form of `predict_proba`.

        Parameters
        ----------
        X, **options : as in `predict` of the estimator

        Returns
        -------
        array or list of arrays
            With a last axis of classes.

        Raises
        ------
        AttributeError
            If the estimator is a regressor: those have no such method.
        NotFittedError
            If `fit` was not called.
        """
        first = self._first()

        def indicators(labels):
            return labels if first._several else np.eye(len(first.classes_))[first._classes.encode(labels.tolist())]

        return _mean([_each(indicators, member.predict(X, **options)) for member in self.estimators_])

    def score(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> float:
        """Return what `score` of the estimator returns, of the predictions of the ensemble.

        Parameters
        ----------
        X, y, sample_weight, **options : as in `score` of the estimator

        Returns
        -------
        float
        """
        first = self._first()
        if isinstance(first, SequenceRegressor):
            with naming("y", "truth"):
                return r2(y, self.predict(X, **options), sample_weight)
        return self._mixture(X, options).score(X, y, sample_weight, **options)

    def _mixture(self, X, options):
        """Return an estimator whose outputs for X are those of the mean probabilities, so that it scores as its class does."""
        first = self._first()
        mixture = object.__new__(type(first))
        mixture.__dict__ |= first.__dict__
        found = [member._scored(X, **options) for member in self.estimators_]
        mean = np.mean(
            [member._probabilities(one[-1]) for member, one in zip(self.estimators_, found, strict=True)], axis=0
        )
        mixture._scored = lambda *_, **__: (*found[0][:-1], mean - 0.5 if first._several else mean)
        return mixture

    def _first(self):
        if not hasattr(self, "estimators_"):
            raise not_fitted(self)
        return self.estimators_[0]

    def _is_regressor(self):
        return isinstance(self.estimator, SequenceRegressor)

    def _labels(self, probabilities):
        first = self._first()
        if first._several:
            return (probabilities > 0.5).astype(np.int64)
        return first.classes_[probabilities.argmax(axis=-1)]

    @property
    def model_(self) -> Model:
        """The net of the first estimator."""
        return self._first().model_

    @property
    def classes_(self) -> np.ndarray:
        """Labels in order."""
        return self._first().classes_

    @property
    def n_features_in_(self) -> int:
        """Features, as the estimator counts them."""
        return self._first().n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Columns of a DataFrame."""
        return self._first().feature_names_in_

    # Files

    def save(self, path: Any) -> None:
        """Write all nets and settings to one safetensors file, beside the destination first and then renamed.

        Each net is stored as `save` of the estimator stores it, and what that leaves out is left out here.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If a label or a setting is of a kind that a file cannot store.
        OSError
            If the file cannot be written; what was there stays.
        """
        self._first()
        io.write(path, self.KIND, *self._description())

    @classmethod
    def load(cls, path: Any, device: str = "cpu") -> "Ensemble":
        """Return the ensemble of a file that `save` wrote, on a device; nothing in it is executed.

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it contains something else, is damaged, or needs a cell that is not registered.
        """
        return cls.from_description(*io.read(path, cls.KIND), device)

    @classmethod
    def from_description(cls, description: Any, arrays: Any, device: str = "cpu") -> "Ensemble":
        """Return the ensemble of a file's description and arrays, on a device."""
        members = files.members_of(description, arrays, cls.KIND, KINDS, device)
        with io.understood(cls.KIND):
            own, inner = files.random_states_of(description)
            found = cls(
                clone(members[0], random_state=inner), check_integer(description["n"], "n", 1), random_state=own
            )
            if len(members) > found.n:
                raise ValueError(f"{len(members)} nets in an ensemble of {found.n}")
            files.check_alike(members)
            found.estimators_, found.seed_ = members, check_integer(description["seed"], "seed", 0)
        return found

    def _description(self):
        about, arrays = files.describe_members(self.estimators_)
        given = files.random_states(self.random_state, self.estimator.random_state, self.seed_)
        return about | {"n": int(self.n), "seed": int(self.seed_), "random_states": given}, arrays

    def __sklearn_tags__(self):
        return self.estimator.__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")


def _named(number, member, rounds):
    """Run a fit, and name the net whose training diverged."""
    try:
        return (yield from rounds)
    except ArithmeticError as error:
        error.args = (f"net {number} of the ensemble, random_state={member.random_state}: {error}", *error.args[1:])
        raise


def _each(function, found):
    """Return a function of an array, or of each of a list of arrays."""
    return [function(part) for part in found] if isinstance(found, list) else function(found)


def _mean(found):
    """Return the mean of arrays, or of each of lists of arrays."""
    return (
        [np.mean(parts, axis=0) for parts in zip(*found, strict=True)]
        if isinstance(found[0], list)
        else np.mean(found, axis=0)
    )
