"""Replacing a file as a whole: it is written beside its destination and renamed."""

import contextlib
import errno
import hashlib
import os
import pathlib
import re
import stat
import uuid

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can be neither renamed nor removed
    fcntl = None


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Write a file beside its destination, bring it to the disk, and rename it.

    A new file has the permissions that the umask leaves; an existing one keeps its own, and its owner where the system allows. A
    symbolic link stays, and what it points to is replaced. Devices and pipes are written to. What killed processes have left
    beside the destination is removed.
    """
    path = pathlib.Path(path)
    try:
        before = path.stat()
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        _write_through(path, before, content)
        return
    if path.is_symlink():
        path = pathlib.Path(os.path.realpath(path))
    if not path.parent.is_dir():
        folder = str(path.parent)
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {folder!r} to write to; make it first", str(path))
    # Open to nobody until it has the permissions of the file that it replaces.
    temporary, file = _create_beside(path, 0o666 if before is None else 0o600)
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if before is not None:
                for owner in ((-1, before.st_gid), (before.st_uid, -1)):
                    with contextlib.suppress(OSError, AttributeError):  # not permitted, or not available on this system
                        os.chown(temporary, *owner)
                os.chmod(temporary, stat.S_IMODE(before.st_mode))
            if fcntl is not None:
                os.replace(temporary, path)  # locked until it has its name
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _remove_leftovers(path)


def _write_through(path, before, content):
    """Write to what is not a regular file, which a renamed file would replace."""
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        # Without waiting: a pipe that nobody reads would be waited for without end.
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "no process reads from this pipe or socket", str(path)) from None
    if hasattr(os, "set_blocking"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _create_beside(path, mode):
    """Return (path, open file) of a new file beside another, locked while it is open: nobody takes it for a leftover."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.parent / f"{_mark(path)}{uuid.uuid4().hex[:8]}.tmp"
        file = os.fdopen(os.open(temporary, flags, mode), "wb")
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, file
        file.close()  # taken for a leftover before it was locked


def _mark(path):
    """Return what the names of a path's unfinished files begin with; no longer than a file's name may be."""
    name = path.name
    return f".{name}." if len(os.fsencode(name)) <= 200 else f".{hashlib.sha256(os.fsencode(name)).hexdigest()}."


def _remove_leftovers(path):
    """Remove the unfinished files of processes that were killed while they wrote to a path; those of others are locked."""
    pattern = re.compile(rf"{re.escape(_mark(path))}[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path):
    handle = os.open(path, os.O_RDWR)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(handle)
    if fcntl is None:
        os.unlink(path)
