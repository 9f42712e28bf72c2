"""Graphs of torch's exporters, the old one and the new, to models: the same outputs, the same weights."""

import warnings

import numpy as np
import pytest

from numbarnn.interop import from_onnx

pytest.importorskip("onnx", reason="onnx is not installed, which reads graphs")

C, H, N, T = 4, 5, 3, 6
CLOSE = {"atol": 2e-6, "rtol": 2e-6}

KINDS = {
    "RNN-1-all": ("RNN", 1, False), "GRU-2-bidirectional-last": ("GRU", 2, True), "LSTM-2-bidirectional-all": ("LSTM", 2, True),
    "LSTM-1-last": ("LSTM", 1, False), "LSTM-2-bidirectional-final": ("LSTM", 2, True), "GRU-1-mean": ("GRU", 1, False),
    "GRU-1-final": ("GRU", 1, False), "RNN-2-tokens": ("RNN", 2, False),
}  # fmt: skip


DYNAMO = ("RNN-1-all", "GRU-2-bidirectional-last", "LSTM-2-bidirectional-all", "LSTM-1-last")
EXPORTS = [*((name, False) for name in KINDS), *((name, True) for name in DYNAMO)]


@pytest.mark.parametrize(("name", "dynamo"), EXPORTS, ids=[f"{name}{'-dynamo' * dynamo}" for name, dynamo in EXPORTS])
def test_exports_of_torch(tmp_path, name, dynamo):
    torch = pytest.importorskip("torch", reason="torch is not installed, which exports")
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript")
    nn, (kind, layers, bidirectional) = torch.nn, KINDS[name]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(9, C) if name.endswith("tokens") else nn.Identity()
            self.rnn = getattr(nn, kind)(C, H, layers, bidirectional=bidirectional, batch_first=True)
            self.out = nn.Linear(H * (1 + bidirectional), 3)

        def forward(self, x):
            y, h = self.rnn(self.words(x))
            h = h[0] if isinstance(h, tuple) else h
            if name.endswith("final"):
                y = torch.cat([h[-2], h[-1]], -1) if bidirectional else h[-1]
            return torch.sigmoid(
                self.out(
                    {"last": lambda: y[:, -1], "mean": lambda: y.mean(1)}.get(name.rpartition("-")[2], lambda: y)()
                )
            )

    torch.manual_seed(1)
    net = Net().eval()
    x = torch.arange(N * T).reshape(N, T) % 9 if name.endswith("tokens") else torch.randn(N, T, C)
    path = tmp_path / "net.onnx"
    more = {"input_names": ["x"]}
    if dynamo:
        more |= {"dynamic_shapes": ({0: torch.export.Dim("batch", min=2)},), "verbose": False}
    else:
        more |= {"dynamic_axes": {"x": {0: "batch", 1: "time"}}, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), path, dynamo=dynamo, **more)
    model = from_onnx(path)
    with torch.no_grad():
        np.testing.assert_allclose(model.forward(x.numpy())[0], net(x).numpy(), **CLOSE)
    theirs = {
        array.tobytes()
        for array in map(np.ascontiguousarray, (net.out.weight.detach().numpy(), net.out.bias.detach().numpy()))
    }
    assert theirs <= {np.ascontiguousarray(array).tobytes() for array in model.params.values()}  # to the bit
