"""`numbarnn.freeze`: a model as code that needs neither Python nor this package."""

import _ctypes
import ctypes
import keyword
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_path
from numbarnn.core.replacing import replace
from numbarnn.errors import FreezeError
from numbarnn.frozen.c_source import c_interface, write_c
from numbarnn.frozen.check import CHECK_STEPS
from numbarnn.frozen.interface import OK
from numbarnn.frozen.library import Parts, check_levels, link_parts, make_parts
from numbarnn.frozen.package import check_folder, write_folder
from numbarnn.model import Model
from numbarnn.network.network import Network

# Endings of files, none of which a folder is given by mistake.
_FILES = ".so .c .h .o .a .cpp .onnx .safetensors .keras .dylib .dll .pyd".split()
# Normalised names of packages, and names of folders, that a package beside others must not have.
_TAKEN = (
    "numpy",
    "numbarnn",
    "pytest",
    "setuptools",
    "pkg-resources",
    "pip",
    "wheel",
    "build",
    "dist",
    "test",
    "tests",
)


def freeze(
    model: Any, path: str | os.PathLike[str], *, levels: Sequence[str] | None = None, name: str = "model"
) -> pathlib.Path:
    """Write a model as machine code that runs without Python, Numba and this package.

    Parameters
    ----------
    model : Model
        Any but those with a layer of your own. Of a language model its net, whose tokens its vocabulary has.
    path : path-like
        What is written: a shared library and its header (``net.so``, ``net.h``), C99 source and its header (``net.c``, ``net.h``),
        or a folder (any other name): an installable package of the library and a module of NumPy and ctypes.
    levels : sequence of str, optional
        Levels of processors that a library has code for: of "x86-64-v2", "x86-64-v3" and "x86-64-v4", chosen where it is loaded;
        None: all of them. On ARM there is one. C source has none.
    name : str
        What the functions' names begin with, ``NAME_step`` and so on, and the name of the package: an identifier.

    Returns
    -------
    pathlib.Path
        The file or folder that was written.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, the model has a layer that cannot be frozen, or its parameters or outputs are not finite.
    FileExistsError
        If the folder exists and was not written by this function, or has a model of another name.
    OSError
        If the destination cannot be written to, which is found before anything is compiled.
    FreezeError
        If there is no linker, or this system or a cell's code is none that libraries can be made with.

    Notes
    -----
    Outputs are equal to those of `Model.forward` and `Model.stream` to the bit on processors with fused multiplication and addition
    (x86-64-v3 and above, ARM), elsewhere to rounding; in float64, and of cells of your own that call the C library's mathematics,
    to the bit only with the same C library, and libm must be that of the machine where the library was made, or newer. A library
    has some steps of a sequence and the model's outputs inside, by which ``NAME_check`` tells whether a processor computes them.

    The code is compiled in a process for each level, which takes some ten seconds; that of layers that were frozen before is on
    disk.

    Examples
    --------
    >>> import numbarnn as nr
    >>> model = nr.Model([nr.GRU(8), nr.Dense(2)], input_size=3)
    >>> nr.freeze(model, "net.c", name="net").name
    'net.c'
    """
    network = _network(model)
    target, interface = _target(path), c_interface(network, name)
    if target.suffix == ".c":
        if levels is not None:
            raise ValueError(
                f"levels must be None for C source, which the compiler fits to a processor, got {brief(levels)}"
            )
        _check_files(target)
        write_c(network, target, name)
        return target
    levels, folder = check_levels(levels), target.suffix != ".so"
    if folder:
        _check_package(name)
        check_folder(target, name)
    else:
        _check_files(target)
    parts = make_parts(network, interface, levels)
    content = _linked(parts, f"{interface.name}.so" if folder else target.name)
    if folder:
        write_folder(target, interface, content)
    else:
        replace(target, content)
        replace(target.with_suffix(".h"), interface.header().encode())
    return target


def _network(model):
    """Return the net of what is to be frozen."""
    if isinstance(model, Network):
        # What a library is compared with is computed on the host.
        return model if model.device == "cpu" else Model.from_description(model.description(), model.params.for_file())
    kind = type(model).__name__
    for attribute in ("model", "model_"):
        found = vars(model).get(attribute) if hasattr(model, "__dict__") else None
        if isinstance(found, Network):
            if any(base.__name__ == "LanguageModel" for base in type(model).__mro__):
                return found
            raise TypeError(
                f"model must be a numbarnn.Model, got {kind}; what it does before and after its net (scales, labels, windows) is "
                f"not frozen: pass its attribute {attribute}, and do the same where the library is called"
            )
    raise TypeError(f"model must be a numbarnn.Model, got {brief(model)}; an estimator has one after fit")


def _target(path):
    check_path(path)
    target = pathlib.Path(path)
    if not target.name:
        raise ValueError(f"path must name a file or a folder, got {str(path)!r}")
    if (target.suffix or target.name).lower() in _FILES and target.suffix not in (".so", ".c"):
        raise ValueError(
            f"path must end in .so or .c, or name a folder, got {target.name!r}: libraries are made for Linux; on other systems "
            "compile the C source"
        )
    if target.suffix in (".c", ".so") and os.fspath(path).endswith(("/", os.sep)):
        raise ValueError(f"path must name a folder that does not end in {target.suffix}, got {str(path)!r}")
    return target


def _check_files(target):
    """Raise OSError if a file and its header cannot be written."""
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"path: there is no folder {str(target.parent)!r} to write {target.name!r} to; make it first"
        )
    for file in (target, target.with_suffix(".h")):
        if file.is_dir():
            raise IsADirectoryError(f"path: {str(file)!r} is a folder; choose another name")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"path: the folder {str(target.parent)!r} is not writable; choose another")


def _check_package(name):
    normal = re.sub(r"[-_.]+", "-", name).lower()  # as package indices compare names
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or normal in _TAKEN or name.endswith("_"):
        raise ValueError(f"name must be one that no other package has, such as 'net', got {name!r}")


def _linked(parts: Parts, file_name: str) -> bytes:
    """Return the library that is to have a file's name, after its own check on this processor if it has code for that."""
    with tempfile.TemporaryDirectory(prefix="numbarnn-") as folder:
        path = pathlib.Path(folder, file_name)
        link_parts(parts, path)
        _check(path, parts)
        return path.read_bytes()


def _check(path, parts):
    if not parts.runs_here():
        return
    try:
        library, name = ctypes.CDLL(str(path)), parts.interface.name
    except OSError as error:
        raise FreezeError(
            f"the library cannot be loaded, by which it is checked: {error}. Where {tempfile.gettempdir()!r} is mounted noexec, "
            "set the environment variable TMPDIR to another folder"
        ) from error
    try:
        size = library[f"{name}_workspace_bytes"]
        size.restype, size.argtypes = ctypes.c_size_t, (ctypes.c_int64, ctypes.c_int64)
        work = np.empty(size(1, CHECK_STEPS), np.uint8)
        code = library[f"{name}_check"](ctypes.c_void_p(work.ctypes.data))
    finally:
        _ctypes.dlclose(library._handle)
    if code != OK:
        raise FreezeError(
            f"the library does not compute what the model does (error {code} of {name}_check): please report this, with the model"
        )
