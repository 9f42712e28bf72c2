"""The script that counts the structure of the package counts what it says, on small examples."""

import json
import pathlib
import sys
import textwrap

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
import structure

sys.path.pop(0)


def text(source):
    return textwrap.dedent(source).lstrip("\n")


def test_lines_of_code():
    source = '''
        """A module.

        Of two paragraphs.
        """

        # a comment
        import os  # counts


        def f(x):
            """Return it."""
            text = """no docstring,
            two lines"""
            return (
                x  # one

            )
        '''
    assert structure.lines_of_code(text(source)) == 1 + 1 + 2 + 3


def test_arguments_of_kernels():
    cpu = text("""
        from numbarnn.kernels.compile import jit

        @jit
        def multiply(a, b, /, c, *, d):
            pass

        def helper(a, b, c, d, e):
            pass
        """)
    cuda = text('''
        @kernel("x n")
        def scale(real):
            """Make it."""

            def scale(values, count, factor):
                pass

            return scale

        def _many(size):
            def make(real):
                def many(values, count, factor, status):
                    pass

                return many

            return make

        def helper(a, b, c, d, e):
            pass

        many = {size: kernel(Group, "n")(_many(size)) for size in SIZES}
        ''')
    texts = {"numbarnn/kernels/cpu/a.py": cpu, "numbarnn/kernels/cuda/a.py": cuda}
    assert structure.kernel_arguments(texts, "numbarnn/kernels/cpu/") == [(4, "numbarnn/kernels/cpu/a.py:4 multiply")]
    assert structure.kernel_arguments(texts, "numbarnn/kernels/cuda/") == [
        (4, "numbarnn/kernels/cuda/a.py:10 _many"),
        (3, "numbarnn/kernels/cuda/a.py:2 scale"),
    ]


def test_fields_of_groups():
    source = text("""
        class Plain:
            a: int

        class Pair(NamedTuple):
            a: int
            b: int = 0
            kind = "pair"
        """)
    assert structure.groups({"a.py": source}) == [(2, "a.py:4 Pair")]


def test_groups_have_names_of_their_own():
    """Numba tells classes of tuples apart by their names alone."""
    names = [where.split()[-1] for _, where in structure.groups(structure.sources())]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ('if device == "cpu": pass', ["comparison"]),
        ('x = 1 if model.device in ("cuda", "cpu") else 2', ["comparison"]),
        ("if model.engine is not None: pass", ["comparison"]),
        ("while self.there: pass", ["condition"]),
        ('if engine and device != "cpu": pass', ["comparison", "condition"]),
        ('hasattr(model, "engine")', ["hasattr"]),
        ('if there is None: path = "cuda"', []),
        ('check_device("cuda")', []),
        ("engine = self.engine", []),
    ],
)
def test_device_branches(line, kinds):
    found = structure.device_branches({"numbarnn/model.py": line, "numbarnn/backends/device.py": line})
    assert [where.split()[1].rstrip(":") for where in found] == kinds
    assert all(where.startswith("numbarnn/model.py:1 ") for where in found)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("from numbarnn.backends.cpu.batch import Rows", 1),
        ("from numbarnn.backends import cuda", 1),
        ("import numbarnn.backends.cuda", 1),
        ("from numbarnn.backends.device import backend", 0),
    ],
)
def test_imports_of_backends(line, count):
    assert len(structure.backend_imports({"numbarnn/model.py": line, "numbarnn/backends/cpu/a.py": line})) == count


def test_calls_and_moves(tmp_path, monkeypatch):
    (tmp_path / "first.py").write_text(
        "import second\ndef f():\n    second.g(); second.g(); return [h() for _ in '12']\ndef h(): pass\n"
    )
    (tmp_path / "second.py").write_text("def g(): return max(i for i in (1, 2))\n")
    monkeypatch.syspath_prepend(tmp_path)
    import first

    entered = structure.calls(lambda: (first.f(), json.dumps([])), tmp_path)
    assert entered == ["first.py", "second.py", "second.py", "first.py", "first.py"]
    assert structure.moves(entered) == 3
    assert structure.moves([]) == 0


def full(x, y=0):
    """Return the sum.

    Parameters
    ----------
    x, y : float

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Never.
    """
    if x is None:
        raise ValueError
    return x + y


def lacking(x, y=0):
    """Return the sum.

    Parameters
    ----------
    x : float
    """
    if x is None:
        raise ValueError
    return x + y


def short():
    """Return one."""
    return 1


def test_docstrings():
    assert structure.missing(full) == []
    assert structure.missing(lacking) == ["parameters y", "Returns", "Raises"]
    assert structure.missing(short) == []
    assert structure.missing(lambda: 0) == ["docstring"]
    assert structure.undocumented({"b": lacking, "a": full}) == ("b: parameters y, Returns, Raises",)


def test_all_figures(capsys):
    structure.main(["--json"])
    figures = {figure["what"]: figure for figure in json.loads(capsys.readouterr().out)}
    assert figures["modules at the top of numbarnn/"]["figure"] == len(list(structure.PACKAGE.glob("*.py")))
    assert all(figures[f"{name}: calls"]["figure"] > 10 for name in ("forward", "loss_and_grad"))
    assert figures["lines of code"]["figure"] > 10_000
    assert structure.table([structure.Figure("what", 3, 2), structure.Figure("else", 1)]).splitlines()[1:] == [
        "what       3      <= 2  over",
        "else       1",
    ]
