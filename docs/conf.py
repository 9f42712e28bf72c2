"""The site: ``python -m sphinx -W -b html docs build/site``. It is built offline, and what is not a page is not linked."""

import importlib
import inspect
import pathlib
import re

from docutils import nodes
from sphinx import addnodes

import numbarnn

HERE = pathlib.Path(__file__).parent
# Methods by which parts of the package use each other.
INTERNAL = {
    "check_state", "description", "differentiate", "evaluate_rows", "from_description", "host_passes", "step_plan",
    "without_weights",
}  # fmt: skip
# Functions that docstrings name in full: by themselves the words are arguments and methods.
IN_FULL = {"load", "step", "warmup"}

project = "numbarnn"
author = "the numbarnn developers"
copyright = author
version = release = numbarnn.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_templates"]
templates_path = ["_templates"]
nitpicky = True
suppress_warnings = ["config.cache"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"numbarnn {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def public_names(module):
    """Return the public names of a module: `__all__`, or what it defines itself."""
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
    names = getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]
    return sorted((name for name in names if not name.startswith("__")), key=str.lower)


def public_modules():
    """Return the public modules by name."""
    names = ["numbarnn", *(f"numbarnn.{module}" for module in sorted(numbarnn._PUBLIC))]
    return {name: importlib.import_module(name) for name in names}


def kind(value):
    """Return the section of a module's page that lists a public object."""
    if inspect.isclass(value):
        return "Classes"
    return "Functions" if callable(value) else "Registries"


def home(module, name):
    """Return the module whose page describes a name: `numbarnn` for what is there too."""
    top = numbarnn if name in numbarnn.__all__ else importlib.import_module(module)
    same = getattr(top, name) is getattr(importlib.import_module(module), name)
    return top.__name__ if same else module


def write_reference():
    """Write a page of the reference for every public module, from its `__all__`."""
    folder = HERE / "reference"
    folder.mkdir(exist_ok=True)
    for name, module in public_modules().items():
        described = inspect.getdoc(module).removeprefix("numbarnn: ")
        described = described[:1].upper() + described[1:]
        lines = [name, "=" * len(name), "", described, "", f".. currentmodule:: {name}", ""]
        public = public_names(module)
        elsewhere = [entry for entry in public if home(name, entry) != name]
        if elsewhere:
            links = ", ".join(f":py:obj:`~numbarnn.{entry}`" for entry in elsewhere)
            lines += [f"Also here, described under ``numbarnn``: {links}.", ""]
        for section in ("Classes", "Functions", "Registries"):
            listed = [entry for entry in public if kind(getattr(module, entry)) == section and entry not in elsewhere]
            if not listed:
                continue
            lines += [section, "-" * len(section), ""]
            if section == "Registries":
                lines += [f".. py:data:: {entry}\n\n   A table of what is registered, by name.\n" for entry in listed]
            else:
                lines += [".. autosummary::", "   :toctree: generated", "   :nosignatures:", ""]
                lines += [f"   {entry}" for entry in listed] + [""]
        page = folder / f"{name}.rst"
        text = "\n".join(lines)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def _targets():
    """Return {what a docstring may call it: (role, full name)} of everything that has a page."""
    targets = {}
    for name, module in reversed(public_modules().items()):
        for entry in public_names(module):
            role = {"Classes": "class", "Functions": "func", "Registries": "data"}[kind(getattr(module, entry))]
            targets[entry] = targets[f"{name}.{entry}"] = (role, f"{home(name, entry)}.{entry}")
    return {name: target for name, target in targets.items() if name not in IN_FULL}


def code_or_link(targets):
    """Return the default role: a link where the name has a page, code elsewhere."""

    def role(name, rawtext, text, lineno, inliner, options=None, content=None):
        code = nodes.literal(rawtext, text, classes=["xref"] if text in targets else [])
        if text not in targets:
            return [code], []
        reftype, target = targets[text]
        return [addnodes.pending_xref("", code, refdomain="py", reftype=reftype, reftarget=target, refwarn=True)], []

    return role


def skip(app, what, name, member, skipped, options):
    """Leave out members that others define (tuples, scikit-learn's routing of metadata), and what is not for users."""
    owner = getattr(getattr(member, "fget", member), "__module__", None)
    foreign = owner is not None and not owner.startswith("numbarnn")
    builtin = hasattr(member, "__objclass__") or type(member).__name__ == "_tuplegetter"
    return True if foreign or builtin or name in INTERNAL or re.fullmatch(r"set_\w+_request", name) else None


def constructor(app, what, name, value, options, arguments, returns):
    """Return the arguments of a class as `inspect` has them: Sphinx sees those of a base that explains wrong ones."""
    if arguments != "(*args, **options)" or not inspect.isclass(value):
        return None
    if value.__init__ is object.__init__:  # a base of others
        return "", returns
    own = inspect.signature(value)
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in own.parameters.values()]
    return str(own.replace(parameters=parameters, return_annotation=own.empty)), returns


def setup(app):
    """Register the default role, and write the reference before it is read."""
    app.add_role("code-or-link", code_or_link(_targets()))
    app.connect("autodoc-skip-member", skip)
    app.connect(
        "autodoc-process-signature", constructor, priority=400
    )  # before numpydoc's, which returns what it was given
    write_reference()


default_role = "code-or-link"
