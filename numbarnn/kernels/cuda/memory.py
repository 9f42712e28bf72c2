"""Memory of a device: pieces of one block, handed out and taken back all at once; and copies between it and the host."""

import collections
import contextlib
import ctypes
import itertools
import threading

import numpy as np
from numba import cuda

from numbarnn.kernels.cuda.driver import SIMULATED, check, enter

if not SIMULATED:
    from cuda.bindings import driver  # numba-cuda's copies make a view first, which takes longer than the copy

ALIGNMENT = 256  # bytes, what an allocation of the driver's is aligned to
# Allocations that nobody holds any more, (address, bytes), and how many or how large they are when they are freed.
_unheld = collections.deque()
MOST_UNHELD, MOST_UNHELD_BYTES = 16, 2**26


class Buffer:
    """An array of values of one dtype in a device's memory.

    Attributes
    ----------
    array : allocation
        Shared with other buffers; in the simulator a 1-D device array of bytes.
    at : int
        Where the first value is, in bytes.
    size : int
    dtype : numpy.dtype
    pointer : int
        Address of the first value.
    """

    __slots__ = ("array", "at", "dtype", "pointer", "size")

    def __init__(self, array, at: int, size: int, dtype, base: int = 0):
        self.array, self.at, self.size, self.dtype, self.pointer = array, at, size, np.dtype(dtype), base + at

    @classmethod
    def new(cls, size: int, dtype) -> "Buffer":
        """Return an uninitialised buffer with an allocation of its own."""
        dtype = np.dtype(dtype)
        array = _allocate(size * dtype.itemsize)
        return cls(array, 0, size, dtype, address_of(array))

    @property
    def values(self):
        """The values as a device array; of the simulator's alone: on a card, kernels and copies take the pointer."""
        return self.array[self.at : self.at + self.size * self.dtype.itemsize].view(self.dtype)

    def part(self, first: int, size: int | None = None) -> "Buffer":
        """Return `size` values from index `first`, without a copy; all that are left without a size."""
        size = self.size - first if size is None else size
        if first < 0 or size < 0 or first + size > self.size:
            raise IndexError(f"values {first} to {first + size} of a buffer of {self.size}")
        return Buffer(self.array, self.at + first * self.dtype.itemsize, size, self.dtype, self.pointer - self.at)

    def set(self, values: np.ndarray) -> "Buffer":
        """Copy values of the host's here, and return the buffer."""
        values = np.ascontiguousarray(values, self.dtype).reshape(-1)
        if values.size != self.size:
            raise ValueError(f"{values.size} values for a buffer of {self.size}")
        if SIMULATED:
            self.values.copy_to_device(values)
        elif self.size:
            enter()
            check(driver.cuMemcpyHtoD(self.pointer, values.ctypes.data, values.nbytes), "a copy to the device")
        return self

    def get(self) -> np.ndarray:
        """Return a copy on the host."""
        Copies.to_host += 1
        values = np.empty(self.size, self.dtype)
        if SIMULATED:
            self.values.copy_to_host(values)
        elif self.size:
            enter()
            check(driver.cuMemcpyDtoH(values.ctypes.data, self.pointer, values.nbytes), "a copy to the host")
        return values

    def copy(self, other: "Buffer") -> "Buffer":
        """Copy the values of another buffer of the same size and dtype here, and return this one."""
        if (other.size, other.dtype) != (self.size, self.dtype):
            raise ValueError(f"{other.size} {other.dtype} for a buffer of {self.size} {self.dtype}")
        if SIMULATED:
            self.values.copy_to_device(other.values)
        elif self.size:
            enter()
            nbytes = self.size * self.dtype.itemsize
            check(driver.cuMemcpyDtoDAsync(self.pointer, other.pointer, nbytes, 0), "a copy on the device")
        return self


class Copies:
    """Counts copies from devices to the host, for tests: between two readings of the loss there must be none."""

    to_host = 0


def empty(size: int, dtype) -> Buffer:
    """Return a buffer of its own, uninitialised."""
    return Buffer.new(size, dtype)


class _Memory:
    """Bytes of a card's.

    The driver waits for the card before it frees memory, and frees it only in a thread that has a context. So what nobody holds any
    more, wherever Python finds that, is freed by an allocation to come; what is left at the end goes with the process.
    """

    __slots__ = ("nbytes", "pointer")

    def __init__(self, nbytes):
        self.nbytes, self.pointer = nbytes, 0
        if len(_unheld) >= MOST_UNHELD or sum(unheld for _, unheld in tuple(_unheld)) >= MOST_UNHELD_BYTES:
            _free_unheld()
        status, pointer = driver.cuMemAlloc(nbytes)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY and _unheld:
            _free_unheld()
            status, pointer = driver.cuMemAlloc(nbytes)
        check((status,), f"allocation of {nbytes} bytes")
        self.pointer = int(pointer)

    def __del__(self, give_back=_unheld.append):
        if self.pointer:
            give_back((self.pointer, self.nbytes))


def _free_unheld():
    while _unheld:
        with contextlib.suppress(IndexError):  # another thread was first
            driver.cuMemFree(_unheld.popleft()[0])


def _allocate(nbytes):
    """Return that many bytes, at least one; raise DeviceMemoryError where the device has not got them."""
    nbytes = max(nbytes, 1)
    if SIMULATED:
        return cuda.device_array(nbytes, np.uint8)
    enter()
    return _Memory(nbytes)


def address_of(array) -> int:
    """Return the address of an allocation; 0 in the simulator, which passes arrays."""
    return 0 if SIMULATED else array.pointer


def upload(values: np.ndarray) -> Buffer:
    """Return a buffer of its own with the values of a host's array."""
    return empty(values.size, values.dtype).set(values)


class Arena:
    """`numbarnn.kernels.cpu.memory.Arena` on a device, where an allocation waits for everything that runs.

    Attributes
    ----------
    nbytes : int
        Bytes of the block.
    """

    def __init__(self):
        self.block, self.base, self.nbytes, self.used, self.peak = None, 0, 0, 0, 0
        self.spare = []  # what the block had no room for

    def reset(self) -> None:
        """Take everything back, and get one block as large as all that was handed out."""
        self.peak = max(self.peak, self.used)
        if self.spare:
            self.spare.clear()
            self.block, self.nbytes = None, 0  # the old memory goes before the new comes
            self.block = _allocate(self.peak)
            self.base, self.nbytes = address_of(self.block), self.peak
        self.used = 0

    def empty(self, size: int, dtype) -> Buffer:
        """Return an uninitialised buffer of that many values."""
        dtype = np.dtype(dtype)
        at = self.used
        self.used += -(-max(size * dtype.itemsize, 1) // ALIGNMENT) * ALIGNMENT
        if self.used > self.nbytes:
            piece = empty(size, dtype)
            self.spare.append(piece)
            return piece
        return Buffer(self.block, at, size, dtype, self.base)

    @contextlib.contextmanager
    def lent(self):
        """Take back at the end of a block what is handed out in it: launches follow each other, so the next may write there."""
        used = self.used
        try:
            yield
        finally:
            self.peak = max(self.peak, self.used)
            self.used = used


# What a pass needs of the host's, in one copy


STAGED_ALIGNMENT = 16  # bytes, the widest load of a kernel
LEAST_LOCKED, MOST_LOCKED = 2**16, 2**27  # bytes; what is page-locked is lost to all other programs


class Staging:
    """Arrays of the host's that are to be on a device before a pass begins: one copy brings them.

    They are written side by side into page-locked memory, from which the device copies while the host goes on; from other memory
    the driver copies only after everything that runs. Where the system has no page-locked memory left, and for more than 128 MB,
    each array is copied from where it is, and the host waits.
    """

    def __init__(self):
        self._arrays, self._nbytes = [], 0

    def add(self, values, dtype=None) -> Buffer:
        """Return the buffer that `send` brings the values of an array-like to, in its dtype or another."""
        values = np.asarray(values)
        buffer = Buffer(None, self._nbytes, values.size, values.dtype if dtype is None else dtype)
        buffer.pointer = None  # a launch before `send` fails
        self._nbytes += -(-max(values.size * buffer.dtype.itemsize, 1) // STAGED_ALIGNMENT) * STAGED_ALIGNMENT
        self._arrays.append((buffer, values))
        return buffer

    def send(self, arena: "Arena") -> None:
        """Copy what was added since the last time into memory of an arena, where launches to come find it."""
        if not self._arrays:
            return
        enter()
        block = arena.empty(self._nbytes, np.uint8)
        with _pages_lock:
            page = next(_pages)
            memory = page.take(block.size)
            for buffer, values in self._arrays:
                at = buffer.at
                buffer.array, buffer.at, buffer.pointer = block.array, block.at + at, block.pointer + at
                if memory is None:
                    buffer.set(values)
                    continue
                there = memory[at : at + buffer.size * buffer.dtype.itemsize].view(buffer.dtype)
                np.copyto(there.reshape(values.shape), values, casting="unsafe")
            if memory is not None:
                page.send(block)
        self._arrays, self._nbytes = [], 0


class _Page:
    """Page-locked memory of the host's for one copy after another."""

    def __init__(self):
        self._memory, self._event, self._most = np.empty(0, np.uint8), None, 0 if SIMULATED else MOST_LOCKED

    def take(self, nbytes: int) -> np.ndarray | None:
        """Return that many bytes, which no copy reads any more; None where they cannot be had."""
        if nbytes > self._most:
            return None
        if self._event is None:
            status, self._event = driver.cuEventCreate(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)
            check((status,), "an event")
        check(driver.cuEventSynchronize(self._event), "a copy to the device")
        if nbytes > self._memory.size:
            self._grow(max(LEAST_LOCKED, 1 << (nbytes - 1).bit_length()))
        return self._memory[:nbytes] if nbytes <= self._memory.size else None

    def _grow(self, nbytes):
        status, pointer = driver.cuMemHostAlloc(nbytes, 0)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            self._most = nbytes // 2 if nbytes > LEAST_LOCKED else 0  # more is not asked for again
            return
        check((status,), f"allocation of {nbytes} bytes of page-locked memory")
        if self._memory.size:
            check(driver.cuMemFreeHost(self._memory.ctypes.data), "release of page-locked memory")
        self._memory = np.frombuffer((ctypes.c_uint8 * nbytes).from_address(int(pointer)), np.uint8)

    def send(self, block: Buffer) -> None:
        """Copy the first bytes to a block of the device's; launches and copies to come wait for that, the host does not."""
        what = "a copy to the device"
        check(driver.cuMemcpyHtoDAsync(block.pointer, self._memory.ctypes.data, block.size, 0), what)
        check(driver.cuEventRecord(self._event, 0), what)


# Two in turn: the host writes one batch while the device may not yet have begun the batch before.
_pages, _pages_lock = itertools.cycle((_Page(), _Page())), threading.Lock()
