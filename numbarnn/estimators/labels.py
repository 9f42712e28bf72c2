"""Labels of any hashable kind as class codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from numbarnn.checks import brief
from numbarnn.metrics.labels import missing, sorted_labels


@dataclass(frozen=True, eq=False)
class Classes:
    """The labels that a classifier knows, in order; the code of a class is its index.

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
            array = np.array(labels)
            if array.tolist() == labels:  # integers near 2**64 and others beside them become floats
                return cls(array)
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
    def _codes(self):
        return {label: index for index, label in enumerate(self.listing)}

    def encode(self, labels, name: str = "y") -> np.ndarray:
        """Return the codes of a list of labels.

        Raises
        ------
        ValueError
            If there are labels that are not known, naming them.
        """
        codes = np.fromiter((self._codes.get(label, -1) for label in labels), np.int64, len(labels))
        unknown = np.flatnonzero(codes < 0)
        if unknown.size:
            names = sorted_labels({labels[index] for index in unknown})
            shown = ", ".join(map(repr, names[:5])) + (" ..." if len(names) > 5 else "")
            known = ", ".join(map(repr, self.listing[:10])) + (" ..." if len(self) > 10 else "")
            raise ValueError(
                f"{name} has {unknown.size} labels of classes that the model does not know: {shown}; it knows {known}"
            )
        return codes

    def weights(self, class_weight, codes) -> tuple[float, ...] | None:
        """Return a weight for each class, for an argument `class_weight` and the class codes of training.

        "balanced" is n / (classes * count of the class), as in scikit-learn; a dict gives weights by label, 1 where there is none.
        Where it has one for every class it may have more, since a fold of the data may lack a class.
        """
        if class_weight is None:
            return None
        if isinstance(class_weight, str) and class_weight == "balanced":
            counts = np.bincount(codes, minlength=len(self))
            return tuple((len(codes) / (len(self) * np.maximum(counts, 1))).tolist())
        if not isinstance(class_weight, Mapping):
            raise ValueError(
                f"class_weight must be None, 'balanced' or a dict of label -> weight, got {brief(class_weight)}"
            )
        weights, lacking = np.ones(len(self)), [label for label in self.listing if label not in class_weight]
        if lacking:  # a class of another name is a typing error; else a fold may lack a class
            self.encode(list(class_weight), "class_weight")
        for label, weight in class_weight.items():
            if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
                raise ValueError(
                    f"class_weight of {label!r} must be a finite number of at least 0, got {brief(weight)}"
                )
            if label in self._codes:
                weights[self._codes[label]] = weight
        return tuple(weights.tolist())


def check_labels(labels: list, name: str = "y") -> list:
    """Return a flat list of labels; raise unless all are hashable, there, and no fractions.

    Raises
    ------
    TypeError
        If a label cannot be hashed.
    ValueError
        If one is None, NaN or infinite, or values are not classes.
    """
    for index, label in enumerate(labels):
        try:
            hash(label)
        except TypeError:
            raise TypeError(f"{name} must have hashable labels, got {type(label).__name__} at {index}") from None
        if missing(label) or (isinstance(label, float) and label in (np.inf, -np.inf)):
            raise ValueError(
                f"Input {name} contains NaN, infinity or None, the first at {index}: {label!r} is not a label"
            )
    fractions = [label for label in labels if isinstance(label, float) and not label.is_integer()]
    if fractions:
        raise ValueError(
            f"Unknown label type: continuous. {name} has {len(fractions)} values such as {fractions[0]!r}, which are not "
            "classes; use SequenceRegressor, or make classes of them"
        )
    return labels
