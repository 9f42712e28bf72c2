"""Slow, clear equations in NumPy, written from the papers; the tests judge the package against them.

Nothing of the package is imported here. Functions compute in the dtype of what they are given; the tests give float64.

Weights of a recurrent layer are a dict with torch's names: ``weight_ih`` (G * H, C), ``weight_hh`` (G * H, H), ``bias_ih`` and
``bias_hh`` (G * H,), gates in torch's order, ``weight_u`` (H,) of IndRNN, and ``weight_ci``, ``weight_cf`` and ``weight_co`` (H,)
of peepholes. An absent bias is zero. `fix` is a dict of gate -> constant.
States are tuples of (samples, H) arrays; the first is the output.
"""

import itertools
import math

import numpy as np

# Scalar functions


def tanh(x):
    return np.tanh(x)


def logistic(x):
    # Written with tanh: exp(-x) would overflow for large negative x.
    return 0.5 * (1 + np.tanh(0.5 * x))


def relu(x):
    return np.where(np.isnan(x), x, np.maximum(x, 0))


def identity(x):
    return x


ACTIVATIONS = {"tanh": tanh, "relu": relu, "logistic": logistic, "identity": identity}
SLOPES = {  # f'(x) in terms of y = f(x)
    "tanh": lambda y: 1 - y**2, "relu": lambda y: 1.0 * (y > 0), "logistic": lambda y: y * (1 - y), "identity": np.ones_like,
}  # fmt: skip


# One step of each cell: (x, states, weights, the cell's options) -> next states


def input_product(x, weights):
    return x @ weights["weight_ih"].T + weights.get("bias_ih", 0)


def recurrent_product(h, weights):
    return h @ weights["weight_hh"].T + weights.get("bias_hh", 0)


def rnn_step(x, states, weights, activation="tanh"):
    """Elman (1990): h_t = f(W x_t + b + R h_{t-1} + b')."""
    (h,) = states
    return (ACTIVATIONS[activation](input_product(x, weights) + recurrent_product(h, weights)),)


def held(fix, gate, values):
    """Return the values of a gate, or the constant at which it is held."""
    return np.full_like(values, fix[gate]) if fix and gate in fix else values


def lstm_step(x, states, weights, coupled=0, fix=None):
    """Gers, Schmidhuber & Cummins (2000), without peepholes; gates in the order i, f, g, o."""
    none = np.zeros_like(states[1][..., :1])
    return peephole_lstm_step(
        x, states, weights | {"weight_ci": none, "weight_cf": none, "weight_co": none}, coupled, fix
    )


def peephole_lstm_step(x, states, weights, coupled=0, fix=None):
    """Gers & Schmidhuber (2000): i and f see c_{t-1}, o sees c_t; coupled: f = 1 - i (Greff et al. 2017)."""
    h, c = states
    i, f, g, o = np.split(input_product(x, weights) + recurrent_product(h, weights), 4, axis=-1)
    i = held(fix, "i", logistic(i + weights["weight_ci"] * c))
    f = 1 - i if coupled else held(fix, "f", logistic(f + weights["weight_cf"] * c))
    c = f * c + i * held(fix, "g", np.tanh(g))
    return held(fix, "o", logistic(o + weights["weight_co"] * c)) * np.tanh(c), c


def gru_step(x, states, weights, fix=None, reset_after=True):
    """Cho et al. (2014), there with the reset before the recurrent product; gates in the order r, z, n."""
    (h,) = states
    r_x, z_x, n_x = np.split(input_product(x, weights), 3, axis=-1)
    r_h, z_h, n_h = np.split(recurrent_product(h, weights), 3, axis=-1)
    r, z = held(fix, "r", logistic(r_x + r_h)), held(fix, "z", logistic(z_x + z_h))
    inside = r * n_h if reset_after else np.split(recurrent_product(r * h, weights), 3, axis=-1)[2]
    n = held(fix, "n", np.tanh(n_x + inside))
    return ((1 - z) * n + z * h,)


def reset_before_gru_step(x, states, weights, fix=None):
    """Cho et al. (2014), eq. 5-8."""
    return gru_step(x, states, weights, fix, reset_after=False)


def indrnn_step(x, states, weights, activation="relu"):
    """Li et al. (2018), eq. 3: h_t = f(W x_t + b + u * h_{t-1})."""
    (h,) = states
    return (ACTIVATIONS[activation](input_product(x, weights) + weights["weight_u"] * h),)


def min_gru_step(x, states, weights):
    """Feng et al. (2024), section 3.1: h_t = (1 - z_t) h_{t-1} + z_t n_t; rows of z, then of the candidate n."""
    (h,) = states
    z, n = np.split(input_product(x, weights), 2, axis=-1)
    return ((1 - logistic(z)) * h + logistic(z) * n,)


def min_lstm_step(x, states, weights):
    """Feng et al. (2024), section 3.2: gates divided by their sum, f' = f / (f + i) and i' = i / (f + i); rows of i, f, g."""
    (h,) = states
    i, f, g = np.split(input_product(x, weights), 3, axis=-1)
    i, f = logistic(i), logistic(f)
    return (f / (f + i) * h + i / (f + i) * g,)


# Cell name -> (its step, number of states). The contract tests walk through the package's registry and look here.
CELLS = {
    "RNN": (rnn_step, 1),
    "LSTM": (lstm_step, 2),
    "PeepholeLSTM": (peephole_lstm_step, 2),
    "GRU": (gru_step, 1),
    "ResetBeforeGRU": (reset_before_gru_step, 1),
    "IndRNN": (indrnn_step, 1),
    "MinGRU": (min_gru_step, 1),
    "MinLSTM": (min_lstm_step, 1),
}


def cell(name):
    """Return (step, number of states) of a cell, or say what is missing."""
    if name not in CELLS:
        raise KeyError(f"tests/naive.py has no equation for the cell {name!r}: add its step to CELLS")
    return CELLS[name]


# Sequences, stacks


def run(step, x, weights, states, lengths=None, reverse=False, **options):
    """Run a batch (samples, T, C), sample by sample; return outputs (samples, T, H) and the final states.

    Outputs are zero past a sample's length; the reverse direction starts at its last valid step.
    """
    samples, steps = x.shape[:2]
    lengths = [steps] * samples if lengths is None else lengths
    final = tuple(np.array(state) for state in states)
    outputs = np.zeros((samples, steps, states[0].shape[1]), x.dtype)
    for n in range(samples):
        now = tuple(state[n] for state in states)
        order = range(lengths[n])
        for t in reversed(order) if reverse else order:
            now = step(x[n, t], now, weights, **options)
            outputs[n, t] = now[0]
        for whole, one in zip(final, now, strict=True):
            whole[n] = one
    return outputs, final


def stack(
    name, x, params, hidden, num_layers=1, bidirectional=False, states=None, lengths=None, merge="concat", **options
):
    """Run a stack of layers; `params` has names such as ``weight_ih_l0_reverse``, states are (layers * directions, samples, H)."""
    step, count = cell(name)
    directions = 2 if bidirectional else 1
    if states is None:
        states = tuple(np.zeros((num_layers * directions, len(x), hidden), x.dtype) for _ in range(count))
    final = tuple(np.zeros_like(state) for state in states)
    for level in range(num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{level}" + ("_reverse" if direction else "")
            weights = {key.removesuffix(suffix): value for key, value in params.items() if _suffix(key) == suffix}
            index = level * directions + direction
            start = tuple(state[index] for state in states)
            y, end = run(step, x, weights, start, lengths, reverse=direction == 1, **options)
            outputs.append(y)
            for whole, one in zip(final, end, strict=True):
                whole[index] = one
        x = np.concatenate(outputs, axis=-1) if merge == "concat" else sum(outputs)
    return x, final


def _suffix(key):
    return key[key.rindex("_l") :]


def dense(x, weight, bias=0):
    return x @ weight.T + bias


def one_hot(tokens, size, dtype=np.float64):
    return np.eye(size, dtype=dtype)[tokens]


def embedding(tokens, weight):
    return weight[tokens]


def embedding_bag(tokens, weight):
    """Sum of the rows of the tokens (samples, T, bag) that are not -1."""
    return np.where(tokens[..., None] >= 0, weight[tokens], 0).sum(axis=2)


def pool(x, kind, lengths):
    """Mean, maximum or last of the first steps of each sample; zeros of length 0."""
    pooled = np.zeros((len(x), x.shape[2]))
    for n, length in enumerate(lengths):
        if length:
            steps = x[n, :length]
            pooled[n] = {"mean": steps.mean(axis=0), "max": steps.max(axis=0), "last": steps[-1]}[kind]
    return pooled


# Losses: (value, gradient with respect to the outputs)


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def row_weights(shape, lengths=None, sample_weight=None):
    """Return the weight of every (sample, step)."""
    weights = np.ones(shape)
    if lengths is not None:
        weights[np.arange(shape[1]) >= np.asarray(lengths)[:, None]] = 0
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, float)
        weights = weights * (sample_weight if sample_weight.ndim == 2 else sample_weight[:, None])
    return weights


def softmax_cross_entropy(
    logits,
    target,
    reduction="mean",
    class_weight=None,
    ignore_index=-100,
    lengths=None,
    sample_weight=None,
    smoothing=0.0,
):
    """-sum_c q_c log softmax(logits)_c, q = class_weight ((1 - smoothing) onehot(target) + smoothing / V).

    logits (samples, T, V), target (samples, T); the mean divides by the summed class weights of the targets. Targets
    (samples, T, V) are used instead of onehot(target), and the mean divides by the number of steps.
    """
    weights, classes = row_weights(logits.shape[:-1], lengths, sample_weight), logits.shape[-1]
    class_weight = np.ones(classes) if class_weight is None else np.asarray(class_weight)
    if target.ndim == logits.ndim:
        hot, divisor = np.where(weights[..., None] > 0, target, 0), weights
    else:
        weights[target == ignore_index] = 0
        safe = np.where(weights > 0, target, 0)
        hot, divisor = one_hot(safe, classes), weights * class_weight[safe]
    q = class_weight * ((1 - smoothing) * hot + smoothing / classes)
    top = logits.max(axis=-1, keepdims=True)
    # top - logits first: beside a large top the logarithm would be rounded away.
    below = np.where(q > 0, top - logits, 0)
    losses = q.sum(axis=-1) * np.log(np.exp(logits - top).sum(axis=-1)) + (q * below).sum(axis=-1)
    scale = _scale(divisor, reduction)
    gradient = (softmax(logits) * q.sum(axis=-1, keepdims=True) - q) * weights[..., None] * scale
    return _total(losses, weights) * scale, np.where(weights[..., None] > 0, gradient, 0)


def mse(outputs, target, reduction="mean", lengths=None, sample_weight=None):
    """Mean over the features of (y - target)^2; both (samples, T, F)."""
    weights = row_weights(outputs.shape[:2], lengths, sample_weight)
    losses = ((outputs - target) ** 2).mean(axis=-1)
    scale = _scale(weights, reduction)
    gradient = 2 * (outputs - target) / outputs.shape[-1] * weights[..., None] * scale
    return _total(losses, weights) * scale, np.where(weights[..., None] > 0, gradient, 0)


def mae(outputs, target, reduction="mean", lengths=None, sample_weight=None):
    """Mean over the features of |y - target|; both (samples, T, F)."""
    weights = row_weights(outputs.shape[:2], lengths, sample_weight)
    losses = np.abs(outputs - target).mean(axis=-1)
    scale = _scale(weights, reduction)
    gradient = np.sign(outputs - target) / outputs.shape[-1] * weights[..., None] * scale
    return _total(losses, weights) * scale, np.where(weights[..., None] > 0, gradient, 0)


def huber(outputs, target, reduction="mean", delta=1.0, lengths=None, sample_weight=None):
    """Huber (1964): d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), d = y - target; mean over the features."""
    weights = row_weights(outputs.shape[:2], lengths, sample_weight)
    d = outputs - target
    losses = np.where(np.abs(d) <= delta, d**2 / 2, delta * (np.abs(d) - delta / 2)).mean(axis=-1)
    scale = _scale(weights, reduction)
    gradient = np.clip(d, -delta, delta) / outputs.shape[-1] * weights[..., None] * scale
    return _total(losses, weights) * scale, np.where(weights[..., None] > 0, gradient, 0)


def binary_cross_entropy(
    logits, target, reduction="mean", pos_weight=1.0, weight=1.0, lengths=None, sample_weight=None
):
    """-w (p t log s + (1 - t) log(1 - s)), s the logistic function of the logits, p = pos_weight; mean over the features."""
    weights = row_weights(logits.shape[:2], lengths, sample_weight)
    target = np.asarray(target, float)
    on, off = target * pos_weight * weight, (1 - target) * np.asarray(weight)
    # -log s(y) = log(1 + exp(-y)), and -log(1 - s(y)) = log(1 + exp(y)).
    terms = np.where(on > 0, on * np.logaddexp(0, -logits), 0) + np.where(off > 0, off * np.logaddexp(0, logits), 0)
    scale = _scale(weights, reduction)
    gradient = (off * logistic(logits) - on * logistic(-logits)) / logits.shape[-1] * weights[..., None] * scale
    return _total(terms.mean(axis=-1), weights) * scale, np.where(weights[..., None] > 0, gradient, 0)


def _distribution(term):
    """Return the naive loss of a ``term(y, t, **options) -> (losses, slopes)`` of outputs (..., targets, K) and targets."""

    def run(outputs, target, reduction="mean", lengths=None, sample_weight=None, **options):
        weights = row_weights(outputs.shape[:2], lengths, sample_weight)
        target = np.where(weights[..., None] > 0, np.asarray(target, float), 0)
        losses, slopes = term(outputs.reshape(*target.shape, -1), target, **options)
        scale, shares = _scale(weights, reduction), weights[..., None] / target.shape[-1]
        gradient = (slopes * shares[..., None]).reshape(outputs.shape) * scale
        return _total(losses.mean(axis=-1), weights) * scale, np.where(weights[..., None] > 0, gradient, 0)

    return run


def _quantile(y, t, levels=(0.1, 0.5, 0.9)):
    """Koenker & Bassett (1978): the mean pinball loss of quantiles that softplus increments keep in order."""
    count = len(levels)
    q = [y[..., 0] + sum(np.logaddexp(0, y[..., i]) for i in range(1, k + 1)) for k in range(count)]
    losses = sum(np.maximum(p * (t - v), (p - 1) * (t - v)) for p, v in zip(levels, q, strict=True)) / count
    each = [((v > t) - p * (v != t)) / count for p, v in zip(levels, q, strict=True)]
    slopes = [sum(each[k:]) * (logistic(y[..., k]) if k else 1) for k in range(count)]
    return losses, np.stack(slopes, axis=-1)


def _gaussian(y, t, floor=1e-3):
    """Nix & Weigend (1994): -log of the normal density of mean y_1 and standard deviation softplus(y_2) + floor."""
    d, s = t - y[..., 0], np.logaddexp(0, y[..., 1]) + floor
    losses = np.log(np.sqrt(2 * np.pi) * s) + d**2 / (2 * s**2)
    return losses, np.stack([-d / s**2, (1 / s - d**2 / s**3) * logistic(y[..., 1])], axis=-1)


def _negative_binomial(y, t, scale=1.0):
    """Salinas et al. (2020): Gamma(t + r) / Gamma(r) is the product of t factors r + i."""
    m, a = scale * np.logaddexp(0, y[..., 0]), np.logaddexp(0, y[..., 1]) / np.sqrt(scale)
    losses, da = np.zeros(t.shape), np.zeros(t.shape)
    for at in np.ndindex(t.shape):
        i = np.arange(int(t[at]))
        losses[at] = math.lgamma(t[at] + 1) - np.log1p(a[at] * i).sum()
        da[at] = -(i / (1 + a[at] * i)).sum()
    losses += (t + 1 / a) * np.log1p(a * m) - t * np.log(m)
    da += (t + 1 / a) * m / (1 + a * m) - np.log1p(a * m) / a**2
    dm = (t + 1 / a) * a / (1 + a * m) - t / m
    chain = scale * logistic(y[..., 0]), logistic(y[..., 1]) / np.sqrt(scale)
    return losses, np.stack([dm * chain[0], da * chain[1]], axis=-1)


def _scale(weights, reduction):
    total = weights.sum()
    return 1.0 if reduction == "sum" else 1.0 / total if total > 0 else 0.0


def _total(losses, weights):
    return float((np.where(weights > 0, losses, 0) * weights).sum())


LOSSES = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
    "binary_cross_entropy": binary_cross_entropy,
    "quantile": _distribution(_quantile),
    "gaussian": _distribution(_gaussian),
    "negative_binomial": _distribution(_negative_binomial),
}


def label_sequences(logits, blank=0):
    """Return the probability of every label sequence of logits (T, V), over all V^T alignments, with those alignments."""
    steps, classes = logits.shape
    probabilities, found = softmax(logits), {}
    for path in itertools.product(range(classes), repeat=steps):
        string = tuple(c for c, _ in itertools.groupby(path) if c != blank)
        found.setdefault(string, []).append((path, math.prod(probabilities[t, c] for t, c in enumerate(path))))
    return {string: (sum(p for _, p in paths), paths) for string, paths in found.items()}


def ctc(logits, string, blank=0):
    """Return -log p(label sequence) and its gradient with respect to the logits (T, V), by going through all alignments."""
    whole, paths = label_sequences(logits, blank)[tuple(string)]
    occupied = np.zeros(logits.shape)
    for path, probability in paths:
        occupied[np.arange(len(path)), list(path)] += probability / whole
    return -math.log(whole), softmax(logits) - occupied


# Optimizers, as torch: (weights, gradient, state, step number from 1, options) -> (weights, state)


def sgd(w, g, state, step, learning_rate, momentum=0.0, weight_decay=0.0, nesterov=False):
    (v,) = state
    g = g + weight_decay * w
    v = momentum * v + g
    return w - learning_rate * (g + momentum * v if nesterov else v), (v,)


def rmsprop(w, g, state, step, learning_rate, alpha=0.95, eps=1e-8, weight_decay=0.0, centered=False):
    s, *mean = state
    g = g + weight_decay * w
    s = alpha * s + (1 - alpha) * g * g
    mean = [alpha * m + (1 - alpha) * g for m in mean] if centered else []
    variance = np.maximum(s - mean[0] ** 2, 0) if centered else s
    return w - learning_rate * g / (np.sqrt(variance) + eps), (s, *mean)


def adagrad(w, g, state, step, learning_rate, lr_decay=0.0, weight_decay=0.0, eps=1e-10):
    """Duchi, Hazan & Singer (2011), with diagonal matrices; the sum begins with what `state` holds."""
    (s,) = state
    g = g + weight_decay * w
    s = s + g * g
    return w - learning_rate / (1 + (step - 1) * lr_decay) * g / (np.sqrt(s) + eps), (s,)


def adam(w, g, state, step, learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False):
    """Kingma & Ba (2015), algorithm 1; with `amsgrad` the largest second moment (Reddi, Kale & Kumar 2018)."""
    (m, s, *largest), (beta1, beta2) = state, betas
    g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g * g
    largest = [np.maximum(top, s) for top in largest] if amsgrad else []
    m_hat, s_hat = m / (1 - beta1**step), (largest[0] if amsgrad else s) / (1 - beta2**step)
    return w - learning_rate * m_hat / (np.sqrt(s_hat) + eps), (m, s, *largest)


def adamw(w, g, state, step, learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, amsgrad=False):
    """Loshchilov & Hutter (2019), algorithm 2, with torch's decay: rate times weight_decay."""
    w = w - learning_rate * weight_decay * w
    return adam(w, g, state, step, learning_rate, betas, eps, amsgrad=amsgrad)


# Optimizer name -> (its step, number of arrays of state).
OPTIMIZERS = {
    "sgd": (sgd, 1),
    "rmsprop": (rmsprop, 1),
    "adagrad": (adagrad, 1),
    "adam": (adam, 2),
    "adamw": (adamw, 2),
}


def clip_by_norm(gradient, limit):
    length = math.sqrt(sum(float(value) ** 2 for value in gradient))
    return gradient * min(1.0, limit / (length + 1e-6))


def clip_by_value(gradient, limit):
    return np.where(gradient > limit, limit, np.where(gradient < -limit, -limit, gradient))


# Random bits


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011): four 32-bit counters, two 32-bit keys, in Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def dropout_factors(samples, steps, columns, rate, seed, step, stream):
    """Return the factors (samples, steps, columns) of dropout: 0 with probability `rate`, else 1 / (1 - rate).

    Element (n, t, j) takes word j % 4 of counter (j // 4, t, n, stream xor the high half of the seed), key (seed, step).
    """
    factors = np.zeros((samples, steps, columns))
    key = (seed % 2**32, step % 2**32)
    for n in range(samples):
        for t in range(steps):
            for j in range(columns):
                word = philox((j // 4, t, n, stream ^ (seed >> 32)), key)[j % 4]
                factors[n, t, j] = 1 / (1 - rate) if word >= int(rate * 2**32) else 0
    return factors


# Derivatives


def central_differences(f, x, eps=1e-4):
    """Return the gradient of the scalar function f at the array x, to fourth order in eps."""
    x = np.array(x, np.float64)
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        middle, value = x[index], {}
        for shift in (-2, -1, 1, 2):
            x[index] = middle + shift * eps
            value[shift] = f(x)
        x[index] = middle
        gradient[index] = (8 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12 * eps)
    return gradient
