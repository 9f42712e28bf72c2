"""The public functions of the C file: sizes, passes, steps and the check of outputs that lie inside."""

import numpy as np

from numbarnn.frozen.c_layers import Writer
from numbarnn.frozen.c_network import Network
from numbarnn.frozen.c_text import array, comment, hexadecimal, string
from numbarnn.frozen.check import CHECK_STEPS, check_sequence
from numbarnn.frozen.interface import ABI, BAD_ARGUMENT, BAD_CODE, BAD_LENGTH, BAD_TOKEN, OK, Interface
from numbarnn.kernels.cpu.memory import ALIGNMENT

# How far an output of N_check may be off, relative to the largest.
TOLERANCE = {"float": 1e-5, "double": 1e-11}


def write_state(out: Writer, interface: Interface) -> str:
    """Return the definition of the state: what is carried first, then scratch memory."""
    lines = [f"{out.kind} {name}[{size}]; {comment(about)}" for name, (size, about) in out.states.items()]
    if interface.sample:
        lines.append("uint32_t chosen[2]; /* the number of tokens that were sampled, its low and high half */")
    scratch = [f"{out.kind} {name}[{size}];" for name, size in out.scratch.items()]
    if interface.sample:
        scratch.append(f"int32_t likely[{interface.outputs}]; /* tokens, when they are sorted */")
    scratch = scratch or [f"{out.kind} none[1];"]
    scratch[0] += " /* scratch memory from here on */"
    first = scratch[0].partition("[")[0].split()[-1]
    body = "\n    ".join([*lines, *scratch])
    return f"""/* The state of one sequence. */
{out.state} {{
    {body}
}};

enum {{
    KEPT = offsetof({out.state}, {first}), /* bytes that are carried */
    STATE_BYTES = (sizeof({out.state}) + {ALIGNMENT - 1}) / {ALIGNMENT} * {ALIGNMENT}
}};"""


def write_entries(out: Writer, interface: Interface, network: Network) -> list[str]:
    """Return the public functions but those of probabilities and sampling."""
    entries = [
        _sizes(out, interface, network),
        _begin(out),
        *([_valid(interface)] if interface.tokens else []),
        _forward(out, interface, network),
    ]
    return entries + ([_step(out, interface)] if network.steps else [])


def _sizes(out, interface, network):
    signatures = interface.signatures()
    rows = "    (void)t;\n    return n < 0 || t < 0 ? 0 : STATE_BYTES;"
    if network.rows:
        bytes_ = f"2 * {network.width} * sizeof({out.kind})"
        rows = f"""    const uint64_t rows = t > 0 ? (uint64_t)t : 1, row = {bytes_};
    if (n < 0 || t < 0) {{
        return 0;
    }}
    if (rows > (SIZE_MAX - STATE_BYTES - {ALIGNMENT}) / row) {{
        return SIZE_MAX; /* more than there can be */
    }}
    return STATE_BYTES + (size_t)(rows * row + {ALIGNMENT - 1}) / {ALIGNMENT} * {ALIGNMENT};"""
    return f"""{signatures["abi"]}
{{
    return {ABI};
}}

{signatures["about"]}
{{
    return {string(interface.about())};
}}

{signatures["state_bytes"]}
{{
    return STATE_BYTES;
}}

{signatures["workspace_bytes"]}
{{
{rows}
}}"""


def _begin(out):
    return f"""/* Set m to the state at h, or to the beginning. */
static void begin({out.state} *m, const unsigned char *h)
{{
    memset(m, 0, sizeof *m);
    if (h != NULL) {{
        memcpy(m, h, KEPT);
    }}
}}"""


def _valid(interface):
    least = "-1" if interface.bag else "0"
    return f"""/* Whether all tokens are in the vocabulary. */
static int valid(const int64_t *x, size_t count)
{{
    for (size_t i = 0; i < count; i++) {{
        if (x[i] < {least} || x[i] >= {interface.inputs}) {{
            return 0;
        }}
    }}
    return 1;
}}"""


def _row(interface):
    """Return the values of a step of x."""
    return max(interface.bag, 1) if interface.tokens else interface.inputs


def _forward(out, interface, network):
    size, row, kind = interface.outputs, _row(interface), out.kind
    token = interface.tokens and not interface.bag
    checked = ""
    if interface.tokens:
        checked = f"""
        if (!valid(x + i * t * {row}, (size_t)length * {row})) {{
            return {BAD_TOKEN};
        }}"""
    if network.rows:
        rows = "length" if interface.sequence else "1"
        passes = f"""        const {kind} *found = run(own, length, m, a, a + steps * {network.width});
        copy({rows} * {size}, found, to);"""
        memory = f"""
    const size_t steps = t > 0 ? (size_t)t : 1;
    {kind} *a = ({kind} *)(void *)((unsigned char *)work + STATE_BYTES);"""
    else:
        read = "(size_t)own[k]" if token else f"own + k * {row}"
        last = f"\n            copy({size}, found, m->y);" if interface.sample else ""
        passes = f"""        for (size_t k = 0; k < length; k++) {{
            const {kind} *found = advance({read}, m);
            copy({size}, found, to + k * {size});{last}
        }}"""
        memory = ""
    rest = f"\n        clear(((size_t)t - length) * {size}, to + length * {size});" if interface.sequence else ""
    missing = f"(x == NULL && n > 0 && t > 0) || (y == NULL && n > 0{' && t > 0' * interface.sequence})"
    return f"""{interface.signatures()["forward"]}
{{
    {out.state} *m = work;{memory}
    if (n < 0 || t < 0 || work == NULL || {missing}) {{
        return {BAD_ARGUMENT};
    }}
    x = x == NULL ? work : x; /* of no step, nothing is read or written */
    y = y == NULL ? work : y;
    for (int64_t i = 0; i < n; i++) {{
        const int64_t length = lengths == NULL ? t : lengths[i];
        if (length < 0 || length > t) {{
            return {BAD_LENGTH};
        }}{checked}
    }}
    for (int64_t i = 0; i < n; i++) {{
        const size_t length = (size_t)(lengths == NULL ? t : lengths[i]);
        const {interface.input} *own = x + i * t * {row};
        {kind} *to = y + i * {"t * " * interface.sequence}{size};
        begin(m, h0 == NULL ? NULL : (const unsigned char *)h0 + (size_t)i * STATE_BYTES);
{passes}{rest}
        if (h1 != NULL) {{
            memcpy((unsigned char *)h1 + (size_t)i * STATE_BYTES, m, sizeof *m);
        }}
    }}
    return {OK};
}}"""


def _step(out, interface):
    token = interface.tokens and not interface.bag
    null = "state == NULL || y == NULL" + ("" if token else " || x == NULL")
    check = f"token < 0 || token >= {interface.inputs}" if token else f"!valid(x, {_row(interface)})"
    checked = f"    if ({check}) {{\n        return {BAD_TOKEN};\n    }}\n" if interface.tokens else ""
    last = f"    copy({interface.outputs}, found, m->y);\n" if interface.sample else ""
    return f"""{interface.signatures()["step"]}
{{
    {out.state} *m = state;
    if ({null}) {{
        return {BAD_ARGUMENT};
    }}
{checked}    const {out.kind} *found = advance({"(size_t)token" if token else "x"}, m);
    copy({interface.outputs}, found, y);
{last}    return {OK};
}}"""


def write_check(out: Writer, model, interface: Interface, network: Network) -> str:
    """Return the function that compares outputs with the model's, and the arrays that it reads.

    Raises
    ------
    ValueError
        If the model's parameters or outputs are not finite.
    """
    x, expected = check_sequence(model)
    size, row, kind = interface.outputs, _row(interface), out.kind
    values = [str(token) for token in x.ravel().tolist()] if interface.tokens else hexadecimal(x.astype(model.dtype))
    tolerance = max(float(np.abs(expected).max()) * TOLERANCE[kind], float(np.finfo(model.dtype).tiny))
    x_name, y_name = out.named("check_x"), out.named("check_y")
    if network.rows:
        body = f"""    {kind} *a = ({kind} *)(void *)((unsigned char *)work + STATE_BYTES);
    begin(m, NULL);
    const {kind} *y = run({x_name}, {CHECK_STEPS}, m, a, a + {CHECK_STEPS * network.width});
    return differ({expected.size}, y, {y_name}) ? {BAD_CODE} : {OK};"""
    else:
        read = f"(size_t){x_name}[k]" if interface.tokens and not interface.bag else f"{x_name} + k * {row}"
        body = f"""    begin(m, NULL);
    for (size_t k = 0; k < {CHECK_STEPS}; k++) {{
        if (differ({size}, advance({read}, m), {y_name} + k * {size})) {{
            return {BAD_CODE};
        }}
    }}
    return {OK};"""
    return f"""/* A sequence, and the model's outputs. */
{array(interface.input, x_name, values)}

{array(kind, y_name, hexadecimal(expected))}

/* Whether values differ by more than {TOLERANCE[kind]} of the largest. */
static int differ(size_t count, const {kind} *y, const {kind} *expected)
{{
    const {kind} tolerance = {hexadecimal(np.array(tolerance, model.dtype))[0]};
    for (size_t j = 0; j < count; j++) {{
        const {kind} difference = y[j] - expected[j];
        if (!(difference <= tolerance && -difference <= tolerance)) {{
            return 1;
        }}
    }}
    return 0;
}}

{interface.signatures()["check"]}
{{
    {out.state} *m = work;
    if (work == NULL) {{
        return {BAD_ARGUMENT};
    }}
{body}
}}"""
