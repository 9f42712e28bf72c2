"""The ONNX graph of a case, which ONNX Runtime and OpenVINO run: one recurrent node, time-major."""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from comparison import cases

# ONNX' blocks of rows, from torch's: LSTM i o f c of i f g o, GRU z r h of r z n.
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def constants(case) -> dict[str, np.ndarray]:
    """Return the weights as ONNX has them."""
    hidden, order, named = case.size[1], list(ORDER[case.cell]), cases.weights(case)

    def blocks(name):
        values = named[name]
        return values.reshape(len(order), hidden, *values.shape[1:])[order].reshape(values.shape)

    bias = np.concatenate([blocks("bias_ih_l0"), blocks("bias_hh_l0")])
    found = {"W": blocks("weight_ih_l0"), "R": blocks("weight_hh_l0"), "B": bias}
    return {name: np.ascontiguousarray(values[None]) for name, values in found.items()}


def graph(case, state: bool = False) -> bytes:
    """Return a model as bytes; with `state` the initial states are inputs and the final ones outputs."""
    inputs, hidden, samples, steps = case.size

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    letters = ("h", "c") if case.cell == "LSTM" else ("h",)
    taken, given = [tensor("X", steps, samples, inputs)], [tensor("Y", steps, 1, samples, hidden)]
    arguments, results = ["X", "W", "R", "B"], ["Y"]
    if state:
        taken += [tensor(f"{s}0", 1, samples, hidden) for s in letters]
        given = [tensor(f"{s}1", 1, samples, hidden) for s in letters]
        arguments += ["", *(f"{s}0" for s in letters)]
        results = ["", *(f"{s}1" for s in letters)]
    options = {"linear_before_reset": 1} if case.cell == "GRU" else {}
    node = helper.make_node(case.cell, arguments, results, hidden_size=hidden, **options)
    fixed = [numpy_helper.from_array(values, name) for name, values in constants(case).items()]
    model = helper.make_model(
        helper.make_graph([node], "case", taken, given, fixed),
        opset_imports=[helper.make_opsetid("", 14)],
        ir_version=8,
    )
    checker.check_model(model)
    return model.SerializeToString()


def batch_first(y: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs (T, 1, N, H) of a node as (N, T, H)."""
    return {"outputs": y[:, 0].swapaxes(0, 1)}
