"""The structure of the package in figures, beside what it is to be: ``python benchmarks/structure.py [--json] [--where]``.

Everything but the calls of a pass is read from the sources. What is counted, exactly:

top of the package    modules (``*.py``) and folders with an ``__init__.py`` directly under ``numbarnn/``
import layers         entries of the layers contract of import-linter in ``pyproject.toml``
arguments             parameters of functions under a decorator of kernels; on CUDA of the function that the decorated one makes,
                      or the one in a call ``kernel(...)(maker)``
fields of a group     annotated fields of a class derived from NamedTuple
device branches       outside ``numbarnn/backends``: comparisons with the strings "cpu" and "cuda", conditions and comparisons that
                      read ``engine``, ``x.engine`` or ``x.there``, ``hasattr`` and ``getattr`` of such a name, "device" or "cuda";
                      apart from them, imports of ``numbarnn.backends.cpu`` or ``numbarnn.backends.cuda``
calls of a pass       Python's 'call' events in functions of the package during the third call, comprehensions and generator
                      expressions left out (some versions of Python inline them); *moves*: how often the file differs from that of
                      the call before, the first call included
lines of code         lines with a token that is neither a comment nor part of a docstring
public names          functions and classes of ``numbarnn.__all__`` and of the public modules; a *full* docstring has a summary in
                      one line, names every parameter under Parameters or Attributes (or says which function's they are), and
                      has Returns or Yields where something is returned (without parameters a summary "Return ..." will do), and
                      Raises where the function raises or calls a check
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import io
import json
import pathlib
import sys
import textwrap
import tokenize
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout, whatever is installed
PACKAGE = ROOT / "numbarnn"
PUBLIC = (
    "cells",
    "data",
    "decoding",
    "diagnostics",
    "errors",
    "language",
    "layers",
    "losses",
    "metrics",
    "optim",
    "plots",
)
KERNEL_DECORATORS = {"jit", "bare", "kernel", "_step_kernel"}
DEVICE_NAMES, DEVICE_ATTRIBUTES = {"engine", "_engine"}, {"engine", "_engine", "there"}
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table; `most` is the goal, `locations` says where what is counted was found."""

    what: str
    figure: int
    most: int | None = None
    locations: tuple[str, ...] = ()


def sources(folder=PACKAGE):
    """Return {path below the folder's parent: text} of all modules."""
    return {str(path.relative_to(folder.parent)): path.read_text() for path in sorted(folder.rglob("*.py"))}


# Sources


def top(folder=PACKAGE):
    """Return (modules, folders) at the top of the package."""
    modules = sorted(path.name for path in folder.glob("*.py"))
    return modules, sorted(path.parent.name for path in folder.glob("*/__init__.py"))


def import_layers(pyproject=ROOT / "pyproject.toml"):
    """Return the entries of the layers contract."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return layers


def _decorators(function):
    for decorator in function.decorator_list:
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        yield node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _parameters(function):
    arguments = function.args
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)


def _made_by(function):
    """Return what a function makes: the functions in it, or in those, that hold no other."""
    inner = [node for node in function.body if isinstance(node, ast.FunctionDef)]
    return [made for node in inner for made in _made_by(node)] or [function]


def _called_makers(tree):
    """Return the functions of a module that stand in a call ``kernel(...)(maker)``."""
    makers = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(getattr(node.func, "func", None), "id", "") == "kernel":
            makers |= {part.id for argument in node.args for part in ast.walk(argument) if isinstance(part, ast.Name)}
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in makers]


def kernel_arguments(texts, below):
    """Return [(arguments, path:line name)] of the kernels in a folder, most arguments first."""
    found = []
    for path, text in texts.items():
        if not path.startswith(below):
            continue
        tree = ast.parse(text)
        makers = {node.lineno: node for node in _called_makers(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and KERNEL_DECORATORS & set(_decorators(node)):
                if "kernel" in _decorators(node):
                    makers[node.lineno] = node
                else:
                    found.append((_parameters(node), f"{path}:{node.lineno} {node.name}"))
        for line, node in makers.items():
            found.append((max(map(_parameters, _made_by(node))), f"{path}:{line} {node.name}"))
    return sorted(found, reverse=True)


def groups(texts):
    """Return [(fields, path:line name)] of the NamedTuples, most fields first."""
    found = []
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "NamedTuple" for base in node.bases):
                count = sum(isinstance(part, ast.AnnAssign) for part in node.body)
                found.append((count, f"{path}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def _is_device(node):
    return isinstance(node, ast.Constant) and node.value in ("cpu", "cuda")


def _reads_device(node):
    """Return whether a device's half of a network or run is read in an expression."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr in DEVICE_ATTRIBUTES)
        or (isinstance(part, ast.Name) and part.id in DEVICE_NAMES)
        for part in ast.walk(node)
    )


def _device_branch(node):
    """Return what makes a node a choice of a device; "" where it is none."""
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        inner = [part for group in operands if isinstance(group, (ast.Tuple, ast.Set, ast.List)) for part in group.elts]
        return "comparison" if any(map(_is_device, operands + inner)) or _reads_device(node) else ""
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):  # a comparison in it counts by itself
        tests = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
        return "condition" if any(_reads_device(t) for t in tests if not isinstance(t, ast.Compare)) else ""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("hasattr", "getattr") and len(node.args) > 1:
        name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
        return node.func.id if name in DEVICE_ATTRIBUTES | {"device", "cuda"} else ""
    return ""


def _backend_import(node):
    """Return "import" if a node imports a backend, else ""."""
    modules = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        modules = [f"{node.module}.{alias.name}" for alias in node.names]
    backends = ("numbarnn.backends.cpu", "numbarnn.backends.cuda")
    return "import" if any(f"{name}.".startswith(f"{backend}.") for name in modules for backend in backends) else ""


def outside_backends(texts, kind_of):
    """Return where `kind_of` names a node of a module outside the backends: path:line kind: source."""
    found = []
    for path, text in texts.items():
        if path.startswith("numbarnn/backends/"):
            continue
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            kind = kind_of(node)
            if kind:
                found.append((path, node.lineno, f"{path}:{node.lineno} {kind}: {lines[node.lineno - 1].strip()}"))
    return tuple(where for _, _, where in sorted(found))


def device_branches(texts):
    """Return the locations where a device is chosen outside the backends."""
    return outside_backends(texts, _device_branch)


def backend_imports(texts):
    """Return the locations where a backend is imported outside the backends."""
    return outside_backends(texts, _backend_import)


NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING,
}  # fmt: skip


def lines_of_code(text):
    """Return the number of lines of a module that hold code: no docstrings, comments and blank lines."""
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            documented.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - documented)


# Calls of a pass


def calls(function, folder=PACKAGE):
    """Return the files of the package's functions in the order in which a third call of `function` enters them."""
    function()
    function()
    below, entered = str(folder) + "/", []

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(below) and code.co_name not in COMPREHENSIONS:
            entered.append(code.co_filename[len(below) :])

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered


def moves(entered):
    """Return how often the file changes from one call to the next, the first call included."""
    return sum(file != before for before, file in zip([None, *entered], entered, strict=False))


def passes():
    """Return the calls of both passes by name: LSTM(16) and Dense(2), a batch of (32, 60, 8), two threads."""
    import numpy as np

    from numbarnn import LSTM, Dense, Model

    model = Model([LSTM(16), Dense(2)], input_size=8, n_threads=2)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 60, 8)).astype(np.float32), rng.integers(0, 2, (32, 60))
    return {"forward": calls(lambda: model.forward(x)), "loss_and_grad": calls(lambda: model.loss_and_grad(x, y))}


# Docstrings


def public_names(modules=PUBLIC):
    """Return {qualified name: object} of the public functions and classes; an object is named once, where it is first found."""
    found, seen = {}, set()
    for name in ("", *modules):
        module = importlib.import_module(f"numbarnn.{name}".rstrip("."))
        names = getattr(module, "__all__", None)
        if names is None:
            names = [key for key, value in vars(module).items()
                     if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__]  # fmt: skip
        for key in sorted(names):
            value = getattr(module, key)
            function = getattr(value, "py_func", value)  # of what Numba compiles
            if (inspect.isclass(function) or inspect.isfunction(function)) and id(value) not in seen:
                seen.add(id(value))
                found[f"{module.__name__}.{key}"] = function
    return found


def public_methods(names):
    """Return {qualified name: function} of the methods that public classes define themselves, but for the functions of cells."""
    found = {}
    for name, value in names.items():
        if not inspect.isclass(value) or name.startswith("numbarnn.cells."):
            continue
        for key, member in vars(value).items():
            function = getattr(member, "__func__", member)
            overrides = any(key in vars(base) for base in value.__mro__[1:])  # documented by what it overrides
            if inspect.isfunction(function) and not key.startswith("_") and not overrides:
                found[f"{name}.{key}"] = function
    return found


def _body(function):
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # made by `dataclass`
        return None


def _raises(function):
    """Return whether a function itself raises or calls a check."""
    body = _body(function)
    for node in ast.walk(body) if body is not None else ():
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if called.lstrip("_").startswith(("check_", "refuse_")):
            return True
    return False


def _returns(function):
    """Return whether a function returns or yields something of its own, not `self`."""
    body = _body(function)
    for node in ast.walk(body) if body is not None else ():
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if isinstance(node, ast.Return) and node.value is not None and getattr(node.value, "id", "") != "self":
            return True
    return False


def _parameters_of(value):
    """Return the names of the parameters of a function, or of the constructor of a class."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.kind not in variadic and p.name not in ("self", "cls") and p.name[0] != "_"]


def missing(value):
    """Return what the docstring of a function or class lacks, in words; empty where it is full."""
    text = inspect.getdoc(value) if value.__doc__ else None
    if not text:
        return ["docstring"]
    lines, lacks = text.splitlines(), []
    if len(lines) > 1 and lines[1].strip():
        lacks.append("a summary in one line")
    is_class = inspect.isclass(value)
    is_error = is_class and issubclass(value, BaseException)
    names = [] if is_error else _parameters_of(value)
    elsewhere = any(phrase in text for phrase in ("Parameters are those of", "Parameters as", "Options are those of"))
    # Quoted names count: `x`, `lengths`; and so do those that a section lists: "x, lengths : ...".
    if names and not elsewhere:
        sections = "Parameters\n---", "Attributes\n---"
        if not any(section in text for section in sections):
            lacks.append("Parameters")
        else:
            words = set(text.replace(",", " ").replace("`", " ").replace("*", " ").replace(":", " ").split())
            unnamed = [name for name in names if name not in words]
            if unnamed:
                lacks.append(f"parameters {', '.join(unnamed)}")
    if not is_class and _returns(value):
        told = any(f"{section}\n---" in text for section in ("Returns", "Yields"))
        short = not names and lines[0].startswith(("Return ", "Yield ", "The ", "Whether ", "What ", "How "))
        if not (told or short):
            lacks.append("Returns")
    raising = [value]
    if is_class:
        raising = [vars(value)[name] for name in ("__init__", "__post_init__") if name in vars(value)]
    if not is_error and any(map(_raises, raising)) and "Raises\n---" not in text and not elsewhere:
        lacks.append("Raises")
    return lacks


def undocumented(values):
    """Return the lines "name: what is missing" of names without a full docstring."""
    return tuple(f"{name}: {', '.join(lacks)}" for name, value in sorted(values.items()) if (lacks := missing(value)))


# All of it


def measure():
    """Return all figures."""
    texts = sources()
    modules, folders = top()
    figures = [
        Figure("modules at the top of numbarnn/", len(modules), 12, tuple(modules)),
        Figure("folders at the top of numbarnn/", len(folders), 19, tuple(folders)),
        Figure("import layers", len(import_layers()), 12),
    ]
    for device in ("cpu", "cuda"):
        found = kernel_arguments(texts, f"numbarnn/kernels/{device}/")
        over = tuple(f"{where}: {count}" for count, where in found if count > 12)
        figures.append(Figure(f"arguments of the worst kernel, {device}", found[0][0], 12, over))
    largest = groups(texts)
    figures.append(
        Figure(
            "fields of the largest group", largest[0][0], 12, tuple(f"{where}: {count}" for count, where in largest[:3])
        )
    )
    branches, imports = device_branches(texts), backend_imports(texts)
    figures.append(Figure("device branches outside the backends", len(branches), 0, branches))
    figures.append(Figure("imports of a backend outside the backends", len(imports), 0, imports))
    goals = {"forward": (60, 8, 25), "loss_and_grad": (140, 10, 60)}
    for name, entered in passes().items():
        files = tuple(dict.fromkeys(entered))
        most = goals[name]
        figures += [
            Figure(f"{name}: calls", len(entered), most[0]),
            Figure(
                f"{name}: files", len(files), most[1], tuple(f"{file}: {entered.count(file)} calls" for file in files)
            ),
            Figure(f"{name}: moves between files", moves(entered), most[2]),
        ]
    figures.append(Figure("lines of code", sum(map(lines_of_code, texts.values())), 15000))
    names = public_names()
    lacking = undocumented(names)
    figures.append(Figure(f"public names without a full docstring, of {len(names)}", len(lacking), 0, lacking))
    methods = public_methods(names)
    lacking = undocumented(methods)
    figures.append(Figure(f"their methods without a full docstring, of {len(methods)}", len(lacking), None, lacking))
    return figures


def table(figures, where=False):
    """Return the figures as text, a line each; with `where` what was counted below it."""
    width = max(len(figure.what) for figure in figures)
    lines = [f"{'what':<{width}}  figure    goal"]
    for figure in figures:
        goal = "" if figure.most is None else f"<= {figure.most}" if figure.most else "0"
        mark = "" if figure.most is None or figure.figure <= figure.most else "  over"
        lines.append(f"{figure.what:<{width}}  {figure.figure:>6,}  {goal:>8}{mark}".rstrip())
        if where:
            lines += [f"    {line}" for line in figure.locations]
    return "\n".join(lines)


def main(arguments=None):
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--where", action="store_true", help="say below each figure where what is counted was found")
    options = parser.parse_args(arguments)
    figures = measure()
    print(
        json.dumps([dataclasses.asdict(f) for f in figures], indent=1)
        if options.json
        else table(figures, options.where)
    )


if __name__ == "__main__":
    main()
