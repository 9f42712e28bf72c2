"""Synthetic data: the classic tests of long memory, a noisy sine, and a synthetic weather series.

The result of every function depends on its seed alone. The tasks return `Samples`, which unpack as ``x, y, lengths``, the arguments
of ``model.fit(x, y, lengths=lengths)``.
"""

from numbarnn.data.datasets.reber import REBER, embedded_reber, reber_allowed
from numbarnn.data.datasets.samples import Samples
from numbarnn.data.datasets.series import noisy_sine, weather
from numbarnn.data.datasets.tasks import (
    TEMPORAL_ORDER,
    adding,
    adding_1997,
    copy_memory,
    long_lag,
    multiplication,
    temporal_order,
)

__all__ = [
    "REBER",
    "TEMPORAL_ORDER",
    "Samples",
    "adding",
    "adding_1997",
    "copy_memory",
    "embedded_reber",
    "long_lag",
    "multiplication",
    "noisy_sine",
    "reber_allowed",
    "temporal_order",
    "weather",
]
