"""Losses that are a mean over the features of a scalar function, the term, which is compiled for every device."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_integer, to_array
from numbarnn.core.arrays import as_array
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.kernels.equations import term_record
from numbarnn.losses.base import Loss, steps_hint


@dataclass(frozen=True)
class PointwiseLoss(Loss):
    """Base of the losses that are a mean over the features of a *term*: a scalar function of an output and its target.

    Targets are numbers in the shape of the outputs, (samples, time steps, features) for a sequence or (samples, features) for one
    output a sample; the axis of features may be left out where there is one.

    ``term(y, t, *options) -> (loss, slope)`` takes an output and its target, and returns the loss and its derivative by the output.
    It is plain Python on scalars, with the functions of `math`, and is compiled into the loops of every device. What it takes
    beside the two are options of the loss by name, each a number or one for each feature. All scalars have the model's dtype; a
    constant such as 0.5 is float64, which a GPU is slow with, and ``type(y)(0.5)`` is not. Terms of your own are compiled anew in
    every process.

    Examples
    --------
    The loss of expectiles (W. K. Newey, J. L. Powell, "Asymmetric least squares estimation and testing", Econometrica 55 (1987)),
    here of one a feature; under ``@nr.losses.loss("expectile")`` it would have a name by which `fit` and files of models know it.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> @dataclass(frozen=True)
    ... class Expectile(nr.losses.PointwiseLoss):
    ...     q: float | tuple[float, ...] = 0.5
    ...
    ...     @staticmethod
    ...     def term(y, t, q):
    ...         d = y - t
    ...         weight = q if y < t else type(y)(1) - q
    ...         return weight * d * d, (weight + weight) * d
    >>> model = nr.Model([nr.RNN(8), nr.Dense(3)], input_size=1, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((64, 10, 1))
    >>> y = np.repeat(x, 3, axis=2)
    >>> history = model.fit(x, y, epochs=2, loss=Expectile((0.1, 0.5, 0.9)), verbose=0)
    >>> history["loss"][1] < history["loss"][0]
    True
    """

    output_activation = None
    _has_term = True
    _tuples = False  # whether the outputs of a target come as a tuple

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        term = vars(cls).get("term")
        if term is None or isinstance(term, property):  # made for the options of an object
            return
        if not isinstance(term, staticmethod):
            raise TypeError(f"{cls.__name__}.term must be a staticmethod: term(y, t, *options) -> (loss, slope)")
        kinds = [parameter.kind for parameter in inspect.signature(term.__func__).parameters.values()]
        if len(kinds) < 2 or any(kind != inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds):
            raise TypeError(
                f"{cls.__name__}.term must take an output, its target, and options of the loss by name, got "
                f"term{inspect.signature(term.__func__)}"
            )
        function = getattr(term.__func__, "py_func", term.__func__)
        y, *others = (np.float64(0.25 + 0.125 * number) for number in range(len(kinds)))
        with np.errstate(all="ignore"):  # the numbers are any
            found = function((y,) * cls.outputs_per_target if cls._tuples else y, *others)
        pair = found if isinstance(found, tuple) and len(found) == 2 else (found, ())
        slopes = pair[1:] if not cls._tuples else pair[1] if isinstance(pair[1], tuple) else ()
        if len(slopes) != cls.outputs_per_target or any(np.ndim(value) for value in (pair[0], *slopes)):
            form = (
                f"slopes), a scalar and a tuple of {cls.outputs_per_target}" if cls._tuples else "slope), two scalars"
            )
            raise TypeError(f"{cls.__name__}.term must return (loss, {form}, got {brief(found)}")

    @property
    def record(self):
        """Record by whose type kernels select the term: see `numbarnn.kernels.equations.term_record`."""
        return term_record(self.term, self.outputs_per_target if self._tuples else None)

    def size(self, targets: int) -> int:
        """Return how many outputs a model needs.

        Parameters
        ----------
        targets : int
            Features of the target.

        Returns
        -------
        int
        """
        return check_integer(targets, "targets", 1) * self.outputs_per_target

    def option(self, name: str) -> Any:
        """Return an option of the term.

        Parameters
        ----------
        name : str
            Of the term's parameter.

        Returns
        -------
        float or array
            A number, or one for each feature.

        Raises
        ------
        TypeError
            If the loss has no such option.
        """
        if not hasattr(self, name):
            raise TypeError(
                f"{type(self).__name__}.term takes {name!r}, which is not an option of the loss: make it a field of the dataclass"
            )
        return getattr(self, name)

    def options(self, size: int, dtype: Any) -> np.ndarray:
        """Return the options of the term for every feature of the target.

        Parameters
        ----------
        size : int
            Features of the outputs.
        dtype : numpy.dtype

        Returns
        -------
        array
            (options, features of the target), flat.

        Raises
        ------
        ShapeError, TypeError
            If an option is neither a number nor one for each feature.
        """
        count, rows = self.count_targets(size), []
        for name, variadic in _options_of(self.term):
            if variadic:  # one for each output, of all features
                rows += self.option(name)
                continue
            given = to_array(self.option(name), name)
            if given.dtype.kind not in "fiub":
                raise TypeError(f"{name} of {self.name} must be a number, or one for each feature, got {brief(given)}")
            if given.shape not in ((), (1,), (count,)):
                raise ShapeError(
                    f"{name} of {self.name} must be a number, or one for each of {count} features, got shape {given.shape}"
                )
            rows.append(given)
        values = np.empty((len(rows), count), dtype)
        for row, given in zip(values, rows, strict=True):
            row[...] = given
        return values.reshape(-1)

    def count_targets(self, size: int) -> int:
        """Return how many features the target of a model has.

        Parameters
        ----------
        size : int
            Features of the outputs.

        Returns
        -------
        int

        Raises
        ------
        ShapeError
            If the outputs are not those of whole targets.
        """
        if size % self.outputs_per_target:
            raise ShapeError(f"the model has {size} output{'s' * (size > 1)}; {self._hint}")
        return size // self.outputs_per_target

    @property
    def _hint(self):
        """What to do about outputs that are not those of whole targets."""
        each = self.outputs_per_target
        return f"loss {self.name!r} needs {each} outputs a target: make the last layer Dense({each} * targets)"

    def check(self, source: Any, signal: Any) -> None:
        self.count_targets(signal.size)

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        target = as_array(target, "target")
        if target.dtype.kind not in "fiub":
            raise TypeError(f"target of {self.name} must be numbers, got dtype {target.dtype}")
        shape = (layout.samples, layout.steps, self.count_targets(size))
        short = [shape]
        if layout.steps == 1:
            short.append((shape[0], shape[2]))
        if shape[2] == 1:
            short += [s[:-1] for s in tuple(short)]
        if target.shape not in short:
            hint = f"; {self._hint}" if self._tuples else steps_hint(target.shape, layout, shape[2])
            raise ShapeError(
                f"target must have shape {' or '.join(map(str, reversed(short)))}, got {target.shape}{hint}"
            )
        rows = layout.sort(target.reshape(shape)).transpose(1, 0, 2)
        # A read-only or unaligned array would be another type, and compile the kernel once more; it is copied.
        return np.require(rows, dtype, ["C", "W", "A"]).reshape(-1)


@functools.lru_cache(
    maxsize=64
)  # asked at every step, where it costs 50 us of LSTM(16)'s 760; bounded, for terms are anybody's
def _options_of(term):
    """Return (name, whether it stands for one option of each output) of the parameters of a term after y and t."""
    parameters = list(inspect.signature(term).parameters.values())[2:]
    return tuple((parameter.name, parameter.kind == parameter.VAR_POSITIONAL) for parameter in parameters)
