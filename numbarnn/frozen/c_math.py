"""The package's scalar functions in C, translated from `numbarnn.kernels.scalar`; only work on bits is written here."""

import inspect

from numbarnn.frozen.c_expressions import ATOM, Expression, arithmetic, kind_of, print_statements
from numbarnn.frozen.c_text import comment
from numbarnn.frozen.c_translate import Translator
from numbarnn.kernels import scalar

_BITS = {
    "exponent": """/* 2^(k - 127), k being the last eight bits of x. */
static float exponent(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits <<= 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    "with_sign": """/* x >= 0 with the sign of y. */
static float with_sign(float x, float y)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    memcpy(&sign, &y, sizeof sign);
    bits |= sign & UINT32_C(0x80000000);
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    "power_of_two": """/* 2^n for -126 <= n <= 127. */
static float power_of_two(int32_t n)
{
    float x;
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    "floor32": """/* The largest integer that is not above x. */
static float floor32(float x)
{
    if (!(x > -8388608.0F && x < 8388608.0F)) {
        return x; /* an integer, or NaN */
    }
    const float whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0F : whole;
}""",
}
# Function of the file -> (function of Python, types of its arguments).
_TRANSLATED = {
    "tanh32": (scalar.tanh32, ("float",)),
    "sigmoid32": (scalar.sigmoid32, ("float",)),
    "sigmoid64": (scalar.sigmoid64, ("double",)),
    "exp32": (scalar._exp32, ("float",)),
    "log1p32": (scalar._log1p32, ("float",)),
}
# What stands above those whose docstring says it of another type, or nothing.
_ABOUT = {
    "exp32": "exp x for x <= 0: 2^n exp r, n = round(x / ln 2), exp r by its series; below -87 it is zero.",
    "log1p32": "log(1 + x) for 0 <= x <= 1: 2 artanh(x / (2 + x)) by its series.",
}
# What the package's functions are in each type.
_SCALAR = {
    scalar.tanh: {"float": "tanh32", "double": "tanh"},
    scalar.sigmoid: {"float": "sigmoid32", "double": "sigmoid64"},
    scalar.exp: {"float": "exp32", "double": "exp"},
    scalar.log1p: {"float": "log1p32", "double": "log1p"},
}


def called(name: str, *arguments, kind: str) -> Expression:
    """Return the value of a function of C."""
    return Expression(f"{name}({', '.join('{}' for _ in arguments)})", arguments, kind, ATOM, calls=name)


def _by_kind(names):
    return lambda x: called(names[kind_of(x)], x, kind=kind_of(x))


def _remainder(n, y, period, high, low):
    """Return y + n period, of a period in two parts of which n times the first is exact."""
    return arithmetic("+", arithmetic("*", n, low), arithmetic("+", arithmetic("*", n, high), y))


KNOWN = {function: _by_kind(names) for function, names in _SCALAR.items()} | {
    scalar.exponent: lambda x: called("exponent", x, kind="float"),
    scalar.with_sign: lambda x, y: called("with_sign", x, y, kind="float"),
    scalar._power_of_two: lambda n: called("power_of_two", n, kind="float"),
    scalar.remainder: _remainder,
    "floorf": lambda x: called("floor32", x, kind="float"),
}


class Functions:
    """The functions of the file that are called so far, each defined after those that it calls.

    Attributes
    ----------
    texts : dict
        Their definitions, by name.
    library : set of str
        Functions of the C library.
    """

    def __init__(self):
        self.texts: dict[str, str] = {}
        self.library: set[str] = set()

    def need(self, names) -> None:
        """Define functions that are not defined yet."""
        for name in names:
            if name in self.texts:
                continue
            if name in _BITS:
                self.texts[name] = _BITS[name]
            elif name in _TRANSLATED:
                self.texts[name] = self._translated(name)
            else:
                self.library.add(name)

    def _translated(self, name):
        function, kinds = _TRANSLATED[name]
        parameters = list(inspect.signature(function).parameters)
        arguments = [Expression(p, (), kind) for p, kind in zip(parameters, kinds, strict=True)]
        result = Translator(KNOWN, f"numbarnn's {name}").call(function, *arguments)
        lines, (text,), calls = print_statements([result], parameters)
        self.need(calls)
        declared = ", ".join(f"{kind} {p}" for p, kind in zip(parameters, kinds, strict=True))
        about = _ABOUT.get(name) or inspect.getdoc(function).removeprefix("Return ")
        body = "\n    ".join([*lines, f"return {text};"])
        return f"{comment(about)}\nstatic {kinds[0]} {name}({declared})\n{{\n    {body}\n}}"

    def text(self, names) -> str:
        """Return the definitions of all functions, in order."""
        self.need(names)
        return "\n\n".join(self.texts.values())
