"""Losses of the user's own: derived from one of the package, with a scalar term, and in NumPy; on the CPU and on CUDA."""

import doctest
import math
from dataclasses import dataclass

import naive
import numpy as np
import pytest
from conftest import DTYPES, GRADIENT_TOLERANCE, assert_close, assert_same_bits, normal
from processes import run_python

import numbarnn as nr
from numbarnn.backends.cpu.batch import Call, to_rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.losses import Huber, Loss, MeanSquaredError, PointwiseLoss, SoftmaxCrossEntropy
from numbarnn.losses.base import check_reduction

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
LENGTHS, WEIGHT = [4, 0, 2], np.array([1.0, 2.0, 0.5])
X, Y = normal(1, 3, 4, 2), normal(2, 3, 4, 3)
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Derived(Huber):
    """Without arithmetic of its own."""

    name = "derived"


@dataclass(frozen=True)
class DerivedClasses(SoftmaxCrossEntropy):
    name = "derived_classes"


@dataclass(frozen=True)
class Quantile(PointwiseLoss):
    name = "quantile"
    q: float | tuple[float, ...] = 0.5

    @staticmethod
    def term(y, t, q):
        slope = q if y < t else q - type(y)(1)
        return slope * (t - y), -slope


@dataclass(frozen=True)
class LogCosh(PointwiseLoss):
    """A term with a function of `math`, and without options."""

    name = "logcosh"

    @staticmethod
    def term(y, t):
        d = y - t
        return math.log(math.cosh(d)), math.tanh(d)


@dataclass(frozen=True)
class Two(PointwiseLoss):
    """Two options, one of them a flag."""

    name = "two"
    power: int = 2
    relative: bool = True

    @staticmethod
    def term(y, t, power, relative):
        d, one = y - t, type(y)(1)
        share = one / (one + abs(t)) if relative else one
        return share * d**power, share * power * d ** (power - one)


@dataclass(frozen=True)
class Squares(Loss):
    """The mean squared error in NumPy, with the target as it is given."""

    name = "squares"
    output_activation = None

    def value_and_gradient(self, outputs, target):
        d = outputs - np.reshape(target, outputs.shape)
        return (d**2).mean(axis=-1), 2 * d / d.shape[-1]


def model(device, dtype="float64", outputs=3):
    return nr.Model([nr.RNN(2, init="torch"), nr.Dense(outputs)], 2, dtype, seed=1, n_threads=1, device=device)


def through(device, loss, target, dtype="float64", **options):
    return model(device, dtype).loss_and_grad(X, target, loss, LENGTHS, sample_weight=WEIGHT, **options)


def assert_gradient(loss, target, device, reduction):
    """Compare the gradient of all parameters with central differences of the loss."""
    net = model(device)

    def value(flat):
        net.set_flat(flat)
        return net.loss_and_grad(X, target, loss, LENGTHS, sample_weight=WEIGHT, reduction=reduction)[0]

    start = net.params.flat.copy()
    expected = net.params.views(naive.central_differences(value, start))
    _, gradients = through(device, loss, target, reduction=reduction)
    for key, array in expected.items():
        assert_close(gradients[key], array, GRADIENT_TOLERANCE, key)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("own", "like", "target"),
    [(Derived(0.5), Huber(0.5), Y), (DerivedClasses(label_smoothing=0.1), SoftmaxCrossEntropy(label_smoothing=0.1), None)],
)  # fmt: skip
def test_a_derived_loss_is_computed_as_its_base(own, like, target, device):
    target = np.random.default_rng(0).integers(0, 3, (3, 4)) if target is None else target
    found, expected = through(device, own, target), through(device, like, target)
    assert found[0] == expected[0]
    for key, array in expected[1].items():
        assert_same_bits(found[1][key], array, key)


@pytest.mark.parametrize("loss", [Quantile(0.8), Quantile((0.1, 0.5, 0.9)), LogCosh(), Two(), Two(3, False)], ids=repr)
def test_a_loss_with_a_term(loss):
    for reduction in ("mean", "sum"):
        assert_gradient(loss, Y, "cpu", reduction)
    outputs = model("cpu").forward(X, lengths=LENGTHS)[0]
    options = loss.options(3, np.float64).reshape(-1, 3)
    losses = np.zeros((3, 4))
    for n, t in np.argwhere(np.arange(4) < np.array(LENGTHS)[:, None]):
        terms = [type(loss).term(*at) for at in zip(outputs[n, t], Y[n, t], *options, strict=True)]
        losses[n, t] = WEIGHT[n] * np.mean([value for value, _ in terms])
    assert_close(through("cpu", loss, Y, reduction="sum")[0], losses.sum(), 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_devices_agree(dtype):
    for loss in (Quantile((0.1, 0.5, 0.9)), LogCosh(), Two()):
        (value, gradients), (other, others) = (through(device, loss, Y, dtype) for device in DEVICES)
        assert_close(other, value, TOLERANCE[dtype])
        for key, array in gradients.items():
            assert_close(others[key], array, TOLERANCE[dtype], key)


def test_a_class_defined_again_is_another_loss():
    """As in a notebook, whose cells run twice."""

    def define(factor):
        @dataclass(frozen=True)
        class Again(PointwiseLoss):
            @staticmethod
            def term(y, t):
                return factor * (y - t), factor

        return Again()

    values = [through("cpu", define(factor), Y)[0] for factor in (1.0, 3.0)]
    assert_close(values[1], 3 * values[0], 1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("weight", [None, WEIGHT, np.abs(normal(3, 3, 4))], ids=["ones", "samples", "steps"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_losses_equal_the_kernels(lengths, weight, reduction, dtype):
    results = []
    for loss in (Squares(), MeanSquaredError()):
        net = model("cpu", dtype)
        results.append(net.loss_and_grad(X, Y, loss, lengths, sample_weight=weight, reduction=reduction))
    assert_close(results[0][0], results[1][0], TOLERANCE[dtype])
    for key, array in results[1][1].items():
        assert_close(results[0][1][key], array, TOLERANCE[dtype], key)


def test_numpy_losses_train_and_are_refused_on_a_device():
    net = model("cpu")
    history = net.fit(X, Y, epochs=3, loss=Squares(), lengths=LENGTHS, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    assert_gradient(Squares(), Y, "cpu", "mean")
    with pytest.raises(
        TypeError, match=r'the loss squares \(Squares\) has no kernel for CUDA; use device="cpu", give it a term'
    ):
        through("cuda", Squares(), Y)


def test_the_nearest_class_decides():
    @dataclass(frozen=True)
    class NumPyAfterTerm(Quantile):
        def value_and_gradient(self, outputs, target):
            return np.full(outputs.shape[:2], 7.0), np.zeros(outputs.shape)

    @dataclass(frozen=True)
    class TermAfterNumPy(NumPyAfterTerm):
        @staticmethod
        def term(y, t):
            return y - t, type(y)(1)

    assert through("cpu", NumPyAfterTerm(), Y)[0] == pytest.approx(7.0)
    for device in DEVICES:
        assert through(device, TermAfterNumPy(), Y)[0] != pytest.approx(7.0)


@pytest.mark.parametrize("device", DEVICES)
def test_without_arithmetic(device):
    with pytest.raises(TypeError, match=r"Loss.*(has no arithmetic|has no kernel)"):
        through(device, Loss(), Y)


def test_shapes_of_numpy_losses_are_checked():
    @dataclass(frozen=True)
    class Short(Squares):
        def value_and_gradient(self, outputs, target):
            return np.zeros(3), np.zeros(outputs.shape)

    with pytest.raises(
        ShapeError, match=r"Short.value_and_gradient must return losses \(3, 4\) and gradients \(3, 4, 3\)"
    ):
        through("cpu", Short(), Y)

    @dataclass(frozen=True)
    class One(Squares):
        def value_and_gradient(self, outputs, target):
            return 3

    with pytest.raises(TypeError, match=r"One.value_and_gradient must return \(losses, gradient\), got int"):
        through("cpu", One(), Y)


def test_bad_terms_are_refused():
    with pytest.raises(TypeError, match=r"has a term: derive it from numbarnn\.losses\.PointwiseLoss"):
        type("Wrong", (Loss,), {"term": staticmethod(lambda y, t: (y, t))})
    with pytest.raises(TypeError, match=r"Wrong\.term must be a staticmethod"):
        type("Wrong", (PointwiseLoss,), {"term": lambda y, t: (y, t)})
    with pytest.raises(TypeError, match=r"Wrong.term must take an output, its target, and options .* got term\(y\)"):
        type("Wrong", (PointwiseLoss,), {"term": staticmethod(lambda y: (y, y))})
    for result in (lambda y, t: y - t, lambda y, t: (y, t, t), lambda y, t: ((y, t), t)):
        with pytest.raises(TypeError, match=r"Wrong.term must return \(loss, slope\), two scalars, got"):
            type("Wrong", (PointwiseLoss,), {"term": staticmethod(result)})
    missing = type("Missing", (PointwiseLoss,), {"term": staticmethod(lambda y, t, width: (y, width))})
    with pytest.raises(TypeError, match=r"Missing\.term takes 'width', which is not an option of the loss"):
        through("cpu", missing(), Y)
    with pytest.raises(
        ShapeError, match=r"q of quantile must be a number, or one for each of 3 features, got shape \(2,\)"
    ):
        through("cpu", Quantile((0.1, 0.9)), Y)
    with pytest.raises(TypeError, match="q of quantile must be a number"):
        through("cpu", Quantile("half"), Y)
    with pytest.raises(ValueError, match="reduction must be"):
        check_reduction("median")


def test_terms_of_large_batches_are_shared_by_threads(pieces):
    outputs, target = normal(5, 5, 6, 4), normal(6, 5, 6, 4)
    results = []
    for n_threads in (1, 3):
        call = Call(outputs.dtype, n_threads)
        rows, layout = to_rows(call, outputs, Signal(4), None)
        value, gradient, _ = value_and_gradient(call, LogCosh(), rows, target, layout)
        results.append((value, gradient.values.copy()))
    assert max(pieces) == 3
    assert results[0][0] == results[1][0]
    assert_same_bits(results[1][1], results[0][1])


# As a program of the user's, on a cache that other processes read.
OWN = """
import sys
from dataclasses import dataclass
import numpy as np
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.backends.cpu.losses import value_and_gradient
from numbarnn.core.layout import Layout
from numbarnn.losses import Huber, PointwiseLoss

@dataclass(frozen=True)
class Secret(PointwiseLoss):
    @staticmethod
    def term(y, t):
        return y - t, type(y)(1)

call, rows = Call(np.dtype("float32")), np.ones((2, 16), np.float32)
for loss in (Huber(), Secret())[: int(sys.argv[1])]:
    value_and_gradient(call, loss, Rows(rows, 1), np.zeros((2, 1)), Layout.make(1, 2))
print(len(compiled))
"""


def test_a_term_of_the_users_leaves_nothing_in_the_cache(tmp_path):
    def count(losses):
        return int(run_python(OWN, losses, cwd=tmp_path, cache=tmp_path / "cache").stdout)

    def files():
        return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())

    assert count(1) > 0
    kept = files()
    assert [path.name.partition("-")[0] for path in kept].count("kernels.cpu.losses.pointwise") == 1
    assert count(2) == count(1) == 0
    assert files() == kept
    assert not [path for path in kept if b"Secret" in path.read_bytes()]


def test_the_example_of_the_docstring_runs():
    found = doctest.DocTestFinder().find(PointwiseLoss, "PointwiseLoss")
    runner = doctest.DocTestRunner()
    assert sum(runner.run(test).failed for test in found) == 0
    assert runner.summarize().attempted > 5
