"""The backends have the same modules, functions, parameters and tables, so that nothing above them asks for the device."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from conftest import assert_close, normal

import numbarnn as nr
from numbarnn.backends import cpu, cuda
from numbarnn.losses import SegmentCrossEntropy, SoftmaxCrossEntropy

# What a backend has for itself: its memory, and what a pass of its own passes on.
OWN = {
    "batch": {"Layout", "Parameters"},  # arrays of the geometry and the parameters as a device has them
    "dropout": {"first_mask"},
    "losses": {"ctc", "probabilities", "by_rows", "LossByRows"},  # of the host's arrays; of some rows, by segments
    "recurrent": {"Block", "Plan", "Weights"},  # a plan holds the weights as a device's kernels read them
    "dense": {"Weights", "weight_gradient", "token_gradient"},  # of products of every layer
    "segments": {
        "Segment",
        "Sum",
        "over_blocks",
        "running_sum",
        "sum_memory",
        "sum_of",
    },  # of the CPU's passes by segments
}
METHODS = {
    "batch": {
        "Call": {"empty", "zeros", "over", "over_samples", "over_team", "run", "stage", "send"},
        "Rows": {"strides", "count", "tokens", "bag"},
    },
    "recurrent": {"Tape": {"states", "saved", "inner", "inner_saved"}},
    # Attributes on the host, copies of a device's; the CPU's sums are shared by threads.
    "optim": {"Pending": {"loss", "gradient", "add", "take"}, "Updates": {"arrays", "average"}},
}


def modules(package):
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def module(package, name):
    return importlib.import_module(f"{package.__name__}.{name}")


def public(owner):
    """Return the public functions and classes that a module defines, or the public functions and properties of a class."""
    found = {name: value for name, value in vars(owner).items() if not name.startswith("_")}
    if inspect.ismodule(owner):
        return {
            name: value
            for name, value in found.items()
            if getattr(value, "__module__", None) == owner.__name__ and callable(value)
        }
    return {name: value for name, value in found.items() if callable(value) or isinstance(value, property)}


def names(function):
    """Return the names and defaults of a function's parameters."""
    given = inspect.signature(getattr(function, "fget", function)).parameters.values()
    return [(parameter.name, parameter.default) for parameter in given]


def test_modules():
    assert modules(cpu) == modules(cuda)
    assert set(cpu.__all__) == set(cuda.__all__)


def test_tables():
    assert set(cpu.LAYERS) == set(cuda.LAYERS)
    assert set(cpu.losses.LOSSES) == set(cuda.losses.LOSSES)


@pytest.mark.parametrize("name", modules(cpu))
def test_functions_and_classes(name):
    one, other = (public(module(package, name)) for package in (cpu, cuda))
    assert set(one) ^ set(other) <= OWN.get(name, set()), "in one backend alone"
    for key in sorted(set(one) & set(other) - OWN.get(name, set())):
        if inspect.isclass(one[key]):
            compare_classes(name, one[key], other[key])
        else:
            assert names(one[key]) == names(other[key]), key


def compare_classes(name, one, other):
    own = METHODS.get(name, {}).get(one.__name__, set())
    found, twin = public(one), public(other)
    assert set(found) ^ set(twin) <= own, f"methods of {one.__name__} in one backend alone"
    for key in sorted(set(found) & set(twin) - own):
        assert names(found[key]) == names(twin[key]), f"{one.__name__}.{key}"
    if name not in ("batch", "recurrent", "optim") or one.__name__ in ("Updates", "LossSum"):
        assert names(one) == names(other), one.__name__


def test_calls_are_made_alike():
    one, other = ([parameter for parameter, _ in names(package.batch.Call)] for package in (cpu, cuda))
    assert one == other


@pytest.mark.parametrize("lengths", [None, [4, 0, 3]], ids=["full", "ragged"])
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 0.5])], ids=["ones", "weights"])
def test_segments(lengths, weight):
    """A loss of two kernels on each device: the mean over each segment, and its cross-entropy."""
    codes = np.array([[3, 2, -1, 5], [-1, -1, -1, -1], [1, 0, 0, -1]])
    found = []
    for device in nr.backends.device.DEVICES:
        model = nr.Model([nr.RNN(2, init="torch"), nr.Dense(3)], 2, "float64", seed=1, device=device)
        for target in (codes, np.full((3, 4), -1)):
            for reduction in ("mean", "sum"):
                loss = SegmentCrossEntropy((1.0, 2.0, 0.5))
                value, gradients = model.loss_and_grad(
                    normal(1, 3, 4, 2), target, loss, lengths, sample_weight=weight, reduction=reduction
                )
                found.append([value, *gradients.values()])
    half = len(found) // 2
    for expected, result in zip(found[:half], found[half:], strict=True):
        for array, other in zip(expected, result, strict=True):
            assert_close(np.asarray(other), np.asarray(array), 1e-12)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_soft_targets(reduction):
    target = np.random.default_rng(0).dirichlet(np.ones(3), (3, 4))
    loss, found = SoftmaxCrossEntropy((1.0, 2.0, 0.5), label_smoothing=0.1), []
    for device in nr.backends.device.DEVICES:
        model = nr.Model([nr.RNN(2, init="torch"), nr.Dense(3)], 2, "float64", seed=1, device=device)
        weight = np.array([1.0, 0.0, 0.5])
        value, gradients = model.loss_and_grad(
            normal(1, 3, 4, 2), target, loss, [4, 3, 2], reduction=reduction, sample_weight=weight
        )
        found.append([value, *gradients.values()])
    for array, other in zip(*found, strict=True):
        assert_close(np.asarray(other), np.asarray(array), 1e-12)
