"""Masks, counts and indices that `to_onnx` makes of lengths and tokens: recognised as expressions, and what heeds them.

Whatever else is computed of lengths is an expression that no pattern here is equal to, so the node that takes it is refused.
"""

from dataclasses import replace

import numpy as np

from numbarnn.errors import ShapeError
from numbarnn.interop.onnx.read.sizes import arithmetic
from numbarnn.interop.onnx.values import Constant, Derived, Input, Output, States, is_zero, size_of
from numbarnn.layers import Pool

# Operators that make masks and indices of lengths and tokens.
DERIVING = ("Cast", "Expand", "Greater", "GreaterOrEqual", "Less", "Max", "Sub", "Unsqueeze")
# Whether a sample has steps, which steps are valid, how many, the last of them; which tokens of a bag there are, and their rows.
SOME = "unsqueeze(greater({lengths},0),1)"
VALID = "unsqueeze(cast(less(unsqueeze(range(0,{steps},1),1),cast({lengths}))),2)"
KNOWN = f"greater({VALID},0)"
COUNT = "unsqueeze(cast(max({lengths},1)),1)"
LAST = "expand(unsqueeze(max(sub(cast({lengths}),1),0),[0,2]),[1,1,{size}])"
BAG, BAG_ROWS = "unsqueeze(cast(greaterorequal({tokens},0)),3)", "max({tokens},0)"


def is_derived(kind: str, inputs: list) -> bool:
    """Return whether a node of an operator computes something of lengths or of the tokens of bags."""
    return kind in DERIVING and any(
        isinstance(value, (Derived, Input))
        or (isinstance(value, Output) and value.tokens is not None and len(value.axes) == 3)
        for value in inputs
    )


def derived(state, node):
    """Return an expression of lengths or tokens."""
    axes = next((value.axes for value in node.inputs if isinstance(value, (Output, Derived))), ())
    return Derived(f"{node.kind.lower()}({','.join(map(_expression, node.inputs))})", axes)


def steps(state, node):
    """Return the indices of the steps, of which masks are made."""
    return Derived(f"range({','.join(map(_expression, node.inputs))})")


def _expression(value) -> str:
    """Return a value in the expressions of `Derived`."""
    if isinstance(value, Derived):
        return value.expression
    if isinstance(value, Input):
        return value.name if value.rows is None else f"{value.name}[{value.rows}]"
    if isinstance(value, Output):
        if value.tokens is None:
            raise ShapeError("it computes with the outputs of layers as no layer does")
        return value.tokens
    items = value.array.reshape(-1)[:8].tolist() if isinstance(value, Constant) else list(value.items)
    items = [item if isinstance(item, str) else f"{item:g}" for item in items]
    return f"[{','.join(items)}]" if len(items) > 1 else "".join(items)


def mul(state, node):
    """Leave out padding, or what is not a token of a bag; or multiply sizes."""
    value, mask = node.inputs
    if isinstance(value, Output) and isinstance(mask, Derived):
        if value.masked == "rows" and mask == Derived(BAG.format(tokens=value.tokens)):
            return replace(value, masked="bag", tokens=None)
        is_sequence = len(value.axes) == 3 and value.masked is None and state.tag(value, 1) == "samples"
        if is_sequence and state.is_of_lengths(mask, VALID, steps=size_of(value.axes[0])):
            return replace(value, masked="zero")
    return arithmetic(state, np.multiply, node.inputs)


def div(state, node):
    """Divide the sum of the valid steps by their number, which makes it the mean that was appended."""
    value, count = node.inputs
    if isinstance(value, Output) and value.masked == "sum" and state.is_of_lengths(count, COUNT):
        return replace(value, masked=None)
    raise ShapeError("it divides by something other than the lengths")


def where(state, node):
    """Choose by lengths: zeros or initial states for samples without steps, -inf past the end for a maximum."""
    condition, value, other = node.inputs
    parts = value.parts if isinstance(value, States) else (value,)
    by_sample = all(isinstance(part, Output) and state.tag(part, -2) == "samples" for part in parts)
    # What samples without steps have is as `Model.forward` has it: zeros, and initial states.
    if by_sample and (is_zero(other) or isinstance(other, Input)) and state.is_of_lengths(condition, SOME):
        return value
    low = isinstance(other, Constant) and np.all(other.array == -np.inf)
    if low and isinstance(value, Output) and state.is_of_lengths(condition, KNOWN, steps=size_of(value.axes[0])):
        return replace(value, masked="low")
    raise ShapeError("it chooses by something other than the lengths")


def last_valid(state, node):
    """Append a layer that takes the last valid step."""
    value, index = node.inputs
    value, size = state.features(value)
    if not state.is_of_lengths(index, LAST, size=size) or node.get("axis", 0) != 0 or state.tag(value, 0) != "steps":
        raise ShapeError("it takes elements by something other than the last valid step")
    state.add(Pool("last"))
    return Output(((), *value.axes[1:]), state.version)
