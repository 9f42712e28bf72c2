"""Estimators on the contract of scikit-learn, which is imported here where it is installed; none of it is needed.

Forms of X, with n samples:

* (n, time steps, features) array;
* (n, time steps) array or DataFrame: one feature, each column a time step, as scikit-learn's own tools make tables;
* list of n arrays (time steps, features) or (time steps,), or of DataFrames, of any lengths;
* an array whose samples end in NaN: steps that are NaN in all features, up to the end, are padding.

Classifiers take more of them:

* samples padded to one length, with ``lengths=``; values past each length do not matter;
* concatenated samples, (steps of all samples, features), with ``offsets=``: sample i is X[offsets[i]:offsets[i + 1]]; or
  with ``lengths=`` that add up to the rows;
* integers below `tokens`, (n, time steps) or a list of n arrays, of which each has a learned vector;
* strings: a list of n lists of words, or of n strings, which are sequences of characters. Words of training are learned, with the
  features that ``tokens=WordFeatures(...)`` says.

Samples need no order and no packing. Columns of a 2-D X are scikit-learn's features, so their number and names must be the same in
`fit` and `predict`. Of a 3-D X or a list only the features of a step must agree; lengths are free.

What `scale` means:

==========  ====================================================================================================
"standard"  every feature less its mean, divided by its standard deviation
"minmax"    every feature shifted and divided such that its least value is 0 and its greatest 1
"robust"    every feature less its median, divided by the distance of its quartiles
"auto"      "standard", but features that are 0 and 1 alone (one-hot codes, flags, masks) stay as they are
None        all features as they are
==========  ====================================================================================================

Each class is a special case of the next:

* `SequenceClassifier`: one label for a sample;
* `SegmentClassifier`: a label for every step, or for given segments. One segment over all of each sample is the task above, and
  ``SequenceClassifier(pooling="mean")`` its net, to rounding;
* `TemporalClassifier`: label sequences at unknown positions, which need an alignment too: connectionist temporal classification.
"""

from numbarnn.estimators.base import SequenceEstimator
from numbarnn.estimators.classification import SequenceClassifier
from numbarnn.estimators.regression import SequenceRegressor
from numbarnn.estimators.segments import SegmentClassifier
from numbarnn.estimators.temporal import TemporalClassifier

__all__ = ["SegmentClassifier", "SequenceClassifier", "SequenceEstimator", "SequenceRegressor", "TemporalClassifier"]
