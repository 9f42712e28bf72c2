"""Diagnostics of a net: gate traces, gradient flow, Jacobians, alignments, gradient checks and verdicts.

Observers only: every function takes a model and data, runs its own passes and changes nothing; functions that are not called cost
nothing.

====================  ================================================================================================
`trace`               every gate, cell state and hidden state by name
`gradient_flow`       norms of dL/ds_t by step, and how much of the loss at step t reaches step k
`jacobian`            ds_t / ds_k, its singular values and bounds; the path along an LSTM's cell state
`sensitivity`         d output / d input over time
`alignment`           posterior alignment of label sequences, for nets trained with CTC
`check_gradients`     gradients against central differences, by parameter and gate
`unfold`              the unfolded net with its values, and the terms of back-propagation through time one by one
`diagnose`            verdicts with figures and advice
====================  ================================================================================================

`numbarnn.plots` draws them. All but `trace` compute in float64, on a copy of the model: products of a hundred
Jacobians and differences of losses need it.
"""

from numbarnn.diagnostics.alignments import PosteriorAlignment, alignment
from numbarnn.diagnostics.flow import GradientFlow, gradient_flow
from numbarnn.diagnostics.gradients import GradientCheck, check_gradients
from numbarnn.diagnostics.jacobians import Jacobian, jacobian, sensitivity
from numbarnn.diagnostics.traces import Trace, trace
from numbarnn.diagnostics.unfolding import Unfolded, unfold
from numbarnn.diagnostics.verdicts import Diagnosis, Verdict, diagnose
from numbarnn.words import module_attributes

__all__ = [
    "Diagnosis",
    "GradientCheck",
    "GradientFlow",
    "Jacobian",
    "PosteriorAlignment",
    "Trace",
    "Unfolded",
    "Verdict",
    "alignment",
    "check_gradients",
    "diagnose",
    "gradient_flow",
    "jacobian",
    "sensitivity",
    "trace",
    "unfold",
]

__getattr__ = module_attributes(__name__, __all__)
