"""Modules to models: a copy of the module is run beside the model, since a module's forward cannot be read.

What comes after the last recurrent part is found in this way, and a module that does something else is refused.
"""

import copy

import numpy as np
import torch
from torch import nn

from numbarnn.errors import InteropError
from numbarnn.interop.torch.arrays import array_of, said
from numbarnn.interop.torch.parts import chain_of
from numbarnn.model import Model

# Batches by which a conversion is compared with its source: samples and time steps, and a scale of larger inputs.
SMALL, LONG, SCALE = (3, 5), (2, 150), 10.0
DRAWS = 8  # of parameters, until one way on from the last recurrent part is left
SPREAD = 0.5  # of random biases and recurrent weights
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def model_of_module(source, input_size) -> Model:
    """Return the model of a module, once its outputs are those of the module."""
    try:
        probe = copy.deepcopy(source).eval()
    except Exception as error:  # whatever a module of the user's own raises
        raise _refused(f"it cannot be copied to be run beside the model ({said(error)})") from error
    chain, softmax = chain_of(probe)
    chain.refuse_if_reasons()
    given, left = chain.model(input_size).signals[0], None
    for draw in range(1 + DRAWS):
        if draw:
            _redraw(probe, draw)
            chain, _ = chain_of(probe)
        left = _matching(probe, chain, input_size, _batches(probe, given, draw), softmax, left)
        if draw and len(set(left.values())) == 1:
            chain, _ = chain_of(source)
            return list(chain.endings())[min(left)][1].model(input_size)
    raise _refused(
        "its outputs do not show what its forward goes on with after its last recurrent part; pass its state_dict() with layers="
    )


def _refused(reason):
    """Return the error of a module that is not converted."""
    return InteropError("the torch module cannot be converted:", [reason])


def _redraw(module, seed):
    """Draw the parameters of a module, so that what is 0 in the beginning, or constant, does not hide what its forward does.

    Weights are smaller where they are many: recurrent parts that amplify would amplify rounding, too, over many time steps.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                inputs = 1 if parameter.ndim < 2 or isinstance(part, nn.Embedding) else parameter.shape[-1]
                spread = SPREAD if parameter.ndim < 2 or name.startswith("weight_hh") else 1.0
                values = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.copy_(values * spread / inputs**0.5)


def _batches(module, signal, draw):
    """Return batches for a model's input; the first one is also the last, for modules that keep something between calls."""
    generator = np.random.default_rng(draw)
    if signal.tokens:
        batches = [generator.integers(0, signal.size, SMALL)]
        padding = {getattr(part, "padding_idx", None) for part in module.modules()} - {None} | {0}
        for token in sorted(padding):
            padded = generator.integers(0, signal.size, SMALL)
            padded[0, 3:] = padded[1, 1] = padded[2, :2] = token
            batches.append(padded)
    else:
        batches = [generator.standard_normal((*SMALL, signal.size))]
        batches.append(SCALE * generator.standard_normal((*SMALL, signal.size)))
    if draw:  # only then are weights known not to amplify rounding over many steps
        tokens = signal.tokens
        batches.append(
            generator.integers(0, signal.size, LONG) if tokens else generator.standard_normal((*LONG, signal.size))
        )
    return [*batches, batches[0]]


def _matching(module, chain, input_size, batches, softmax, among):
    """Return the endings of a chain, as {index: key}, whose outputs are those of a module; refuse where there are none."""
    expected = [_run(module, x) for x in batches]
    if isinstance(softmax, nn.LogSoftmax):
        expected = [np.exp(y) for y in expected]
    found, least = {}, np.inf
    for index, (key, ending) in enumerate(chain.endings()):
        if among is not None and index not in among:
            continue
        try:
            model = ending.model(input_size)
        except InteropError:  # such as pooling after pooling
            continue
        difference = max(
            _difference(model.forward(x)[0] if softmax is None else model.predict_proba(x), y)
            for x, y in zip(batches, expected, strict=True)
        )
        least = min(least, difference)
        if difference <= TOLERANCE[model.dtype.name]:
            found[index] = key
    if not found:
        how = "are not" if least == np.inf else f"differ by {least:.1g} (relative) from"
        raise _refused(
            f"its outputs {how} those of its parts in order, so its forward does something else between them; pass its "
            "state_dict() with layers= where you know what"
        )
    return found


def _difference(found, expected):
    """Return how far outputs are apart, relative to the largest; infinity where they cannot be compared."""
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return np.inf
    return float(np.abs(found - expected).max() / (1.0 + np.abs(expected).max()))


def _steps(cell, x):
    """Return the outputs of a cell for the steps of a batch, samples first."""
    outputs, state = [], None
    for t in range(x.shape[1]):
        state = cell(x[:, t], state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, dim=1)


def _run(module, x):
    """Return the outputs of a module for a batch, samples first."""
    first = next(module.parameters(), None)
    recurrent = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
    steps_first = bool(recurrent) and not recurrent[0].batch_first
    options = {} if first is None or x.dtype.kind == "i" else {"dtype": first.dtype}
    tensor = torch.as_tensor(x, device=None if first is None else first.device, **options)
    try:
        with torch.no_grad():
            if isinstance(module, nn.RNNCellBase):
                found = _steps(module, tensor)
            else:
                found = module(tensor.transpose(0, 1) if steps_first else tensor)
    except Exception as error:
        raise _refused(
            f"it does not run on a batch of shape {x.shape}, by which the conversion is checked ({said(error)}); pass its "
            "state_dict() with layers="
        ) from error
    while isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, torch.Tensor):
        raise _refused(f"its forward returns {type(found).__name__}, not a tensor first")
    found = array_of(found)
    return found.swapaxes(0, 1) if steps_first and found.ndim == 3 else found
