"""How kernels are compiled and where their machine code is kept: one decorator, one cache.

Numba's own on-disk cache asks whether the *file of the compiled function* changed. A kernel here inlines scalar
functions from other files (the cells, the activations), so an edit or an upgrade of those would go unnoticed and the
old numbers would come back. `KernelCache` therefore stamps every entry with a hash of all sources of the package
(`tests/test_cache.py` edits a copy of a cell file and looks at the result in a second process).

Three more rules, each tested in second processes:

* an index or data file that cannot be read counts as absent (a killed process or a foreign pickle must not break a run);
* entries are *read* from every place where they may lie (a read-only install that was compiled beforehand), and
  *written* to the first writable one: ``NUMBA_CACHE_DIR``, the package's own ``__pycache__``, the user's cache folder;
* where no place is writable, kernels are compiled in every process, with one warning.
"""

import functools
import hashlib
import inspect
import os
import pathlib
import sys
import tempfile
import warnings

import numba
from numba.core import caching, config
from numba.misc.appdirs import AppDirs

# Functions called with the cache folder (or None) whenever a kernel is about to be compiled.
on_compile = []

PACKAGE = pathlib.Path(__file__).resolve().parent.parent


class CacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk, so every process compiles them again."""


def jit(function):
    """Compile `function` for the CPU: no GIL, NumPy's division, the package's cache, no fast-math flags.

    Without flags an operation rounds in one way, wherever it stands: in the vector body of a loop or in its scalar tail. That
    equality to the bit for any number of threads rests on (under "contract" LLVM fused one or the other product of f c + i g:
    83 of 360 values of an LSTM differed). Speed that needs a flag is asked for by name: `numbarnn.kernels.scalar.fma`, `total`.
    """
    dispatcher = numba.njit(nogil=True, error_model="numpy")(function)
    dispatcher._cache = KernelCache(function)
    return dispatcher


@functools.cache
def uncached_twin(dispatcher):
    """Return a second dispatcher of the same kernel that never touches the disk.

    A record type defined outside the package would be pickled by reference into the kernel's shared index, and every
    process that cannot import it would fail to read that index.
    """
    return numba.njit(nogil=True, error_model="numpy")(dispatcher.py_func)


def kernel_for(dispatcher, record):
    """Return `dispatcher`, or its uncached twin when the type of `record` is not the package's own."""
    return dispatcher if own_record(record) else uncached_twin(dispatcher)


def own_record(record):
    """Return whether the type of a record is the package's own."""
    return type(record).__module__.partition(".")[0] == PACKAGE.name


@functools.cache
def source_stamp():
    """Return a hash of every Python source of the package; entries of any other hash are stale."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def cache_directories():
    """Return the folders in which compiled kernels may lie, in order of preference."""
    # The folder's name tells two installs apart that share one NUMBA_CACHE_DIR.
    own = f"{PACKAGE.name}_{hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]}"
    places = [PACKAGE / "__pycache__" / "kernels", pathlib.Path(AppDirs(PACKAGE.name, False).user_cache_dir) / own]
    if config.CACHE_DIR:
        places.insert(0, pathlib.Path(config.CACHE_DIR) / own)
    return places


@functools.cache
def writable_directory():
    """Return the first of `cache_directories` that takes a file, or None with one warning."""
    for place in cache_directories():
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError:
            continue
        return place
    warnings.warn(
        "no folder for compiled kernels is writable (tried "
        + ", ".join(map(str, cache_directories()))
        + "): every process compiles its kernels again; set NUMBA_CACHE_DIR to a writable folder",
        CacheWarning,
        stacklevel=2,
    )
    return None


class Suspicious:
    """Over one of numba's classes for index and data files: what cannot be read is not there."""

    def _load_index(self):
        try:
            return super()._load_index()
        except Exception as error:  # a truncated or foreign pickle raises anything at all
            caching._cache_log("[cache] unreadable index %r: %r", self._index_path, error)
            return {}

    def load(self, key):
        try:
            return super().load(key)
        except Exception as error:
            caching._cache_log("[cache] unreadable entry of %r: %r", self._index_path, error)
            return None


class _IndexFile(Suspicious, caching.IndexDataCacheFile):
    pass


class _Locator:
    """What numba's cache asks about a function's source, answered for the whole package."""

    def __init__(self, py_func):
        self._py_file = inspect.getfile(py_func)

    def ensure_cache_path(self):
        """Do nothing: `writable_directory` made the folder."""


class Placeless:
    """Over one of numba's classes for serialisation: without its search for a place."""

    def __init__(self, py_func):
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func)
        module = py_func.__module__.partition(".")[2] or py_func.__module__
        abi = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        name = py_func.__qualname__.replace("<locals>.", "")
        self._filename_base = f"{module}.{name}-{abi}"


class _Impl(Placeless, caching.CompileResultCacheImpl):
    pass


class Placed:
    """Over one of numba's caches: where entries lie, and what makes them stale; no file is touched before a kernel's first call."""

    # Below each of `cache_directories`.
    folder = ""
    _impl_class, _file_class = _Impl, _IndexFile

    def __init__(self, py_func):
        self._py_func = py_func
        self._name = repr(py_func)
        self._impl = self._impl_class(py_func)
        self.enable()

    def _file(self, place):
        return self._file_class(os.fspath(place / self.folder), self._impl.filename_base, source_stamp())

    @property
    def cache_path(self):
        """The folder that new entries go to, as numba's own statistics report it."""
        return None if writable_directory() is None else os.fspath(writable_directory() / self.folder)

    def flush(self):
        """Forget all entries in the folder that is written to."""
        if writable_directory() is not None:
            self._file(writable_directory()).flush()

    def _load_overload(self, sig, target_context):
        if not self._enabled:
            return None
        key = self._index_key(sig, target_context.codegen())
        for place in cache_directories():
            data = self._file(place).load(key)
            if data is not None:
                return self._impl.rebuild(target_context, data)
        for tell in tuple(on_compile):
            tell(writable_directory())
        return None

    def _save_overload(self, sig, data):
        if not self._enabled or writable_directory() is None or not self._impl.check_cachable(data):
            return
        file = self._file(writable_directory())
        key = self._index_key(sig, data.codegen)
        try:
            (writable_directory() / self.folder).mkdir(exist_ok=True)
            file.save(key, self._impl.reduce(data))
        except OSError as error:  # a full disk must not stop the run that the kernel was compiled for
            warnings.warn(f"a compiled kernel could not be kept in {writable_directory()}: {error}", CacheWarning, 2)


class KernelCache(Placed, caching.Cache):
    """The on-disk cache of one kernel."""
