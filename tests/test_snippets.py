"""What the documentation shows runs: README.md and docs/, page by page from top to bottom.

A block of Python (```python) runs in the namespace of the blocks above it on the same page, in an empty folder; of a block of shell
(```sh) the lines that call `numbarnn` run in that folder. What a block needs that is not installed everywhere is written above it,
``<!-- needs: torch -->``; the block is left out where it is not there. The test of a page says how many blocks were left out.
"""

import importlib.util
import os
import pathlib
import re
import shlex
import sys
from typing import NamedTuple

import pytest

from numbarnn.cli.main import main
from numbarnn.errors import DeviceError

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# What a block may need: what is not installed everywhere. Of another word, such as a misspelt one, it would never run.
NEEDS = {"distributed", "fastapi", "gpu", "httpx2", "matplotlib", "onnx", "pyarrow", "sklearn", "torch"}
FENCE = re.compile(r"(?:<!-- needs: (?P<needs>[\w, ]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A block of a page: its language, text, first line, and the packages that it needs."""

    language: str
    text: str
    line: int
    needs: tuple[str, ...] = ()


def blocks(text):
    """Return the blocks of a page that can run."""
    found = []
    for match in FENCE.finditer(text):
        needs = tuple(filter(None, re.split(r"[ ,]+", match["needs"] or "")))
        found.append(Block(match["language"], match["text"], text.count("\n", 0, match.start("text")) + 1, needs))
    return [block for block in found if block.language in ("python", "sh")]


def available(name):
    """Return whether a package, or a GPU, is there."""
    if name != "gpu":
        return importlib.util.find_spec(name) is not None
    from numbarnn.backends.device import backend

    try:
        backend("cuda")
    except DeviceError:
        return False
    return "NUMBA_ENABLE_CUDASIM" not in os.environ


def run_python(block, page, namespace):
    """Run a block in a namespace, with the page's lines in its tracebacks."""
    code = compile("\n" * (block.line - 1) + block.text, str(ROOT / page), "exec")
    exec(code, namespace)


def run_shell(block):
    """Run the lines of a block that call `numbarnn`; a backslash continues a line."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["numbarnn"]:
            assert main(words[1:]) == 0, line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty folder to work in; pictures are drawn without a display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    yield tmp_path
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("page", PAGES)
def test_page(page, folder):
    namespace = {"__name__": "__main__"}
    left_out = []
    for block in blocks((ROOT / page).read_text()):
        assert set(block.needs) <= NEEDS, f"{page}:{block.line}"
        missing = [name for name in block.needs if not available(name)]
        if missing:
            left_out.append(f"{page}:{block.line} needs {', '.join(missing)}")
        elif block.language == "python":
            run_python(block, page, namespace)
        else:
            run_shell(block)
    if left_out:
        print(*left_out, sep="\n")


def test_blocks():
    text = "a\n```python\nx = 1\n```\n<!-- needs: torch, gpu -->\n```sh\nnumbarnn info\n```\n```text\nno\n```\n"
    assert blocks(text) == [
        Block("python", "x = 1\n", 3),
        Block("sh", "numbarnn info\n", 7, ("torch", "gpu")),
    ]


def test_a_failing_block_names_its_line(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(Block("python", "x = 1\nx / 0\n", 7), "docs/page.md", {})
    assert caught.traceback[-1].lineno + 1 == 8
