"""The cache of compiled kernels, seen from second processes."""

import os
import pathlib
import sys

import pytest
from processes import copy_package, run_python

# A net small enough to compile fast: one kernel after the other, each named with whether it came from the disk.
STEP = """
import sys, numpy as np, numbarnn
from numbarnn.kernels import compile as compilation
compiled = []
compilation.on_compile.append(compiled.append)
model = numbarnn.Model([numbarnn.RNN(3, init="uniform(0.5)")], input_size=2, dtype="float64", n_threads=1)
outputs, _ = model.forward(np.ones((1, 4, 2)))
print(len(compiled), repr(float(outputs[0, -1, 0])))
"""


def counted(*arguments, code=STEP, **options):
    """Run `code`; return (kernels compiled, what else it printed, the process)."""
    done = run_python(code, *arguments, **options)
    count, _, rest = done.stdout.strip().partition(" ")
    return int(count), rest, done


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A copy of the package whose kernels have been compiled once: (folder, cache, result of the first process)."""
    folder = copy_package(tmp_path_factory.mktemp("warm"))
    cache = folder / "cache"
    count, result, _ = counted(cwd=folder, path=folder, cache=cache)
    assert count > 0
    return folder, cache, result


def test_second_process_compiles_nothing(warm):
    folder, cache, result = warm
    assert counted(cwd=folder, path=folder, cache=cache)[:2] == (0, result)


def test_edit_of_an_inlined_file_is_noticed(warm, tmp_path):
    _, _, result = warm
    folder = copy_package(tmp_path)
    assert counted(cwd=folder, path=folder, cache=tmp_path / "cache")[1] == result
    edited = folder / "numbarnn" / "cells" / "activation.py"
    before = "curved = scale * tanh(scale * x)"
    source = edited.read_text()
    assert before in source
    edited.write_text(source.replace(before, before + " * type(x)(0.5)"))
    count, changed, _ = counted(cwd=folder, path=folder, cache=tmp_path / "cache")
    assert count > 0
    assert changed != result


@pytest.mark.parametrize("ending", ["nbi", "nbc"], ids=["index", "data"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04not a pickle"], ids=["empty", "garbage"])
def test_unreadable_files_count_as_absent(warm, ending, content):
    folder, cache, result = warm
    files = list(cache.rglob(f"*forward*.{ending}"))
    assert files
    for file in files:
        file.write_bytes(content)
    count, again, _ = counted(cwd=folder, path=folder, cache=cache)
    assert (count > 0, again) == (True, result)
    assert counted(cwd=folder, path=folder, cache=cache)[:2] == (0, result)


def test_read_only_install_is_read(warm, tmp_path):
    """Entries are found beside the package even where new ones go elsewhere."""
    folder = copy_package(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    count, result, _ = counted(cwd=folder, path=folder, HOME=home)
    kept = folder / "numbarnn" / "__pycache__" / "kernels"
    assert count > 0
    assert list(kept.glob("*.nbi"))
    files = sorted(kept.iterdir())
    assert counted(cwd=folder, path=folder, HOME=home, cache=tmp_path / "new")[:2] == (0, result)
    assert sorted(kept.iterdir()) == files


# Root may write to any folder, so "not writable" is a file where the folder should be.
def test_nowhere_writable_runs_with_one_warning(tmp_path):
    folder = copy_package(tmp_path)
    (folder / "numbarnn" / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    (tmp_path / "file").write_text("")
    code = "import warnings; warnings.simplefilter('always')\n" + STEP
    options = {"cwd": folder, "path": folder, "HOME": tmp_path / "home", "XDG_CACHE_HOME": tmp_path / "home"}
    count, _, done = counted(code=code, cache=tmp_path / "file", **options)
    assert count > 0
    assert done.stderr.count("CacheWarning") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr


CELL = """
from typing import NamedTuple
import sys, numpy as np, numbarnn
from numbarnn.cells import register

@register
class Integrator(NamedTuple):
    gates = ("h",)
    planes = ("h",)
    input_planes = {"h": "h"}
    recurrent_planes = {}
    states = ("h",)
    saved = ()
    units = ()

    @staticmethod
    def forward(cell, planes, states, units):
        return (states[0] + planes[0],), ()

    @staticmethod
    def backward(cell, saved, states, units, after, gradients):
        return (gradients[0],), (gradients[0],), ()
"""

USE = """
from numbarnn.kernels import compile as compilation
compiled = []
compilation.on_compile.append(compiled.append)
layer = numbarnn.Recurrent(2, cell=Integrator(), init="uniform(1)", bias=False)
model = numbarnn.Model([layer], input_size=1, dtype="float64")
outputs, _ = model.forward(np.ones((1, 5, 1)))
weight = model.params["recurrent.weight_ih_l0"][:, 0]
assert np.allclose(outputs[0], np.arange(1, 6)[:, None] * weight), outputs
"""


def test_cell_of_a_module(warm):
    """A cell from elsewhere runs, and leaves no trace in the index that other processes read."""
    folder, cache, result = warm
    (folder / "mycell.py").write_text(CELL)
    code = "from mycell import *\nfrom mycell import Integrator\n" + USE + "print(0)"
    for _ in range(2):
        run_python(code, cwd=folder, path=folder, cache=cache)
    os.unlink(folder / "mycell.py")
    assert counted(cwd=folder, path=folder, cache=cache)[:2] == (0, result)


def test_cell_of_a_script(warm, tmp_path):
    folder, cache, result = warm
    script = tmp_path / "script.py"
    script.write_text(CELL + USE)
    for _ in range(2):
        run_python(
            f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", cwd=folder, path=folder, cache=cache
        )
    assert counted(cwd=folder, path=folder, cache=cache)[:2] == (0, result)


IMPORT = """
import sys
import numba
before = set(sys.modules)
compiles = []
import numba.core.event as event
class Listener(event.Listener):
    def on_start(self, e): compiles.append(e)
    def on_end(self, e): pass
event.register("numba:compile", Listener())
import numbarnn
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(len(compiles), *sorted(new & {"pandas", "tqdm", "safetensors", "torch", "scipy", "sklearn", "matplotlib"}))
"""


def test_import_is_light(tmp_path):
    assert run_python(IMPORT, cwd=tmp_path, cache=tmp_path).stdout.split() == ["0"]


def test_version_is_stated_once():
    import numbarnn

    assert numbarnn.__version__ == numbarnn.__about__.__version__
    assert pathlib.Path(sys.modules["numbarnn"].__file__).name == "__init__.py"
