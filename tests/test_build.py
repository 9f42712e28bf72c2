"""The build of wheels with prebuilt kernels, but for the compiling, which .ci/run does."""

import base64
import csv
import hashlib
import importlib.util
import io
import pathlib
import shutil
import sys
import tarfile
import zipfile

import pytest
from processes import PACKAGE, run_python

setuptools = pytest.importorskip("setuptools", minversion="77", reason="no setuptools that builds numbarnn")

ROOT = PACKAGE.parent


@pytest.fixture(scope="module")
def backend():
    spec = importlib.util.spec_from_file_location("backend", ROOT / ".build" / "backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_are_strings_or_lists(backend):
    assert backend._several(None, "prebuilt") == []
    assert backend._several({"prebuilt": "a,b, c"}, "prebuilt") == ["a", "b", "c"]
    assert backend._several({"prebuilt": ["a,b", "c"]}, "prebuilt") == ["a", "b", "c"]
    assert backend._several({}, "dtypes", "float32") == ["float32"]
    assert backend._others({"prebuilt": "a", "--global-option": "x"}) == {"--global-option": "x"}


def test_only_a_wheel_with_kernels_needs_numba(backend, monkeypatch):
    monkeypatch.setattr(backend.build_meta, "get_requires_for_build_wheel", lambda settings: [])
    assert backend.get_requires_for_build_wheel() == []
    needed = backend.get_requires_for_build_wheel({"prebuilt": "x86-64-v3", "numba": "0.66.0"})
    assert needed[-1] == "numba==0.66.0"
    assert any(requirement.startswith("numpy") for requirement in needed)
    assert backend.get_requires_for_build_wheel({"prebuilt": "x86-64-v3"})[-1] == f"numba=={backend.NUMBA}"


def test_tag_names_python_and_platform(backend):
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    tag = backend._tag({"platform": "manylinux_2_28_x86_64"})
    assert tag == f"{python}-{python}{getattr(sys, 'abiflags', '')}-manylinux_2_28_x86_64"
    assert backend._tag(None).count("-") == 2
    assert not set(backend._tag(None)) & {".", " "}


def test_packed_wheel_is_whole(backend, tmp_path):
    tree, out = tmp_path / "tree", tmp_path / "out"
    for name, content in {
        "numbarnn/__init__.py": "pass\n",
        "numbarnn/prebuilt/x86-64-v3/a.nbc": "code",
        "numbarnn-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n",
        "numbarnn-1.dist-info/RECORD": "old",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    out.mkdir()
    name = backend._packed(tree, out, "numbarnn-1-py3-none-any.whl", "cp311-cp311-linux_x86_64")
    assert name == "numbarnn-1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(out / name) as wheel:
        assert wheel.testzip() is None
        assert (
            "Root-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64" in wheel.read("numbarnn-1.dist-info/WHEEL").decode()
        )
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(wheel.read("numbarnn-1.dist-info/RECORD").decode()))}
        assert sorted(rows) == sorted(wheel.namelist())
        assert rows.pop("numbarnn-1.dist-info/RECORD") == ["", ""]
        for path, (digest, size) in rows.items():
            content = wheel.read(path)
            expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(content)))


def test_wheels_are_built_from_an_archive_of_the_sources(tmp_path):
    """Which must hold the backend itself."""
    tree = tmp_path / "tree"
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".build/backend.py",
        "numbarnn/__init__.py",
        "numbarnn/__about__.py",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    code = "import sys; sys.path.insert(0, '.build'); import backend; print(backend.build_sdist(sys.argv[1]))"
    name = run_python(code, tmp_path, cwd=tree).stdout.split()[-1]
    with tarfile.open(tmp_path / name) as archive:
        inside = {
            pathlib.PurePosixPath(*pathlib.PurePosixPath(path).parts[1:]).as_posix() for path in archive.getnames()
        }
    assert {".build/backend.py", "pyproject.toml", "numbarnn/__init__.py"} <= inside
