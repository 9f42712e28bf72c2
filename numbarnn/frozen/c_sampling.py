"""Probabilities and sampling in C: the loops of `numbarnn.kernels.cpu.losses` and `numbarnn.kernels.cpu.sampling`."""

from numbarnn.frozen.c_layers import Writer
from numbarnn.frozen.interface import BAD_ARGUMENT, BAD_OPTION, BAD_TOKEN, OK, Interface


def write_probabilities(out: Writer, interface: Interface) -> str:
    """Return the function that makes probabilities of outputs."""
    kind, exp, size = out.kind, _exp(out), interface.outputs
    softmax = f"""    for (int64_t r = 0; r < rows; r++) {{
        const {kind} *own = y + r * {size};
        {kind} *to = p + r * {size}, top = own[0];
        double total = 0.0;
        for (size_t j = 1; j < {size}; j++) {{
            top = own[j] > top ? own[j] : top;
        }}
        for (size_t j = 0; j < {size}; j++) {{
            to[j] = {exp}(own[j] - top);
            total += (double)to[j];
        }}
        const {kind} factor = ({kind})(1.0 / total);
        for (size_t j = 0; j < {size}; j++) {{
            to[j] *= factor;
        }}
    }}"""
    sigmoid = f"""    for (int64_t i = 0; i < rows * {size}; i++) {{
        const {kind} e = {exp}(y[i] < 0 ? y[i] : -y[i]);
        p[i] = (y[i] < 0 ? e : 1) / (1 + e);
    }}"""
    return f"""{interface.signatures()["probabilities"]}
{{
    if (rows < 0 || (rows > 0 && (y == NULL || p == NULL))) {{
        return {BAD_ARGUMENT};
    }}
{softmax if interface.activation == "softmax" else sigmoid}
    return {OK};
}}"""


def _exp(out):
    name = "exp32" if out.kind == "float" else "exp"
    out.functions.need([name])
    return name


def write_sample(out: Writer, interface: Interface) -> str:
    """Return the functions that sample from the model."""
    kind, exp, size = out.kind, _exp(out), interface.outputs
    return f"""/* Philox4x32-10 (Salmon et al. 2011): random bits as a function of a counter and a key. */
static void philox(uint32_t counter[4], uint32_t key_0, uint32_t key_1)
{{
    for (int round = 0; round < 10; round++) {{
        const uint64_t p = (uint64_t)counter[0] * UINT32_C(0xD2511F53), q = (uint64_t)counter[2] * UINT32_C(0xCD9E8D57);
        counter[0] = (uint32_t)(q >> 32) ^ counter[1] ^ key_0;
        counter[2] = (uint32_t)(p >> 32) ^ counter[3] ^ key_1;
        counter[1] = (uint32_t)q;
        counter[3] = (uint32_t)p;
        key_0 += UINT32_C(0x9E3779B9);
        key_1 += UINT32_C(0xBB67AE85);
    }}
}}

/* Whether token a is likelier than b; of equal ones the first. */
static int before(const {kind} *values, int32_t a, int32_t b)
{{
    return values[a] > values[b] || (values[a] == values[b] && a < b);
}}

/* Let an entry of a heap sink until no parent is less likely than its children. */
static void sink(int32_t *heap, const {kind} *values, size_t root, size_t size)
{{
    while (2 * root + 1 < size) {{
        size_t child = 2 * root + 1;
        if (child + 1 < size && before(values, heap[child + 1], heap[child])) {{
            child++;
        }}
        if (!before(values, heap[child], heap[root])) {{
            return;
        }}
        const int32_t other = heap[root];
        heap[root] = heap[child];
        heap[child] = other;
        root = child;
    }}
}}

/* Move the likeliest token of a heap to after its end. */
static void take(int32_t *heap, const {kind} *values, size_t *size)
{{
    const int32_t first = heap[0];
    *size -= 1;
    heap[0] = heap[*size];
    heap[*size] = first;
    sink(heap, values, 0, *size);
}}

/* Draw a token from softmax(y / temperature), restricted to the k likeliest, then to the fewest with probability p. */
static int32_t choose(const {kind} *y, int32_t *likely, double temperature, size_t k, double p, uint64_t seed,
                      const uint32_t *number)
{{
    int32_t best = 0;
    for (int32_t j = 1; j < {size}; j++) {{
        best = y[j] > y[best] ? j : best;
    }}
    if (temperature <= 0.0) {{
        return best;
    }}
    uint32_t bits[4] = {{number[0], number[1], 0, 0}};
    philox(bits, (uint32_t)seed, (uint32_t)(seed >> 32));
    const double uniform = ((double)bits[0] * 2097152.0 + (double)(bits[1] >> 11)) * (1.0 / 9007199254740992.0);
    const double inverse = 1.0 / temperature;
    const {kind} scale = ({kind})(inverse < 1e30 ? inverse : 1e30), top = y[best];
    if (k == 0 && p >= 1.0) {{
        double total = 0.0;
        for (size_t j = 0; j < {size}; j++) {{
            total += (double){exp}((y[j] - top) * scale);
        }}
        double rest = uniform * total;
        for (int32_t j = 0; j < {size}; j++) {{
            rest -= (double){exp}((y[j] - top) * scale);
            if (rest < 0.0) {{
                return j;
            }}
        }}
        return best;
    }}
    /* A heap gives the tokens from the likeliest on; only as many are taken from it as may be chosen. */
    double total = 0.0;
    for (int32_t j = 0; j < {size}; j++) {{
        likely[j] = j;
        total += (double){exp}((y[j] - top) * scale);
    }}
    for (size_t root = {size} / 2; root-- > 0;) {{
        sink(likely, y, root, {size});
    }}
    size_t size = {size}, first = {size};
    const size_t most = k > 0 && k < {size} ? k : {size};
    if (most < {size}) {{
        total = 0.0;
        for (size_t i = 0; i < most; i++) {{
            total += (double){exp}((y[likely[0]] - top) * scale);
            take(likely, y, &size);
        }}
        first = size;
    }}
    /* The tokens taken lie after the heap, the likeliest last. */
    double share = 0.0;
    size_t count = 0;
    while (count < most && (count == 0 || share < p * total)) {{
        if ({size} - 1 - count < first) {{
            take(likely, y, &size);
        }}
        share += (double){exp}((y[likely[{size} - 1 - count]] - top) * scale);
        count++;
    }}
    double rest = uniform * share;
    for (size_t i = 0; i < count; i++) {{
        const int32_t token = likely[{size} - 1 - i];
        rest -= (double){exp}((y[token] - top) * scale);
        if (rest < 0.0) {{
            return token;
        }}
    }}
    return likely[{size} - 1];
}}

{interface.signatures()["sample"]}
{{
    {out.state} *m = state;
    if (m == NULL || np < 0 || n < 0 || (prime == NULL && np > 0) || (out == NULL && n > 0)) {{
        return {BAD_ARGUMENT};
    }}
    if (!(temperature >= 0.0 && temperature <= 1.7976931348623157e308) || top_k < 0 || !(top_p > 0.0 && top_p <= 1.0)) {{
        return {BAD_OPTION};
    }}
    for (int64_t i = 0; i < np; i++) {{
        if (prime[i] < 0 || prime[i] >= {size}) {{
            return {BAD_TOKEN};
        }}
    }}
    const size_t k = top_k < {size} ? (size_t)top_k : {size};
    for (int64_t i = 0; i < np + n; i++) {{
        int64_t token = 0;
        if (i < np) {{
            token = prime[i];
        }} else {{
            token = choose(m->y, m->likely, temperature, k, top_p, seed, m->chosen);
            m->chosen[0]++;
            m->chosen[1] += m->chosen[0] == 0;
            out[i - np] = token;
        }}
        copy({size}, advance((size_t)token, m), m->y);
    }}
    return {OK};
}}"""
