"""The cache of compiled kernels, seen from second processes."""

import os
import pathlib
import pickle
import subprocess
import sys
from typing import NamedTuple

import numba
import pytest
from numba.core import config, types
from processes import copy_package, run_python

from numbarnn import cells
from numbarnn.kernels import cache
from numbarnn.kernels.cache import ENDING, distrust, read_entry, write_entry
from numbarnn.kernels.compile import foreign
from numbarnn.kernels.cpu import recurrent
from numbarnn.kernels.inventory import take_inventory
from numbarnn.kernels.records import pack_records

# A net small enough to compile fast: one kernel after the other, each named with whether it came from the disk.
STEP = """
import sys, numpy as np, numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
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


SUMS = """
import numpy as np
from numbarnn.kernels import cache
from numbarnn.kernels.cpu.losses import softmax_cross_entropy
from numbarnn.kernels.cpu.optim import sum_of_squares
compiled = []
cache.on_compile.append(compiled.append)
rng, rows, classes, none = np.random.default_rng(0), 64, 27, np.empty(0)
logits, losses, slopes = rng.normal(size=rows * 28), np.empty(rows), np.empty(rows * 28)
targets = rng.integers(0, classes, rows)
softmax_cross_entropy(logits, 28, classes, targets, none, 0.1, losses, slopes, none, 0.1, 0, rows)
print(len(compiled), losses.tobytes().hex(), slopes.tobytes().hex(), sum_of_squares(logits).hex())
"""


def test_sums_of_any_order_are_those_of_the_process_that_compiled_them(tmp_path):
    first, second = (counted(cwd=tmp_path, cache=tmp_path / "cache", code=SUMS)[:2] for _ in range(2))
    assert (first[0] > 0, second[0]) == (True, 0)
    assert first[1] == second[1]


def test_edit_of_an_inlined_file_is_noticed(warm, tmp_path):
    _, _, result = warm
    folder = copy_package(tmp_path)
    assert counted(cwd=folder, path=folder, cache=tmp_path / "cache")[1] == result
    edited = folder / "numbarnn" / "kernels" / "activation.py"
    before = "curved = sigmoid(x) if code == 2 else tanh(x)"
    source = edited.read_text()
    assert before in source
    edited.write_text(source.replace(before, before + " * type(x)(0.5)"))
    count, changed, _ = counted(cwd=folder, path=folder, cache=tmp_path / "cache")
    assert count > 0
    assert changed != result


@pytest.mark.parametrize("content", [b"", b"\x80\x04not a pickle"], ids=["empty", "garbage"])
def test_unreadable_files_count_as_absent(warm, content):
    folder, cache, result = warm
    files = list(cache.rglob(f"*forward*{ENDING}"))
    assert files
    for file in files:
        file.write_bytes(content)
    count, again, _ = counted(cwd=folder, path=folder, cache=cache)
    assert (count > 0, again) == (True, result)
    assert counted(cwd=folder, path=folder, cache=cache)[:2] == (0, result)


# One small kernel, called with the arguments of the command line: kernels compiled, and what each call returned.
HALF = """
import sys
from numbarnn.kernels import cache
from numbarnn.kernels.compile import jit

@jit
def half(x):
    return x / 2 if x > 0 else x * 3

compiled = []
cache.on_compile.append(compiled.append)
results = [half(eval(text)) for text in sys.argv[1:]]
print(len(compiled), results)
"""


@pytest.fixture
def folder(tmp_path):
    """A copy of the package, to whose own folder kernels may go; the user's home is elsewhere."""
    return copy_package(tmp_path)


def half(folder, *arguments, before="", **options):
    """Run `HALF` on the copy in a folder with a cache there; return (kernels compiled, the rest of its output, the process)."""
    options = {"cwd": folder, "path": folder, "cache": folder / "cache", "HOME": folder / "home"} | options
    return counted(*arguments, code=before + HALF, **options, XDG_CACHE_HOME=folder / "home")


def kernels_of(folder):
    """Return the files of the kernel of `HALF`."""
    return sorted(folder.glob(f"cache/*/*half*{ENDING}"))


def test_code_of_another_kernel_is_not_taken(folder):
    """Two files with each other's names, as two processes could leave them when names were given out in turn."""
    assert half(folder, "8", "3.5")[:2] == (2, "[4.0, 1.75]")
    first, second = kernels_of(folder)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert half(folder, "8", "3.5")[:2] == (2, "[4.0, 1.75]")
    assert half(folder, "8", "3.5")[:2] == (0, "[4.0, 1.75]")


def test_processes_fill_an_empty_cache_at_once(folder):
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}
    calls = [["8", "3.5"], ["3.5", "8"], ["-8", "8"], ["-3.5", "True"]]
    started = [
        subprocess.Popen([sys.executable, "-c", HALF, *call], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        for call in calls
    ]
    outputs = [process.communicate(timeout=300)[0].split(" ", 1)[1].strip() for process in started]
    assert outputs == ["[4.0, 1.75]", "[1.75, 4.0]", "[-24.0, 4.0]", "[-10.5, 0.5]"]
    assert half(folder, "8", "3.5", "True")[:2] == (0, "[4.0, 1.75, 0.5]")
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_a_flipped_bit_counts_as_absent(folder):
    half(folder, "8")
    (file,) = kernels_of(folder)
    content = file.read_bytes()
    assert read_entry(file) is not None
    for position in (*range(0, len(content), 211), len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 4
        file.write_bytes(damaged)
        assert read_entry(file) is None, position
    assert take_inventory(file.parent).stale == 1
    assert half(folder, "8")[:2] == (1, "[4.0]")
    assert half(folder, "8")[:2] == (0, "[4.0]")


def test_settings_that_change_code_have_kernels_of_their_own(folder, monkeypatch):
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
    checked = {"NUMBA_BOUNDSCHECK": "1"}
    assert half(folder, "8")[0] == 1
    assert half(folder, "8", **checked)[0] == 1
    assert half(folder, "8", **checked)[0] == 0
    assert half(folder, "8")[0] == 0


@pytest.mark.parametrize("setting", cache.SETTINGS)
def test_settings_are_in_the_stamp(setting, monkeypatch):
    before, compiler = cache.stamp(), cache.compiler()
    monkeypatch.setattr(config, setting, "another", raising=False)
    assert cache.stamp() != before
    assert cache.compiler() != compiler


class Payload:
    """What unpickling turns into a call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def plant(file, mark):
    """Replace the code of a file by a pickle that touches `mark` when it is loaded; all hashes are right."""
    entry = read_entry(file)
    key, _ = pickle.loads(entry.pickled)
    code = (
        "import pathlib, pickle, sys; from numbarnn.kernels import cache; path, pickled = map(pathlib.Path, sys.argv[1:])\n"
        "cache.write_entry(path, cache.read_entry(path).target, pickled.read_bytes())"
    )
    pickled = file.with_suffix(".pickled")
    pickled.write_bytes(pickle.dumps((key, Payload(mark))))
    run_python(code, file, pickled, cwd=file.parent, path=file.parent.parent.parent)
    pickled.unlink()


posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a system without users as POSIX has them")


@posix
@pytest.mark.parametrize("what", ["folder", "file"])
def test_kernels_that_others_could_have_written_are_not_loaded(folder, what):
    half(folder, "8")
    (file,) = kernels_of(folder)
    mark = folder / "mark"
    plant(file, mark)
    half(folder, "8")  # a file of the user's own is believed
    assert mark.exists()
    plant(file, mark)
    mark.unlink()
    (file if what == "file" else file.parent).chmod(0o757)
    count, result, done = half(folder, "8", "8", before="import warnings; warnings.simplefilter('always')\n")
    assert (count, result) == (1, "[4.0, 4.0]")
    assert not mark.exists()
    assert done.stderr.count("CacheWarning") == 1
    assert f"kernels in {file.parent} are not used: others can write to the {what} (mode 757)" in done.stderr
    assert "set NUMBA_CACHE_DIR to a folder of your own" in done.stderr
    doctor = "from numbarnn.cli.main import main; main(['doctor'])"
    doctor = run_python(doctor, cwd=folder, path=folder, cache=folder / "cache").stdout
    # What was compiled took the place of a file; a folder stays as it is, and another one is written to.
    assert ("NOT TRUSTED" in doctor) is (what == "folder")
    assert half(folder, "8")[:2] == (0, "[4.0]")
    assert not mark.exists()


@posix
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o444, 0o775, 0o722, 0o777, 0o1777])
def test_who_may_write_is_read_from_the_mode(tmp_path, mode):
    for path in (tmp_path / "folder", tmp_path / "file"):
        path.mkdir() if path.name == "folder" else path.touch()
        path.chmod(mode)
        assert ("others can write" in distrust(path)) is bool(mode & 0o022)
    assert distrust(tmp_path / "none") == ""


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root can give files away")
def test_who_wrote_is_read_from_the_owner(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    os.chown(file, 65534, 65534)
    assert distrust(file) == "the file belongs to user 65534"
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert distrust(file) == ""
    os.chown(file, 0, 0)  # of root, who can do everything anyway
    assert distrust(file) == ""


@posix
def test_a_folder_that_comes_later_is_looked_at(tmp_path):
    """There is none when the first kernel is looked for, and somebody else's when the second is."""
    folder = tmp_path / "folder"
    assert cache.usable(folder)
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(cache.CacheWarning, match=r"others can write to the folder \(mode 777\)"):
        assert not cache.usable(folder)
    folder.chmod(0o755)
    assert cache.usable(folder)


@posix
def test_a_file_that_is_exchanged_is_not_believed(tmp_path, monkeypatch):
    """Between a look at the name and the reading somebody may put another file there: what is open is looked at."""
    file = tmp_path / "x.nbc"
    write_entry(file, ["target"], b"pickled")
    assert read_entry(file).pickled == b"pickled"
    file.chmod(0o666)
    monkeypatch.setattr(cache, "distrust", lambda path: "")
    with pytest.warns(cache.CacheWarning, match="others can write to the file"):
        assert read_entry(file) is None
    file.chmod(0o644)
    link = tmp_path / "link.nbc"
    link.symlink_to(file)
    assert read_entry(link) is None


@posix
def test_a_link_in_place_of_the_folder_is_not_followed(folder):
    half(folder, "8")
    (file,) = kernels_of(folder)
    file.parent.rename(folder / "elsewhere")
    file.parent.symlink_to(folder / "elsewhere")
    count, _, done = half(folder, "8")
    assert count == 1
    assert "a symbolic link" in done.stderr


@posix
def test_nobody_else_can_write_to_what_is_kept(folder):
    """Under a umask of 002, the default of many distributions, new files are writable by the group."""
    before = "import os; os.umask(0o002)\n"
    assert half(folder, "8", before=before)[0] == 1
    (file,) = kernels_of(folder)
    assert [path.stat().st_mode & 0o022 for path in (file, file.parent)] == [0, 0]
    assert half(folder, "8", before=before)[0] == 0


def test_read_only_install_is_read(warm, tmp_path):
    """Entries are found beside the package even where new ones go elsewhere."""
    folder = copy_package(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    count, result, _ = counted(cwd=folder, path=folder, HOME=home)
    kept = folder / "numbarnn" / "__pycache__" / "kernels"
    assert count > 0
    assert list(kept.glob(f"*{ENDING}"))
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
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {}
    states = ("h",)
    saved = ()
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        return (states[0] + preactivations[0],), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        return (gradients[0],), (gradients[0],), ()
"""

USE = """
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
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


# Everything that is compiled for a cell: passes, training, streams, steps in compiled code. The net has a cell of the package too,
# whose kernels the first process leaves for the second.
EVERYTHING = """
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
layers = [numbarnn.Recurrent(3, cell=Integrator(), init="uniform(1)", bias=False), numbarnn.RNN(2), numbarnn.Dense(1)]
model = numbarnn.Model(layers, input_size=1, dtype="float64", n_threads=1)
x = np.linspace(0, 1, 10).reshape(2, 5, 1)
outputs, _ = model.forward(x)
step, weights, state = numbarnn.step_function(model)
stream, y, found = model.stream(), np.zeros(1), []
for x_t in x[0]:
    step(weights, x_t, state, y)
    assert (stream.step(x_t) == y).all()
    found.append(y.copy())
assert (np.array(found) == outputs[0]).all()
model.loss_and_grad(x, x, loss="mse")
model.fit(x, x, loss="mse", epochs=1, verbose=0)
print(len(compiled), outputs.sum(), model.params.flat.sum())
"""


# What the processes above leave for one without their cell.
PLAIN = """
import numpy as np, numbarnn
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
model = numbarnn.Model([numbarnn.RNN(3), numbarnn.RNN(2), numbarnn.Dense(1)], input_size=1, dtype="float64", n_threads=1)
x = np.linspace(0, 1, 10).reshape(2, 5, 1)
model.forward(x)
model.loss_and_grad(x, x, loss="mse")
model.fit(x, x, loss="mse", epochs=1, verbose=0)
print(len(compiled))
"""


def entries_of(folder, name):
    """Return the files of kernels that hold a name, looked at without loading them."""
    return [file for file in folder.rglob(f"*{ENDING}") if name.encode() in file.read_bytes()]


def test_everything_with_a_cell_that_another_process_lacks(folder):
    """Defined in a module and in `__main__`: nothing of it is kept, what is kept serves a process that has neither."""
    (folder / "mycell.py").write_text(CELL)
    options = {"cwd": folder, "path": folder, "cache": folder / "cache"}
    module, script = "from mycell import *\nfrom mycell import Integrator\n" + EVERYTHING, CELL + EVERYTHING
    count, result, _ = counted(code=module, **options)
    assert count > 0  # kernels of the package's own cell, all that is counted here and kept
    assert entries_of(folder, "Integrator") == entries_of(folder, "mycell") == []
    os.unlink(folder / "mycell.py")
    assert counted(code=script, **options)[:2] == (0, result)
    assert entries_of(folder, "Integrator") == []
    assert counted(code=PLAIN, **options)[0] == 0
    assert take_inventory(next((folder / "cache").iterdir())).stale == 0


def test_cells_of_one_name_are_apart(folder):
    """Two users' cells, or one before and after it was edited, have one name and one module, and differ in what they compute."""
    options = {"cwd": folder, "path": folder, "cache": folder / "cache"}
    halved = CELL.replace("(states[0] + preactivations[0],)", "(states[0] + preactivations[0] / type(states[0])(2),)")
    assert halved != CELL
    code = (
        "from mycell import *\nfrom mycell import Integrator\n" + USE.split("weight =")[0] + "print(0, outputs.sum())"
    )
    (folder / "mycell.py").write_text(CELL)
    first = float(counted(code=code, **options)[1])
    (folder / "mycell.py").write_text(halved)
    assert float(counted(code=code, **options)[1]) == pytest.approx(first / 2)
    assert float(counted(code=CELL + code.partition("Integrator\n")[2], **options)[1]) == first


class Mine(NamedTuple):
    """A record from outside the package."""

    rate: float = 0.5


def test_a_class_from_elsewhere_is_found_in_groups():
    group = type("Group", (recurrent.Columns,), {})  # of the package by its module, as a group of arguments is
    group.__module__ = recurrent.__name__
    array, mine = types.Array(types.float64, 1, "C"), numba.typeof(Mine())
    own = numba.typeof(cells.LSTM())

    def grouped(*kinds):
        return types.BaseTuple.from_types(kinds, group)

    assert not foreign((own, array, grouped(array, own, types.int64), types.UniTuple(types.int64, 2)))
    assert foreign((mine, array))
    assert foreign((array, grouped(array, mine, types.int64)))
    assert foreign((array, types.Tuple((types.int64, grouped(types.int64, types.Tuple((mine, array)))))))
    packed, of_own = (numba.typeof(pack_records([record])) for record in (Mine2(), cells.LSTM()))
    assert foreign((grouped(array, packed),))
    assert not foreign((grouped(array, of_own),))


class Mine2(NamedTuple):
    """A record with a function, whose code is part of its name in an array of records."""

    rate: float = 0.5

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        return states, ()


GROUPED = """
from typing import NamedTuple
from numbarnn.kernels import cache
from numbarnn.kernels.compile import jit

class Mine(NamedTuple):
    rate: float

class Group(NamedTuple):
    mine: Mine
    count: int

Group.__module__ = "numbarnn.kernels.groups"

@jit
def grouped_half(group):
    return group.mine.rate / group.count

@jit
def plain_half(group):
    return group[0] / group[1]

print(0, grouped_half(Group(Mine(4.0), 2)), plain_half((4.0, 2)))
"""


def test_a_record_in_a_group_leaves_no_file(folder):
    """A group is the package's own; what is in it may not be."""
    _, result, _ = counted(code=GROUPED, cwd=folder, path=folder, cache=folder / "cache", HOME=folder / "home")
    assert result == "2.0 2.0"
    assert not sorted(folder.glob(f"cache/*/*grouped_half*{ENDING}"))
    assert sorted(folder.glob(f"cache/*/*plain_half*{ENDING}"))


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
from numbarnn import LSTM, Dense, Forecaster, LanguageModel, Model, Trainer, step
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(len(compiles), *sorted(new & {"pandas", "tqdm", "safetensors", "torch", "scipy", "sklearn", "matplotlib"}))
"""


def test_import_is_light(tmp_path):
    assert run_python(IMPORT, cwd=tmp_path, cache=tmp_path).stdout.split() == ["0"]


def test_version_is_stated_once():
    import numbarnn

    assert numbarnn.__version__ == numbarnn.__about__.__version__
    assert pathlib.Path(sys.modules["numbarnn"].__file__).name == "__init__.py"
