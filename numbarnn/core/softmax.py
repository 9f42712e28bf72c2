"""The logarithm of the softmax, for outputs that are on the host."""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log softmax over the last axis, without overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
