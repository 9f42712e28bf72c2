"""Scalar expressions of C: a graph that is printed as statements, of which only those are written that a result needs."""

import itertools
import math
import operator

import numpy as np

from numbarnn.frozen.c_text import identifier

# How tightly an expression binds.
CHOICE, EITHER, BOTH, COMPARISON, SUM, PRODUCT, UNARY, ATOM = range(8)

_ARITHMETIC = {
    "+": (operator.add, SUM),
    "-": (operator.sub, SUM),
    "*": (operator.mul, PRODUCT),
    "/": (operator.truediv, PRODUCT),
}
_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_numbers = itertools.count()


class Expression:
    """A value that is known when the C code runs.

    Attributes
    ----------
    form : str
        Its text, with a pair of braces for each operand.
    operands : tuple
        Expressions and constants.
    kind : {"float", "double", "int32_t", "int"}
        Its C type; "int" that of a comparison.
    level : int
        How tightly it binds.
    calls : str or None
        The function that it calls.
    hint : str or None
        What a variable of its value would be called.
    """

    __slots__ = ("calls", "form", "hint", "kind", "level", "number", "operands")

    def __init__(self, form, operands=(), kind="double", level=ATOM, calls=None, hint=None):
        self.form, self.operands, self.kind, self.level = form, tuple(operands), kind, level
        self.calls, self.hint, self.number = calls, hint, next(_numbers)

    def __bool__(self):
        raise TypeError("a value that is not known before the code runs")


def symbolic(value) -> bool:
    """Return whether a value, or part of a tuple, is an expression."""
    return isinstance(value, Expression) or (isinstance(value, (tuple, list)) and any(map(symbolic, value)))


def kind_of(value) -> str:
    """Return the C type of a value: Numba's rules, under which a number of Python is a double beside an expression."""
    return value.kind if isinstance(value, Expression) else "float" if isinstance(value, np.float32) else "double"


def literal(value) -> str:
    """Return a constant, in the digits of a double whatever its type, since compilers may compute in wider types."""
    single, value = isinstance(value, np.float32), float(value)
    if not math.isfinite(value):
        return "NAN" if math.isnan(value) else "INFINITY" if value > 0 else "(-INFINITY)"
    text = repr(value) + "F" * single
    return f"({text})" if text.startswith("-") else text


def _text(value, names, least):
    """Return the text of an operand of something that binds as tightly as `least`."""
    if not isinstance(value, Expression):
        return literal(value)
    if value.number in names:
        return names[value.number]
    text = _printed(value, names)
    return f"({text})" if value.level < least else text


def _printed(value, names):
    """Return the text of an expression, that of operands being their names where they have such."""
    level, count = value.level, len(value.operands)
    if value.calls:
        least = [CHOICE] * count
    elif level in (UNARY, CHOICE):
        least = [min(level + 1, ATOM)] * count
    elif level in (BOTH, EITHER):
        least = [COMPARISON] * count
    else:  # what stands right of an operator is bracketed at the same level too, so no order of operations changes
        least = [level + (level == COMPARISON), level + 1]
    return value.form.format(*(_text(o, names, at) for o, at in zip(value.operands, least, strict=False)))


def arithmetic(sign: str, a, b):
    """Return a + b, a - b, a * b or a / b; what is known is computed, and a product with 0 counts as 0."""
    function, level = _ARITHMETIC[sign]
    if not symbolic(a) and not symbolic(b):
        if type(a) is not type(b):  # Numba's rule: NumPy would make a float32 of a float32 and a number of Python
            a, b = (v if isinstance(v, int) else np.float64(v) for v in (a, b))
        with np.errstate(all="ignore"):
            return function(a, b)
    kind = "double" if "double" in (kind_of(a), kind_of(b)) else "float"
    for constant, other, left in ((a, b, True), (b, a, False)):
        if symbolic(constant) or other.kind != kind:
            continue
        if (constant == 0 and (sign == "+" or (sign == "-" and not left))) or (
            constant == 1 and (sign == "*" or (sign == "/" and not left))
        ):
            return other
        if constant == 0 and sign == "*":
            return np.float32(0) if kind == "float" else np.float64(0)
    return Expression(f"{{}} {sign} {{}}", (a, b), kind, level)


def negative(a):
    """Return -a."""
    return Expression("-{}", (a,), a.kind, UNARY) if symbolic(a) else -a


def compare(sign: str, a, b):
    """Return the truth of a comparison."""
    if not symbolic(a) and not symbolic(b):
        return bool(_COMPARISONS[sign](a, b))
    return Expression(f"{{}} {sign} {{}}", (a, b), "int", COMPARISON)


def choose(condition, a, b):
    """Return a where a condition holds, else b; tuples element by element."""
    if not symbolic(condition):
        return a if condition else b
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(choose(condition, x, y) for x, y in zip(a, b, strict=True))
    kind = "double" if "double" in (kind_of(a), kind_of(b)) else kind_of(a)
    return a if a is b else Expression("{} ? {} : {}", (condition, a, b), kind, CHOICE)


def print_statements(results, taken=()) -> tuple[list[str], list[str], list[str]]:
    """Return (statements, the text of each result, the functions that are called).

    What has a name in Python or is used more than once becomes a constant.

    Parameters
    ----------
    results : list
        Expressions and constants.
    taken : iterable of str
        Names that variables must not have.
    """
    uses, nodes, todo = {}, {}, list(results)
    while todo:
        value = todo.pop()
        if isinstance(value, Expression):
            uses[value.number] = uses.get(value.number, 0) + 1
            if value.number not in nodes:
                nodes[value.number] = value
                todo += value.operands
    statements, names, taken, calls = [], {}, set(taken), []
    for number in sorted(nodes):
        value = nodes[number]
        if value.calls and value.calls not in calls:
            calls.append(value.calls)
        if (value.level == ATOM and not value.calls and not value.hint) or (uses[number] == 1 and not value.hint):
            continue
        text, name = _printed(value, names), identifier(value.hint or "t", taken)
        statements.append(f"const {value.kind} {name} = {text};")
        names[number] = name
    return statements, [_text(result, names, 0) for result in results], calls
