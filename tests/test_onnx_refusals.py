"""Graphs that are not a chain of layers: refused by the name of a node, with what is wrong."""

import numpy as np
import pytest

from numbarnn import Dense, MinGRU, MinLSTM, Model, Recurrent, cells
from numbarnn.errors import InteropError
from numbarnn.interop import from_onnx, to_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed; it is the other side of every conversion here")

C, H = 4, 5


def graph(nodes, *constants, inputs=(("x", 1, ["n", "t", C]),), outputs=("y",), opset=17):
    helper = onnx.helper
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    kind, ins.replace("\0", "").split(" ") if ins else [], outs.split(), name=f"node{k}", **more
                )
                for k, (kind, ins, outs, more) in enumerate(nodes)
            ],
            "g",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(name, 1, None) for name in outputs],
            [onnx.numpy_helper.from_array(array, f"c{k}") for k, array in enumerate(constants)],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
    )


WEIGHT = np.ones((C, C), np.float32)
W, R = np.ones((1, 4 * H, C), np.float32), np.ones((1, 4 * H, H), np.float32)
TURN = ("Transpose", "x", "a", {"perm": [1, 0, 2]})
REFUSED = {
    "unknown": (graph([("LayerNormalization", "x c0", "y", {})], WEIGHT[0]), r"LayerNormalization\): it has no counterpart"),
    "loop": (graph([("Loop", "x", "y", {})]), "no counterpart"),
    "skip": (graph([("MatMul", "x c0", "a", {}), ("Add", "a x", "y", {})], WEIGHT), "'node1'"),
    "branch": (graph([("MatMul", "x c0", "a", {}), ("MatMul", "x c0", "y", {})], WEIGHT), "output of an earlier layer"),
    "shape": (graph([TURN, ("LSTM", "a c0 c1", "y", {"hidden_size": H})], W, W), "R has the shape"),
    "samples along steps": (
        graph([("LSTM", "x c0 c1", "a", {"hidden_size": H}), ("Squeeze", "a c2", "b", {}),
               ("LSTM", "b c3 c1", "y", {"hidden_size": H, "layout": 1})], W, R, np.array([1]), R),
        "reads along",
    ),
    "softmax within": (graph([("Softmax", "x", "a", {}), ("MatMul", "a c0", "y", {})], WEIGHT), "not the last node"),
    "two outputs": (graph([("MatMul", "x c0", "y", {}), ("Tanh", "y", "z", {})], WEIGHT, outputs=("y", "z")), "one output"),
    "nothing": (graph([("Identity", "x", "y", {})]), "no layers"),
    "half": (graph([("MatMul", "x c0", "y", {})], WEIGHT.astype(np.float16)), "float16"),
    "cell state": (
        graph([TURN, ("LSTM", "a c0 c1", "Y h c", {"hidden_size": H}), ("Gather", "c c2", "s", {}), ("MatMul", "s c3", "y", {})],
              W, R, np.array(0), np.ones((H, 2), np.float32)),
        "cell state c",
    ),
    "flip": (
        graph([("Slice", "x c0 c1 c2 c3", "a", {}), ("MatMul", "a c4", "y", {})],
              np.array([-1]), np.array([-(2**31)]), np.array([2]), np.array([-1]), WEIGHT),
        "several indices",
    ),
    "lengths of one": (
        graph([TURN, ("LSTM", "a c0 c1 \0 lens", "b", {"hidden_size": H}), ("Squeeze", "b c2", "d", {}),
               ("LSTM", "d c3 c1", "e", {"hidden_size": H}), ("Squeeze", "e c2", "y", {})],
              W, R, np.array([1]), R, inputs=(("x", 1, ["n", "t", C]), ("lens", 6, ["n"]))),
        "some nodes have lengths",
    ),
    "states twice": (
        graph([TURN, ("LSTM", "a c0 c1 \0 \0 h0 h0", "b", {"hidden_size": H}), ("Squeeze", "b c2", "y", {})],
              W, R, np.array([1]), inputs=(("x", 1, ["n", "t", C]), ("h0", 1, [1, "n", H]))),
        "that a node before has taken",
    ),
    "bias beside": (graph([("MatMul", "x c0", "y", {}), ("Add", "y c1", "z", {})], WEIGHT, WEIGHT[0]), "earlier layer"),
    "old softmax": (graph([("MatMul", "x c0", "a", {}), ("Softmax", "a", "y", {})], WEIGHT, opset=11), "another axis"),
    "old operators": (graph([("MatMul", "x c0", "y", {})], WEIGHT, opset=6), "version 6"),
    "dropout in use": (
        graph([("Dropout", "x c0 c1", "a", {}), ("MatMul", "a c2", "y", {})], np.float32(0.5), np.array(True), WEIGHT),
        "acts in use",
    ),
    "weights of many": (
        graph([("MatMul", f"{f'v{k}' if k else 'x'} c0", f"v{k + 1}", {}) for k in range(20)], np.ones((512, 512), np.float32),
              inputs=(("x", 1, ["n", "t", 512]),), outputs=("v20",)),
        "take more weights than the file has",
    ),
    "no weights": (graph([TURN, ("LSTM", "a \0 c0", "y", {"hidden_size": H})], R), "it has no input W"),
    "list for clip": (
        graph([TURN, ("LSTM", "a c0 c1", "y", {"hidden_size": H, "clip": [1.0, 2.0]})], W, R),
        r"clip \[1.0, 2.0\] is not a number",
    ),
    "bomb": (
        graph([("Concat", " ".join([one] * 300), "a", {"axis": 0}) for one in ("c0", "a", "a", "a")], WEIGHT),
        "more than the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    proto, words = REFUSED[name]
    with pytest.raises(InteropError, match=words) as error:
        from_onnx(proto.SerializeToString())
    assert error.value.reasons


def test_weights_of_float16_that_are_cast():
    """Layers have twice the bytes of such a file."""
    hidden, rng = 640, np.random.default_rng(0)
    w, r = (rng.standard_normal((1, 4 * hidden, size)).astype(np.float16) for size in (C, hidden))
    casts = [("Cast", name, new, {"to": 1}) for name, new in (("c0", "w"), ("c1", "r"))]
    lstm = ("LSTM", "a w r", "b", {"hidden_size": hidden})
    end = [("Squeeze", "b c2", "c", {}), ("Transpose", "c", "y", {"perm": [1, 0, 2]})]
    proto = graph([*casts, TURN, lstm, *end], w, r, np.array([1]))
    assert 4 * (w.size + r.size) > proto.ByteSize() + 2**20
    found = from_onnx(proto).params["lstm.weight_hh_l0"]
    i, o, f, c = np.split(r[0].astype(np.float32), 4)
    assert np.array_equal(found, np.concatenate([i, f, c, o]))


def test_sources(tmp_path):
    with pytest.raises(TypeError, match="source must be"):
        from_onnx(3)
    with pytest.raises(FileNotFoundError, match=r"^source: there is no file '.*none\.onnx'$"):
        from_onnx(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InteropError, match="not an ONNX file"):
        from_onnx(tmp_path / "text.onnx")
    model = Model([Recurrent(H, cell=cells.RNN()), Dense(2)], C)
    with pytest.raises(InteropError, match=r"recurrent \(Recurrent\) has no counterpart"):
        to_onnx(model, tmp_path / "own.onnx")
    with pytest.raises(InteropError) as error:
        to_onnx(Model([MinGRU(H), MinLSTM(H)], C), tmp_path / "own.onnx")
    assert error.value.reasons == [
        "mingru (MinGRU) has no counterpart in ONNX",
        "minlstm (MinLSTM) has no counterpart in ONNX",
    ]
    with pytest.raises(ValueError, match="opset must be"):
        to_onnx(model, tmp_path / "own.onnx", opset=3)
    assert not (tmp_path / "own.onnx").exists()


def test_cells_that_only_have_the_name_of_one(tmp_path, monkeypatch):
    own = type("OnnxRNN", (cells.RNN,), {"__module__": __name__})
    monkeypatch.setitem(cells.CELLS, "OnnxRNN", own)  # as no call would
    with pytest.raises(InteropError, match=r"recurrent \(Recurrent\) has no counterpart"):
        to_onnx(Model([Recurrent(H, cell=own()), Dense(2)], C), tmp_path / "own.onnx")


def test_parts_of_a_file_are_taken_once(tmp_path):
    proto = graph([("MatMul", "x c0", "y", {}), ("MatMul", "y c1", "z", {})], WEIGHT, WEIGHT, outputs=("z",))
    onnx.save_model(proto, tmp_path / "net.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert len(from_onnx(tmp_path / "net.onnx").layers) == 2
    with pytest.raises(InteropError, match="in another file"):
        from_onnx((tmp_path / "net.onnx").read_bytes())
    proto = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    proto.graph.initializer[1].external_data[1].value = "0"  # of the other's bytes
    assert proto.graph.initializer[1].external_data[1].key == "offset"
    (tmp_path / "weights").write_bytes(WEIGHT.tobytes())
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InteropError, match="larger than the file 'weights'"):
        from_onnx(tmp_path / "net.onnx")
