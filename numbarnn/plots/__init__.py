"""Plots with matplotlib (the extra `plot`): of forecasts, of training, of alignments, and of the results of `numbarnn.diagnostics`.

Every function returns the Axes. Without `ax` a new figure is made by pyplot, which shows it in a notebook and works without a
display. Colours are those of Okabe & Ito, which differ for colour-blind eyes too; lines that cross differ in their dashes as well.
"""

from numbarnn.plots.alignments import plot_alignment, plot_occupancy
from numbarnn.plots.forecasts import plot_coverage, plot_errors_by_horizon, plot_forecast, plot_prediction, plot_scatter
from numbarnn.plots.gates import plot_gates
from numbarnn.plots.gradients import (
    plot_contributions,
    plot_gradient_flow,
    plot_sensitivity,
    plot_singular_values,
    plot_updates,
)
from numbarnn.plots.training import plot_history
from numbarnn.plots.unfolded import plot_unfolded
from numbarnn.words import module_attributes

__all__ = [
    "plot_alignment",
    "plot_contributions",
    "plot_coverage",
    "plot_errors_by_horizon",
    "plot_forecast",
    "plot_gates",
    "plot_gradient_flow",
    "plot_history",
    "plot_occupancy",
    "plot_prediction",
    "plot_scatter",
    "plot_sensitivity",
    "plot_singular_values",
    "plot_unfolded",
    "plot_updates",
]

__getattr__ = module_attributes(__name__, __all__)
