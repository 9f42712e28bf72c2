"""torch's modules to models and back: the same outputs, the same weights, or a refusal that says why."""

import numpy as np
import pytest
from conftest import normal

from numbarnn import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, IndRNN, MinGRU, Model, OneHot, Pool
from numbarnn.errors import InteropError
from numbarnn.interop import from_torch, to_torch

torch = pytest.importorskip("torch", reason="torch is not installed; it is the other side of every conversion here")
nn = torch.nn

C, H, N, T = 4, 5, 3, 6
LENGTHS = np.array([6, 2, 0])
CLOSE = {"atol": 2e-6, "rtol": 0}


class Net(nn.Module):
    """A recurrent part, what comes after it, and a linear part."""

    def __init__(self, kind, layers=1, bidirectional=False, after="all", batch_first=True, bias=True):
        super().__init__()
        self.rnn = getattr(nn, kind)(C, H, layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
        self.out = nn.Linear(H * (1 + bidirectional), 3, bias)
        self.after = after

    def forward(self, x):
        y, state = self.rnn(x)
        steps = 1 if self.rnn.batch_first else 0
        h = state[0] if isinstance(state, tuple) else state
        return self.out({
            "all": lambda: y,
            "last": lambda: y.select(steps, -1),
            "mean": lambda: y.mean(steps),
            "max": lambda: y.amax(steps),
            "final": lambda: torch.cat(list(h[-1 - self.rnn.bidirectional :]), -1),
        }[self.after]())  # fmt: skip


def outputs(module, x, *more):
    with torch.no_grad():
        return module(torch.tensor(x), *more)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    ("layers", "bidirectional", "batch_first", "bias"), [(1, False, True, True), (2, True, False, False)]
)
@pytest.mark.parametrize("after", ["all", "last", "mean", "max", "final"])
def test_module(kind, layers, bidirectional, batch_first, bias, after):
    torch.manual_seed(1)
    net = Net(kind, layers, bidirectional, after, batch_first, bias).train()
    model, x = from_torch(net), normal(0, N, T, C, dtype="float32")
    assert all(module.training for module in net.modules())  # as they were
    expected = outputs(net, x if batch_first else x.swapaxes(0, 1)).numpy()
    expected = expected.swapaxes(0, 1) if expected.ndim == 3 and not batch_first else expected
    np.testing.assert_allclose(model.forward(x)[0], expected, **CLOSE)
    back = to_torch(model).state_dict()
    given = net.state_dict()
    assert len(back) == len(given)
    for (name, array), (theirs, tensor) in zip(back.items(), given.items(), strict=True):
        assert name.rpartition(".")[2] == theirs.rpartition(".")[2]
        assert torch.equal(array, tensor)


def test_parts():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(C, H), nn.Tanh(), nn.Dropout(0.3), nn.Identity(), nn.Linear(H, 3), nn.ReLU()).double()
    model, x = from_torch(net), normal(0, N, T, C)
    assert [type(layer) for layer in model.layers] == [Dense, Activation, Dropout, Dense, Activation]
    np.testing.assert_allclose(model.forward(x)[0], outputs(net.eval(), x).numpy(), atol=1e-12)


@pytest.mark.parametrize(("last", "seen"), [(nn.Softmax(-1), lambda p: p), (nn.LogSoftmax(-1), np.log)])
def test_softmax(last, seen):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.rnn, self.out, self.last = (
                nn.Embedding(9, C),
                nn.GRU(C, H, batch_first=True),
                nn.Linear(H, 4),
                last,
            )

        def forward(self, x):
            return self.last(self.out(self.rnn(self.words(x))[0]))

    net, x = Tagger(), np.arange(N * T).reshape(N, T) % 9
    np.testing.assert_allclose(seen(from_torch(net).predict_proba(x)), outputs(net, x).numpy(), atol=2e-6)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell(kind):
    torch.manual_seed(1)
    cell, x = getattr(nn, kind)(C, H), normal(0, N, T, C, dtype="float32")
    model, state = from_torch(cell), None
    for t in range(T):
        with torch.no_grad():
            state = cell(torch.tensor(x[:, t]), state)
    h = state[0] if isinstance(state, tuple) else state
    np.testing.assert_allclose(model.forward(x)[0][:, -1], h.numpy(), **CLOSE)


def test_state_dict(tmp_path):
    from safetensors.torch import save_file

    net = Net("LSTM", 2, True)
    layers = [LSTM(H, 2, bidirectional=True), Dense(3)]
    expected = from_torch(net)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    named = [LSTM(H, 2, bidirectional=True, name="rnn"), Dense(3, name="out")]
    backwards = dict(reversed(list(net.state_dict().items())))
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    for source, given in (
        (net.state_dict(), layers), (tmp_path / "net.safetensors", named), (backwards, named), (arrays, layers),
    ):  # fmt: skip
        assert np.array_equal(from_torch(source, layers=given).params.flat, expected.params.flat)
    cell = nn.GRUCell(C, H)
    assert np.array_equal(from_torch(cell.state_dict(), layers=[GRU(H)]).params.flat, from_torch(cell).params.flat)


class Changed(Net):
    """Does something that a small batch of normal inputs does not show."""

    def __init__(self, what):
        super().__init__("GRU", after="last")
        self.what, self.state = what, None

    def forward(self, x):
        if self.what == "state":
            y, self.state = self.rnn(x, self.state)
            return self.out(y[:, -1])
        return super().forward(x[:, :100] if self.what == "length" else x.clamp(-8, 8))


class Padded(nn.Module):
    """Takes the last step before the padding."""

    def __init__(self, padding):
        super().__init__()
        self.words, self.rnn = nn.Embedding(1000, C, padding_idx=padding or None), nn.GRU(C, H, batch_first=True)
        self.padding = padding

    def forward(self, x):
        lengths = (x != self.padding).sum(1).clamp(min=1)
        return self.rnn(self.words(x))[0][torch.arange(len(x)), lengths - 1]


@pytest.mark.parametrize("what", ["state", "length", "scale", 0, 7])
def test_what_few_batches_show(what):
    torch.manual_seed(1)
    with pytest.raises(InteropError):
        from_torch(Padded(what) if isinstance(what, int) else Changed(what))


@pytest.mark.parametrize(("after", "kind"), [("mean", "mean"), ("max", "max"), ("last", None), ("median", "refused")])
def test_what_zeros_hide(after, kind):
    class Median(Net):
        def forward(self, x):
            return self.out(self.rnn(x)[0].median(1).values)

    net = Median("GRU") if after == "median" else Net("GRU", after=after)
    nn.init.zeros_(net.out.weight)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    if kind == "refused":
        with pytest.raises(InteropError, match="something else"):
            from_torch(net)
    else:
        model = from_torch(net)
        assert [layer.kind for layer in model.layers if isinstance(layer, Pool)] == ([kind] if kind else [])
        assert not model.params["dense.weight"].any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_tensors_without_arrays(tmp_path):
    from safetensors.torch import save_file

    values = nn.LSTM(C, H).state_dict()
    save_file({name: tensor.bfloat16() for name, tensor in values.items()}, tmp_path / "half.safetensors")
    sparse = {name: tensor.to_sparse() for name, tensor in values.items()}
    meta = {name: tensor.to("meta") for name, tensor in values.items()}
    for source in (sparse, meta, tmp_path / "half.safetensors"):
        with pytest.raises(InteropError):
            from_torch(source, layers=[LSTM(H)])
    for source in (nn.LSTM(C, H, device="meta"), nn.Sequential(nn.LazyLinear(3))):
        with pytest.raises(InteropError, match="without an array"):
            from_torch(source)
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        from_torch(tmp_path, layers=[LSTM(H)])


def test_modules_that_cannot_be_copied():
    class Own(Net):
        def __deepcopy__(self, memo):
            raise RuntimeError("not here")

    with pytest.raises(InteropError, match="cannot be copied"):
        from_torch(Own("GRU"))


def test_refusals():
    class Doubled(Net):
        def forward(self, x):
            return 2 * super().forward(x)

    class Twice(Net):
        def forward(self, x, y):
            return super().forward(x)

    for source, words in (
        (nn.LSTM(C, H, proj_size=2), ["projects its states"]),
        (nn.Sequential(nn.Linear(C, H), nn.LayerNorm(H), nn.GELU()), ["1 (LayerNorm)", "2 (GELU)"]),
        (nn.Sequential(nn.Softmax(-1), nn.Linear(C, H)), ["is not the last part"]),
        (nn.LSTM(C, H).half(), ["float16"]),
        (nn.LSTM(C, H).bfloat16(), ["bfloat16"]),
        (nn.Embedding(9, 3, max_norm=1.0), ["renormalizes"]),
        (Doubled("GRU"), ["its forward does something else"]),
        (Twice("GRU"), ["does not run on a batch"]),
    ):
        with pytest.raises(InteropError) as error:
            from_torch(source)
        assert len(error.value.reasons) == len(words)
        for reason, part in zip(error.value.reasons, words, strict=True):
            assert part in reason
    values = Net("GRU").state_dict()
    for layers, part in (
        ([LSTM(H), Dense(3)], "expected shape"),
        ([GRU(H, 2), Dense(3)], "missing bias_hh_l1"),
        ([GRU(H)], "no layer takes: 'out'"),
        ([GRU(H), Dense(3), Dense(2)], "none left"),
    ):
        with pytest.raises(InteropError, match=part):
            from_torch(values, layers=layers)
    with pytest.raises(ValueError, match="layers must be given"):
        from_torch(values)
    with pytest.raises(ValueError, match="layers must be left out"):
        from_torch(Net("GRU"), layers=[GRU(H)])
    with pytest.raises(ValueError, match=r"torch\.load"):
        from_torch("net.pt", layers=[GRU(H)])
    with pytest.raises(TypeError, match="source must be"):
        from_torch(3)


TO_TORCH = {
    "single": [RNN(H, bias="single", activation="relu"), Dense(3, activation="tanh")],
    "reverse": [GRU(H, reverse=True), Activation("logistic"), Dense(2, bias=False)],
    "last": [LSTM(H, 2, bidirectional=True, return_sequences=False), Dense(3)],
    "reverse last": [LSTM(H, reverse=True, return_sequences=False), Dense(3)],
    "mean": [GRU(H), Pool("mean"), Dense(3)],
    "max": [GRU(H), Pool("max"), Dense(3)],
    "pooled last": [GRU(H, bidirectional=True), Dropout(0.2, same_over_time=True), Pool("last"), Dense(3)],
}


@pytest.mark.parametrize("name", TO_TORCH)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_to_torch(name, lengths):
    model = Model(TO_TORCH[name], C, seed=3)
    module, x = to_torch(model).eval(), normal(0, N, T, C, dtype="float32")
    state = tuple(
        tuple(normal(1, *layer.state_shape(N), dtype="float32") for _ in layer.state_names)
        for layer in model.recurrent_layers
    )
    for start in (None, state):
        expected, ends = model.forward(x, start, lengths)
        given = None if start is None else tuple(tuple(map(torch.tensor, one)) for one in start)
        found, theirs = outputs(module, x, given, None if lengths is None else torch.tensor(lengths))
        np.testing.assert_allclose(found.numpy(), expected, **CLOSE)
        for one, other in zip(ends, theirs, strict=True):
            for ours, tensor in zip(one, other, strict=True):
                np.testing.assert_allclose(tensor.numpy(), ours, **CLOSE)


def test_to_torch_tokens_and_training():
    tokens = np.arange(N * T).reshape(N, T) % 9
    for first in (OneHot(9), Embedding(9, 4)):
        model = Model([first, LSTM(H), Dense(9)], seed=3)
        module = to_torch(model)
        np.testing.assert_allclose(outputs(module, tokens)[0].numpy(), model.forward(tokens)[0], **CLOSE)
    loss = nn.functional.cross_entropy(module(torch.tensor(tokens))[0].flatten(0, 1), torch.tensor(tokens).flatten())
    loss.backward()
    assert loss.item() == pytest.approx(model.loss_and_grad(tokens, tokens)[0], abs=2e-6)
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_to_torch_refusals():
    model = Model(
        [LSTM(H, peepholes=True), GRU(H, reset_after=False), RNN(H, activation="identity"), IndRNN(H), MinGRU(H)], C
    )
    with pytest.raises(InteropError) as error:
        to_torch(model)
    reasons = error.value.reasons
    assert [reason.partition(" has ")[0] for reason in reasons] == [
        "lstm (LSTM)",
        "gru (GRU)",
        "rnn (RNN)",
        "indrnn (IndRNN)",
        "mingru (MinGRU)",
    ]
    with pytest.warns(UserWarning, match="recurrent dropout"):
        to_torch(Model([GRU(H, recurrent_dropout=0.1)], C))
    with pytest.raises(TypeError, match=r"model must be a numbarnn\.Model"):
        to_torch(torch.nn.Linear(2, 2))
