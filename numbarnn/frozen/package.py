"""The folder of a frozen model: an installable package of its library and one module of NumPy and ctypes."""

import os
import pathlib
import platform
import re
import shutil
import stat
import tempfile

from numbarnn.core.replacing import replace
from numbarnn.frozen.interface import Interface

# By this line a folder is known to be one that may be written to again.
MARK = "# Written by numbarnn.freeze."

_PROJECT = """{mark}
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"
description = "A recurrent net as machine code"
requires-python = ">=3.9"
dependencies = ["numpy"]

[tool.setuptools]
packages = ["{name}"]

[tool.setuptools.package-data]
{name} = ["*.so", "*.h"]
"""

# The library is of one kind of system, which the tag of a wheel says only if it is told.
_SETUP = """[bdist_wheel]
plat_name = linux_{machine}
"""

_README = """# {name}

A recurrent net, frozen by numbarnn into machine code: it needs NumPy, and nothing else.

    pip install .

```python
import numpy as np
from {name} import load

net = load()  # the library, checked on this processor
{example}
```

Reads {reads}; gives {outputs} outputs {each}. States go in and come out; nothing is stored between calls, and any number of threads
may share the net. `{name}/{name}.h` has the same functions for C (link with `{name}/{name}.so`). `python -m pytest tests` checks
it all.
"""

_TESTS = '''"""The net computes here what it did where it was made."""

import threading

import numpy as np
import pytest

from {name} import load


def inputs(net, samples, steps):
    rng = np.random.default_rng(0)
    if net.tokens:
        return rng.integers(0, net.inputs, (samples, steps, net.bag) if net.bag else (samples, steps))
    return rng.normal(size=(samples, steps, net.inputs))


def test_loads_and_passes_its_check():
    assert load() is load()


def test_steps_are_the_forward_pass():
    net = load()
    x = inputs(net, 1, 6)
    y, after = net.forward(x)
    if net._step is None:
        pytest.skip("this net needs whole sequences")
    state = None
    for t in range(6):
        y_t, state = net.step(x[0, t], state)
        if net.sequence:
            assert np.array_equal(y_t, y[0, t])
    assert np.array_equal(y_t, y[0, -1] if net.sequence else y[0])


def test_samples_do_not_depend_on_each_other():
    net = load()
    x, lengths = inputs(net, 3, 5), [5, 2, 4]
    y, _ = net.forward(x, lengths=lengths)
    for n, length in enumerate(lengths):
        own, _ = net.forward(x[n : n + 1, :length])
        assert np.array_equal(own[0], y[n, :length] if net.sequence else y[n])
        assert not net.sequence or not y[n, length:].any()


def test_a_sequence_in_two_pieces():
    net = load()
    if net._step is None or not net.sequence:
        pytest.skip("this net needs whole sequences")
    x = inputs(net, 2, 6)
    y, _ = net.forward(x)
    first, state = net.forward(x[:, :4])
    second, _ = net.forward(x[:, 4:], state)
    assert np.array_equal(np.concatenate([first, second], axis=1), y)


def test_threads():
    net = load()
    x = inputs(net, 2, 20)
    expected, found = net.forward(x)[0], [None] * 8

    def run(index):
        found[index] = net.forward(x)[0]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(y, expected) for y in found)


def test_wrong_shapes_are_refused():
    net = load()
    with pytest.raises(ValueError, match="x must have shape"):
        net.forward(np.zeros((1, 2, 3, 4)))
    with pytest.raises(ValueError, match="lengths must be from 0 to 2"):
        net.forward(inputs(net, 1, 2), lengths=[3])
'''


def write_folder(folder: pathlib.Path, interface: Interface, library: bytes) -> None:
    """Write the package.

    Raises
    ------
    FileExistsError
        If there is a folder that no such package is in, or one of another name.
    """
    folder = pathlib.Path(os.path.realpath(folder))
    check_folder(folder, interface.name)
    files = _files(interface, library)
    exists = folder.exists()
    empty = exists and not any(folder.iterdir()) and not folder.is_mount() and os.access(folder.parent, os.W_OK)
    if exists and not empty:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            replace(folder / name, content)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Under its name it is there as a whole or not at all.
    beside = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in files.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
        # A temporary folder is open to its owner alone; those inside it have what the umask leaves.
        like = folder if exists else beside / interface.name
        beside.chmod(stat.S_IMODE(like.stat().st_mode))
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def check_folder(folder: pathlib.Path, name: str) -> None:
    """Raise an error if `write_folder` could not write a package of a name.

    Raises
    ------
    FileExistsError
        If there is something that `write_folder` did not make, or a package of another name.
    NotADirectoryError, PermissionError
        If the folder that it would be made in is a file, or not writable.
    """
    last = folder
    while not os.path.lexists(last):
        last = last.parent
    if last != folder and not last.is_dir():
        raise NotADirectoryError(f"path: {str(folder)!r} cannot be made: {str(last)!r} is not a folder")
    if last.is_dir() and not os.access(last, os.W_OK):
        raise PermissionError(f"path: the folder {str(last)!r} is not writable; choose another")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    project = folder / "pyproject.toml"
    text = project.read_text(errors="replace") if project.is_file() else ""
    if not text.startswith(MARK):
        raise FileExistsError(
            f"path: {str(folder)!r} exists and was not written by numbarnn.freeze; name another folder, or delete it"
        )
    found = re.search(r'^name = "(\w+)"', text, re.MULTILINE)
    if found is None or found[1] != name:
        raise FileExistsError(
            f"path: {str(folder)!r} has a frozen model of another name, {found[1] if found else 'which is unknown'}; pass that "
            "name, name another folder, or delete it"
        )


def _files(interface, library):
    name = interface.name
    module = pathlib.Path(__file__).with_name("runtime.py").read_text()
    module = module.replace('NAME = "model"', f'NAME = "{name}"').replace("SIZE = 0", f"SIZE = {len(library)}")
    texts = {
        "pyproject.toml": _PROJECT.format(name=name, mark=MARK),
        "setup.cfg": _SETUP.format(machine=platform.machine()),
        "README.md": _readme(interface),
        f"{name}/{name}.h": interface.header(),
        "tests/test_" + name + ".py": _TESTS.format(name=name),
    }
    # The last two belong together: the module knows the size of the library.
    found = {path: text.encode() for path, text in texts.items()}
    return found | {f"{name}/{name}.so": library, f"{name}/__init__.py": module.encode()}


def _readme(interface):
    if interface.bag:
        reads = f"bags of {interface.bag} of {interface.inputs} tokens, -1 for none"
        x, one = f"np.zeros((8, 20, {interface.bag}), int)", f"np.zeros({interface.bag}, int)"
    elif interface.tokens:
        reads, x, one = f"tokens from 0 to {interface.inputs - 1}", "np.zeros((8, 20), int)", "0"
    else:
        reads = f"{interface.inputs} features a step"
        x, one = f"np.zeros((8, 20, {interface.inputs}))", f"np.zeros({interface.inputs})"
    example = f"y, state = net.forward({x})"
    if interface.step:
        example += f"\ny_t, state = net.step({one})\ny_t, state = net.step({one}, state)"
    each = "a step" if interface.sequence else "a sample"
    return _README.format(name=interface.name, example=example, reads=reads, outputs=interface.outputs, each=each)
