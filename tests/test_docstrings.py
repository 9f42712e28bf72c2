"""The examples in docstrings run as printed; files that they write go into an empty folder."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _has_examples(text):
    """Return whether there is an example that is run: some need packages or devices that are not everywhere."""
    return any(">>> " in line and "+SKIP" not in line for line in text.splitlines())


def modules_with_examples():
    """Return the names of the modules whose docstrings have examples."""
    paths = sorted((ROOT / "numbarnn").rglob("*.py"))
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if _has_examples(path.read_text())
    ]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    tests = finder.find(module)
    for key, value in vars(module).items():  # compiled functions, which doctest does not take for functions
        if hasattr(value, "py_func") and value.__module__ == name:
            tests += finder.find(value.py_func, f"{name}.{key}", globs=vars(module).copy())
    for test in tests:
        runner.run(test)
    assert runner.summarize(verbose=False).attempted > 0
    assert runner.summarize(verbose=False).failed == 0
