"""What stands between the kernels and the driver: ``numba.cuda`` made ready, a context for each thread, and what a fault is called.

The package's `__init__` imports this module before the others, so that what is put right here is right for all of them.
"""

import contextlib
import importlib.metadata
import os
import re
import threading

import numpy as np
from numba import config

from numbarnn.errors import DeviceError, DeviceMemoryError

SIMULATED = bool(config.ENABLE_CUDASIM)
if not SIMULATED:
    # Where numba-cuda stands on a path of its own (pip install --target), no .pth file has put it in place of Numba's numba.cuda.
    import _numba_cuda_redirector  # noqa: F401
from numba import cuda  # noqa: E402


def _lend_row_stack():
    """Import the one module of numba-cuda 0.30 that asks for ``numpy.row_stack``, which NumPy 2.5 has not got, and give it one."""
    np.row_stack = np.vstack
    try:
        import numba.cuda.np.arrayobj  # noqa: F401
    finally:
        del np.row_stack


if not SIMULATED:
    if getattr(cuda, "implementation", "") != "NVIDIA":
        raise DeviceError(
            "numba-cuda is installed, but Numba's own numba.cuda was imported first; import numbarnn before numba.cuda"
        )
    if not hasattr(np, "row_stack"):
        _lend_row_stack()
    from numba.cuda import cuda_paths
    from numba.cuda.cudadrv import libs, nvvm
    from numba.cuda.cudadrv.driver import driver as _driver

OLDEST = 7, 5  # the least compute capability
INSTALL = (
    "install it with pip install 'numbarnn[cuda13]' or 'numbarnn[cuda12]', or set CUDA_HOME to the folder of a toolkit"
)


# What keeps CUDA from working


def problem() -> str | None:
    """Return what keeps the driver, the card or the compiler from working, and what to do; None if nothing does."""
    if _forked():
        return FORKED
    try:
        cards = [str(card.name) for card in cuda.list_devices()]
    except Exception as error:  # the driver's absence and its refusals have many types
        found = " ".join(str(error).split()).strip(":")
        return f'no NVIDIA driver or GPU was found ({found}); check nvidia-smi, or use device="cpu"'
    if not cards:
        return 'the driver finds no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES, or use device="cpu"'
    capability = tuple(cuda.get_current_device().compute_capability)
    if capability < OLDEST:
        return f"{cards[0]} has compute capability {capability[0]}.{capability[1]}; 7.5 is the least"
    try:
        find_compiler()
    except Exception as error:  # of the loader, of pathfinder, of the file system
        folder = _folder_of_wheels()
        advice = f"set CUDA_HOME={folder}, where pip put it" if folder else INSTALL
        return f"CUDA's compiler was not found ({' '.join(str(error).split())}); {advice}"
    return None


def find_compiler() -> None:
    """Find and load CUDA's compiler; raise where it is not there.

    An empty ``CUDA_HOME`` counts as none, which numba-cuda takes for the folder where it looks.
    """
    names = [name for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name) == ""]
    for name in names:
        del os.environ[name]
    try:
        cuda_paths.get_cuda_paths()  # keeps what it finds
    finally:
        os.environ.update(dict.fromkeys(names, ""))
    nvvm.NVVM()
    library = libs.get_libdevice()
    if library is None or not os.path.isfile(library):
        raise FileNotFoundError(f"libdevice is not at {library}")


def _folder_of_wheels():
    """Return where pip put CUDA 13, which is searched in site-packages alone; None if nowhere."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        folder = importlib.metadata.distribution("nvidia-nvvm").locate_file("nvidia/cu13")
        return folder if os.path.isdir(folder) else None
    return None


# The context of a thread

FORKED = (
    "this process was forked from one that used CUDA, and CUDA does not survive that; start processes with "
    'multiprocessing.get_context("spawn"), or first use CUDA in the child'
)
_thread = threading.local()


def _forked():
    return _driver.pid is not None and _driver.pid != os.getpid()


def enter() -> None:
    """Make the device's context the current one of this thread, at the thread's first call.

    Copies and launches call the driver directly, which knows the context of the thread that made it alone.

    Raises
    ------
    DeviceError
        In a process that was forked from one that used CUDA, or if there is no context.
    """
    if SIMULATED or getattr(_thread, "process", None) == os.getpid():
        return
    if _forked():
        raise DeviceError(FORKED)
    with faults_of("the context of a thread"):
        cuda.current_context()
    _thread.process = os.getpid()


def wait() -> None:
    """Wait until the device has done all that it was told.

    Raises
    ------
    DeviceError
        If something of that failed.
    """
    enter()
    with faults_of("synchronisation"):
        cuda.synchronize()


# Faults

# After these a process can use the device no longer; the driver says so at the next call, whatever that is.
_LOST = {
    f"CUDA_ERROR_{name}"
    for name in (
        "ASSERT", "ECC_UNCORRECTABLE", "HARDWARE_STACK_ERROR", "ILLEGAL_ADDRESS", "ILLEGAL_INSTRUCTION", "INVALID_ADDRESS_SPACE",
        "INVALID_PC", "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "MISALIGNED_ADDRESS",
    )
}  # fmt: skip


def fault(what: str, error) -> DeviceError:
    """Return the error of a failed call to the driver.

    Parameters
    ----------
    what : str
        What failed: a kernel, a copy, an allocation, synchronisation.
    error : exception or str
        numba-cuda's, cuda.core's, or the driver's name of it.
    """
    name = re.search(r"CUDA_ERROR_\w+", str(error))[0]
    if name == "CUDA_ERROR_OUT_OF_MEMORY":
        return DeviceMemoryError(
            f"{what} failed: the device has not got that much memory left; use a smaller batch_size, shorter sequences (tbptt), "
            "or fewer units"
        )
    if name in _LOST:
        abandon()
        return DeviceError(
            f"{what} failed: {name}, of this or of an earlier kernel; this process can use the device no longer: start another, "
            "with CUDA_LAUNCH_BLOCKING=1 in its environment to have the kernel named that is at fault"
        )
    return DeviceError(f'{what} failed: {name}; see nvidia-smi and numbarnn doctor, or use device="cpu"')


def reraise(what: str, error: Exception):
    """Raise the `fault` of an exception where it is the driver's, else the exception."""
    if "CUDA_ERROR_" not in str(error):  # numba-cuda and cuda.core have a type each, neither of which is public
        raise error
    raise fault(what, error) from error


@contextlib.contextmanager
def faults_of(what: str):
    """Raise faults of the driver's in a block as `DeviceError`; other exceptions pass."""
    try:
        yield
    except Exception as error:
        reraise(what, error)


def check(result, *what: str) -> None:
    """Raise `DeviceError`, of what failed, unless a call of ``cuda.bindings`` was a success."""
    if result[0]:
        raise fault("".join(what), result[0].name)


def abandon() -> None:
    """Let nothing be freed any more: where the context is lost, every attempt would print a traceback, up to Python's exit."""
    for card in _driver.list_devices():
        context = card.primary_context
        if context is not None:
            for pending in (context.deallocations, context.memory_manager.deallocations):
                pending._cons.clear()
                pending.add_item = pending.clear = _nothing


def _nothing(*arguments, **options):
    pass


if not SIMULATED and hasattr(os, "register_at_fork"):
    # What the parent allocated is the parent's to free.
    os.register_at_fork(after_in_child=abandon)
