"""Philox4x32-10: random bits as a pure function of a counter and a key, so that CPU and CUDA draw the same masks.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3;
the test vectors of its reference implementation are in `tests/test_dropout.py`.

Its uses, by counters and keys; the halves of a 64-bit integer are its 32 low and high bits:

========  =======================================================  ====================
dropout   (unit / 4, time step, sample, stream ^ high of seed)     (low of seed, pass)
sampling  (low of choice, high of choice, 0, 0)                    (low, high of seed)
========  =======================================================  ====================

A stream is 256 times the index of the layer, and more within the layer. Models that are sampled begin with tokens, so their dropout
begins with stream 256, and the two draw nothing in common from a seed below 2**32. (From a larger one they would where stream and
pass are the high half of it.)
"""

import numpy as np

from numbarnn.kernels.scalar import inlined

_MULTIPLY_0, _MULTIPLY_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Return four random 32-bit numbers for four 32-bit counters and two 32-bit keys, all held in uint64."""
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLY_0, c2 * _MULTIPLY_1
        c0, c2 = (p1 >> _HALF) ^ c1 ^ k0, (p0 >> _HALF) ^ c3 ^ k1
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3
