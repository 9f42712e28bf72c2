"""The same weights give torch's outputs, states and gradients; optimizers, clipping and losses follow torch's path."""

import numpy as np
import pytest
from conftest import assert_close, normal

from numbarnn import GRU, LSTM, RNN, Dense, Model, Trainer
from numbarnn.backends.cpu import losses
from numbarnn.backends.cpu.batch import Call, to_rows
from numbarnn.core.signal import Signal
from numbarnn.data import Batch
from numbarnn.losses import BinaryCrossEntropy, Huber, MeanAbsoluteError, MeanSquaredError, SoftmaxCrossEntropy
from numbarnn.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    MultiStep,
    OneCycle,
    ReduceOnPlateau,
    RMSprop,
    clip_by_norm,
    clip_by_value,
)

torch = pytest.importorskip("torch", reason="torch is not installed; it is the other side of every comparison here")

TOLERANCE = {"float32": (2e-6, 1e-5), "float64": (1e-12, 1e-11)}  # outputs and states, gradients
KINDS = {
    "RNN-tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}, RNN, {"activation": "tanh"}),
    "RNN-relu": (torch.nn.RNN, {"nonlinearity": "relu"}, RNN, {"activation": "relu"}),
    "LSTM": (torch.nn.LSTM, {}, LSTM, {}),
    "GRU": (torch.nn.GRU, {}, GRU, {}),
}
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)
C, H, N, T = 5, 21, 6, 9
PACKED = [9, 3, 7, 1, 9, 5]


@pytest.fixture(autouse=True)
def one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def leaf(array):
    return torch.tensor(array, requires_grad=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("lengths", [None, PACKED], ids=["full", "packed"])
@every_dtype
def test_recurrent(kind, num_layers, bidirectional, bias, lengths, dtype):
    torch_class, torch_options, layer_class, options = KINDS[kind]
    shape = {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias}
    torch.manual_seed(3)
    net = torch_class(C, H, batch_first=True, dtype=getattr(torch, dtype), **shape, **torch_options)
    model = Model([layer_class(H, **shape, **options)], input_size=C, dtype=dtype, n_threads=1)
    model.load_state_dict({name: value.detach().numpy() for name, value in net.state_dict().items()})

    directions = 2 if bidirectional else 1
    x = leaf(normal(0, N, T, C, dtype=dtype))
    states = [
        leaf(0.5 * normal(1 + s, num_layers * directions, N, H, dtype=dtype)) for s in range(2 if kind == "LSTM" else 1)
    ]
    start = tuple(states) if kind == "LSTM" else states[0]
    if lengths is None:
        y, end = net(x, start)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, end = net(packed, start)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    ends = end if kind == "LSTM" else (end,)
    dy = normal(7, N, T, H * directions, dtype=dtype)
    dends = [normal(8 + s, num_layers * directions, N, H, dtype=dtype) for s in range(len(ends))]
    torch.autograd.backward([y, *ends], [torch.tensor(dy), *map(torch.tensor, dends)])

    outputs, final, pullback = model.vjp(x.detach().numpy(), (tuple(s.detach().numpy() for s in states),), lengths)
    gradients = pullback(dy, (tuple(dends),))
    close, close_gradient = TOLERANCE[dtype]
    assert_close(outputs, y.detach().numpy(), close, "outputs")
    for array, expected in zip(final[0], ends, strict=True):
        assert_close(array, expected.detach().numpy(), close, "final state")
    assert_close(gradients.x, x.grad.numpy(), close_gradient, "gradient of x")
    for array, state in zip(gradients.state[0], states, strict=True):
        assert_close(array, state.grad.numpy(), close_gradient, "gradient of an initial state")
    (name,) = model.names
    expected = {f"{name}.{key}": value.grad.numpy() for key, value in net.named_parameters()}
    assert set(gradients.params) == set(expected)
    for key, value in expected.items():
        assert_close(gradients.params[key], value, close_gradient, key)


@pytest.mark.parametrize("lengths", [None, PACKED], ids=["full", "packed"])
def test_sum_of_directions(lengths):
    """A stack whose levels add their directions: torch's bidirectional layers, one for each level, and their halves' sums."""
    torch.manual_seed(3)
    options = {"bidirectional": True, "batch_first": True, "dtype": torch.float64}
    nets = [torch.nn.GRU(C, H, **options), torch.nn.GRU(H, H, **options)]
    model = Model([GRU(H, 2, bidirectional=True, merge="sum", name="gru")], C, "float64", n_threads=1)
    named = {f"gru.{n.replace('l0', f'l{k}')}": v for k, net in enumerate(nets) for n, v in net.named_parameters()}
    model.load_state_dict({name: value.detach().numpy() for name, value in named.items()})
    x, dy = leaf(normal(0, N, T, C)), normal(1, N, T, H)
    y = x
    for net in nets:
        if lengths is None:
            y, _ = net(y)
        else:
            packed = torch.nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(net(packed)[0], batch_first=True, total_length=T)
        y = y[..., :H] + y[..., H:]
    y.backward(torch.tensor(dy))
    outputs, _, pullback = model.vjp(x.detach().numpy(), lengths=lengths)
    gradients = pullback(dy)
    assert_close(outputs, y.detach().numpy(), 1e-12)
    assert_close(gradients.x, x.grad.numpy(), 1e-12)
    for name, value in named.items():
        assert_close(gradients.params[name], value.grad.numpy(), 1e-12, name)


@every_dtype
def test_dense_nets(dtype):
    torch.manual_seed(3)
    functions = {
        "tanh": torch.nn.Tanh,
        "relu": torch.nn.ReLU,
        "logistic": torch.nn.Sigmoid,
        "identity": torch.nn.Identity,
    }
    modules = [m for f in functions.values() for m in (torch.nn.Linear(C, C, dtype=getattr(torch, dtype)), f())]
    net = torch.nn.Sequential(*modules)
    layers = [Dense(C, activation=name, name=str(2 * k)) for k, name in enumerate(functions)]
    model = Model(layers, input_size=C, dtype=dtype, n_threads=1)
    model.load_state_dict({name: value.detach().numpy() for name, value in net.state_dict().items()})
    x = leaf(normal(0, N, T, C, dtype=dtype))
    expected, dy = net(x), normal(1, N, T, C, dtype=dtype)
    expected.backward(torch.tensor(dy))
    outputs, _, pullback = model.vjp(x.detach().numpy())
    gradients, (close, close_gradient) = pullback(dy), TOLERANCE[dtype]
    assert_close(outputs, expected.detach().numpy(), close)
    assert_close(gradients.x, x.grad.numpy(), close_gradient)
    for name, value in net.named_parameters():
        assert_close(gradients.params[name], value.grad.numpy(), close_gradient, name)


# Optimizers

OPTIMIZERS = {
    "SGD": (SGD(0.1), torch.optim.SGD, {"lr": 0.1}),
    "SGD-momentum": (
        SGD(0.1, momentum=0.9, weight_decay=0.03),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.03},
    ),
    "RMSprop": (
        RMSprop(0.1, alpha=0.9, eps=1e-6, weight_decay=0.03),
        torch.optim.RMSprop,
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.03},
    ),
    "SGD-nesterov": (
        SGD(0.1, 0.9, 0.01, nesterov=True),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
    ),
    "Adagrad": (Adagrad(0.1), torch.optim.Adagrad, {"lr": 0.1}),
    "Adagrad-options": (
        Adagrad(0.1, lr_decay=0.1, weight_decay=0.2, initial_accumulator_value=0.3, eps=1e-3),
        torch.optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.3, "eps": 1e-3},
    ),
    "Adam": (Adam(0.1), torch.optim.Adam, {"lr": 0.1}),
    "Adam-decay": (
        Adam(0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.03),
        torch.optim.Adam,
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.03},
    ),
    "RMSprop-centered": (
        RMSprop(0.1, alpha=0.9, eps=1e-3, weight_decay=0.03, centered=True),
        torch.optim.RMSprop,
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.03, "centered": True},
    ),
    "Adam-amsgrad": (
        Adam(0.1, betas=(0.8, 0.6), amsgrad=True),
        torch.optim.Adam,
        {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True},
    ),
    "AdamW-amsgrad": (
        AdamW(0.1, betas=(0.8, 0.6), amsgrad=True),
        torch.optim.AdamW,
        {"lr": 0.1, "betas": (0.8, 0.6), "amsgrad": True},
    ),
    "AdamW": (AdamW(0.1), torch.optim.AdamW, {"lr": 0.1}),
    "AdamW-decay": (AdamW(0.1, weight_decay=0.2), torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.2}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@every_dtype
def test_optimizers(name, dtype):
    ours, torch_class, options = OPTIMIZERS[name]
    start = 0.1 * normal(0, 50, dtype=dtype)
    weights, arrays = start.copy(), ours.start(50, start.dtype)
    parameter = torch.nn.Parameter(torch.tensor(start))
    theirs = torch_class([parameter], **options)
    for step in range(1, 8):
        gradient = normal(step, 50, dtype=dtype)
        parameter.grad = torch.tensor(gradient)
        theirs.step()
        ours.update(weights, gradient, arrays, step, ours.learning_rate)
        # What the steps have added: an error of a step would hide beside the weights.
        moved = parameter.detach().numpy() - start
        assert_close(weights - start, moved, 2e-6 if dtype == "float32" else 1e-12, f"after step {step}")


SCHEDULERS = {
    "MultiStepLR": (MultiStep([2, 3, 3, 6], 0.3), {"milestones": [2, 3, 3, 6], "gamma": 0.3}),
    "OneCycleLR": (OneCycle(8), {"max_lr": 0.1, "total_steps": 8}),
    "OneCycleLR-options": (
        OneCycle(8, 0.55, 10, 100),
        {"max_lr": 0.1, "total_steps": 8, "pct_start": 0.55, "div_factor": 10, "final_div_factor": 100},
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedules(name):
    ours, options = SCHEDULERS[name]
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name.partition("-")[0])(theirs, **options)
    for count in range(8):
        assert 0.1 * ours.factor(count, count) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        theirs.step()
        if count < 7:
            scheduler.step()


@pytest.mark.parametrize("cooldown", [0, 2])
def test_reduce_on_plateau(cooldown):
    losses = [3.0, 2.0, 1.99999, 2.5, 1.0, 1.1, 1.2, float("nan"), 1.3, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 0.99, 0.5]
    ours = ReduceOnPlateau(0.5, patience=1, cooldown=cooldown, low=0.05)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    options = {"factor": 0.5, "patience": 1, "cooldown": cooldown, "min_lr": 0.005}
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for count, loss in enumerate(losses):
        scheduler.step(loss)
        factor = ours.given([{"val_loss": value} for value in losses[: count + 1]]).factor(count, 0)
        assert 0.1 * factor == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)


@every_dtype
@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clipping(dtype, limit):
    values = normal(0, 40, dtype=dtype)
    parameter = torch.nn.Parameter(torch.zeros(40, dtype=getattr(torch, dtype)))
    parameter.grad = torch.tensor(values)
    torch.nn.utils.clip_grad_norm_([parameter], limit)
    clipped = values.copy()
    clip_by_norm(clipped, limit)
    assert_close(clipped, parameter.grad.numpy(), 1e-6 if dtype == "float32" else 1e-14)
    parameter.grad = torch.tensor(values)
    torch.nn.utils.clip_grad_value_([parameter], limit)
    clip_by_value(values, limit)
    assert_close(values, parameter.grad.numpy(), 0.0)


# Losses


def value_and_gradient(loss, logits, target, reduction):
    """Return (value, gradient as an array of the logits' shape) of a loss of the package."""
    call = Call(logits.dtype)
    rows, layout = to_rows(call, logits, Signal(logits.shape[2]), None)
    value, gradient, _ = losses.value_and_gradient(call, loss, rows, target, layout, reduction)
    by_step = gradient.values.reshape(layout.steps, layout.samples, -1)[:, :, : logits.shape[2]]
    return value, by_step.transpose(1, 0, 2)


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("ignored", [False, True], ids=["all", "some-ignored"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_softmax_cross_entropy(dtype, reduction, weighted, ignored, smoothing):
    classes, ignore_index = 7, -1
    generator = np.random.default_rng(0)
    logits, target = 3 * normal(1, N, T, classes, dtype=dtype), generator.integers(0, classes, (N, T))
    if ignored:
        target[generator.random((N, T)) < 0.3] = ignore_index
    weight = generator.uniform(0.2, 2.0, classes) if weighted else None
    loss = SoftmaxCrossEntropy(None if weight is None else tuple(weight), ignore_index, smoothing)
    value, gradient = value_and_gradient(loss, logits, target, reduction)
    given = leaf(logits)
    expected = torch.nn.functional.cross_entropy(
        given.reshape(-1, classes),
        torch.tensor(target).reshape(-1),
        weight=None if weight is None else torch.tensor(weight.astype(dtype)),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=smoothing,
    )
    expected.backward()
    close = 2e-6 if dtype == "float32" else 1e-12
    assert_close(value, expected.item(), close, "value")
    assert_close(gradient, given.grad.numpy(), close, "gradient")


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets(dtype, reduction, weighted, smoothing):
    classes, generator = 7, np.random.default_rng(0)
    logits, target = (
        3 * normal(1, N, T, classes, dtype=dtype),
        generator.dirichlet(np.ones(classes), (N, T)).astype(dtype),
    )
    weight = generator.uniform(0.2, 2.0, classes) if weighted else None
    loss = SoftmaxCrossEntropy(None if weight is None else tuple(weight), label_smoothing=smoothing)
    value, gradient = value_and_gradient(loss, logits, target, reduction)
    given = leaf(logits)
    expected = torch.nn.functional.cross_entropy(
        given.reshape(-1, classes),
        torch.tensor(target).reshape(-1, classes),
        weight=None if weight is None else torch.tensor(weight.astype(dtype)),
        reduction=reduction,
        label_smoothing=smoothing,
    )
    expected.sum().backward()
    close = 2e-6 if dtype == "float32" else 1e-12
    if reduction == "none":
        value = value.reshape(T, N).T.reshape(-1)
    assert_close(value, expected.detach().numpy(), close, "value")
    assert_close(gradient, given.grad.numpy(), close, "gradient")


FUNCTIONAL = torch.nn.functional
OF_NUMBERS = {
    "mse": (MeanSquaredError(), FUNCTIONAL.mse_loss, {}),
    "mae": (MeanAbsoluteError(), FUNCTIONAL.l1_loss, {}),
    "huber": (Huber(), FUNCTIONAL.huber_loss, {}),
    "huber-delta": (Huber(0.4), FUNCTIONAL.huber_loss, {"delta": 0.4}),
    "binary": (BinaryCrossEntropy(), FUNCTIONAL.binary_cross_entropy_with_logits, {}),
    "binary-weight": (
        BinaryCrossEntropy((0.5, 2.0, 1.0, 0.0)),
        FUNCTIONAL.binary_cross_entropy_with_logits,
        {"pos_weight": (0.5, 2.0, 1.0, 0.0)},
    ),
    "binary-weights": (
        BinaryCrossEntropy(2.0, weight=(0.5, 2.0, 1.0, 0.0)),
        FUNCTIONAL.binary_cross_entropy_with_logits,
        {"pos_weight": 2.0, "weight": (0.5, 2.0, 1.0, 0.0)},
    ),
}


@pytest.mark.parametrize("name", OF_NUMBERS)
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_numbers(name, dtype, reduction):
    loss, function, options = OF_NUMBERS[name]
    outputs, target = 3 * normal(1, N, T, 4, dtype=dtype), normal(2, N, T, 4, dtype=dtype)
    if name.startswith("binary"):
        target = np.random.default_rng(2).random((N, T, 4)).astype(dtype)
    options = {k: torch.tensor(v, dtype=getattr(torch, dtype)) if "weight" in k else v for k, v in options.items()}
    value, gradient = value_and_gradient(loss, outputs, target, reduction)
    given = leaf(outputs)
    expected = function(given, torch.tensor(target), reduction=reduction, **options)
    if reduction == "sum":
        expected = expected / 4  # the sum over steps of the mean over features
    expected.backward()
    close = 2e-6 if dtype == "float32" else 1e-12
    assert_close(value, expected.item(), close, "value")
    assert_close(gradient, given.grad.numpy(), close, "gradient")


@every_dtype
def test_moving_average(dtype):
    """Our average of the weights is that of torch's `swa_utils.AveragedModel`."""
    x, y = normal(0, 12, 5, 2), normal(1, 12, 5, 1)
    model = Model([RNN(3), Dense(1)], input_size=2, dtype=dtype, n_threads=1)
    weights = torch.nn.Linear(model.params.flat.size, 1, bias=False, dtype=getattr(torch, dtype))
    theirs = torch.optim.swa_utils.AveragedModel(weights, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    trainer = Trainer(model, "mse", SGD(0.3), average=0.8)
    for _ in range(5):
        trainer.train_batch(Batch(x, y))
        with torch.no_grad():
            weights.weight[0] = torch.tensor(model.params.flat.copy())
        theirs.update_parameters(weights)
    average = theirs.module.weight.detach().numpy()[0]
    assert_close(trainer.average, average, 1e-6 if dtype == "float32" else 1e-14)
