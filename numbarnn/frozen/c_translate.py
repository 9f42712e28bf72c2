"""Scalar functions in Python, such as those of cells, as expressions of C: their source is followed, and what is known computed."""

import ast
import builtins
import inspect
import math
import operator
import textwrap
from collections.abc import Callable

import numpy as np

from numbarnn.frozen.c_expressions import (
    BOTH,
    EITHER,
    UNARY,
    Expression,
    arithmetic,
    choose,
    compare,
    kind_of,
    negative,
    symbolic,
)

# Functions calling functions, and statements that an unrolled loop may become.
DEPTH, STATEMENTS = 40, 100_000

_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_MISSING = object()
# Operators of what is known, such as options of a cell.
_CONSTANT = {ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_}
_CASTS = {np.float32: "float", np.float64: "double", float: "double", np.int32: "int32_t"}
# The C library's functions of one argument, by the names they have in `math` and NumPy.
_LIBRARY = {
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "fabs",
    "floor", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
}  # fmt: skip
_NUMPY_NAMES = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
    "absolute": "fabs",
}


class Translator:
    """Follows functions of scalars.

    Parameters
    ----------
    known : dict
        Functions of Python that have a counterpart in C -> a function of their arguments that returns an expression.
    owner : str
        Whose functions they are, for messages.
    """

    def __init__(self, known: dict[Callable, Callable], owner: str):
        self.known, self.owner, self.stack, self.followed = known, owner, [], 0

    def call(self, function: Callable, *arguments):
        """Return what a function returns for expressions, constants and tuples of them.

        Raises
        ------
        TypeError
            If its source cannot be read, or has something that has no counterpart here.
        """
        plain = inspect.unwrap(getattr(function, "py_func", function))
        if not inspect.isfunction(plain):
            raise self._refused(None, f"a call of {getattr(plain, '__name__', plain)!r}")
        if len(self.stack) >= DEPTH:
            raise self._refused(None, "functions that call themselves")
        try:
            bound = inspect.signature(plain).bind(*arguments)
        except TypeError as error:
            raise self._refused(None, f"a wrong call of {plain.__name__} ({error})") from None
        bound.apply_defaults()
        self.stack.append(plain)
        try:
            return self._run(_body(plain, self), dict(bound.arguments))
        finally:
            self.stack.pop()

    def _refused(self, node, what) -> TypeError:
        where = ""
        if self.stack:
            function = self.stack[-1]
            line = getattr(node, "lineno", 1) + function.__code__.co_firstlineno - 1
            where = f" (line {line} of {function.__code__.co_filename})"
        return TypeError(
            f"{self.owner} cannot be written in C: it has {what}{where}; scalar functions of arithmetic, conditions, tuples and "
            "functions of numbarnn.cells, math and NumPy can; or freeze the model to a shared library"
        )

    # Statements

    def _run(self, statements, scope):
        """Return what a run of statements returns."""
        todo = list(statements)
        while todo:
            node = todo.pop(0)
            self.followed += 1
            if self.followed > STATEMENTS:
                raise self._refused(node, f"more than {STATEMENTS} statements to follow")
            match node:
                case ast.Return(value=None):
                    return None
                case ast.Return(value=value):
                    return self._value(value, scope)
                case ast.Assign(targets=targets, value=value):
                    found = self._value(value, scope)
                    for target in targets:
                        self._assign(target, found, scope)
                case ast.AnnAssign(target=target, value=value) if value is not None:
                    self._assign(target, self._value(value, scope), scope)
                case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                    found = self._binary(node, op, self._name(node, name, scope), self._value(value, scope))
                    self._assign(target, found, scope)
                case ast.If(test=test, body=body, orelse=orelse):
                    condition = self._truth(node, self._value(test, scope))
                    if not symbolic(condition):
                        todo = (body if condition else orelse) + todo
                    elif any(isinstance(part, ast.Return) for way in (body, orelse) for part in _parts(way)):
                        # Nothing has a side effect, so both ways may be gone to their ends, and the results chosen from.
                        found = [self._run(way + todo, dict(scope)) for way in (body, orelse)]
                        return self._choose(node, condition, *found)
                    else:
                        self._branch(node, condition, body, orelse, scope)
                case ast.For(target=target, iter=over, body=body, orelse=[]):
                    turns = self._value(over, scope)
                    if symbolic(turns) and not isinstance(turns, tuple):
                        raise self._refused(node, "a loop over something that is not known before")
                    todo = [part for turn in turns for part in (_Set(target, turn, node), *body)] + todo
                case _Set(target=target, value=value):
                    self._assign(target, value, scope)
                case ast.Expr(value=ast.Constant()) | ast.Pass():
                    pass
                case _:
                    raise self._refused(node, f"a statement of the kind {type(node).__name__}")
        return None

    def _branch(self, node, condition, body, orelse, scope):
        """Follow both ways of a condition, and choose between the values that they leave in each variable."""
        ways = [dict(scope), dict(scope)]
        for way, own in zip((body, orelse), ways, strict=True):
            self._run(way, own)
        for name in dict.fromkeys([*ways[0], *ways[1]]):
            values = [own.get(name, _MISSING) for own in ways]
            if values[0] is not values[1]:
                # A variable that one way alone sets is unknown after both.
                known = not any(value is _MISSING for value in values)
                scope[name] = _named(self._choose(node, condition, *values), name) if known else _MISSING

    def _assign(self, target, value, scope):
        match target:
            case ast.Name(id=name):
                scope[name] = _named(value, name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) if isinstance(value, tuple) and len(value) == len(parts):
                for part, own in zip(parts, value, strict=True):
                    self._assign(part, own, scope)
            case _:
                raise self._refused(target, "an assignment to something that is not a variable")

    # Expressions

    def _value(self, node, scope):
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._name(node, name, scope)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return tuple(self._value(part, scope) for part in parts)
            case ast.Attribute(value=base, attr=attribute):
                owner = self._value(base, scope)
                if symbolic(owner) or not hasattr(owner, attribute):
                    raise self._refused(node, f"the attribute {attribute}")
                return getattr(owner, attribute)
            case ast.Subscript(value=base, slice=index):
                return self._element(node, self._value(base, scope), self._value(index, scope))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, op, self._value(left, scope), self._value(right, scope))
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(node, op, self._value(operand, scope))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(node, ops, [self._value(part, scope) for part in (left, *others)])
            case ast.BoolOp(op=op, values=parts):
                return self._bool(node, isinstance(op, ast.And), parts, scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition = self._truth(node, self._value(test, scope))
                if not symbolic(condition):
                    return self._value(body if condition else orelse, scope)
                return self._choose(node, condition, self._value(body, scope), self._value(orelse, scope))
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._call(node, self._value(function, scope), [self._value(part, scope) for part in arguments])
            case _:
                raise self._refused(node, f"an expression of the kind {type(node).__name__}")

    def _name(self, node, name, scope):
        if scope.get(name, _MISSING) is not _MISSING:
            return scope[name]
        function = self.stack[-1]
        if name in function.__code__.co_freevars:
            return function.__closure__[function.__code__.co_freevars.index(name)].cell_contents
        for known in (function.__globals__, vars(builtins)):
            if name in known:
                return known[name]
        raise self._refused(node, f"the unknown name {name}")

    def _element(self, node, base, index):
        refused = self._refused(node, "an index that is not known before, or outside a tuple")
        if symbolic(index):
            raise refused
        try:
            return base[index]
        except (TypeError, IndexError, KeyError) as error:
            raise refused from error

    def _number(self, node, value):
        """Return a value that is a number; raise TypeError for any other."""
        numbers = (bool, int, float, np.floating, np.integer, np.bool_)
        if not isinstance(value, numbers) and not (isinstance(value, Expression) and value.kind in ("float", "double")):
            raise self._refused(node, "arithmetic with what is not a number")
        return value

    def _binary(self, node, op, a, b):
        if isinstance(op, ast.Pow):
            return self._power(node, a, b)
        if not symbolic(a) and not symbolic(b) and type(op) in _CONSTANT:
            return _CONSTANT[type(op)](a, b)
        if type(op) not in _SIGNS:
            raise self._refused(node, f"the operator {type(op).__name__}")
        return arithmetic(_SIGNS[type(op)], self._number(node, a), self._number(node, b))

    def _power(self, node, a, b):
        if not symbolic(a) and not symbolic(b):
            return a**b
        if isinstance(b, int) and 1 <= b <= 64:  # by repeated squaring, as Numba does it
            square, found = a, None
            while b:
                if b & 1:
                    found = square if found is None else arithmetic("*", found, square)
                b >>= 1
                square = arithmetic("*", square, square) if b else square
            return found
        kind = "float" if kind_of(a) == kind_of(b) == "float" else "double"
        name = "powf" if kind == "float" else "pow"
        return Expression(f"{name}({{}}, {{}})", (self._number(node, a), self._number(node, b)), kind, calls=name)

    def _unary(self, node, op, value):
        if isinstance(op, ast.Not):
            value = self._truth(node, value)
            return Expression("!{}", (value,), "int", UNARY) if symbolic(value) else not value
        if isinstance(op, ast.UAdd):
            return self._number(node, value)
        if isinstance(op, ast.USub):
            return negative(self._number(node, value))
        raise self._refused(node, "the operator ~")

    def _truth(self, node, value):
        """Return a value as a condition."""
        if isinstance(value, tuple):
            return bool(value)
        return compare("!=", self._number(node, value), 0) if symbolic(value) and value.kind != "int" else value

    def _compare(self, node, ops, values):
        found = True
        for op, a, b in zip(ops, values, values[1:], strict=False):
            if not symbolic(a) and not symbolic(b) and type(op) not in _COMPARED:
                own = {ast.Is: a is b, ast.IsNot: a is not b}.get(type(op))
            else:
                own = None
                if type(op) in _COMPARED:
                    own = compare(
                        _COMPARED[type(op)], *(self._number(node, v) if symbolic((a, b)) else v for v in (a, b))
                    )
            if own is None:
                raise self._refused(node, f"the comparison {type(op).__name__}")
            found = self._both(found, own, True)
        return found

    def _both(self, a, b, every):
        if symbolic(a) and symbolic(b):
            return Expression("{} && {}" if every else "{} || {}", (a, b), "int", BOTH if every else EITHER)
        known, other = (b, a) if symbolic(a) else (a, b)
        return other if bool(known) == every else known

    def _bool(self, node, every, parts, scope):
        found = every
        for part in parts:
            found = self._both(found, self._truth(node, self._value(part, scope)), every)
            if not symbolic(found) and bool(found) != every:
                return found
        return found

    def _choose(self, node, condition, a, b):
        same = isinstance(a, tuple) == isinstance(b, tuple) and (not isinstance(a, tuple) or len(a) == len(b))
        if not same or a is None or b is None:
            raise self._refused(node, "a condition with two results of different forms")
        return choose(condition, a, b)

    # Calls

    def _call(self, node, function, arguments):
        known = _known(self.known, function)
        if not any(map(symbolic, arguments)):
            return self._called(node, function, arguments)
        if known is not None:
            return known(*arguments)
        if function is type:
            return {"float": np.float32, "double": np.float64, "int32_t": np.int32}[kind_of(arguments[0])]
        if function in (len, tuple, list) and isinstance(arguments[0], tuple):
            return len(arguments[0]) if function is len else arguments[0]
        if function in (min, max):
            return self._extreme(node, "<" if function is min else ">", arguments)
        if isinstance(function, type):
            return self._cast(node, function, arguments)
        name = "fabs" if function is abs else getattr(function, "__name__", "")
        name = _NUMPY_NAMES.get(name, name)
        library = function is abs or isinstance(function, np.ufunc) or getattr(math, name, None) is function
        if library and name in _LIBRARY and len(arguments) == 1:
            (x,) = arguments
            own = f"{name}f" if kind_of(self._number(node, x)) == "float" else name
            replaced = _known(self.known, own)
            return replaced(x) if replaced else Expression(f"{own}({{}})", (x,), kind_of(x), calls=own)
        return self.call(function, *arguments)

    def _called(self, node, function, arguments):
        """Return what a function returns for constants."""
        try:
            with np.errstate(all="ignore"):
                return function(*arguments)
        except Exception as error:
            raise self._refused(node, f"a call that fails: {error}") from error

    def _extreme(self, node, sign, arguments):
        values = arguments[0] if len(arguments) == 1 else arguments
        found = self._number(node, values[0])
        for value in values[1:]:
            found = choose(compare(sign, self._number(node, value), found), value, found)
        return found

    def _cast(self, node, function, arguments):
        (x,) = arguments
        kind = _CASTS.get(function)
        if kind is None:
            raise self._refused(node, f"a conversion to {function.__name__}")
        return x if kind_of(self._number(node, x)) == kind else Expression(f"({kind}){{}}", (x,), kind, UNARY)


class _Set(ast.stmt):
    """The assignment of a value to the variable of a loop."""

    def __init__(self, target, value, node):
        self.target, self.value, self.lineno = target, value, node.lineno


def _known(table, key):
    try:
        return table.get(key)
    except TypeError:  # cannot be hashed
        return None


def _parts(statements):
    """Return everything inside some statements."""
    return (part for statement in statements for part in ast.walk(statement))


def _named(value, name):
    """Give an expression the name of the variable that it is assigned to, if it has none."""
    if isinstance(value, Expression) and value.operands and value.hint is None:
        value.hint = name
    return value


def _body(function, translator):
    """Return the statements of a function."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        raise translator._refused(
            None, f"the function {function.__qualname__}, whose source cannot be read: define it in a file"
        ) from None
    (node,) = tree.body
    if not isinstance(node, ast.FunctionDef):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            return [ast.Return(node.value.body, lineno=1)]
        raise translator._refused(None, f"the function {function.__qualname__}, which is not written as one")
    return node.body
