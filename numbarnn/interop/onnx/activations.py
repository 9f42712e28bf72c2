"""Activations and clip of ONNX' recurrent operators, as attributes of nodes and as cells."""

import numpy as np

from numbarnn.cells import contract, curves
from numbarnn.checks import brief

# The activations of an operator, in their order; the fields of the cell are named so.
FUNCTIONS = {"RNN": "f", "GRU": "fg", "LSTM": "fgh"}
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
# Of plain recurrent layers: name, alpha and beta.
PLAIN = {
    ("Tanh", 0.0, 0.0): "tanh", ("Relu", 0.0, 0.0): "relu", ("Sigmoid", 0.0, 0.0): "logistic", ("Affine", 1.0, 0.0): "identity",
}  # fmt: skip
# By name: the code, and what alpha and beta are where a node does not say; ... where it must, None where there is none.
CURVES = {
    "Sigmoid": (curves.SIGMOID, None, None), "Tanh": (curves.TANH, None, None), "Relu": (curves.RELU, None, None),
    "Affine": (curves.AFFINE, ..., ...), "LeakyRelu": (curves.LEAKY_RELU, 0.01, None),
    "ThresholdedRelu": (curves.THRESHOLDED_RELU, 1.0, None), "ScaledTanh": (curves.SCALED_TANH, ..., ...),
    "HardSigmoid": (curves.HARD_SIGMOID, 0.2, 0.5), "Elu": (curves.ELU, 1.0, None), "Softsign": (curves.SOFTSIGN, None, None),
    "Softplus": (curves.SOFTPLUS, None, None),
}  # fmt: skip
NAMES = {code: name for name, (code, _, _) in CURVES.items()}


def activations_of(node, directions: int) -> list[tuple]:
    """Return the activations of a node, the same of all its directions: (name, alpha, beta), 0 where there is none.

    Alphas and betas are consumed in the order of the activations that have them.
    """
    names = node.get("activations") or USUAL[node.kind] * directions
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        raise ValueError(f"the activation {unknown[0]} is not one of {', '.join(CURVES)}")
    count = len(FUNCTIONS[node.kind])
    if len(names) != count * directions:
        raise ValueError(f"it has {len(names)} activations, expected {count} for each direction")
    given = {key: list(node.get(f"activation_{key}", ())) for key in ("alpha", "beta")}
    found = []
    for name in names:
        values = []
        for key, default in zip(given, CURVES[name][1:], strict=True):
            if default is ... and not given[key]:
                raise ValueError(f"the activation {name} has no activation_{key}")
            value = 0.0 if default is None else given[key].pop(0) if given[key] else default
            values.append(float(np.float32(value)))  # as attributes are
        found.append((name, *values))
    if any(given.values()):
        raise ValueError("it has more values of activation_alpha or activation_beta than activations that take one")
    if found != found[:count] * directions:
        raise ValueError(f"activations {names} are not the same in both directions")
    return found[:count]


def cell_of(node, activations: list[tuple], peepholes: bool):
    """Return the cell of a node with activations or a clip that the usual layers do not have; None if they do."""
    kind, clip = node.kind, node.get("clip", 0.0)
    if not isinstance(clip, (int, float)):
        raise ValueError(f"clip {brief(clip)} is not a number")
    clip = max(float(clip), 0.0)
    usual = activations[0] in PLAIN if kind == "RNN" else [name for name, _, _ in activations] == USUAL[kind]
    if usual and not clip:
        return None
    options = {"clip": clip}
    for function, (name, alpha, beta) in zip(FUNCTIONS[kind], activations, strict=True):
        options |= {function: CURVES[name][0], f"{function}_alpha": alpha, f"{function}_beta": beta}
    if kind == "LSTM":
        options["coupled"] = int(bool(node.get("input_forget", 0)))
        kind = "PeepholeLSTM" if peepholes else kind
    if kind == "GRU" and not node.get("linear_before_reset", 0):
        kind = "ResetBeforeGRU"
    return contract.cell_record({"type": f"Onnx{kind}", **options})


def attributes_of(cell, kind: str, directions: int) -> dict:
    """Return the attributes of a node with the activations and the clip of a cell that is made by `cell_of`."""
    names, alphas, betas = [], [], []
    for function in FUNCTIONS[kind]:
        name = NAMES[getattr(cell, function)]
        _, alpha, beta = CURVES[name]
        names.append(name)
        alphas += [] if alpha is None else [getattr(cell, f"{function}_alpha")]
        betas += [] if beta is None else [getattr(cell, f"{function}_beta")]
    found = {"activations": names * directions}
    found |= {"activation_alpha": alphas * directions} if alphas else {}
    found |= {"activation_beta": betas * directions} if betas else {}
    return found | ({"clip": cell.clip} if cell.clip else {})
