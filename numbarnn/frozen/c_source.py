"""A model as one file of C99, with its weights inside, for whatever has a C compiler."""

import os
import pathlib
import re
from typing import Any

from numbarnn.checks import brief
from numbarnn.core.replacing import replace
from numbarnn.frozen.c_entries import write_check, write_entries, write_state
from numbarnn.frozen.c_layers import Writer
from numbarnn.frozen.c_network import write_network
from numbarnn.frozen.c_products import products_text
from numbarnn.frozen.c_sampling import write_probabilities, write_sample
from numbarnn.frozen.c_text import KEYWORDS, comment
from numbarnn.frozen.interface import Interface
from numbarnn.network.network import Network
from numbarnn.network.program import has_step, reads_itself

# What the header says of denormal numbers, instead of what is true of a shared library.
_DENORMALS = "Denormal numbers are computed with, as the target does."
# Names of the file that no weights and no layers get.
_TAKEN = frozenset(
    "x y m a b n t z s h i j k token length lengths work state inner likely chosen none begin valid run advance differ clear "
    "copy add accumulate add_blocks philox before sink take choose memcpy memset offsetof main KEPT STATE_BYTES SIZE_MAX "
    "NULL NAN INFINITY exponent with_sign power_of_two floor32 tanh32 sigmoid32 sigmoid64 exp32 log1p32".split()
)


def c_interface(model: Any, name: str) -> Interface:
    """Return what a model reads and returns as C code.

    Raises
    ------
    TypeError
        If `model` is not a Model.
    ValueError
        If `name` is not an identifier of C.
    """
    if not isinstance(model, Network):
        raise TypeError(
            f"model must be a numbarnn.Model, got {brief(model)}; take the attribute model of a language model or estimator"
        )
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name) or name in KEYWORDS:
        raise ValueError(
            f"name must be an identifier of C that begins with a letter, such as 'model', got {brief(name)}"
        )
    first, last = model.signals[0], model.signals[-1]
    return Interface(
        name, model.dtype.name, first.size, last.size, first.tokens, first.bag, last.sequence, has_step(model.layers),
        reads_itself(model.layers, model.signals), model.output_activation,
    )  # fmt: skip


def c_header(interface: Interface) -> str:
    """Return the header of the C file: that of a library, but for denormal numbers."""
    return interface.header(_DENORMALS)


def c_source(model: Any, name: str = "model") -> str:
    """Return a model as one file of C99 that needs nothing but the C library's mathematics.

    Parameters
    ----------
    model : Model
        Of any layers; equations of a cell of your own are translated from its Python functions.
    name : str
        Prefix of the functions, an identifier of C.

    Returns
    -------
    str
        The text of the file. It begins with that of the header, which `write_c` also writes as a file of its own.

    Raises
    ------
    TypeError
        If a layer, or the equations of a cell, cannot be written in C; the message names the cell and the line.
    ValueError
        If `name` is not an identifier, a parameter is NaN or infinite, or outputs are.

    Notes
    -----
    The functions are those of every frozen model. Sums are taken in the order of `Model`, without fused multiply-adds, so
    outputs equal the model's up to rounding. Weights are written in hexadecimal, to the bit.

    Examples
    --------
    >>> from numbarnn import GRU, Dense, Model
    >>> from numbarnn.frozen.c_source import c_source
    >>> text = c_source(Model([GRU(4), Dense(2)], input_size=3), "net")
    >>> "int net_step(const float *x, void *state, float *y)" in text
    True
    """
    interface = c_interface(model, name)
    kind = interface.value
    out = Writer(name, kind, {*_TAKEN, *(f"{name}_{entry}" for entry in interface.signatures())})
    if interface.sample:
        out.states["y"] = interface.outputs, "the last outputs"
    network = write_network(out, model, interface)
    entries = write_entries(out, interface, network)
    if interface.activation is not None:
        entries.append(write_probabilities(out, interface))
    if interface.sample:
        entries.append(write_sample(out, interface))
    entries.append(write_check(out, model, interface, network))
    functions, code = out.functions.text(()), "\n".join([*out.rows, *entries])
    library = sorted(out.functions.library | set(re.findall(r"\b(?:NAN|INFINITY)\b", code)))
    parts = [
        comment(_about(model, interface, library)),
        c_header(interface).rstrip(),
        "\n".join([*(["#include <math.h>"] if library else []), "#include <string.h>"]),
        *out.weights,
        write_state(out, interface),
        *([functions] if functions else []),
        *products_text(kind, code),
        *out.rows,
        *entries,
    ]
    return "\n\n".join(parts) + "\n"


def _about(model, interface, library):
    """Return what stands at the head of the file."""
    called = f"It uses {', '.join(library)} of <math.h>" if library else "It uses nothing of <math.h>"
    layers = "\n".join(f"    {name}: {layer!r}" for name, layer in zip(model.names, model.layers, strict=True))
    return f"""{interface.name}: a recurrent net of {model.params.size} parameters ({interface.dtype}), written by numbarnn.

{layers}

C99, in one file: compile it with -std=c99 -O3 -ffp-contract=off, of gcc also with -fno-trapping-math, without which it makes no
vector code of the curves; not with -ffast-math, which undoes the rounding of exponents. {called}, and
memcpy and memset of <string.h>; it allocates nothing, has no variable that is not constant, and runs in any number of threads.

Sums are taken in the order of the model, a product and a sum at a time, so that outputs equal the model's up to rounding; with
-ffp-contract=fast they are a little faster and as exact. Weights are hexadecimal constants, equal to the bit. C has no portable
way to count denormal numbers as zero, as the model does: where they are slow, set the processor's mode before you call."""


def write_c(model: Any, path: str | os.PathLike[str], name: str = "model") -> None:
    r"""Write `c_source` to a file, and its header beside it, each beside its destination first and then renamed.

    Parameters
    ----------
    model : Model
    path : path-like
        Of the C file; the header has the suffix ``.h`` instead.
    name : str
        Prefix of the functions, an identifier of C.

    Raises
    ------
    OSError
        If a file cannot be written.
    TypeError, ValueError
        As `c_source`; and if `path` does not end with ``.c``.

    Examples
    --------
    >>> import pathlib
    >>> from numbarnn import GRU, Model
    >>> from numbarnn.frozen.c_source import write_c
    >>> write_c(Model([GRU(4)], input_size=3), "net.c", "net")
    >>> pathlib.Path("net.h").read_text().splitlines()[0]
    '/* net: a recurrent net frozen by numbarnn.'
    """
    path = pathlib.Path(path)
    if path.suffix != ".c":
        raise ValueError(f"path must end with .c, got {str(path)!r}")
    source = c_source(model, name)
    replace(path.with_suffix(".h"), c_header(c_interface(model, name)).encode())
    replace(path, source.encode())
