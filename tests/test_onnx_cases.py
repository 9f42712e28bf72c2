"""ONNX' own node tests of RNN, GRU and LSTM, by our layers in float32 at ONNX' own tolerance."""

import importlib

import numpy as np
import pytest

from numbarnn import GRU, LSTM, RNN, Model

onnx = pytest.importorskip("onnx", reason="onnx is not installed, which has the cases")
node_cases = pytest.importorskip("onnx.backend.test.case.node", reason="this onnx has no test cases")

# Gates in the order of ONNX, and in ours.
GATES = {"RNN": ("h", "h"), "GRU": ("zrh", "rzh"), "LSTM": ("iofc", "ifco")}
# Each operator is tested with its defaults, biases, lengths or peepholes, samples first, in reverse and both directions.
COUNT = 6
SUFFIXES = {"forward": ["_l0"], "reverse": ["_l0_reverse"], "bidirectional": ["_l0", "_l0_reverse"]}


def ours(kind, array):
    """Return the row blocks of an array of one direction in our order."""
    theirs, wanted = GATES[kind]
    blocks = dict(zip(theirs, np.split(array, len(theirs)), strict=True))
    return np.concatenate([blocks[gate] for gate in wanted])


def model_of(kind, attributes, inputs):
    """Return the model of a node."""
    hidden, direction = attributes["hidden_size"], attributes.get("direction", b"forward").decode()
    options = {"bidirectional": direction == "bidirectional", "reverse": direction == "reverse"}
    if kind == "GRU":
        options["reset_after"] = bool(attributes.get("linear_before_reset", 0))
    if kind == "LSTM":
        options["peepholes"] = "P" in inputs
    layer = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}[kind](hidden, **options)
    model, values = Model([layer], input_size=inputs["W"].shape[2], n_threads=1), {}
    for d, suffix in enumerate(SUFFIXES[direction]):
        bias = inputs["B"][d] if "B" in inputs else np.zeros(2 * len(inputs["W"][d]), np.float32)
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
                               (inputs["W"][d], inputs["R"][d], *np.split(bias, 2)), strict=True):  # fmt: skip
            values[name + suffix] = ours(kind, array)
        if "P" in inputs:
            for name, array in zip(("ci", "co", "cf"), np.split(inputs["P"][d], 3), strict=True):
                values[f"weight_{name}{suffix}"] = array
    return model.load_state_dict(values)


@pytest.mark.parametrize("kind", GATES)
def test_node(kind):
    # Importing a module makes its cases; `collect_testcases` makes those of all operators, in half a minute.
    importlib.import_module(f"{node_cases.__name__}.{kind.lower()}")
    cases = [case for case in node_cases._NodeTestCases if case.model.graph.node[0].op_type == kind]
    assert len(cases) >= COUNT
    for case in cases:
        (node,) = case.model.graph.node
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert set(attributes) <= {"hidden_size", "direction", "layout", "linear_before_reset"}
        for arrays, expected in case.data_sets:
            inputs = dict(zip(filter(None, node.input), arrays, strict=True))
            first = bool(attributes.get("layout", 0))  # samples first
            x = inputs["X"] if first else inputs["X"].swapaxes(0, 1)
            states = [inputs[name] for name in ("initial_h", "initial_c") if name in inputs]
            states = [state.swapaxes(0, 1) if first else state for state in states]
            model = model_of(kind, attributes, inputs)
            y, (final,) = model.forward(x, (tuple(states),) if states else None, inputs.get("sequence_lens"))
            y = y.reshape(*y.shape[:2], -1, attributes["hidden_size"])  # samples, steps, directions, units
            found = {"Y": y if first else y.transpose(1, 2, 0, 3)}
            found |= {name: s.swapaxes(0, 1) if first else s for name, s in zip(("Y_h", "Y_c"), final, strict=False)}
            results = dict(zip(filter(None, node.output), expected, strict=True))
            for name in results:
                np.testing.assert_allclose(found[name], results[name], case.rtol, case.atol, err_msg=case.name)
