"""A net for each group of samples or series, such as each of many sensors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numbarnn import io
from numbarnn.checks import naming
from numbarnn.core.warned import warn
from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor, TemporalClassifier
from numbarnn.estimators.files import label_in, label_out
from numbarnn.estimators.labels import Classes
from numbarnn.estimators.scikit import BaseEstimator
from numbarnn.forecasting import Forecaster
from numbarnn.many import files, series
from numbarnn.many.ensemble import Ensemble
from numbarnn.many.fits import check_kind, fit_rounds
from numbarnn.many.parts import Parts, check_known, check_options, in_group, named, weights_of
from numbarnn.metrics import r2
from numbarnn.model import Model
from numbarnn.sklearn_api import OfClassifiers, clone, not_fitted
from numbarnn.training.rounds import Rounds, alone, together
from numbarnn.words import Suggesting

KINDS = (SequenceRegressor, SequenceClassifier, SegmentClassifier, TemporalClassifier, Ensemble, Forecaster)


@dataclass(eq=False, repr=False)
class GroupBy(BaseEstimator, Suggesting):
    """A net for each group, with scikit-learn's interface: each of 200 sensors, say, has one that is trained on its samples alone.

    What the groups are, and what is grouped:

    * samples in a DataFrame, one a row: the column `by` is that of the group, the others are X;
    * samples in any form that `estimator` takes, with ``groups=`` in `fit` and `predict`: one key for each sample, and ``by=None``;
    * a `Forecaster`, for rows in order of time: the column `by` of a long table is that of the series, or a level of its index; or
      a dict of tables, and ``by=None``. ``Forecaster(id=)`` trains one net for all series, which is better where each has few rows
      and all are alike; here series have nothing in common.

    Each net is the one, to the bit, that `estimator` fits to the samples of its group alone; small
    nets on samples of one length train faster together.

    Parameters
    ----------
    estimator : SequenceRegressor, SequenceClassifier, SegmentClassifier, TemporalClassifier, Ensemble or Forecaster
        Not fitted; it stays as it is. Its `random_state` is that of every net.
    by : name or list of names, optional
        Columns of the groups; of a list the keys are tuples.

    Attributes
    ----------
    estimators_ : dict of estimators by key
        Fitted; keys are sorted. Groups whose training did not begin when Ctrl-C came are not among them.
    classes_ : array
        The labels of all groups, in order: the columns of probabilities, 0 for those that a group does not have.
    model_ : Model
        Of the first group.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import Forecaster, GroupBy, SequenceRegressor
    >>> generator = np.random.default_rng(0)
    >>> X = generator.standard_normal((60, 8, 1))  # (samples, time steps, features)
    >>> sensor = np.array(["north", "south"])[generator.integers(2, size=60)]
    >>> y = np.where(sensor == "north", 1.0, -1.0) * X[:, :, 0].sum(axis=1)
    >>> nets = GroupBy(SequenceRegressor("gru", 8, epochs=20, random_state=0)).fit(X, y, groups=sensor)
    >>> nets.predict(X, groups=sensor).shape
    (60,)
    >>> list(nets.estimators_)
    ['north', 'south']

    A long table of two series:

    >>> from numbarnn.data.datasets import weather
    >>> day = weather(300)[["temperature", "pressure"]].assign(sensor="north")
    >>> table = [day, day.assign(sensor="south", temperature=-day["temperature"])]
    >>> import pandas as pd
    >>> nets = GroupBy(Forecaster(lookback=24, horizon=6, hidden_size=4, epochs=1), by="sensor")
    >>> nets = nets.fit(pd.concat(table), target="temperature", verbose=0)
    >>> list(nets.predict().index.names)  # the six hours after the last row of each
    ['sensor', 'time']
    """

    KIND: ClassVar[str] = "groups"

    estimator: Any
    by: Any = None

    # Training

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, groups: Any = None, **options: Any) -> "GroupBy":
        """Train a net for each group, from new weights. After an error the object is as it was.

        Parameters
        ----------
        X : array-like, list or DataFrame; of a Forecaster a DataFrame or a dict of them
        y : array-like, with an entry for each sample; of a Forecaster its argument `target`
        sample_weight : array-like with an entry for each sample, optional
        groups : (n,) array-like, optional
            Key of each sample: hashable, such as str or int.
        **options : as in `fit` of the estimator
            `lengths`, `y_lengths` and `segments` have an entry for each sample. There are no `offsets` (pass a list of samples) and
            no `validation` (pass a fraction, in the constructor of the estimator).

        Returns
        -------
        self

        Raises
        ------
        Exception
            What `fit` of the estimator raises, with the group in its message.
        KeyError, ShapeError, TypeError, ValueError
            If there is no such column, groups are missing or not one for each sample, or there are no samples.

        Notes
        -----
        Ctrl-C ends the training of all nets after the step at hand, as it ends that of one: they stay as they are then, and their
        histories say "interrupted". Groups whose nets were not begun have none.
        """
        return alone(self._fit_rounds(X, y, sample_weight, groups=groups, **options))

    def _fit_rounds(self, X, y=None, sample_weight=None, *, groups=None, **options) -> Rounds:
        """Fit in rounds, in which nets of other estimators can be trained as well."""
        check_kind(self, KINDS)
        if self._forecasts:
            series.check_none(sample_weight, groups)
            begun = series.fits_of(self, X, y, options)
        else:
            begun = self._fits(X, y, sample_weight, groups, options)
        found = yield from together({key: _named(key, rounds) for key, rounds in begun.items()})
        self.estimators_ = found
        lost = [key for key in begun if key not in found]
        if lost:
            warn(
                f"training was interrupted before that of {len(lost)} of {len(begun)} groups began, which have no net: "
                f"{named(lost)}"
            )
        return self

    def _fits(self, X, y, sample_weight, groups, options):
        """Return the fits of groups of samples, by key."""
        check_options(options)
        parts, found = Parts.of(X, self.by, groups, "X"), {}
        given = {"y": y, "sample_weight": sample_weight, **options}
        for key in parts.rows:
            own = parts.options(given, key)
            y, weight = own.pop("y"), own.pop("sample_weight")
            found[key] = fit_rounds("GroupBy", clone(self.estimator), parts.of_group(key), y, weight, own)
        return found

    @property
    def _forecasts(self):
        return isinstance(self.estimator, Forecaster)

    # Using

    def predict(self, X: Any = None, *, groups: Any = None, **options: Any) -> Any:
        """Return what the net of each sample's group predicts, in the order of the samples; of a Forecaster, what comes next.

        Parameters
        ----------
        X, groups : as in `fit`
            Of a Forecaster, X may be None: the rows seen last.
        **options : as in `predict` of the estimator
            `lengths` and `segments` have an entry for each sample, of which each net gets its own; there are no `offsets`. Of a
            Forecaster `future` is a table as X is. All others, such as `quantiles`, are those of every net.

        Returns
        -------
        array or list
            As `predict` of the estimator returns it, for all samples.
        DataFrame
            Of a Forecaster: the forecasts of the series, concatenated; its index is (series, time).

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        KeyError, ShapeError, TypeError
            As in `fit`.
        ValueError
            If there are groups without a net, which are named.
        """
        self._check_fitted()
        if self._forecasts:
            series.check_none(groups=groups)
            return series.forecast(self, X, options)
        return self._joined(X, groups, options, "predict", self._several)

    @OfClassifiers
    def predict_proba(self, X: Any, *, groups: Any = None, **options: Any) -> Any:
        """Return the probability of each class of `classes_`, by the net of each sample's group, in the order of the samples.

        Parameters
        ----------
        X, groups, **options : as in `predict`

        Returns
        -------
        array or list of arrays
            As `predict_proba` of the estimator returns it; 0 for classes that a group does not have.

        Raises
        ------
        AttributeError
            If the estimator is not a classifier: others have no such method.
        NotFittedError
            If `fit` was not called.
        """
        self._check_fitted()
        return self._joined(X, groups, options, "predict_proba", True)

    def update(self, new_rows: Any) -> "GroupBy":
        """Take in new rows of some of the series, so that `predict` of forecasters forecasts what comes after them.

        After an error all series are as they were.

        Parameters
        ----------
        new_rows : DataFrame or dict, as in `fit`

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the estimator is not a Forecaster.
        ValueError
            If rows do not follow those seen last, or are of series without a net.
        """
        self._check_fitted()
        if not self._forecasts:
            raise TypeError(f"update needs a Forecaster, the estimator is {type(self.estimator).__name__}")
        series.update(self, new_rows)
        return self

    def scores(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, *, groups: Any = None, **options: Any
    ) -> dict[Any, float]:
        """Return what `score` of the estimator returns, for each group by its key.

        Parameters
        ----------
        X, y, sample_weight, groups, **options : as in `fit`; of a Forecaster X alone, None for the test part of `fit`

        Returns
        -------
        dict of float
        """
        self._check_fitted()
        if self._forecasts:
            series.check_none(sample_weight, groups, y)
            return series.scores(self, X, options)
        check_options(options)
        parts = self._parts(X, groups)
        given = {"y": y, **options} | ({} if sample_weight is None else {"sample_weight": sample_weight})
        found = {}
        for key in parts.rows:
            with in_group(key):
                found[key] = self.estimators_[key].score(parts.of_group(key), **parts.options(given, key))
        return found

    def score(
        self, X: Any = None, y: Any = None, sample_weight: Any = None, *, groups: Any = None, **options: Any
    ) -> float:
        """Return the quality of all predictions.

        Of values the coefficient of determination of all samples; of labels the mean of `scores`, weighted by the samples of the
        groups; of forecasts the mean of `scores`.

        Parameters
        ----------
        X, y, sample_weight, groups, **options : as in `scores`

        Returns
        -------
        float
        """
        if not self._forecasts and self._is_regressor():
            with naming("y", "truth"):
                return r2(y, self.predict(X, groups=groups, **options), sample_weight)
        found = self.scores(X, y, sample_weight, groups=groups, **options)
        if self._forecasts:
            return float(np.mean(list(found.values())))
        parts = self._parts(X, groups)
        weight = weights_of(sample_weight, len(parts))
        return float(np.average(list(found.values()), weights=[weight[parts.rows[key]].sum() for key in found]))

    @property
    def classes_(self) -> np.ndarray:
        """The labels of all groups in order."""
        found = [member.classes_.tolist() for member in self._fitted().values()]
        if all(labels == found[0] for labels in found):
            return self._first().classes_
        return Classes.of(label for labels in found for label in labels).labels

    @property
    def model_(self) -> Model:
        """The net of the first group."""
        return self._first().model_

    def _joined(self, X, groups, options, method, of_classes):
        """Return what a method of the estimators returns, in the order of the samples; with an axis of classes: of all of them."""
        check_options(options)
        parts = self._parts(X, groups)
        whole = self.classes_.tolist() if of_classes else []

        def of_group(key):
            member = self.estimators_[key]
            with in_group(key):
                found = getattr(member, method)(parts.of_group(key), **parts.options(options, key))
            return _aligned(found, member, whole) if of_classes else found

        return parts.joined(of_group)

    def _parts(self, X, groups):
        parts = Parts.of(X, self.by, groups, "X")
        check_known({key: len(rows) for key, rows in parts.rows.items()}, self.estimators_, "X")
        return parts

    @property
    def _several(self):
        first = self._first()
        first = first.estimators_[0] if isinstance(first, Ensemble) else first
        return getattr(first, "_several", False)

    def _is_regressor(self):
        inner = self.estimator.estimator if isinstance(self.estimator, Ensemble) else self.estimator
        return isinstance(inner, (SequenceRegressor, Forecaster))

    def _fitted(self):
        self._check_fitted()
        return self.estimators_

    def _first(self):
        return next(iter(self._fitted().values()))

    def _check_fitted(self):
        if not hasattr(self, "estimators_"):
            raise not_fitted(self)

    # Files

    def save(self, path: Any) -> None:
        """Write the nets of all groups and settings to one safetensors file, beside the destination first and then renamed.

        Each net is stored as `save` of the estimator stores it, and what that leaves out is left out here.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If a key, label or setting is of a kind that a file cannot store: keys are strings, numbers, True and False, and tuples
            of these.
        OSError
            If the file cannot be written; what was there stays.
        """
        self._check_fitted()
        io.write(path, self.KIND, *self._description())

    @classmethod
    def load(cls, path: Any, device: str = "cpu") -> "GroupBy":
        """Return the nets of a file that `save` wrote, on a device; nothing in it is executed.

        Raises
        ------
        FileNotFoundError, ModelFileError
            If there is no file, or it contains something else, is damaged, or needs a cell that is not registered.
        """
        return cls.from_description(*io.read(path, cls.KIND), device)

    @classmethod
    def from_description(cls, description: Any, arrays: Any, device: str = "cpu") -> "GroupBy":
        """Return the nets of a file's description and arrays, on a device."""
        members = files.members_of(description, arrays, cls.KIND, KINDS, device)
        with io.understood(cls.KIND):
            keys, by = [label_in(key) for key in description["keys"]], description["by"]
            if len(keys) != len(members) or len(set(keys)) != len(keys) or any(key is None for key in keys):
                raise ValueError(f"{len(keys)} keys of {len(members)} groups, or some that are equal")
            if by is not None:
                names = [label_in(name) for name in by["names"]]
                by = names if by["listed"] else names[0]
            found = cls(clone(members[0]), by)
            found.estimators_ = dict(zip(keys, members, strict=True))
        return found

    def _description(self):
        about, arrays = files.describe_members(list(self.estimators_.values()))
        by, listed = self.by, isinstance(self.by, list)
        names = None if by is None else {
            "names": [label_out(name, "column") for name in (by if listed else [by])], "listed": listed
        }  # fmt: skip
        return about | {"keys": [label_out(key, "group") for key in self.estimators_], "by": names}, arrays

    def __sklearn_tags__(self):
        if self._forecasts:
            return super().__sklearn_tags__()
        return self.estimator.__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")


def _named(key, rounds):
    """Run a fit, and name the group in its errors."""
    with in_group(key):
        return (yield from rounds)


def _aligned(found, member, whole):
    """Return arrays with an axis of the classes of a group with one of all classes."""
    own = member.classes_.tolist()
    if own == whole:
        return found
    blanks = getattr(member, "BLANKS", 0)
    columns = [*range(blanks), *(blanks + whole.index(label) for label in own)]

    def spread(values):
        wide = np.zeros((*values.shape[:-1], blanks + len(whole)), values.dtype)
        wide[..., columns] = values
        return wide

    return [spread(part) for part in found] if isinstance(found, list) else spread(found)
