"""Sums of products in C, in the package's order, and the vector operations around them.

A pre-activation is the sum over k of x[k] w[k], one k after the other, then that over h, and its bias is added at the end; a sum of
more than 320 terms is taken in blocks of at most 256, each from zero (`numbarnn.kernels.cpu.matmul.multiply`). Weights are
transposed, so that the loops over the units have neighbours in memory, which compilers make vector code of.
"""

import re

from numbarnn.kernels.cpu.matmul import BLOCK

_TEXTS = {
    "clear": """/* y[j] = 0. */
static void clear(size_t n, REAL *y)
{
    memset(y, 0, n * sizeof *y);
}""",
    "copy": """/* y[j] = x[j]. */
static void copy(size_t n, const REAL *x, REAL *y)
{
    memcpy(y, x, n * sizeof *y);
}""",
    "add": """/* y[j] += x[j]. */
static void add(size_t n, const REAL *restrict x, REAL *restrict y)
{
    for (size_t j = 0; j < n; j++) {
        y[j] += x[j];
    }
}""",
    "accumulate": """/* s[j] += sum over k < count of x[k] w[k, j], one k after the other; w has rows of `row` values. */
static void accumulate(size_t n, size_t count, const REAL *x, const REAL *w, size_t row, REAL *restrict s)
{
    const size_t fours = count - count % 4;
    for (size_t k = 0; k < fours; k += 4) {
        const REAL a = x[k], b = x[k + 1], c = x[k + 2], d = x[k + 3];
        const REAL *u = w + k * row, *v = u + row, *p = v + row, *q = p + row;
        for (size_t j = 0; j < n; j++) {
            s[j] = s[j] + a * u[j] + b * v[j] + c * p[j] + d * q[j];
        }
    }
    for (size_t k = fours; k < count; k++) {
        const REAL a = x[k], *u = w + k * row;
        for (size_t j = 0; j < n; j++) {
            s[j] += a * u[j];
        }
    }
}""",
    "add_blocks": f"""/* z[j] += sum over k < count of x[k] w[k, j], in blocks of at most {BLOCK} values of k; s is scratch. */
static void add_blocks(size_t n, size_t count, const REAL *x, const REAL *w, size_t row, REAL *s, REAL *z)
{{
    const size_t blocks = (count + {BLOCK - 1}) / {BLOCK};
    for (size_t b = 0; b < blocks; b++) {{
        const size_t first = b * count / blocks, last = (b + 1) * count / blocks;
        clear(n, s);
        accumulate(n, last - first, x + first, w + first * row, row, s);
        add(n, s, z);
    }}
}}""",
}
# Terms of a sum that is taken in one piece.
WHOLE = BLOCK + BLOCK // 4


class Factor:
    """A vector of `count` values and the transposed weights that it is multiplied with.

    Parameters
    ----------
    values, weights : str
        Addresses in C.
    count, row : int
        Number of values, and length of a row of weights.
    """

    def __init__(self, values: str, count: int, weights: str, row: int):
        self.values, self.count, self.weights, self.row = values, count, weights, row


def product(columns: int, factors: list[Factor], scratch: str, to: str) -> list[str]:
    """Return statements that add the sums of products with all factors to `columns` values at `to`."""
    factors = [factor for factor in factors if factor.count]
    if not factors:
        return []
    if sum(factor.count for factor in factors) > WHOLE:
        return [
            f"add_blocks({columns}, {f.count}, {f.values}, {f.weights}, {f.row}, {scratch}, {to});" for f in factors
        ]
    return [
        f"clear({columns}, {scratch});",
        *(f"accumulate({columns}, {f.count}, {f.values}, {f.weights}, {f.row}, {scratch});" for f in factors),
        f"add({columns}, {scratch}, {to});",
    ]


def products_text(kind: str, code: str) -> list[str]:
    """Return the definitions of the functions of this file that code calls."""
    found = []
    for name, text in reversed(_TEXTS.items()):  # each calls only those above it
        if re.search(rf"\b{name}\(", code):
            found.append(text.replace("REAL", kind))
            code += text
    return found[::-1]
