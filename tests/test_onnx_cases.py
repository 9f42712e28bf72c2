"""ONNX' own node tests of RNN, GRU and LSTM, through `from_onnx`, at ONNX' own tolerance."""

import importlib

import numpy as np
import pytest

from numbarnn.interop import from_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed, which has the cases")
node_cases = pytest.importorskip("onnx.backend.test.case.node", reason="this onnx has no test cases")

# Each operator is tested with its defaults, biases, lengths or peepholes, samples first, in reverse and both directions.
COUNT = 6


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_node_cases(kind):
    # Importing a module makes its cases; `collect_testcases` makes those of all operators, in half a minute.
    importlib.import_module(f"{node_cases.__name__}.{kind.lower()}")
    cases = [case for case in node_cases._NodeTestCases if case.model.graph.node[0].op_type == kind]
    assert len(cases) >= COUNT
    for case in cases:
        proto = onnx.ModelProto()
        proto.CopyFrom(case.model)
        (node,) = proto.graph.node
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        for arrays, expected in case.data_sets:
            given = dict(zip([one.name for one in proto.graph.input], arrays, strict=True))
            del proto.graph.initializer[:]
            proto.graph.initializer.extend(
                onnx.numpy_helper.from_array(given[name], name) for name in ("W", "R", "B", "P") if name in given
            )
            model = from_onnx(proto)
            first = bool(attributes.get("layout", 0))
            x = given["X"] if first else given["X"].swapaxes(0, 1)
            states = [given[name] for name in ("initial_h", "initial_c") if name in given]
            states = tuple(state.swapaxes(0, 1) if first else state for state in states)
            y, (final,) = model.forward(x, (states,) if states else None, given.get("sequence_lens"))
            names = [result.name for result in proto.graph.output]
            found = {
                f"Y_{state}": end.swapaxes(0, 1) if first else end for state, end in zip("hc", final, strict=False)
            }
            if "Y" in names:
                y = y.reshape(*y.shape[:2], -1, attributes["hidden_size"])
                found["Y"] = y if first else y.transpose(1, 2, 0, 3)
            for name, array in zip(names, expected, strict=True):
                np.testing.assert_allclose(found[name], array, case.rtol, case.atol, err_msg=case.name)
