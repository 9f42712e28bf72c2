"""What outputs say under a loss: probabilities, and predictions."""

import numpy as np

from numbarnn.backends.device import host


def probabilities(outputs: np.ndarray, lengths, activation: str | None) -> np.ndarray:
    """Return the probabilities of outputs, zero past each length; no lengths: all count."""
    return _filled(host().losses.probabilities(outputs, activation), lengths, 0)


def predictions(outputs: np.ndarray, lengths, activation: str | None) -> np.ndarray:
    """Return the predictions of outputs, -1 past each length; outputs that are values (no activation) as they are."""
    if activation is None:
        return outputs
    softmax = activation == "softmax"
    result = outputs.argmax(axis=-1) if softmax else (outputs >= 0).astype(np.int64)  # the logit of 1/2 is 0
    return _filled(result, lengths, -1)


def _filled(result, lengths, value):
    """Set what is past each length to a value, in place, and return the array."""
    if lengths is not None:
        result[np.arange(result.shape[1]) >= np.asarray(lengths)[:, None]] = value
    return result
