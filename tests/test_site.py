"""The site: every public name has a complete docstring and a page, no internal link is dead, and it builds without a warning."""

import html.parser
import importlib
import importlib.util
import inspect
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest

import numbarnn

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ["numbarnn", *(f"numbarnn.{name}" for name in sorted(numbarnn._PUBLIC))]
# What numpydoc finds that a reader would miss: no docstring or summary, parameters that are not described or do not exist, a
# result that is not described.
ERRORS = {"GL08", "SS01", "SS03", "PR01", "PR02", "PR10", "RT01", "YD01"}
ELSEWHERE = re.compile(r"Parameters (are|as)|those of `Recurrent`", re.I)


def public_names(module):
    """Return the public names of a module: `__all__`, or what it defines itself."""
    names = getattr(module, "__all__", None)
    if names is None:
        own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        names = [name for name, value in own.items() if getattr(value, "__module__", None) == module.__name__]
    return sorted(name for name in names if not name.startswith("__"))


def described_elsewhere(value):
    """Return whether the parameters are described as attributes, or as those of another function."""
    from numpydoc.docscrape import NumpyDocString

    text = inspect.getdoc(value)
    named = {name for entry in NumpyDocString(text)["Attributes"] for name in re.split(r",\s*", entry.name)}
    parameters = inspect.signature(value).parameters.values()
    fields = {
        p.name for p in parameters if not p.name.startswith("_") and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    return ELSEWHERE.search(text) or fields <= named


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_are_complete(name):
    validate = pytest.importorskip("numpydoc.validate").validate
    module, found = importlib.import_module(name), []
    for entry in public_names(module):
        value = getattr(module, entry)
        if not callable(value):
            continue
        for code, message in validate(f"{name}.{entry}")["errors"]:
            decorator = (
                code == "PR02" and "{'cls'}" in message
            )  # of classes: numpydoc takes cls for that of a class method
            if code in ERRORS and not decorator and not (code == "PR01" and described_elsewhere(value)):
                found.append(f"{name}.{entry}: {message}")
    assert not found


def test_names_that_users_meet_first_have_examples():
    validate = pytest.importorskip("numpydoc.validate").validate
    names = [name for name in public_names(numbarnn) if not is_kind_of_recurrent(getattr(numbarnn, name))]
    assert not [name for name in names if "EX01" in {code for code, _ in validate(f"numbarnn.{name}")["errors"]}]


def is_kind_of_recurrent(value):
    """Return whether a layer is `Recurrent` with a cell, which has the example for all."""
    return inspect.isclass(value) and issubclass(value, numbarnn.Recurrent) and value is not numbarnn.Recurrent


class Links(html.parser.HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self):
        super().__init__()
        self.targets, self.anchors = [], set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.targets += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def dead_links(folder):
    """Return the links of built pages that lead nowhere within the folder."""
    pages = {}
    for path in folder.rglob("*.html"):
        pages[path] = Links()
        pages[path].feed(path.read_text())
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if not goal.exists() or (parts.fragment and goal in pages and parts.fragment not in pages[goal].anchors):
                dead.append(f"{path.relative_to(folder)}: {target}")
    return dead


def without_code(text):
    """Return a page's text without what is shown as code."""
    return re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.S)


def signature_of(text, name):
    """Return the signature at the head of a page of the reference, "" of another page."""
    found = re.search(rf'<dt class="sig[^>]* id="{re.escape(name)}">(.*?)</dt>', text, re.S)
    return re.sub("<[^>]+>", "", found[1]) if found else ""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="needs the extra docs")
def test_site(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, "docs", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert dead_links(tmp_path / "site") == []
    pages = {path.stem for path in (tmp_path / "site" / "reference" / "generated").glob("*.html")}
    lacking = []
    for name in MODULES:
        module = importlib.import_module(name)
        for entry in public_names(module):
            value = getattr(module, entry)
            if callable(value) and value is not getattr(numbarnn, entry, None) and f"{name}.{entry}" not in pages:
                lacking.append(f"{name}.{entry}")
    assert lacking == []
    assert {f"numbarnn.{entry}" for entry in public_names(numbarnn)} <= pages
    texts = {path.stem: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    # Readers without a connection see all of it: no script, style or equation is loaded from elsewhere.
    loading = re.compile(
        r"""<(?:script|img)[^>]*src=["']https?:|<link[^>]*rel=["']stylesheet["'][^>]*href=["']https?:"""
    )
    assert [name for name, text in texts.items() if loading.search(text)] == []
    assert [name for name, text in texts.items() if re.search(r"\\[\[(]|:math:|```|\{math\}", without_code(text))] == []
    assert [name for name, text in texts.items() if "**options" in signature_of(text, name)] == []
    assert "hidden_size" in signature_of(texts["numbarnn.LSTM"], "numbarnn.LSTM")


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html">b</a><a href="#x">x</a><a href="#y">y</a>')
    assert dead_links(tmp_path) == ["a.html: b.html", "a.html: #y"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text())
    assert not [target for target in targets if "://" not in target and not (ROOT / target.partition("#")[0]).exists()]
