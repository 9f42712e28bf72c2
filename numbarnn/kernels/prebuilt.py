"""Machine code for a level of processors, made elsewhere: where it lies, and which level this process runs.

A process chooses once, before its first kernel, for vector width and tiles follow the level: all kernels of the package are then
prebuilt ones of that level, or compiled here with its widths. Numba's own target stays the processor at hand, for the user's
code and for cells of the user's own, which meet the level's tiles through their addresses.

A folder of prebuilt kernels has a folder for each level; in it lie the files of `numbarnn.kernels.cache`, and for each state of
sources, compiler and Python for which it was filled a *ready file*, whose name is a hash of all that, and which says with what: so
the choice takes a look at one file, not at hundreds. Of native kernels it takes a look at a marker, which a whole warm-up leaves.
"""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from numba.core import config
from numba.core.registry import cpu_target

from numbarnn.kernels import cache
from numbarnn.kernels.levels import LEVELS, Level, features_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FOLDER, LEVEL = "NUMBARNN_PREBUILT", "NUMBARNN_LEVEL"
NATIVE = "native"


class LevelChoice(NamedTuple):
    """What the kernels of this process are made for.

    Attributes
    ----------
    level : Level or None
        None: native, for what Numba compiles for.
    reason : str
    folders : tuple of pathlib.Path
        Of prebuilt kernels that fit.
    """

    level: Level | None
    reason: str
    folders: tuple[pathlib.Path, ...]


def host_target() -> tuple[str, ...]:
    """Return what Numba compiles for in this process: triple, processor, features."""
    return cpu_target.target_context.codegen().magic_tuple()


def level_target(level: Level) -> tuple[str, ...]:
    """Return what Numba compiles for in a process that makes the kernels of a level."""
    return host_target()[0], level.name, features_of(level)


def kernel_target() -> tuple[str, ...]:
    """Return what kernels that this process compiles are for, as in their keys: what Numba compiles for, and the level if any."""
    level = chosen().level
    return host_target() if level is None else (*host_target(), level.name)


def _level_of_target() -> Level | None:
    """Return the level that Numba itself compiles for: in a process that makes prebuilt kernels, or is told so by its settings."""
    _, name, features = host_target()
    level = LEVELS.get(name)
    # The order in which NUMBA_CPU_FEATURES has them changes no code.
    same = level is not None and set(features.split(",")) == set(features_of(level).split(","))
    return level if same else None


def made_for() -> tuple[str, ...]:
    """Return the target of the prebuilt kernels in the folders that were chosen, as in their keys."""
    return level_target(chosen().level or _level_of_target())


def code_stamp() -> str:
    """Return a hash of what the code of kernels follows from: `cache.stamp`, and the level if it is that of one.

    It is the same in the process that makes prebuilt kernels and in those that load them.
    """
    level = chosen().level or _level_of_target()
    return cache.stamp() if level is None else hashlib.sha256(f"{cache.stamp()} {level.name}".encode()).hexdigest()


def within(level: Level, target: tuple[str, ...]) -> bool:
    """Return whether a target has all that code for a level may use."""
    return {f"+{name}" for name in level.features} <= set(target[2].split(","))


# Where prebuilt kernels lie


def prebuilt_folders() -> list[pathlib.Path]:
    """Return the folders whose folders of levels are looked at: NUMBARNN_PREBUILT, and the one of a platform wheel."""
    folders = [cache.PACKAGE / "prebuilt"]
    if named := os.environ.get(FOLDER):
        folders.insert(0, pathlib.Path(os.path.realpath(named)))
    return folders


def ready_file(target: tuple[str, ...]) -> str:
    """Return the name of the file that says that a folder has kernels for a target, from these sources, Numba and Python."""
    return hashlib.sha256(json.dumps([cache.stamp(), cache.ABI, target]).encode()).hexdigest()[:24] + ".json"


def folders_of(level: Level) -> tuple[pathlib.Path, ...]:
    """Return the folders of a level whose kernels this process may load."""
    name = ready_file(level_target(level))
    found = (folder / level.name for folder in prebuilt_folders() if (folder / level.name / name).is_file())
    return tuple(folder for folder in found if cache.usable(folder.parent) and cache.usable(folder))


def description() -> dict[str, Any]:
    """Return what kernels made by this process fit: sources, compiler, Python, processor."""
    triple, processor, _ = host_target()
    return {
        "sources": cache.source_stamp(),
        "compiler": json.loads(cache.compiler()),
        "python": cache.ABI,
        "target": [triple, processor],
    }


def withdraw(folder: pathlib.Path) -> None:
    """Remove the ready files of other sources whose kernels this process replaces, as they have the same names."""
    own, ready = description(), ready_file(host_target())
    for path in folder.glob("*.json"):
        other = read_description(path)
        if path.name != ready and all(other.get(name) == own[name] for name in ("compiler", "python", "target")):
            path.unlink(missing_ok=True)


def mark_ready(folder: pathlib.Path, filled: Iterable[str] = ()) -> None:
    """Say that a folder was filled for what this process compiles for, besides what it was filled with before.

    Parameters
    ----------
    folder : pathlib.Path
    filled : iterable of str
        A dtype for all kernels of it; anything else for a part.
    """
    path = folder / ready_file(host_target())
    with _locked(folder):
        both = dict.fromkeys((*filled_with(path), *filled))
        cache.replace_file(path, json.dumps(description() | {"filled": list(both)}).encode())
        withdraw(folder)


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Lock a folder where its system has locks: two processes that fill it would each write their own part alone."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network's file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def filled_with(path: pathlib.Path) -> tuple[str, ...]:
    """Return what a ready file says that its folder was filled with."""
    found = read_description(path).get("filled")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def complete(level: Level, folders: Iterable[pathlib.Path]) -> bool:
    """Return whether one of the folders of a level has all kernels of a dtype."""
    name = ready_file(level_target(level))
    return any({"float32", "float64"} & set(filled_with(folder / name)) for folder in folders)


def read_description(path: pathlib.Path) -> dict[str, Any]:
    """Return what a ready file says; nothing where it says nothing."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# Native kernels


def _native_file() -> str:
    return "native-" + hashlib.sha256(json.dumps([cache.stamp(), cache.ABI, host_target()]).encode()).hexdigest()[:24]


def mark_native(folder: pathlib.Path) -> None:
    """Say that all kernels of a dtype were compiled for the processor at hand, from these sources, into a folder."""
    with contextlib.suppress(OSError):  # of a full disk the cache has told
        (folder / _native_file()).touch(0o644)


def has_native(folder: pathlib.Path) -> bool:
    """Return whether all kernels of a dtype are in a folder, for the processor at hand and from these sources."""
    return (folder / _native_file()).is_file()


# The choice

_made: dict[str, LevelChoice] = {}


def chosen() -> LevelChoice:
    """Return what the kernels of this process are made for; asked for the first time, it is chosen."""
    # Without a lock, which a forked child could inherit shut; of threads that come at once all take the choice of the first.
    return _made.get("choice") or _made.setdefault("choice", _choose())


def _choose() -> LevelChoice:
    target, wanted = host_target(), os.environ.get(LEVEL)
    if wanted == NATIVE:
        return LevelChoice(None, f"{LEVEL}={NATIVE}", ())
    if wanted:
        level = forced(wanted, target)
        return LevelChoice(level, f"{LEVEL}={wanted}", folders_of(level))
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        own = _level_of_target()
        return LevelChoice(None, "NUMBA_CPU_NAME or NUMBA_CPU_FEATURES is set", folders_of(own) if own else ())
    for folder in cache.cache_directories():
        if has_native(folder) and cache.usable(folder):
            return LevelChoice(None, "`numbarnn warmup` has compiled kernels for this processor", ())
    fitting = [(level, folders_of(level)) for level in reversed(LEVELS.values()) if within(level, target)]
    # The highest level, but one with a few kernels only where none has all; one that fuses before one that does not, which is slow.
    for level, found in sorted(fitting, key=lambda each: (not each[0].fused, not complete(*each))):
        if found:
            return LevelChoice(
                level, "there are prebuilt kernels, and `numbarnn warmup` has not run for this processor", found
            )
    return LevelChoice(None, "there are no prebuilt kernels that fit", ())


def forced(name: str, target: tuple[str, ...]) -> Level:
    """Return the level that NUMBARNN_LEVEL names.

    Raises
    ------
    ValueError
        If there is none of that name, or a target lacks what it needs.
    """
    level = LEVELS.get(name)
    if level is None:
        raise ValueError(
            f"{LEVEL} must be {NATIVE} or one of {', '.join(LEVELS)}, got {name!r}; unset it, or set it to one"
        )
    if not within(level, target):
        lacking = [feature for feature in level.features if f"+{feature}" not in target[2].split(",")]
        raise ValueError(
            f"{LEVEL} is {name}, but {target[1]} lacks {', '.join(lacking)}; unset it, or set it to {NATIVE} or a lower level"
        )
    return level
