"""Compiling ahead: what a model needs is run once on the smallest batch, so that no later call waits for a compiler.

Kernels are compiled for the types of their arguments, so every step here goes through the same public calls as a user's program.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbarnn import parallel
from numbarnn.cells.contract import has_inner, used_hidden_rows
from numbarnn.checks import brief, check_flag
from numbarnn.data.batches import Batch
from numbarnn.kernels import cache
from numbarnn.layers import Recurrent
from numbarnn.losses.base import make_loss
from numbarnn.network.network import Network
from numbarnn.network.program import has_step
from numbarnn.network.stream import step_function
from numbarnn.training.trainer import Trainer


@dataclass(frozen=True)
class Warmed:
    """One step of warming up.

    Attributes
    ----------
    name : str
    compiled : int
        Kernels that were compiled; the others were loaded, or known already.
    seconds : float
    number, steps : int
        Which step of how many.
    """

    name: str
    compiled: int
    seconds: float
    number: int
    steps: int


def warmup(model: Any, *, train: bool = True, loss: Any = None, optimizer: Any = "adam") -> list[Warmed]:
    """Compile or load every kernel that a model needs, so that its first real call is as fast as the others.

    The model is left as it was. Compiled kernels are stored on disk, and found by later processes.

    Parameters
    ----------
    model : Model, LanguageModel, Forecaster or estimator
        Fitted, but for a `Model`.
    train : bool
        Whether kernels of training are wanted, beside those of predictions, single steps and sampling.
    loss : str or Loss, optional
        Of training; None: the loss of the last `fit`, or softmax cross-entropy.
    optimizer : str or Optimizer
        Of training.

    Returns
    -------
    list of Warmed
        What was run: name, number of compiled kernels, seconds.

    Raises
    ------
    TypeError, ValueError
        If the model is not one, is not fitted, or an argument has the wrong type or value.

    Examples
    --------
    >>> from numbarnn import Dense, Model
    >>> model = Model([Dense(2)], input_size=3)
    >>> before = warmup(model)
    >>> sum(step.compiled for step in warmup(model))  # the second time
    0
    """
    check_flag("warmup", "train", train)
    network = network_of(model)
    jobs = _jobs(model)
    if train:
        loss = make_loss(loss if loss is not None else network.loss or "softmax_cross_entropy")
        jobs["training"] = lambda: _train(network, loss, optimizer)
    return list(run(jobs))


def warm_model(model) -> Iterator[Warmed]:
    """Run what a model needs for inference, predictions and steps, and what its class adds; yield the steps as they end."""
    yield from run(_jobs(model))


def _jobs(model) -> dict[str, Callable[[], Any]]:
    network = network_of(model)
    own = model.warmup_jobs() if hasattr(model, "warmup_jobs") else ()
    return {"predicting": lambda: predict(network), **dict(own)}


def network_of(model) -> Network:
    """Return the network of a model, language model, forecaster or estimator; raise TypeError or ValueError without one."""
    if isinstance(model, Network):
        return model
    found = getattr(model, "model", None) or getattr(model, "model_", None)
    if not isinstance(found, Network):
        if hasattr(type(model), "fit"):
            raise ValueError(f"model must be fitted before, got {brief(model)}; call fit, or load a saved one")
        raise TypeError(f"model must be a numbarnn.Model, LanguageModel, Forecaster or estimator, got {brief(model)}")
    return found


def run(jobs: dict[str, Callable[[], Any]]) -> Iterator[Warmed]:
    """Run jobs, and yield how many kernels each compiled and how long it took."""
    for number, (name, job) in enumerate(jobs.items(), 1):
        compiled: list[Any] = []
        cache.on_compile.append(compiled.append)
        started = time.perf_counter()
        try:
            with parallel.more_parties_than_processors():
                job()
        finally:
            cache.on_compile.remove(compiled.append)
        yield Warmed(name, len(compiled), time.perf_counter() - started, number, len(jobs))


def predict(model: Network) -> None:
    """Run a batch with and without lengths, and a step by every way there is."""
    x = _inputs(model)
    outputs = model.forward if model.output_activation is None else model.predict_proba
    outputs(x, lengths=[3, 2])
    outputs(x)
    if has_step(model.layers):
        model.step(x[:, 0])
        model.stream().step(x[0, 0])
        step, weights, state = step_function(model)
        step(weights, x[0, 0], state, np.zeros(model.signals[-1].size, model.dtype))
    if (sample := _shared_sample(model)) is not None:
        model.forward(sample)


def _shared_sample(model):
    """Return one sample with steps enough for threads to share units of the model's layers; None: they share none."""
    if model.device != "cpu" or (model.n_threads or parallel.default_threads()) == 1:
        return None
    steps = 0
    for layer, signal in zip(model.layers, model.signals, strict=False):
        if isinstance(layer, Recurrent) and not has_inner(layer.cell):
            hidden = layer.hidden_size
            inputs = 0 if signal.tokens and layer.num_layers == 1 else hidden if signal.tokens else signal.size
            recurrents = hidden if used_hidden_rows(layer.cell) else 0
            weights = len(layer.cell.preactivations) * hidden * (inputs + recurrents)
            if weights >= 2 * parallel.STEP_GRAIN:
                steps = max(steps, -(-2 * parallel.UNITS_GRAIN // weights))
    if steps == 0:
        return None
    signal = model.signals[0]
    tokens = np.zeros((1, steps, signal.bag) if signal.bag else (1, steps), np.int32)
    return tokens if signal.tokens else np.zeros((1, steps, signal.size), model.dtype)


def _inputs(model):
    signal = model.signals[0]
    tokens = np.zeros((2, 3, signal.bag) if signal.bag else (2, 3), np.int32)
    return tokens if signal.tokens else np.zeros((2, 3, signal.size), model.dtype)


def targets(model: Network, loss) -> Iterator[np.ndarray]:
    """Yield targets for `_inputs` of every kind: classes, values, counts, label sequences. A loss takes some of them."""
    end = model.signals[-1]
    shape = (2, 3) if end.sequence else (2,)
    values = np.full((*shape, max(1, end.size // loss.outputs_per_target)), 0.5, model.dtype)
    yield from (np.zeros(shape, int), values, np.ceil(values), np.ones((2, 1), int))


def _train(model, loss, optimizer):
    """Train a copy on all kinds of targets that the loss takes."""
    x, trained, refusal = _inputs(model), False, None
    for y in targets(model, loss):
        try:
            Trainer(model.copy(), loss, optimizer, n_threads=1).train_batch(Batch(x, y))
            trained = True
        except (TypeError, ValueError) as error:
            refusal = error
    if not trained:
        raise ValueError(f"loss {loss.name} does not go with the model: {refusal}") from refusal
    if (sample := _shared_sample(model)) is not None:
        outputs, _, pullback = model.vjp(sample)
        pullback(outputs)
