"""The build of wheels with prebuilt kernels, but for the compiling, which .ci/run does."""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import shutil
import sys
import tarfile
import zipfile

import pytest
from processes import PACKAGE, run_python

from numbarnn.kernels.levels import LEVELS

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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prebuild": "x86-64-v3"}, "there is no setting 'prebuild' of a build; there are prebuilt, numba, "),
        ({"dtypes": "float64"}, "the setting 'dtypes' needs levels: prebuilt=x86-64-v3,x86-64-v4"),
        ({"prebuilt": ""}, "the setting 'prebuilt' needs levels"),
        ({"prebuilt": "x86-64-v5"}, "the setting 'prebuilt' takes x86-64-v2, x86-64-v3, x86-64-v4, got 'x86-64-v5'"),
        ({"prebuilt": "x86-64-v3", "dtypes": "float16"}, "'dtypes' takes float32, float64, got 'float16'"),
        ({"prebuilt": ["x86-64-v3", "x86-64-v3"]}, "'prebuilt' has 'x86-64-v3' several times"),
        ({"prebuilt": "x86-64-v3", "numba": "0.66.0,0.67.0"}, "'numba' takes one value"),
        ({"prebuilt": "x86-64-v3", "only": ""}, "'only' takes a value"),
    ],
)
def test_settings_that_cannot_be(backend, settings, message, tmp_path):
    for hook in (
        backend.get_requires_for_build_wheel,
        lambda settings: backend.prepare_metadata_for_build_wheel(str(tmp_path), settings),
        lambda settings: backend.build_wheel(str(tmp_path), settings),
    ):
        with pytest.raises(ValueError, match=message):
            hook(settings)


def test_settings_that_can_be(backend):
    backend._check(None)
    backend._check({"--global-option": "x"})
    backend._check({"prebuilt": ["x86-64-v3", "x86-64-v4"], "dtypes": "float32,float64", "numba": "0.66.0"})
    assert tuple(LEVELS) == backend.LEVELS


def test_numba_that_compiles_is_the_one_wanted(backend, tmp_path):
    found = importlib.metadata.version("numba")
    backend._check_numba({"numba": found})
    with pytest.raises(
        RuntimeError, match=rf"numba 0\.1, and installed is {found}: install numba==0\.1, or say numba={found}"
    ):
        backend.build_wheel(str(tmp_path), {"prebuilt": "x86-64-v3", "numba": "0.1"})


def test_wheel_requires_the_numba_that_compiled(backend, tmp_path):
    metadata = tmp_path / "METADATA"
    lines = [
        "Name: numbarnn",
        "Requires-Dist: numba<0.69,>=0.61",
        'Requires-Dist: numba-cuda[cu12]<1; extra == "cuda12"',
    ]
    metadata.write_text("\n".join([*lines, ""]))
    for _ in range(2):
        backend._require(metadata, "0.66.0")
        assert metadata.read_text().splitlines() == [lines[0], "Requires-Dist: numba==0.66.0", lines[2]]
    metadata.write_text(lines[0])
    with pytest.raises(RuntimeError, match="requires numba 0 times"):
        backend._require(metadata, "0.66.0")


def test_metadata_are_those_of_the_wheel(backend, tmp_path, monkeypatch):
    def prepare(folder, settings):
        (pathlib.Path(folder) / "a.dist-info").mkdir()
        (pathlib.Path(folder) / "a.dist-info" / "METADATA").write_text("Requires-Dist: numba>=0.61\n")
        return "a.dist-info"

    found = importlib.metadata.version("numba")
    monkeypatch.setattr(backend.build_meta, "prepare_metadata_for_build_wheel", prepare)
    for name, settings, expected in (
        ("pure", None, ">=0.61"),
        ("kernels", {"prebuilt": "x86-64-v3", "numba": found}, f"=={found}"),
    ):
        (tmp_path / name).mkdir()
        inside = backend.prepare_metadata_for_build_wheel(str(tmp_path / name), settings)
        assert (tmp_path / name / inside / "METADATA").read_text() == f"Requires-Dist: numba{expected}\n"


def test_kernels_are_compiled_without_bytecode(backend, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(backend.subprocess, "run", lambda command, **options: seen.append((command, options["env"])))
    monkeypatch.setenv("NUMBA_OPT", "0")
    backend._compile(tmp_path, ["x86-64-v3"], "float64", ["a", "b"])
    ((command, environment),) = seen
    assert command[-6:] == [
        "--output",
        str(tmp_path / "numbarnn" / "prebuilt"),
        "--level",
        "x86-64-v3",
        "--only",
        "a,b",
    ]
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["PYTHONPATH"].startswith(str(tmp_path))
    assert "NUMBA_OPT" not in environment


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


def test_packed_wheel_is_whole(backend, tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    tree, out = tmp_path / "tree", tmp_path / "out"
    for name, content in {
        "numbarnn/__init__.py": "pass\n",
        "numbarnn/prebuilt/x86-64-v3/a.nbc": "code",
        "numbarnn/__pycache__/__init__.cpython-311.pyc": "bytecode",
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
        assert not [path for path in wheel.namelist() if "__pycache__" in path]
        assert {(info.date_time[:3], info.external_attr >> 16) for info in wheel.infolist()} == {
            ((1980, 1, 1), 0o100644)
        }
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


def test_packed_wheel_is_the_same_again(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    wheels = []
    for mode in (0o600, 0o664):
        tree, out = tmp_path / f"tree {mode}", tmp_path / f"out {mode}"
        for name in ("numbarnn/__init__.py", "numbarnn-1.dist-info/WHEEL"):
            (tree / name).parent.mkdir(parents=True)
            (tree / name).write_text("Tag: py3-none-any\n")
            (tree / name).chmod(mode)
            os.utime(tree / name, (mode * 10**6, mode * 10**6))
        out.mkdir()
        wheels.append(out / backend._packed(tree, out, "numbarnn-1-py3-none-any.whl", "cp311-cp311-linux_x86_64"))
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as wheel:
        assert {info.date_time for info in wheel.infolist()} == {(2023, 11, 14, 22, 13, 20)}


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
