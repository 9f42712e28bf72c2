"""Labels of any hashable kind as class numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from numbarnn.metrics.labels import missing, sorted_labels


@dataclass(frozen=True, eq=False)
class Classes:
    """The labels that a classifier knows, in order; the number of a class is its place.

    Attributes
    ----------
    labels : (classes,) array
        Of numbers, of strings, or of objects where labels are something else.
    """

    labels: np.ndarray

    @classmethod
    def of(cls, labels) -> "Classes":
        """Return the classes of a list of labels."""
        return cls.listed(sorted_labels(set(labels)))

    @classmethod
    def listed(cls, labels: list) -> "Classes":
        """Return the classes of a list of labels that differ, in that order."""
        kinds = {type(label) for label in labels}
        if kinds <= {bool} or kinds <= {int, bool} or kinds <= {float, int, bool} or kinds <= {str}:
            return cls(np.array(labels))
        array = np.empty(len(labels), object)
        array[:] = labels
        return cls(array)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def listing(self) -> list:
        """The labels as values of Python."""
        return self.labels.tolist()

    @cached_property
    def _places(self):
        return {label: place for place, label in enumerate(self.listing)}

    def encode(self, labels, name: str = "y") -> np.ndarray:
        """Return the numbers of a list of labels.

        Raises
        ------
        ValueError
            If there are labels that are not known, naming them.
        """
        numbers = np.fromiter((self._places.get(label, -1) for label in labels), np.int64, len(labels))
        strange = np.flatnonzero(numbers < 0)
        if strange.size:
            names = sorted_labels({labels[place] for place in strange})
            shown = ", ".join(map(repr, names[:5])) + (" ..." if len(names) > 5 else "")
            known = ", ".join(map(repr, self.listing[:10])) + (" ..." if len(self) > 10 else "")
            raise ValueError(
                f"{name} holds {strange.size} labels of classes that the model does not know: {shown}; it knows {known}"
            )
        return numbers

    def weights(self, class_weight, numbers) -> tuple[float, ...] | None:
        """Return a weight for each class, for an argument `class_weight` and the class numbers of training.

        "balanced" is n / (classes * count of the class), as in scikit-learn; a dict gives weights by label, 1 where there is none.
        """
        if class_weight is None:
            return None
        if isinstance(class_weight, str) and class_weight == "balanced":
            counts = np.bincount(numbers, minlength=len(self))
            return tuple((len(numbers) / (len(self) * np.maximum(counts, 1))).tolist())
        if not isinstance(class_weight, Mapping):
            raise ValueError(
                f"class_weight must be None, 'balanced' or a dict of label -> weight, got {class_weight!r}"
            )
        places = self.encode(list(class_weight), "class_weight")
        weights = np.ones(len(self))
        for place, weight in zip(places, class_weight.values(), strict=True):
            if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
                raise ValueError(
                    f"class_weight of {self.listing[place]!r} must be a finite number of at least 0, got {weight!r}"
                )
            weights[place] = weight
        return tuple(weights.tolist())


def check_labels(labels: list, name: str = "y") -> list:
    """Return a flat list of labels; raise unless all are hashable, there, and no fractions.

    Raises
    ------
    TypeError
        If a label cannot be hashed.
    ValueError
        If one is None, NaN or infinite, or numbers are no classes.
    """
    for place, label in enumerate(labels):
        try:
            hash(label)
        except TypeError:
            raise TypeError(f"{name} must hold hashable labels, got {type(label).__name__} at {place}") from None
        if missing(label) or (isinstance(label, float) and label in (np.inf, -np.inf)):
            raise ValueError(
                f"Input {name} contains NaN, infinity or None, the first at {place}: {label!r} is no label"
            )
    fractions = [label for label in labels if isinstance(label, float) and not label.is_integer()]
    if fractions:
        raise ValueError(
            f"Unknown label type: continuous. {name} holds {len(fractions)} numbers such as {fractions[0]!r}, which are no "
            "classes; use SequenceRegressor, or make classes of them"
        )
    return labels
