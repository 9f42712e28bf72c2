"""Type checkers understand the package: a user's script passes mypy and pyright in their strict modes.

An editable install and a wheel are seen alike: the first is a path, not an import hook.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = pathlib.Path(__file__).with_name("typed_script.py")


def run(*command, cwd):
    """Run a type checker on the script, alone in a folder, so that it finds the package where users have it."""
    shutil.copy(SCRIPT, cwd)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_mypy(tmp_path):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), SCRIPT.name]
    status, said = run(*command, cwd=tmp_path)
    assert status == 0, said
    (tmp_path / "wrong.py").write_text("import numbarnn as nr\n\nnr.LSTM('32')\n")
    command[-1] = "wrong.py"
    status, said = run(*command, cwd=tmp_path)
    assert status == 1
    assert "arg-type" in said


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="needs pyright")
def test_pyright(tmp_path):
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "include": [SCRIPT.name]}))
    status, said = run(sys.executable, "-m", "pyright", "--pythonpath", sys.executable, cwd=tmp_path)
    assert status == 0, said
