"""Insight: every figure against central differences, closed forms and the equations; nothing is changed by looking."""

from typing import NamedTuple

import naive
import numpy as np
import pytest
from conftest import RECORDS, assert_close, assert_same_bits, normal, random_state, recurrent_model

from numbarnn import GRU, LSTM, RNN, CharLM, Dense, Dropout, Embedding, MinLSTM, Model, OneHot, Recurrent, diagnostics
from numbarnn.cells import CELLS, register, sigmoid, tanh
from numbarnn.diagnostics import check_gradients, diagnose, gradient_flow, jacobian, sensitivity, trace, unfold
from numbarnn.errors import ShapeError, TokenError
from numbarnn.losses import CTC, LOSSES
from numbarnn.optim import SGD

LENGTHS = np.array([6, 3, 0, 5])


def net(layer, inputs=2, classes=3, **options):
    return Model([layer, Dense(classes, init="torch")], input_size=inputs, **{"dtype": "float64", "seed": 3, **options})


def task(samples=4, steps=6, inputs=2, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(samples, steps, inputs)), generator.integers(0, classes, (samples, steps))


def cross_entropy(logits, y):
    """Return E_t for one sample."""
    return -np.log(naive.softmax(logits))[np.arange(len(y)), y]


# Traces


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_trace_holds_what_forward_computes_and_every_name(record):
    model, x = recurrent_model(record, 2, 5, num_layers=2, bidirectional=True), normal(0, 4, 6, 2)
    state = random_state(model, 4)
    outputs, final = model.forward(x, state, LENGTHS)
    seen = trace(model, x, state, LENGTHS)
    joined = np.concatenate([seen["recurrent.h_l1"], seen["recurrent.h_l1_reverse"]], axis=2)
    assert_same_bits(joined, outputs)
    for s, name in enumerate(record.states):
        last = [seen[f"recurrent.{name}_l1"][n, LENGTHS[n] - 1] for n in (0, 1, 3)]
        assert_same_bits(np.array(last), final[0][s][2][[0, 1, 3]])
    names = {*record.saved, *record.states, *getattr(record, "inner", ()), *getattr(record, "inner_saved", ())}
    suffixes = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    assert set(seen) == {f"recurrent.{name}{suffix}" for name in names for suffix in suffixes}
    for values in seen.values():
        assert values.shape == (4, 6, 5)
        assert not values[1, 3:].any()


def test_gates_obey_their_equations():
    x = normal(1, 3, 7, 2)
    model = net(LSTM(4, init="torch"))
    s = {name.partition(".")[2]: values for name, values in trace(model, x).items()}
    before = {n: np.concatenate([np.zeros((3, 1, 4)), s[f"{n}_l0"][:, :-1]], axis=1) for n in "hc"}
    p = model.params
    planes = (
        x @ p["lstm.weight_ih_l0"].T
        + before["h"] @ p["lstm.weight_hh_l0"].T
        + p["lstm.bias_ih_l0"]
        + p["lstm.bias_hh_l0"]
    )
    for gate, plane, f in zip("ifgo", np.split(planes, 4, axis=2), "llll", strict=True):
        f = np.tanh if gate == "g" else naive.logistic
        assert_close(s[f"{gate}_l0"], f(plane), 1e-13, gate)
    assert_close(s["c_l0"], s["f_l0"] * before["c"] + s["i_l0"] * s["g_l0"], 1e-13)
    assert_close(s["h_l0"], s["o_l0"] * np.tanh(s["c_l0"]), 1e-13)
    assert_same_bits(trace(model, x)["dense.y"], model.forward(x)[0])
    held = trace(net(LSTM(4, fix={"forget": 0.25})), x)
    assert (held["lstm.f_l0"] == 0.25).all()
    s = trace(net(GRU(4, reset_after=False)), x)
    h = np.concatenate([np.zeros((3, 1, 4)), s["gru.h_l0"][:, :-1]], axis=1)
    assert_close(s["gru.rh_l0"], s["gru.r_l0"] * h, 1e-15)
    assert_close(s["gru.h_l0"], (1 - s["gru.z_l0"]) * s["gru.n_l0"] + s["gru.z_l0"] * h, 1e-14)


def test_a_trace_as_a_tidy_frame():
    x = normal(2, 4, 6, 2)
    model = Model([GRU(3), GRU(2, return_sequences=False, name="top"), Dense(1)], input_size=2)
    seen = trace(model, x, lengths=LENGTHS)
    frame = seen.to_frame()
    assert list(frame.columns) == ["layer", "quantity", "sample", "step", "unit", "value"]
    part = frame[(frame["layer"] == "gru") & (frame["quantity"] == "z_l0")]
    assert len(part) == LENGTHS.sum() * 3
    row = part[(part["sample"] == 3) & (part["step"] == 4) & (part["unit"] == 1)]
    assert row["value"].item() == seen["gru.z_l0"][3, 4, 1]
    assert seen["dense.y"].shape == (4, 1)
    assert sorted(frame[frame["layer"] == "dense"]["step"]) == [-1, 2, 4, 5]  # length 0: before the first
    assert "gru.z_l0" in repr(seen)
    with pytest.raises(KeyError, match="there are gru"):
        seen["gru.f_l0"]


# The flow of the gradient


def losses_from(model, states, x, y, k, lower=0):
    """Return E_t for t >= k of one sample, of a model whose first layer has these states after step k; 0 before k."""
    first, rest = model.layers[0], model.layers[1:]
    below = Model([first], x.shape[1], "float64").load_state_dict(
        {n: v for n, v in model.params.items() if n.startswith(model.names[0])}
    )
    above = Model([rest[0]], first.hidden_size, "float64").load_state_dict(
        {n: v for n, v in model.params.items() if n.startswith(model.names[1])}
    )
    h = [states[0][None, None]]
    if k + 1 < len(x):
        outputs, _ = below.forward(x[None, k + 1 :], (tuple(s[None, None] for s in states),))
        h.append(outputs)
    logits = above.forward(np.concatenate(h, axis=1))[0][0]
    return np.concatenate([np.zeros(k), cross_entropy(logits, y[k:])])


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_contributions_equal_central_differences(record):
    """dE_t/ds_k for all t and k, of every cell."""
    model, (x, y) = net(Recurrent(4, cell=record, init="torch", forget_bias=None)), task(1, 5)
    flow, seen = gradient_flow(model, x, y), trace(model, x)
    for k in range(5):
        for s, name in enumerate(record.states):
            states = [seen[f"recurrent.{n}_l0"][0, k] for n in record.states]

            def losses(values, s=s, k=k, states=states):
                return losses_from(model, [*states[:s], values, *states[s + 1 :]], x[0], y[0], k) / 5

            slopes = np.array([naive.central_differences(lambda v, t=t: losses(v)[t], states[s]) for t in range(5)])
            found = flow.contributions[f"recurrent.{name}_l0"]
            assert_close(found[:, k], np.linalg.norm(slopes, axis=1), 1e-7, f"dE/d{name}_{k}")
            assert_close(flow.norms[f"recurrent.{name}_l0"][k], np.linalg.norm(slopes.sum(0)), 1e-7, f"dL/d{name}_{k}")


@pytest.mark.parametrize("merge", ["concat", "sum"])
def test_the_flow_through_layers_above_lengths_and_both_directions(merge):
    """Below a bidirectional layer the loss of a step reaches later steps too."""
    x, y = task()
    layers = [LSTM(3, init="torch"), Dropout(0.5), GRU(4, bidirectional=True, init="torch", merge=merge), Dense(3)]
    model = Model(layers, input_size=2, dtype="float64", seed=2)
    flow = gradient_flow(model, x, y, lengths=LENGTHS)
    seen = trace(model, x, lengths=LENGTHS)
    above = Model(layers[1:], input_size=3, dtype="float64")
    above.load_state_dict({n: v for n, v in model.params.items() if not n.startswith("lstm")})
    below = Model(layers[:1], input_size=2, dtype="float64")
    below.load_state_dict({n: v for n, v in model.params.items() if n.startswith("lstm")})
    for k in range(6):
        total = 0
        for n in np.flatnonzero(k < LENGTHS):
            h = seen["lstm.h_l0"][n : n + 1, : LENGTHS[n]]

            def loss(h_k, n=n, h=h, k=k):
                c = seen["lstm.c_l0"][n, k]
                later = np.zeros((1, 0, 3))
                if k + 1 < LENGTHS[n]:
                    later, _ = below.forward(x[n : n + 1, k + 1 : LENGTHS[n]], ((h_k[None, None], c[None, None]),))
                whole = np.concatenate([h[:, :k], h_k[None, None], later], axis=1)
                return cross_entropy(above.forward(whole)[0][0], y[n, : LENGTHS[n]]).sum() / LENGTHS.sum()

            total += np.square(naive.central_differences(loss, h[0, k])).sum()
        assert_close(flow.norms["lstm.h_l0"][k], np.sqrt(total), 1e-7, f"step {k}")
    assert flow.contributions["lstm.h_l0"][0, 4] > 0
    assert flow.contributions["gru.h_l0"][0, 4] == 0
    assert flow.contributions["gru.h_l0_reverse"][0, 4] > 0


def test_the_reverse_direction_is_the_mirror_of_the_forward_one():
    x, y = task()
    model = net(LSTM(3, bidirectional=True, num_layers=2, init="torch"))
    mirrored = model.copy()
    swapped = {}
    for name, values in model.params.items():
        if name == "dense.bias":
            swapped[name] = values
            continue
        other = name.removesuffix("_reverse") if name.endswith("_reverse") else f"{name}_reverse"
        wide = name == "dense.weight" or "weight_ih_l1" in name
        swapped[name if name.startswith("dense") else other] = np.roll(values, 3, axis=1) if wide else values
    mirrored.load_state_dict(swapped)
    flow, back = gradient_flow(model, x, y), gradient_flow(mirrored, x[:, ::-1], y[:, ::-1])
    for level in range(2):
        name = f"lstm.c_l{level}"
        assert_close(back.norms[f"{name}_reverse"][::-1], flow.norms[name], 1e-12, name)
        assert_close(back.contributions[f"{name}_reverse"][::-1, ::-1], flow.contributions[name], 1e-12, name)


def test_one_loss_a_sample():
    x, _ = task()
    y = np.array([0, 2, 1, 1])
    model = net(LSTM(3, return_sequences=False, init="torch"))
    flow, seen = gradient_flow(model, x, y, lengths=LENGTHS), trace(model, x, lengths=LENGTHS)
    for k in range(6):
        total = 0
        for n in np.flatnonzero(k < LENGTHS):
            h, c = seen["lstm.h_l0"][n, k], seen["lstm.c_l0"][n, k]
            rest = x[n : n + 1, k + 1 : LENGTHS[n]] if k + 1 < LENGTHS[n] else x[n : n + 1, :1]
            left = [LENGTHS[n] - k - 1]

            def loss(h, n=n, c=c, rest=rest, left=left):
                # After no step the output is zero, not the initial state.
                last = model.forward(rest, ((h[None, None], c[None, None]),), left)[1][0][0][0]
                logits = last @ model.params["dense.weight"].T + model.params["dense.bias"]
                return cross_entropy(logits, y[n : n + 1])[0] / 4

            total += np.square(naive.central_differences(loss, h)).sum()
        assert_close(flow.norms["lstm.h_l0"][k], np.sqrt(total), 1e-7, f"step {k}")
    assert flow.contributions["lstm.h_l0"].shape == (1, 6)
    assert_close(flow.contributions["lstm.h_l0"][0], flow.norms["lstm.h_l0"], 1e-14)
    one = gradient_flow(model, x[:1], y[:1])
    assert_close(one.by_lag["lstm.h_l0"][::-1], one.norms["lstm.h_l0"], 1e-14)
    both = gradient_flow(net(LSTM(3, return_sequences=False, bidirectional=True)), x[:1], y[:1])
    assert_close(both.by_lag["lstm.h_l0_reverse"], both.norms["lstm.h_l0_reverse"], 1e-14)


def test_the_figures_of_a_flow():
    """A linear net without input weights: every step back multiplies by 1/2."""
    model = Model([RNN(1, activation="identity"), Dense(1)], input_size=1, dtype="float64")
    ones = {"rnn.weight_ih_l0": [[1]], "rnn.weight_hh_l0": [[0.5]], "rnn.bias_ih_l0": [0], "rnn.bias_hh_l0": [0]}
    model.load_state_dict(
        {n: np.float64(v) for n, v in ones.items()} | {"dense.weight": np.ones((1, 1)), "dense.bias": np.zeros(1)}
    )
    x = normal(0, 2, 30, 1)
    flow = gradient_flow(model, x, np.zeros((2, 30)), "mse")
    assert flow.decades_per_step() == pytest.approx(np.log10(0.5), abs=0.02)
    last = gradient_flow(model, x, np.zeros((2, 30)), "mse", sample_weight=np.eye(30)[[29, 29]])
    assert last.decades_per_step() == pytest.approx(np.log10(0.5), abs=1e-6)
    assert last.share_within(3) == pytest.approx(1 - 0.5**3, rel=1e-7)
    assert last.steps_holding(0.99) == 7
    assert last.steps_holding(0.5) == 1
    assert list(last.to_frame().columns) == ["state", "step", "norm"]
    assert "99 % within 7 steps" in str(last)
    bare = gradient_flow(model, x, np.zeros((2, 30)), "mse", contributions=False)
    assert_close(bare.norms["rnn.h_l0"], flow.norms["rnn.h_l0"], 1e-13)
    assert bare.contributions == {}
    with pytest.raises(ValueError, match="contributions=True"):
        bare.share_within(3)


@pytest.mark.parametrize("budget", [1, 2000])
def test_samples_a_few_at_a_time_give_the_same(monkeypatch, budget):
    x, y = task()
    model = net(GRU(3, num_layers=2))
    whole = gradient_flow(model, x, y, lengths=LENGTHS)
    monkeypatch.setattr("numbarnn.diagnostics.tape.BUDGET", budget)
    parts = gradient_flow(model, x, y, lengths=LENGTHS)
    for name in whole.norms:
        assert_close(parts.norms[name], whole.norms[name], 1e-13)
        assert_close(parts.contributions[name], whole.contributions[name], 1e-13)


# Jacobians


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_jacobians_equal_central_differences(record):
    model, x = recurrent_model(record, 2, 4), normal(3, 2, 6, 2)
    state = random_state(model, 2)
    found = jacobian(model, x, 4, 1, sample=1, state=state)
    seen = trace(model, x, state)
    start = np.concatenate([seen[f"recurrent.{n}_l0"][1, 1] for n in record.states])

    def later(flat):
        states = tuple(s[None, None] for s in np.split(flat, len(record.states)))
        _, final = model.forward(x[1:, 2:5], (states,))
        return np.concatenate([s[0, 0] for s in final[0]])

    rows = [naive.central_differences(lambda v, i=i: later(v)[i], start) for i in range(len(start))]
    assert_close(found.matrix, np.array(rows), 1e-7)
    assert found.norm <= found.step_bound * (1 + 1e-12)
    assert_close(found.by_lag[-1], np.linalg.svd(found.matrix, compute_uv=False), 1e-12)
    assert_close(found.by_lag[0], np.linalg.svd(found.steps[-1], compute_uv=False), 1e-12)
    if type(record).__name__ == "RNN":
        assert found.norm <= found.weight_bound * (1 + 1e-12)
    else:
        assert found.weight_bound is None


def test_the_carry_path_is_the_product_of_forget_gates():
    model, x = recurrent_model(CELLS["LSTM"](), 2, 8), normal(4, 1, 40, 2)
    found, gates = jacobian(model, x, 35, 4), trace(model, x)["recurrent.f_l0"]
    assert_close(np.diag(found.carry_path), np.prod(gates[0, 5:36], axis=0), 1e-13)
    assert not (found.carry_path - np.diag(np.diag(found.carry_path))).any()
    assert_close(found.carry_path + found.carry_added, found.block("c", "c"), 1e-13)
    assert np.abs(found.carry_added).max() > 0
    # With the recurrent weights at zero the paths through the gates are gone, and the full derivative is the product.
    with model.params.writing() as flat:
        model.params.views(flat)["recurrent.weight_hh_l0"][...] = 0
    cut = jacobian(model, x, 35, 4)
    assert_close(cut.block("c", "c"), np.diag(cut.forget_product), 1e-13)
    assert not cut.carry_added.any()
    # Peepholes are a path through the gates of their own.
    peephole = jacobian(recurrent_model(CELLS["PeepholeLSTM"](), 2, 8), x, 10, 4)
    assert np.abs(np.diag(peephole.carry_path) - peephole.forget_product).max() > 1e-6
    with pytest.raises(ValueError, match="no cell state c"):
        _ = jacobian(recurrent_model(CELLS["GRU"](), 2, 3), x, 3, 1).forget_product


def test_jacobians_of_levels_directions_and_the_initial_state():
    model, x = net(LSTM(3, num_layers=2, bidirectional=True, init="torch")), normal(5, 2, 6, 2)
    lengths = np.array([6, 4])
    seen = trace(model, x, lengths=lengths)
    below = np.concatenate([seen["lstm.h_l0"], seen["lstm.h_l0_reverse"]], axis=2)
    single = Model([LSTM(3)], input_size=6, dtype="float64")
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    single.load_state_dict({f"lstm.{k}_l0": model.params[f"lstm.{k}_l1_reverse"] for k in kinds})
    mirrored = jacobian(single, below[1:, :4][:, ::-1], 3, -1)
    found = jacobian(model, x, 0, 4, sample=1, level=1, reverse=True, lengths=lengths)
    assert_close(found.matrix, mirrored.matrix, 1e-13)
    assert found.block("h", "c").shape == (3, 3)
    assert "norm" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 3), "k"),
        ((6, 1), "k"),
        ((3, -2), "k"),
        ((3, 1, {"sample": 9}), "sample must be"),
        ((3, 1, {"layer": "gru"}), "the model, which has layer='lstm'"),
        ((3, 1, {"level": 1}), "the model, which has layer='lstm' level=0"),
    ],
)
def test_jacobians_that_do_not_exist(arguments, message):
    t, k, *rest = arguments
    with pytest.raises(ValueError, match=message):
        jacobian(net(LSTM(3)), task()[0], t, k, **(rest[0] if rest else {}))


def test_sensitivity_equals_central_differences():
    model, x = net(GRU(4, bidirectional=True, init="torch")), normal(6, 2, 5, 2)
    found = sensitivity(model, x, 2, 1, lengths=[5, 4])
    expected = naive.central_differences(lambda v: model.forward(v, None, [5, 4])[0][:, 2, 1].sum(), x)
    assert_close(found, expected, 1e-7)
    last = net(LSTM(3, return_sequences=False))
    expected = naive.central_differences(lambda v: last.forward(v)[0][:, 0].sum(), x)
    assert_close(sensitivity(last, x, -1, 0), expected, 1e-7)
    for t, output, name in ((5, 0, "t must be"), (0, 3, "output must be")):
        with pytest.raises(ValueError, match=name):
            sensitivity(model, x, t, output)


def test_tokens_count_as_their_vectors():
    tokens = np.random.default_rng(0).integers(0, 5, (3, 6))
    one_hot, numbers = Model([OneHot(5), LSTM(4), Dense(2)], dtype="float64"), net(LSTM(4), 5, 2)
    numbers.load_state_dict(one_hot.state_dict())
    y = tokens % 2
    assert_close(sensitivity(one_hot, tokens, 4, 1), sensitivity(numbers, np.eye(5)[tokens], 4, 1), 1e-14)
    a, b = gradient_flow(one_hot, tokens, y), gradient_flow(numbers, np.eye(5)[tokens], y)
    assert_close(a.contributions["lstm.c_l0"], b.contributions["lstm.c_l0"], 1e-14)
    assert_close(a.loss, one_hot.loss_and_grad(tokens, y)[0], 1e-13)
    embedded = Model([Embedding(5, 3), LSTM(4), Dense(2)], seed=2)
    assert sensitivity(embedded, tokens, 4, 1).shape == (3, 6, 3)
    padded = np.where(np.arange(6) < [[6], [2], [4]], tokens, 99)
    assert np.isfinite(gradient_flow(embedded, padded, y, lengths=[6, 2, 4]).loss)
    with pytest.raises(TokenError):
        gradient_flow(embedded, padded, y)


# Checked gradients


class _WrongCell(NamedTuple):
    """The gate g has a gradient that is 1 % too large."""

    gates = ("g", "c")
    preactivations = ("g", "c")
    from_input = {"g": "g", "c": "c"}
    from_hidden = {"g": "g", "c": "c"}
    states = ("h",)
    saved = ("g", "c")
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        g, c = sigmoid(preactivations[0]), tanh(preactivations[1])
        return (g * states[0] + (type(g)(1) - g) * c,), (g, c)

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        (g, c), (h,), (dh,) = saved, states, gradients
        one = type(g)(1)
        dg = dh * (h - c) * g * (one - g) * type(g)(1.01)
        return (dg, dh * (one - g) * (one - c * c)), (dh * g,), ()


def test_right_gradients_are_found_right():
    x, y = task()
    layers = [LSTM(3, peepholes=True, init="torch"), GRU(3, init="torch"), Dense(3)]
    found = check_gradients(Model(layers, input_size=2), x, y, lengths=LENGTHS, entries=None)
    assert found.ok, str(found)
    assert found.worst["error"] < 1e-7
    model = Model(layers, input_size=2)
    assert sum(row["checked"] for row in found.rows) == model.params.flat.size
    assert {(row["parameter"], row["gate"]) for row in found.rows} >= {
        ("lstm.weight_hh_l0", "f"),
        ("gru.bias_hh_l0", "n"),
    }
    assert ("lstm.weight_co_l0", None) in {(row["parameter"], row["gate"]) for row in found.rows}
    assert found.to_frame()["error"].is_monotonic_decreasing
    assert "the gradients are right" in str(found)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in ("softmax_cross_entropy", "ctc")])
def test_right_gradients_of_every_loss_of_numbers(loss):
    x, _ = task()
    # No output is so near its target that differences cross the kink of mae.
    y = np.random.default_rng(2).random((4, 6, 3))
    y = np.floor(5 * y) if loss == "negative_binomial" else y
    assert check_gradients(net(GRU(3), classes=LOSSES[loss]().size(3)), x, y, loss, entries=4).ok


@pytest.fixture
def wrong_cell():
    """A cell that other tests, which run over the registry, must not see."""
    yield register(_WrongCell)()
    del CELLS["_WrongCell"]


def test_a_wrong_gradient_is_named(wrong_cell):
    x, y = task()
    found = check_gradients(net(Recurrent(3, cell=wrong_cell, forget_bias=None)), x, y)
    assert not found.ok
    assert found.worst["gate"] == "g"
    assert found.worst["error"] == pytest.approx(0.01, rel=0.6)
    assert "WRONG" in str(found)
    assert "gate g" in str(found)
    with pytest.raises(ValueError, match="entries"):
        check_gradients(net(GRU(3)), x, y, entries=0)


# Unfolding


def bptt_terms(x, y, U, W, b, V, c):
    """The lecture's formulas for s_t = tanh(U x_t + W s_{t-1} + b): dE_t/dV, and the terms k of dE_t/dW and dE_t/dU."""
    steps, hidden = len(x), len(W)
    s = np.zeros((steps + 1, hidden))  # s[-1] is the state before the first step
    for t in range(steps):
        s[t] = np.tanh(U @ x[t] + W @ s[t - 1] + b)
    dV, dW, dU = [], np.zeros((steps, steps, *W.shape)), np.zeros((steps, steps, *U.shape))
    for t in range(steps):
        error = naive.softmax((V @ s[t] + c)[None])[0] - np.eye(len(V))[y[t]]
        dV.append(np.outer(error, s[t]))
        for k in range(t + 1):
            row = error @ V
            for j in range(t, k, -1):
                row = row @ (np.diag(1 - s[j] ** 2) @ W)
            row = row @ np.diag(1 - s[k] ** 2)
            dW[t, k], dU[t, k] = np.outer(row, s[k - 1]), np.outer(row, x[k])
    return np.array(dV), dW, dU


def test_unfolded_terms_are_the_lectures_and_sum_to_the_gradient_of_training():
    model = Model([OneHot(4), RNN(3, init="uniform(0.8)"), Dense(4, init="uniform(0.8)")], seed=1, dtype="float64")
    tokens = np.array([[3, 0, 1, 2, 1]])
    found, p = unfold(model, tokens, 4), model.params
    weights = [
        p["rnn.weight_ih_l0"],
        p["rnn.weight_hh_l0"],
        p["rnn.bias_ih_l0"] + p["rnn.bias_hh_l0"],
        p["dense.weight"],
        p["dense.bias"],
    ]
    dV, dW, dU = bptt_terms(np.eye(4)[tokens[0, :4]], tokens[0, 1:], *weights)
    for name, expected in (("dV", dV), ("dW", dW), ("dU", dU)):
        assert_close(getattr(found, name), expected, 1e-13, name)
    loss, gradients = model.loss_and_grad(tokens[:, :-1], tokens[:, 1:], reduction="sum")
    assert found.E.sum() == pytest.approx(loss, rel=1e-14)
    for terms, name in (
        (found.dV.sum(0), "dense.weight"),
        (found.dW.sum((0, 1)), "rnn.weight_hh_l0"),
        (found.dU.sum((0, 1)), "rnn.weight_ih_l0"),
    ):
        assert_close(terms, gradients[name], 1e-12, name)
    assert found.difference < 1e-12
    text = str(found)
    assert f"E_3 = -log {found.o[3, 1]:.4f} = {found.E[3]:.4f}" in text
    assert text.count("  k = ") == 8
    assert "s_t = tanh(U x_t + W s_{t-1} + b)" in text


@pytest.mark.parametrize("layer", [LSTM(3), GRU(3), GRU(3, reset_after=False), LSTM(3, peepholes=True)], ids=str)
def test_terms_of_gated_cells_sum_to_the_gradient(layer):
    x, y = task(2, 5)
    model = net(layer)
    found = unfold(model, x, 5, y, sample=1, state=random_state(model, 2))
    assert found.difference < 1e-12
    assert np.abs(found.dW[4, 0]).max() > 0
    ours, theirs = model.params[f"{model.names[0]}.bias_ih_l0"], model.params[f"{model.names[0]}.bias_hh_l0"]
    if type(found.cell).__name__ == "GRU":  # its reset gate multiplies the second bias of the candidate
        ours, theirs = np.append(ours, theirs[6:]), np.append(theirs[:6], np.zeros(6))
    np.testing.assert_array_equal(found.b, ours + theirs)


@pytest.mark.parametrize("bias", [True, "single", False])
@pytest.mark.parametrize("output_bias", [True, False])
def test_every_value_of_an_unfolded_net_follows_from_those_shown(bias, output_bias):
    layers = [RNN(3, bias=bias, init="uniform(0.8)"), Dense(4, bias=output_bias, init="uniform(0.8)")]
    model = Model(layers, input_size=2, seed=1, dtype="float64")
    x = normal(5, 1, 4, 2)
    found = unfold(model, x, 3, np.array([[0, 3, 1, 2]]))
    b, c = (0 if values is None else values for values in (found.b, found.c))
    s = np.zeros(3)
    for t in range(3):
        s = np.tanh(found.U @ found.x[t] + found.W @ s + b)
        assert_close(found.s[t], s, 1e-14)
        assert_close(found.o[t], naive.softmax((found.V @ s + c)[None])[0], 1e-14)
    text = str(found)
    assert [name in found.parameters for name in "bc"] == [bool(bias), output_bias]
    for name, shown, equation in (("b", bool(bias), "W s_{t-1} + b)"), ("c", output_bias, "V s_t + c)")):
        assert (f"\n{name} = [" in text) is shown
        assert (equation in text) is shown
    absent = {
        (True, True): "3 steps\n",
        (True, False): "no bias c\n",
        (False, True): "no bias b\n",
        (False, False): "no biases\n",
    }
    assert absent[bool(bias), output_bias] in text


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (net(LSTM(3, num_layers=2)), {}, ValueError, "one level"),
        (net(LSTM(3, return_sequences=False)), {}, ValueError, "return_sequences=True"),
        (Model([RNN(3), Dense(4, activation="tanh")], 2), {}, ValueError, "Dense layer without activation"),
        (net(RNN(3)), {"y": None}, ValueError, "y must be given"),
        (net(RNN(3)), {"steps": 0}, ValueError, "steps must be"),
        (net(RNN(3)), {"steps": 7}, ShapeError, "steps must be at most 6"),
        (net(RNN(3)), {"y": np.ones((2, 6, 3)) / 3}, ShapeError, r"y must have shape .*, got \(2, 6, 3\)"),
    ],
)
def test_nets_that_cannot_be_unfolded(model, arguments, error, message):
    x, y = task()
    with pytest.raises(error, match=message):
        unfold(model, x, **{"steps": 4, "y": y} | arguments)


def test_representations_are_short_and_true():
    x, y = task()
    model = net(GRU(4, init="torch"))
    found = {
        "GradientFlow": gradient_flow(model, x, y),
        "GradientCheck": check_gradients(model, x, y, entries=1),
        "Jacobian": jacobian(model, x, 4, 1),
        "Unfolded": unfold(model, x, 4, y),
        "PosteriorAlignment": diagnostics.alignment(model, x, [[1, 2], [2], [1], []])[0],
        "Diagnosis": diagnose(model, x, y),
    }
    for name, value in found.items():
        assert repr(value).startswith(f"<{name}")
        assert len(repr(value)) < 140
    assert "dh_l0" not in repr(found["GradientFlow"])
    assert f"loss {found['GradientFlow'].loss:.4g}" in repr(found["GradientFlow"])
    diagnosis = found["Diagnosis"]
    assert repr(diagnosis).startswith(
        f"<Diagnosis: {len(diagnosis.warnings)} of {len(diagnosis.verdicts)} verdicts are warnings"
    )
    assert all(verdict.topic in repr(diagnosis) for verdict in diagnosis.warnings)
    assert all(verdict.finding in repr(verdict) for verdict in diagnosis.verdicts)


# Alignments under CTC


def test_an_alignment_is_the_share_of_all_paths():
    """Occupancy, best path and probability against all 3^5 and 3^4 paths, one by one."""
    model, x = net(GRU(4, init="torch")), normal(4, 3, 5, 2)
    lengths, strings = [5, 4, 5], [[1, 1], [2], []]
    logits, _ = model.forward(x, lengths=lengths)
    found = diagnostics.alignment(model, x, strings, lengths)
    for n, (own, string, length) in enumerate(zip(found, strings, lengths, strict=True)):
        whole, paths = naive.label_sequences(logits[n, :length])[tuple(string)]
        assert_close(own.log_probability, np.log(whole), 1e-12)
        best, probability = max(paths, key=lambda item: item[1])
        assert tuple(own.best.path) == best
        assert_close(own.certainty, probability / whole, 1e-12)
        _, gradient = naive.ctc(logits[n, :length], string)
        assert_close(own.probabilities - own.by_class, gradient, 1e-12)
        occupied = np.zeros((length, 2 * len(string) + 1))
        for path, probability in paths:
            position = 0  # even: a blank; the path leaves it for the label after it, and that for the next position
            for t, c in enumerate(path):
                if c == 0:
                    position += position % 2
                elif position % 2 == 0 or path[t - 1] != c:
                    position += 1 + position % 2
                occupied[t, position] += probability / whole
        assert_close(own.occupancy, occupied, 1e-12)
        centers = [np.average(np.arange(length), weights=weights) for weights in occupied.T[1::2]]
        assert own.centers == pytest.approx(centers, rel=1e-12)
    assert found[0].extended_labels.tolist() == [0, 1, 0, 1, 0]
    frame = found[0].to_frame()
    assert len(frame) == 25
    assert frame.groupby("step")["probability"].sum().to_numpy() == pytest.approx(1)
    assert set(frame[frame["position"] == 3]["label"]) == {1}
    assert "log p(l | x)" in str(found[0])
    assert len(str(found[0]).splitlines()) == 4


def test_the_gradient_of_ctc_flows_and_is_checked():
    model, x = net(LSTM(3, bidirectional=True, init="torch")), normal(5, 2, 6, 2)
    strings = [[1, 2], [2, 2, 1]]
    assert check_gradients(model, x, strings, "ctc", entries=4).ok
    flow = gradient_flow(model, x, strings, "ctc")
    assert flow.loss == model.loss_and_grad(x, strings, "ctc")[0]
    assert flow.contributions["lstm.h_l0"].shape == (6, 6)
    one = net(LSTM(3, init="torch"))
    found = diagnostics.alignment(one, x, strings)[1]
    label, step = found.labels[0], found.best.first[0]
    expected = naive.central_differences(lambda v: one.forward(v)[0][1, step, label], x)
    assert_close(sensitivity(one, x, step, label)[1], expected[1], 1e-7)


def test_alignments_that_do_not_exist():
    x = normal(5, 2, 3, 2)
    with pytest.raises(
        ShapeError, match=r"sample 1: 3 steps for 2 labels with 1 repeats|sample 1: 2 steps for 2 labels"
    ):
        diagnostics.alignment(net(GRU(3)), x, [[1], [1, 1]], [3, 2])
    with pytest.raises(TokenError, match="labels has label 3 in sample 0"):
        diagnostics.alignment(net(GRU(3)), x, [[3], []])
    with pytest.raises(TokenError, match="2 is the blank"):
        diagnostics.alignment(net(GRU(3)), x, [[2], []], blank=2)
    with pytest.raises(TypeError, match="blank must be an integer"):
        diagnostics.alignment(net(GRU(3)), x, [[1], []], blank=0.0)
    with pytest.raises(ShapeError, match="one output per sample"):
        diagnostics.alignment(net(GRU(3, return_sequences=False)), x, [[1], [2]])
    with pytest.raises(ShapeError, match="labels must have one label sequence for each of 2 samples"):
        diagnostics.alignment(net(GRU(3)), x, [[1]])


# Verdicts


def test_label_sequences_that_do_not_fit_are_named():
    """Also where there are more samples than are looked at, and in every form of label sequences."""
    model, x = net(LSTM(4)), normal(6, 6, 4, 2)
    strings, lengths = [[1, 2], [1, 1, 2, 1], [], [2, 2, 2], [1], [2, 1, 2]], [4, 4, 4, 4, 4, 2]
    padded = np.array([row + [-1] * (4 - len(row)) for row in strings])
    for y in (strings, padded, (padded, [len(row) for row in strings])):
        found = diagnose(model, x, y, "ctc", lengths, samples=2)
        verdict = found.warnings[0]
        assert verdict.topic == "alignments"
        assert verdict.figures == {"infeasible": 3, "samples": 6, "rows": [1, 3, 5]}
        assert "the loss of 3 of 6 sequences is infeasible for CTC: rows 1, 3, 5" in str(verdict)
        assert "row 1: 4 steps for 4 labels and 1 blanks between equal ones" in str(verdict)
        assert "infeasible='zero'" in verdict.advice
        feasible = gradient_flow(model, x[[0, 2]], [[1, 2], []], "ctc")  # the first two that fit
        assert found.flow.loss == feasible.loss
    fine = diagnose(model, x[:1], [[1, 2]], CTC(), [3])
    assert "alignments" not in topics(fine)
    assert "the tightest with 1 steps to spare" in str(fine)
    none = diagnose(model, x[:2, :1], [[1, 1], [2, 2]], "ctc")
    assert none.warnings[0].figures["rows"] == [0, 1]
    with pytest.raises(ShapeError, match="label sequences, which need loss='ctc'"):
        diagnose(model, x, strings)
    with pytest.raises(ShapeError, match=r"lengths must have shape \(6,\)"):
        diagnose(model, x, strings, "ctc", lengths[:5])
    with pytest.raises(ShapeError, match="x must be samples of time steps"):
        diagnose(model, x[0, 0], strings, "ctc")
    last = diagnose(net(LSTM(4, return_sequences=False)), x[:2], [[1, 1], [2, 2]], "ctc")
    assert "return_sequences=True" in last.warnings[0].advice


@pytest.mark.parametrize(("bias", "silent"), [(50.0, True), (-50.0, False)])
def test_a_net_that_says_only_blanks_is_found(bias, silent):
    model = net(LSTM(4))
    with model.params.writing() as flat:
        model.params.views(flat)["dense.bias"][0] = bias
    found = diagnose(model, normal(6, 4, 8, 2), [[1], [2], [], [1, 2]], "ctc")
    assert ("blanks" in topics(found)) == silent
    assert f"{3 if silent else 0} of 3 sequences get no label at all" in str(found)


def topics(diagnosis):
    return {verdict.topic for verdict in diagnosis.warnings}


def test_a_healthy_net_has_no_warnings():
    x, y = task(8, 6)
    model = net(LSTM(4))
    found = diagnose(model, x, y, history=model.fit(x, y, epochs=1, verbose=0))
    assert topics(found) == set(), str(found)
    assert {"reach", "gates", "units", "learning rate"} <= set(found.to_frame()["topic"])


def test_vanishing_is_found_with_its_figures():
    x, y = task(4, 60)
    model = net(RNN(8, init="uniform(0.05)"))
    found = diagnose(model, x, y)
    assert {"reach", "recurrence"} <= topics(found)
    verdict = next(v for v in found.warnings if v.topic == "reach")
    assert verdict.figures["steps"] == found.flow.steps_holding(0.99) < 10
    assert f"99 % of the gradient of rnn.h_l0 lies within {verdict.figures['steps']} steps; sequences have 60" in str(
        found
    )
    assert "->" in str(verdict)


def test_exploding_saturation_dead_units_and_clipping_are_found():
    x, y = task(4, 30)
    model = net(RNN(6, activation="identity"))
    with model.params.writing() as flat:
        model.params.views(flat)["rnn.weight_hh_l0"][...] = 1.8 * np.eye(6)
    found = diagnose(model, x, y)
    assert {"exploding", "recurrence"} <= topics(found)
    assert "spectral radius 1.80" in str(found)

    gates = net(LSTM(5, forget_bias=12.0))
    assert "gates" in topics(diagnose(gates, x, y))
    assert "lstm.f_l0 (forget gate)" in str(diagnose(gates, x, y))
    assert "gates" not in topics(diagnose(net(LSTM(5, fix={"forget": 1.0})), x, y))

    both = net(MinLSTM(5))  # i and f are near 0, their shares i / (i + f) are not
    with both.params.writing() as flat:
        views = both.params.views(flat)
        for name in [name for name in views if name.startswith("minlstm.bias")]:
            views[name][...] = -10
    assert "gates" not in topics(diagnose(both, x, y))

    dead = net(RNN(6, activation="relu"))
    with dead.params.writing() as flat:
        dead.params.views(flat)["rnn.bias_ih_l0"][:2] = -100
    assert "2 of 6 units of rnn.h_l0 never change" in str(diagnose(dead, x, y))

    fast = net(LSTM(4))
    history = fast.fit(x, y, epochs=1, clip_norm=1e-4, optimizer=SGD(learning_rate=5000.0), verbose=0)
    assert {"clipping", "learning rate"} <= topics(diagnose(fast, x, y, history=history))
    with pytest.raises(TypeError, match="history"):
        diagnose(fast, x, y, history=[{}])
    with pytest.raises(ValueError, match="samples"):
        diagnose(fast, x, y, samples=0)


# Observers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_looking_changes_nothing(dtype):
    x, y = task()
    model = net(LSTM(4), dtype=dtype)
    before, version = model.params.flat.copy(), model.params.version
    outputs, _ = model.forward(x)
    for look in (
        lambda: trace(model, x),
        lambda: gradient_flow(model, x, y),
        lambda: jacobian(model, x, 3, 1),
        lambda: sensitivity(model, x, 3, 1),
        lambda: check_gradients(model, x, y, entries=1),
        lambda: unfold(model, x, 3, y),
        lambda: diagnose(model, x, y),
        lambda: diagnostics.alignment(model, x, [[1], [2, 2], [], [1, 2]]),
    ):
        look()
    assert_same_bits(model.params.flat, before)
    assert model.params.version == version
    assert_same_bits(model.forward(x)[0], outputs)
    assert trace(model, x)["lstm.c_l0"].dtype == dtype


@pytest.mark.parametrize("look", [gradient_flow, check_gradients, diagnose])
def test_arguments_that_do_not_fit(look):
    x, y = task()
    with pytest.raises(ShapeError, match="features"):
        look(net(LSTM(3)), x[:, :, :1], y)
    with pytest.raises(ShapeError, match="y must have shape"):
        look(net(LSTM(3)), x, y[:, :3])
    with pytest.raises(ValueError, match="NaN"):
        look(net(LSTM(3)), np.where(np.arange(2) == 0, np.nan, x), y)
    with pytest.raises(ValueError, match="no recurrent layer"):
        look(Model([Dense(3)], input_size=2), x, y)
    with pytest.raises(TypeError, match=r"a numbarnn\.Model, got str"):
        look("net", x, y)
    with pytest.raises(TypeError, match="pass its attribute model"):
        look(CharLM("rnn", hidden_size=4).fit("abcd" * 50, epochs=1, verbose=0), x, y)


# The columns of the history


def test_columns_of_gradients_and_updates():
    x, y = task(8)
    model = net(LSTM(3))
    start = model.params.flat.copy()
    _, gradients = model.loss_and_grad(x, y)
    length = np.sqrt(sum(np.square(g).sum() for g in gradients.values()))
    options = {"epochs": 1, "batch_size": 8, "shuffle": False, "verbose": 0, "optimizer": SGD(learning_rate=0.5)}
    record = model.fit(x, y, **options)[0]
    assert record["gradient_norm"] == record["clipped_norm"] == pytest.approx(length, rel=1e-12)
    assert record["clipped"] == 0
    assert record["update_ratio"] == pytest.approx(0.5 * length / np.linalg.norm(start), rel=1e-9)
    for clip, after in (({"clip_norm": length / 2}, length / 2), ({"clip_value": 1e-3}, None)):
        model.set_flat(start)
        record = model.fit(x, y, **options, **clip)[0]
        flat = np.concatenate([g.ravel() for g in gradients.values()])
        after = np.linalg.norm(np.clip(flat, -1e-3, 1e-3)) if after is None else after
        assert record["gradient_norm"] == pytest.approx(length, rel=1e-12)
        assert record["clipped_norm"] == pytest.approx(after, rel=1e-6)
        assert record["clipped"] == 1
    history = net(LSTM(3)).fit(x, y, epochs=2, batch_size=2, verbose=0)
    assert {"gradient_norm", "clipped_norm", "clipped", "update_ratio"} <= set(history.to_frame().columns)


# Plots


def test_plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    from numbarnn import plots

    x, y = task()
    nets = {"RNN": net(RNN(4)), "LSTM": net(LSTM(4)), "GRU": net(GRU(4))}
    flows = {name: gradient_flow(model, x, y) for name, model in nets.items()}
    axes = [
        plots.plot_gradient_flow(flows),
        plots.plot_gradient_flow(flows["LSTM"], "lstm.c_l0"),
        plots.plot_contributions(flows["RNN"]),
        *[plots.plot_gates(trace(model, x), labels="abcdef") for model in nets.values()],
        plots.plot_gates(trace(nets["LSTM"], x), ["lstm.c_l0"], unit=1),
        plots.plot_singular_values(jacobian(nets["RNN"], x, 5, -1)),
        plots.plot_sensitivity(sensitivity(nets["GRU"], x, 4, 1)),
        plots.plot_updates(nets["RNN"].copy().fit(x, y, epochs=3, clip_norm=0.01, verbose=0)),
        plots.plot_occupancy(diagnostics.alignment(nets["GRU"], x, [[1, 2], [2, 2], [1], []])[1], "-ab"),
        plots.plot_unfolded(unfold(nets["RNN"], x, 4, y)),
    ]
    for ax in axes:
        assert isinstance(ax, matplotlib.axes.Axes)
        ax.figure.canvas.draw()
    assert [line.get_label().split()[0] for line in axes[0].get_lines()] == ["RNN", "LSTM", "GRU"]
    assert [tick.get_text() for tick in axes[4].get_yticklabels()] == [
        "input gate $i$",
        "forget gate $f$",
        "output gate $o$",
    ]
    shown, gates = axes[4].images[0], trace(nets["LSTM"], x)
    assert shown.get_clim() == (0, 1)
    assert shown.get_array().shape == (3 * 4 + 2, 6)  # a row for every unit, a column for every step
    np.testing.assert_array_equal(shown.get_array()[5:9], gates["lstm.f_l0"][0].T)
    assert axes[5].get_yticklabels()[1].get_text() == "update gate $z$"
    assert axes[6].get_legend().get_texts()[0].get_text() == "cell state $c$"
    signed = plots.plot_gates(gates, ["lstm.h_l0", "dense.y"]).images[0]
    assert signed.get_clim()[0] == -signed.get_clim()[1] < 0
    with pytest.raises(ValueError, match="unit must be one of 4 units, 0 to 3, got 4"):
        plots.plot_gates(gates, unit=4)
    last = trace(net(LSTM(4, return_sequences=False)), x)
    with pytest.raises(ValueError, match=r"dense\.y has one value per sample"):
        plots.plot_gates(last, ["dense.y"])
    sensitive = plots.plot_sensitivity(sensitivity(nets["GRU"], x, -2, 1), output="b", t=-2)
    assert sensitive.get_title(loc="left") == "sensitivity of output 'b' at time step 4"
    assert "y_{4}" in sensitive.get_ylabel()
    assert sensitive.get_lines()[0].get_xdata()[0] == 4
    with pytest.raises(ValueError, match="t must be a time step, 0 to 5, got 6"):
        plots.plot_sensitivity(sensitivity(nets["GRU"], x, 4, 1), t=6)
    lettered = plots.plot_unfolded(unfold(nets["RNN"], x, 4, y), "xyz")
    assert any(f"target {'xyz'[y[0, 0]]!r}" in text.get_text() for text in lettered.texts)
    with pytest.raises(ShapeError, match="labels must name 3 classes, got 2"):
        plots.plot_unfolded(unfold(nets["RNN"], x, 4, y), "xy")
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes[:-1])
    ax = pyplot.figure().add_subplot()
    assert plots.plot_sensitivity(sensitivity(nets["GRU"], x, 4, 1), ax=ax) is ax
    drawn = [text.get_text() for text in axes[-1].texts]
    assert any(text.startswith("b =\n") for text in drawn)
    assert any(
        text.startswith("V =\n") and f"{nets['RNN'].params['dense.weight'][0, 0]:+.2f}" in text for text in drawn
    )
    assert [line.get_label() for line in axes[-3].get_lines()] == [
        "gradient norm", "after clipping (100% of the last epoch's steps)", "update / weights",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no epochs"):
        plots.plot_updates(nets["RNN"].fit(x, y, epochs=0, verbose=0))
    assert [tick.get_text() for tick in axes[-2].get_yticklabels()] == ["blank", "b", "blank", "b", "blank"]
    with pytest.raises(ShapeError, match="labels must name 3 classes, got 2"):
        plots.plot_occupancy(diagnostics.alignment(nets["GRU"], x, [[1], [2], [1], []])[0], "ab")
    with pytest.raises(ValueError, match="no gates"):
        plots.plot_gates(diagnostics.Trace({"dense.y": np.zeros((1, 2, 1))}, np.array([2])))
    pyplot.close("all")
