"""torch, eager, time-major as its recurrent layers take batches fastest, Adam in its fused form.

Not compiled: Dynamo breaks the graph at nn.RNN, nn.GRU and nn.LSTM and runs them eagerly unless an experimental flag is set
(`torch._dynamo.config.allow_rnn`, False by default; https://github.com/pytorch/pytorch/pull/186614), and with the flag
compilation "does not currently speed up LSTM-dominated models" (https://github.com/pytorch/pytorch/pull/185163).
"""

import time

import torch
from torch import nn
from torch.nn.utils import rnn

from comparison import cases
from comparison.engines import Prepared, walk


def _recurrent(case, kind=""):
    """Return the recurrent layer, or its cell, with the case's weights."""
    torch.set_num_threads(case.threads)
    inputs, hidden = case.size[:2]
    net = getattr(nn, f"{case.cell}{kind}")(inputs, hidden)
    with torch.no_grad():
        for name, values in cases.weights(case).items():
            getattr(net, name.removesuffix("_l0") if kind else name).copy_(torch.from_numpy(values))
    return net


def _time_major(array):
    return torch.from_numpy(array.swapaxes(0, 1).copy())


def forward(case):
    """Return the forward pass of a batch, outputs in torch's own memory."""
    net, x = _recurrent(case), _time_major(cases.batch(case)[0])

    def call():
        with torch.inference_mode():
            return net(x)[0]

    return Prepared(call, lambda y: {"outputs": y.numpy().swapaxes(0, 1)})


def _gradients(net, loss_of):
    def call():
        net.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        return loss

    def outputs(loss):
        return {"loss": loss.item(), **{name: value.grad.numpy() for name, value in net.named_parameters()}}

    return Prepared(call, outputs)


def bptt(case):
    """Return a pass with the gradients of all weights; the squared error is the loss."""
    net, (x, y) = _recurrent(case), map(_time_major, cases.batch(case))
    return _gradients(net, lambda: nn.functional.mse_loss(net(x)[0], y))


def ragged_padded(case):
    """Return the same for samples of different lengths, padded to the longest, steps of padding out of the loss."""
    net, (x, y) = _recurrent(case), map(_time_major, cases.batch(case))
    mask = torch.arange(len(x))[:, None] < torch.from_numpy(cases.lengths(case))
    weight = (mask / mask.sum() / y.shape[2])[:, :, None]
    return _gradients(net, lambda: ((net(x)[0] - y).square() * weight).sum())


def ragged_packed(case):
    """Return the same for packed samples: packed before the clock starts, longest first, so that nothing is sorted."""
    net, count = _recurrent(case), torch.from_numpy(cases.lengths(case))
    x, y = (rnn.pack_padded_sequence(_time_major(array), count) for array in cases.batch(case))
    return _gradients(net, lambda: nn.functional.mse_loss(net(x)[0].data, y.data))


def stream(case):
    """Return a step of torch's cell."""
    net, states = _recurrent(case, "Cell"), torch.zeros(1, case.size[1])
    states = (states, states) if case.cell == "LSTM" else states

    def step(x):
        nonlocal states
        with torch.inference_mode():
            states = net(torch.from_numpy(x)[None], states)
        return (states[0] if case.cell == "LSTM" else states)[0]

    return Prepared(walk(step, cases.stream_inputs(case)), lambda y: {"outputs": y.numpy()}, each=True)


class _Net(nn.Module):
    """A recurrent layer and a dense one, whose outputs are classes of every step."""

    def __init__(self, case):
        super().__init__()
        self.recurrent = _recurrent(case)
        self.dense = nn.Linear(case.size[1], cases.classes(case))
        with torch.no_grad():
            for name, values in cases.dense_weights(case).items():
                getattr(self.dense, name).copy_(torch.from_numpy(values))

    def forward(self, x):
        return self.dense(self.recurrent(x)[0])


def _batches(x, y, size):
    return [(_time_major(x[at : at + size]), _time_major(y[at : at + size])) for at in range(0, len(x), size)]


def _loss(net, x, y):
    return nn.functional.cross_entropy(net(x).flatten(0, 1), y.flatten())


def _epoch(net, optimizer, batches):
    """Train for an epoch; return the mean loss. The loss is read once, at its end."""
    total = torch.zeros(())
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(net, x, y)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total.item() / len(batches)


def epoch(case):
    """Return an epoch with Adam, batches laid out before the clock starts."""
    net, batches = _Net(case), _batches(*cases.epoch(case), case.size[2])

    def call():
        return _epoch(net, torch.optim.Adam(net.parameters(), cases.LEARNING_RATE, fused=True), batches)

    def outputs(loss):
        return {"loss": loss, "weights": nn.utils.parameters_to_vector(net.parameters()).detach().numpy().copy()}

    return Prepared(call, outputs)


def target(case):
    """Return training with Adam until the validation loss is reached."""
    batches = _batches(*cases.task(case, 1, cases.TARGET_SAMPLES), case.size[2])
    validation = tuple(map(_time_major, cases.task(case, 2, cases.TARGET_SAMPLES // 4)))

    def call():
        net, losses = _Net(case), []
        started = time.perf_counter()
        optimizer = torch.optim.Adam(net.parameters(), cases.TARGET_RATE, fused=True)
        while len(losses) < cases.TARGET_EPOCHS:
            _epoch(net, optimizer, batches)
            with torch.inference_mode():
                losses.append(_loss(net, *validation).item())
            if losses[-1] <= cases.TARGET_LOSS:
                break
        return time.perf_counter() - started, losses

    return Prepared(call, lambda result: {"losses": result[1]}, once=True)


PROGRAM = """
import sys, numpy as np, torch
torch.set_num_threads(1)
net = torch.nn.{cell}({inputs}, {hidden}, batch_first=True)
net.load_state_dict(torch.load(sys.argv[1], weights_only=True))
with torch.inference_mode():
    y = net(torch.from_numpy(np.linspace(-1, 1, {count}, dtype=np.float32).reshape(1, {steps}, {inputs})))[0]
print(*y[0, -1].tolist())
"""


def startup(case):
    """Return a new process that loads weights and predicts."""
    from comparison.startup import new_process

    return new_process(case, PROGRAM, lambda path: torch.save(_recurrent(case).state_dict(), path), "model.pt")
