"""The machine code of kernels on disk, and what of it may be loaded.

Numba's own on-disk cache asks whether the *file of the compiled function* changed. A kernel here inlines scalar
functions from other files (the cells, the activations), so an edit or an upgrade of those would go unnoticed and the
old results would come back. Every file is therefore stamped with a hash of all sources of the package, of the versions of
Numba and llvmlite, and of the settings of Numba that change code: kernels with and without bounds checks never mix.

One compiled kernel is one file: a hash of all that follows, the stamp, then the *key* (signature, processor, bytecode) and the
code. The key stands beside the code and is compared, so processes that fill one cache at once cannot get each other's kernels,
and a damaged file counts as absent (machine code with a flipped bit aborts the process that runs it).

Key and code are pickles, and a pickle runs what its author wants. So a file is opened only where nobody but this user and
root can have written it; the folder inside the package, whose owner could change the sources as well, is taken as it is.

* Entries are *read* from every folder where they may lie (a read-only install that was compiled beforehand), and
  *written* to the first writable one: ``NUMBA_CACHE_DIR``, the package's own ``__pycache__``, the user's cache folder.
* Where no folder is writable, kernels are compiled in every process, with one warning.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import os
import pathlib
import pickle
import stat
import sys
import tempfile
import uuid
import warnings
from typing import NamedTuple

import llvmlite
import numba
from numba.core import caching, config
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

PACKAGE = pathlib.Path(__file__).resolve().parent.parent
ABI = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"

# Functions called with the folder that is written to (or None) whenever a kernel is about to be compiled.
on_compile = []

# Settings of Numba (``NUMBA_...``) that change the code it makes; the processor is part of every key.
SETTINGS = (
    "BOUNDSCHECK",
    "CUDA_DEBUGINFO_DEFAULT",
    "DEBUGINFO_DEFAULT",
    "DEBUG_NRT",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_FLAGS",
    "LLVM_REFPRUNE_PASS",
    "LOOP_VECTORIZE",
    "OPT",
    "SLP_VECTORIZE",
    "USING_SVML",
)

# What to do about a folder or a file that others can write to.
ADVICE = (
    "Who writes there could put code into this process: make it yours (chown, chmod go-w), delete it, or set NUMBA_CACHE_DIR to a "
    "folder of your own"
)

MAGIC = b"numbarnn kernel 2 "
ENDING = ".nbc"


class CacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk or are not loaded from there, so every process compiles them again."""


@functools.cache
def source_stamp() -> str:
    """Return a hash of every Python source of the package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def compiler() -> str:
    """Return what compiles and how, as it is now: versions of Numba and llvmlite, and `SETTINGS`."""
    settings = {name: repr(getattr(config, name, None)) for name in SETTINGS}
    return json.dumps([numba.__version__, llvmlite.__version__, settings])


def stamp() -> str:
    """Return a hash of the sources and of `compiler`; entries with another one are stale."""
    return hashlib.sha256(f"{source_stamp()} {compiler()}".encode()).hexdigest()


# Folders


_only: list[pathlib.Path] = []


def use_only(folder: pathlib.Path) -> None:
    """Let this process read kernels from one folder alone and write them there, as one that fills it does."""
    _only[:] = [folder]
    writable_directory.cache_clear()


def cache_directories() -> list[pathlib.Path]:
    """Return the folders in which compiled kernels may lie, in order of preference."""
    if _only:
        return list(_only)
    # The folder's name tells two installs apart that share one NUMBA_CACHE_DIR.
    own = f"{PACKAGE.name}_{hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]}"
    folders = [PACKAGE / "__pycache__" / "kernels", _real(AppDirs(PACKAGE.name, False).user_cache_dir) / own]
    if config.CACHE_DIR:
        folders.insert(0, _real(config.CACHE_DIR) / own)
    return folders


def _real(name: str) -> pathlib.Path:
    """Return a folder without links and "..", by which it would seem to lie in the package."""
    return pathlib.Path(os.path.realpath(name))


def _distrusted(info: os.stat_result) -> str:
    """Return why somebody else may have written what `info` describes; empty: nobody but this user and root can have."""
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are the user's own
        return ""
    kind = "folder" if stat.S_ISDIR(info.st_mode) else "file"
    if stat.S_ISLNK(info.st_mode):
        return "a symbolic link stands in place of the folder or a file"
    if info.st_uid not in (os.geteuid(), 0):
        return f"the {kind} belongs to user {info.st_uid}"
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to the {kind} (mode {stat.S_IMODE(info.st_mode):o})"
    return ""


def _own(path: pathlib.Path) -> bool:
    """Return whether a path lies in the package, so that it does not matter who wrote it."""
    return PACKAGE in path.parents


def distrust(path: pathlib.Path) -> str:
    """Return why kernels in a folder of `cache_directories`, or one of its files, are not loaded; empty where they are."""
    try:
        return "" if _own(path) else _distrusted(os.lstat(path))
    except OSError:  # there is none
        return ""


def usable(folder: pathlib.Path) -> bool:
    """Return whether kernels of a folder may be loaded; warn once where they may not. Asked anew: a folder may come or go."""
    reason = distrust(folder)
    if reason:
        _warn_of(folder, reason)
    return not reason


@functools.cache
def _warn_of(folder, reason):
    warnings.warn(f"compiled kernels in {folder} are not used: {reason}. {ADVICE}", CacheWarning, stacklevel=2)


@functools.cache
def writable_directory() -> pathlib.Path | None:
    """Return the first of `cache_directories` that takes a file and is nobody else's, or None with one warning."""
    for folder in cache_directories():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o755, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        if usable(folder):
            return folder
    warnings.warn(
        "no folder for compiled kernels can be written to by this user and by nobody else (tried "
        + ", ".join(map(str, cache_directories()))
        + "): every process compiles its kernels again; set NUMBA_CACHE_DIR to a folder of your own",
        CacheWarning,
        stacklevel=2,
    )
    return None


# Files


class Entry(NamedTuple):
    """What a file says before anything of it is unpickled.

    Attributes
    ----------
    stamp : str
    target : list
        The processor that the code is for.
    pickled : bytes
        Key and code.
    """

    stamp: str
    target: list
    pickled: bytes


def read_entry(path: pathlib.Path) -> Entry | None:
    """Return what a file holds; None where there is none, it is cut off, damaged or not a kernel, or others may have written it.

    Warns once of the last. Nothing is unpickled.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | (0 if _own(path) else getattr(os, "O_NOFOLLOW", 0))
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            # Of the file that is open, not of its name: by then that may be another's.
            reason = "" if _own(path) else _distrusted(os.fstat(file.fileno()))
            content = b"" if reason else file.read()
    except OSError:
        return None
    if reason:
        _warn_of(path.parent, reason)
        return None
    head, _, rest = content.partition(b"\n")
    if head != MAGIC + hashlib.sha256(rest).hexdigest().encode():
        return None
    head, _, pickled = rest.partition(b"\n")
    return Entry(*json.loads(head), pickled)


def write_entry(path: pathlib.Path, target, pickled: bytes) -> None:
    """Write the file of a kernel."""
    rest = json.dumps([stamp(), target]).encode() + b"\n" + pickled
    replace_file(path, MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)


def replace_file(path: pathlib.Path, content: bytes) -> None:
    """Write a file beside its destination, and rename it."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    # Not writable by the group even under a umask of 002: nobody's files are loaded but the user's own.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


# What Numba asks


class _Locator:
    """What numba's cache asks about a function's source, answered for the whole package."""

    def __init__(self, py_func):
        self._py_file = inspect.getfile(py_func)


class PackageLocator:
    """Over one of numba's classes for serialisation: names instead of a search for a folder."""

    def __init__(self, py_func):
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func)
        module = py_func.__module__.partition(".")[2] or py_func.__module__
        name = py_func.__qualname__.replace("<locals>.", "")
        self._filename_base = f"{module}.{name}-{ABI}"


class _Impl(PackageLocator, caching.CompileResultCacheImpl):
    pass


class StampedCache:
    """Over one of numba's caches: one stamped file for each compiled kernel; nothing is touched before a kernel's first call."""

    # Below each of `cache_directories`.
    folder = ""
    _impl_class = _Impl

    def __init__(self, py_func):
        self._py_func = py_func
        self._name = repr(py_func)
        self._impl = self._impl_class(py_func)
        self.enable()

    @property
    def cache_path(self):
        """The folder that new entries go to, as numba's own statistics report it."""
        return None if writable_directory() is None else os.fspath(writable_directory() / self.folder)

    def flush(self):
        """Delete all entries of this kernel in the folder that is written to."""
        if writable_directory() is not None:
            for path in (writable_directory() / self.folder).glob(f"{self._impl.filename_base}.*{ENDING}"):
                path.unlink(missing_ok=True)

    def _file_name(self, key):
        # Without hashes of the sources, so that an edited kernel replaces the one before it.
        code = hashlib.sha256(f"{compiler()} {key[0]} {key[1]} {self._variant()}".encode()).hexdigest()[:16]
        return f"{self._impl.filename_base}.{code}{ENDING}"

    def _variant(self):
        """Return what tells this kernel apart from others of its name, signature and processor."""
        return ""

    def _load_overload(self, sig, target_context):
        if not self._enabled:
            return None
        for folder, key in self._candidates(sig, target_context.codegen()):
            path = folder / self.folder / self._file_name(key)
            found = self._unpickled(path, key)
            if found is not None:
                try:
                    return self._impl.rebuild(target_context, found)
                except Exception as error:  # a module or a class that it needs is another one here
                    caching._cache_log("[cache] %r cannot be loaded: %r", path, error)
        for tell in tuple(on_compile):
            tell(writable_directory())
        return None

    def _candidates(self, sig, codegen):
        """Yield the folders in which a kernel may lie, each with its key there."""
        key = self._index_key(sig, codegen)
        for folder in filter(usable, cache_directories()):
            yield folder, key

    @staticmethod
    def _unpickled(path, key):
        """Return the code of a file, None where it holds none for this key."""
        entry = read_entry(path)
        if entry is None or entry.stamp != stamp():
            return None
        try:
            found, code = pickle.loads(entry.pickled)
        except Exception as error:  # a class that is gone raises anything at all
            caching._cache_log("[cache] unreadable entry %r: %r", path, error)
            return None
        return code if found == key else None

    def _save_overload(self, sig, data):
        folder = writable_directory()
        if not self._enabled or folder is None or not self._impl.check_cachable(data):
            return
        key = self._index_key(sig, data.codegen)
        try:
            (folder / self.folder).mkdir(mode=0o755, exist_ok=True)
            write_entry(folder / self.folder / self._file_name(key), key[1], dumps((key, self._impl.reduce(data))))
        except OSError as error:  # a full disk must not stop the run that the kernel was compiled for
            warnings.warn(f"a compiled kernel could not be kept in {folder}: {error}", CacheWarning, 2)


class KernelCache(StampedCache, caching.Cache):
    """The on-disk cache of one kernel."""
