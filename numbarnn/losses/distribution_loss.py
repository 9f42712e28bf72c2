"""Base of the losses of distributions: several outputs for each target, and what they say of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_finite, check_integer
from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError
from numbarnn.losses.pointwise import PointwiseLoss


@dataclass(frozen=True)
class DistributionLoss(PointwiseLoss):
    """Base of the losses of distributions: K outputs of the model, side by side, are the parameters of one target's distribution.

    Outputs are (samples, time steps, targets K): output k of target j is number j K + k, and `size` says how many a model needs.
    Targets are numbers (samples, time steps, targets), or (samples, targets) for one output vector a sample; the axis of targets
    may be left out where there is one. The loss of a step is the mean over its targets of a *term*.

    ``term(y, t, *options) -> (loss, slopes)`` is that of `PointwiseLoss`, with a tuple y of the K outputs of a target t, and a
    tuple of K derivatives. `outputs_per_target` is K. `mean`, `quantiles` and `sample` take outputs as `Model.forward` returns
    them (with any axes before the last) and answer in the units of the targets that were trained on; what scaled these is for the
    caller to undo.

    Examples
    --------
    The double exponential distribution of P. S. Laplace, with the median and the logarithm of the scale as outputs; under
    ``@nr.losses.loss("laplace")`` it would have a name by which `fit` and files of models know it.

    >>> import math
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> @dataclass(frozen=True)
    ... class Laplace(nr.losses.DistributionLoss):
    ...     outputs_per_target = 2
    ...
    ...     @staticmethod
    ...     def term(y, t):
    ...         median, log_scale = y
    ...         d, one = median - t, type(t)(1)
    ...         share = math.exp(-log_scale)
    ...         slope = share if d > 0 else -share
    ...         return log_scale + slope * d, (slope, one - slope * d)
    ...
    ...     def mean(self, outputs):
    ...         return self.split(outputs)[..., 0]
    >>> model = nr.Model([nr.RNN(8), nr.Dense(Laplace().size(3))], input_size=1, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((64, 10, 1))
    >>> history = model.fit(x, np.repeat(x, 3, axis=2), epochs=2, loss=Laplace(), verbose=0)
    >>> history["loss"][1] < history["loss"][0]
    True
    >>> Laplace().mean(model.predict(x)).shape
    (64, 10, 3)
    """

    _tuples = True

    def split(self, outputs: Any) -> np.ndarray:
        """Return outputs with an axis of targets and one of the outputs of each.

        Parameters
        ----------
        outputs : (..., targets * K) array

        Returns
        -------
        (..., targets, K) float64 array

        Raises
        ------
        ShapeError
            If the last axis does not have K outputs for each target.
        TypeError
            If they are not numeric.
        ValueError
            If one is NaN or infinite.
        """
        values = np.asarray(as_numeric(outputs, "outputs"), np.float64)
        if values.ndim == 0 or values.shape[-1] % self.outputs_per_target:
            each = self.outputs_per_target
            raise ShapeError(
                f"outputs of {self.name} must end in {each} values for each target, got shape {values.shape}"
            )
        check_finite(values, "outputs", "they are those of a model that has diverged")
        return values.reshape(*values.shape[:-1], -1, self.outputs_per_target)

    def mean(self, outputs: Any) -> np.ndarray:
        """Return the mean of each target.

        Parameters
        ----------
        outputs : (..., targets * K) array
            Of a model.

        Returns
        -------
        (..., targets) float64 array

        Raises
        ------
        ShapeError, TypeError, ValueError
            As `split`; TypeError also where a distribution of the user's own has no such method.
        """
        raise TypeError(f"{type(self).__name__} has no mean: give it a method mean(outputs)")

    def quantiles(self, outputs: Any, q: Any) -> np.ndarray:
        """Return quantiles of each target.

        Parameters
        ----------
        outputs : (..., targets * K) array
            Of a model.
        q : sequence of float
            Levels in (0, 1), in any order.

        Returns
        -------
        (..., targets, len(q)) float64 array

        Raises
        ------
        ShapeError, TypeError, ValueError
            As `mean`, and where `q` is not a list of numbers in (0, 1).
        """
        raise TypeError(f"{type(self).__name__} has no quantiles: give it a method quantiles(outputs, q)")

    def sample(self, outputs: Any, generator: np.random.Generator, count: int) -> np.ndarray:
        """Draw from the distribution of each target, independently of all others.

        Parameters
        ----------
        outputs : (..., targets * K) array
            Of a model.
        generator : numpy.random.Generator
            What draws; it is advanced.
        count : int
            Draws of each target.

        Returns
        -------
        (..., targets, count) float64 array

        Raises
        ------
        ShapeError, TypeError, ValueError
            As `mean`, and where `generator` is not one or `count` is not a positive integer.
        """
        raise TypeError(f"{type(self).__name__} has no sample: give it a method sample(outputs, generator, count)")


def check_generator(generator) -> np.random.Generator:
    """Return a generator; raise TypeError unless it is NumPy's."""
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a numpy.random.Generator, got {brief(generator)}")
    return generator


def drawn_shape(values: np.ndarray, count: int) -> tuple[int, ...]:
    """Return the shape of that many draws for each of some values."""
    return (*values.shape, check_integer(count, "count", 1))
