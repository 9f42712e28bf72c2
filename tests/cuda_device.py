"""Tests of CUDA run on the first GPU, or in Numba's simulator where there is none: chosen before Numba is imported."""

import ctypes
import os


def _gpus():
    """Return the number of GPUs that the driver knows, 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


REAL = _gpus() > 0
if not REAL:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
