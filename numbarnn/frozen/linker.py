"""The linker that makes a shared library of object files: what the system has of binutils, LLVM, compilers and Zig."""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import sysconfig

from numbarnn.errors import FreezeError

# Programs that link by themselves, and those that call such a program and take its options after a comma.
_LINKERS = ("ld", "ld.lld", "ld.gold", "ld.bfd", "lld")
_COMPILERS = ("cc", "gcc", "clang")

_LIBM = "libm.so.6"

HOW = (
    "install one (Debian, Ubuntu: apt install binutils; Fedora: dnf install binutils; any system: pip install ziglang)"
)


def check_system() -> None:
    """Raise FreezeError where no shared library is made: on all systems but Linux."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise FreezeError(
            f"shared libraries are made on Linux (x86-64 and ARM), not on {platform.system()} ({platform.machine()}); freeze the "
            "model there, for example in a container, or to C source (path='model.c')"
        )


def find_linker() -> list[str]:
    """Return the beginning of the command that links; raise FreezeError where there is none."""
    for name in _LINKERS:
        if shutil.which(name):
            return [name, *(["-flavor", "gnu"] if name == "lld" else [])]
    for name in _COMPILERS:
        if shutil.which(name):
            return [name, "-nostdlib"]
    if shutil.which("zig"):
        return ["zig", "ld.lld"]
    if _has_zig():
        return [sys.executable, "-P", "-m", "ziglang", "ld.lld"]
    raise FreezeError(f"a linker is needed to make a shared library, and none is on the PATH: {HOW}")


def _has_zig():
    import importlib.util

    return importlib.util.find_spec("ziglang") is not None


def link(objects, target: pathlib.Path, libm: bool) -> None:
    """Link object files to a shared library that needs nothing, or the mathematics of the C library alone.

    Parameters
    ----------
    objects : sequence of path
    target : path
    libm : bool
        Whether the C library's mathematics is needed; else it is where it is found and something calls it.

    Raises
    ------
    FreezeError
        If there is no linker, or it fails.
    """
    command = find_linker()
    options = ["--gc-sections", "--build-id=none", "--hash-style=gnu", "-s", f"-soname={target.name}"]
    # Larger pages, as those of some ARM systems, would pad the file of x86-64 by megabytes with some linkers.
    pages = ["max-page-size=4096"] if platform.machine() == "x86_64" else []
    for option in ("defs", "noexecstack", "relro", "now", *pages):
        options += ["-z", option]
    folders = _library_folders()
    if libm or any(os.path.exists(f"{folder}/{_LIBM}") for folder in folders):
        options += ["--as-needed", *(f"-L{folder}" for folder in folders), f"-l:{_LIBM}"]
    if command[-1] == "-nostdlib":  # not after -Wl, which splits at commas
        options = [word for option in options for word in ("-Xlinker", option)]
    try:
        done = subprocess.run(
            [*command, "-shared", "-o", str(target), *map(str, objects), *options],
            capture_output=True, text=True, errors="replace", env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise FreezeError(f"the linker {command[0]} cannot be run: {error}; {HOW}") from None
    if done.returncode:
        raise FreezeError(
            f"the linker {command[0]} failed with status {done.returncode}: {done.stderr.strip()[-2000:]}"
        )


def _library_folders():
    """Return where the C library may lie: linkers of LLVM look nowhere by themselves."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    folders = [f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/lib64", "/usr/lib", "/lib"]
    return [folder for folder in folders if os.path.isdir(folder)]
