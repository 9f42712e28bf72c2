"""Builds of numbarnn: setuptools', and on demand wheels with prebuilt kernels inside.

``pip wheel . --config-settings prebuilt=x86-64-v3,x86-64-v4`` makes a wheel for this Python and platform. Settings:

=============  ==========================================================================================================
``prebuilt``   levels, separated by commas; without it the wheel is a pure one, and the others are refused
``numba``      version whose machine code goes in (default: `NUMBA`); with another one at run time the kernels count as absent
``dtypes``     of the kernels, separated by commas (default: float32)
``only``       steps of ``numbarnn warmup`` instead of all, separated by commas
``platform``   tag of the platform (default: this one's, such as linux_x86_64; code calls nothing but libc, libm and Numba)
=============  ==========================================================================================================

The kernels are compiled from the unpacked pure wheel: their stamp is a hash of the very sources that are installed. The wheel
requires the very version of numba that compiled them. Its files have one date, that of ``SOURCE_DATE_EPOCH`` if it is set.
"""

import base64
import csv
import hashlib
import importlib.metadata
import io
import os
import pathlib
import re
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import zipfile

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401 - hooks that are as they are
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
)
from setuptools.command.sdist import sdist

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUMBA = "0.68.1"
SETTINGS = ("prebuilt", "numba", "dtypes", "only", "platform")
# Those of numbarnn.kernels.levels, which cannot be imported before its requirements are installed.
LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
DTYPES = ("float32", "float64")
EARLIEST = 315532800  # 1980, where the dates of archives begin


def _several(settings, name, default=()):
    """Return the values of a setting, which pip hands over as a string, or as a list where it was given several times."""
    given = (settings or {}).get(name) or default
    texts = [given] if isinstance(given, str) else given
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def _check(settings):
    """Raise a ValueError where settings are unknown, have no effect, or have values that cannot be."""
    # Setuptools' own are options of its commands, or this one.
    if strange := [name for name in settings or {} if name not in (*SETTINGS, "editable_mode") and name[:1] != "-"]:
        raise ValueError(f"there is no setting {strange[0]!r} of a build; there are {', '.join(SETTINGS)}")
    given = {name: _several(settings, name) for name in SETTINGS if name in (settings or {})}
    if given and not given.get("prebuilt"):
        raise ValueError(f"the setting {next(iter(given))!r} needs levels: prebuilt={','.join(LEVELS[1:])}")
    for name, values in given.items():
        known = {"prebuilt": LEVELS, "dtypes": DTYPES}.get(name, values)
        if wrong := [value for value in values if value not in known]:
            raise ValueError(f"the setting {name!r} takes {', '.join(known)}, got {wrong[0]!r}")
        if repeated := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"the setting {name!r} has {repeated[0]!r} several times; give it once")
        if not values or (name in ("numba", "platform") and len(values) > 1):
            raise ValueError(f"the setting {name!r} takes {'a value' if not values else 'one value'}, got {values}")


def _check_numba(settings):
    """Raise a RuntimeError where another numba is installed than the one wanted, as may be without build isolation."""
    (wanted,) = _several(settings, "numba", NUMBA)
    try:
        found = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if re.sub(r"(\.0)+$", "", found) != re.sub(r"(\.0)+$", "", wanted):
        raise RuntimeError(
            f"kernels are to be compiled by numba {wanted}, and installed is {found}: install numba=={wanted}, "
            f"or say numba={'VERSION' if found == 'none' else found} with --config-settings, or leave out --no-build-isolation"
        )


def _others(settings):
    """Return what setuptools is to see."""
    return {name: value for name, value in (settings or {}).items() if name not in SETTINGS}


def get_requires_for_build_wheel(config_settings=None):
    """Return what a build needs: what the package itself needs if kernels are to be compiled, and Numba in the version wanted."""
    _check(config_settings)
    needed = build_meta.get_requires_for_build_wheel(_others(config_settings))
    if not _several(config_settings, "prebuilt"):
        return needed
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (numba,) = _several(config_settings, "numba", NUMBA)
    return [*needed, *project["dependencies"], f"numba=={numba}"]


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Write the metadata of a wheel, and return the name of their folder."""
    _check(config_settings)
    name = build_meta.prepare_metadata_for_build_wheel(metadata_directory, _others(config_settings))
    if _several(config_settings, "prebuilt"):
        _check_numba(config_settings)
        _require(pathlib.Path(metadata_directory) / name / "METADATA", importlib.metadata.version("numba"))
    return name


def _require(metadata, numba):
    """Let the metadata of a wheel require one version of numba, without which its kernels count as absent."""
    text = metadata.read_text(encoding="utf-8")
    pinned, count = re.subn(r"(?m)^Requires-Dist: numba(?![\w.-])[^;\n]*$", f"Requires-Dist: numba=={numba}", text)
    if count != 1:
        raise RuntimeError(f"{metadata} requires numba {count} times; it must do so once")
    metadata.write_text(pinned, encoding="utf-8", newline="\n")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Build a wheel, and return its name."""
    _check(config_settings)
    levels = _several(config_settings, "prebuilt")
    if not levels:
        return build_meta.build_wheel(wheel_directory, _others(config_settings), metadata_directory)
    _check_numba(config_settings)
    with tempfile.TemporaryDirectory() as work:
        name = build_meta.build_wheel(work, _others(config_settings), metadata_directory)
        tree = pathlib.Path(work) / "tree"
        with zipfile.ZipFile(pathlib.Path(work) / name) as pure:
            pure.extractall(tree)
        (metadata,) = tree.glob("*.dist-info/METADATA")
        _require(metadata, importlib.metadata.version("numba"))
        for dtype in _several(config_settings, "dtypes", "float32"):
            _compile(tree, levels, dtype, _several(config_settings, "only"))
        return _packed(tree, pathlib.Path(wheel_directory), name, _tag(config_settings))


def _compile(tree, levels, dtype, only):
    """Put the kernels of levels into the unpacked wheel."""
    folder = tree / "numbarnn" / "prebuilt"
    # In a build, the folder of its requirements is in PYTHONPATH.
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "NUMBARNN_"))}
    # Bytecode of this machine must not go along: children of the command heed the variable, not -B.
    environment |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "numbarnn", "warmup", "--dtype", dtype, "--output", str(folder)]
    command += [argument for level in levels for argument in ("--level", level)]
    command += ["--only", ",".join(only)] if only else []
    subprocess.run(command, cwd=tree, env=environment, check=True)


def _tag(settings):
    """Return the tag of the wheel: code is found by this Python's ABI alone."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    (platform,) = _several(settings, "platform", sysconfig.get_platform())
    return f"{python}-{python}{getattr(sys, 'abiflags', '')}-{platform.replace('-', '_').replace('.', '_')}"


def _packed(tree, directory, name, tag):
    """Write an unpacked wheel with other tags, and return its name."""
    (information,) = tree.glob("*.dist-info")
    lines = (information / "WHEEL").read_text().splitlines()
    lines = ["Root-Is-Purelib: false" if line.startswith("Root-Is-Purelib") else line for line in lines if line]
    lines = [f"Tag: {tag}" if line.startswith("Tag:") else line for line in lines]
    (information / "WHEEL").write_text("\n".join(lines) + "\n")
    distribution, version, *_ = name.split("-")
    name = f"{distribution}-{version}-{tag}.whl"
    record, rows = information / "RECORD", io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    files = sorted(path for path in tree.rglob("*") if path.is_file() and path != record)
    files = [path for path in files if "__pycache__" not in path.parts]
    date = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH") or EARLIEST), EARLIEST))[:6]

    def write(inside, content):
        information = zipfile.ZipInfo(inside, date)
        information.external_attr = (stat.S_IFREG | 0o644) << 16
        wheel.writestr(information, content, zipfile.ZIP_DEFLATED)

    with zipfile.ZipFile(directory / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in files:
            inside, content = path.relative_to(tree).as_posix(), path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            table.writerow((inside, f"sha256={digest}", len(content)))
            write(inside, content)
        inside = record.relative_to(tree).as_posix()
        table.writerow((inside, "", ""))
        write(inside, rows.getvalue())
    return name


def build_sdist(sdist_directory, config_settings=None):
    """Build an archive of the sources, this file included, and return its name."""
    plain = sdist.add_defaults

    def add_defaults(self):
        plain(self)
        self.filelist.append(".build/backend.py")

    sdist.add_defaults = add_defaults
    try:
        return build_meta.build_sdist(sdist_directory, _others(config_settings))
    finally:
        sdist.add_defaults = plain
