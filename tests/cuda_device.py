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


def _share_once():
    """Let the threads of a simulated block get one array from ``cuda.shared.array``, also where two ask for it at once.

    Numba's simulator looks an array up by the line that asks for it, and makes it where it is not there yet: two threads at once
    got one each, and about one run in ten of some tests was wrong.
    """
    import threading

    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    class Allocations(dict):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

        def get(self, line):
            self.lock.acquire()
            found = super().get(line)
            if found is not None:
                self.lock.release()
            return found  # None: the lock is kept until the array is there

        def __setitem__(self, line, array):
            super().__setitem__(line, array)
            self.lock.release()

    plain = FakeCUDAShared.__init__

    def initialize(shared, *arguments):
        plain(shared, *arguments)
        shared._dynshared[:] = -1  # NaN: on a GPU it holds anything
        shared._allocations = Allocations()

    FakeCUDAShared.__init__ = initialize


if not REAL:
    _share_once()
