"""Compiling ahead: run everything once on the smallest nets, so that its kernels are cached for later processes.

Kernels are compiled for the types of their arguments, so every step here goes through the same public calls as a user's
program; `tests/test_startup.py` runs such programs in second processes and counts what they compile.
"""

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numbarnn.cells import CELLS
from numbarnn.cli.common import UserError
from numbarnn.kernels import cache
from numbarnn.language.model import CELLS as LANGUAGE_CELLS
from numbarnn.language.model import LanguageModel
from numbarnn.layers import Dense, Dropout, Embedding, EmbeddingBag, OneHot, Pool, Recurrent
from numbarnn.losses import LOSSES, DistributionLoss
from numbarnn.model import Model
from numbarnn.optim import OPTIMIZERS
from numbarnn.training.warmup import Warmed, predict, run, warm_model

# Kernels of the package for one dtype, by measurement: what is left to do is told by it.
KERNELS = 128
# Units of a layer that threads share, of whatever cell, and steps of a sample for which they do.
WIDE, WIDE_STEPS = 256, 80

__all__ = ["KERNELS", "Warmed", "warm_everything", "warm_model"]


def warm_everything(dtype: Any = "float32", only: Iterable[str] | None = None) -> Iterator[Warmed]:
    """Run every cell, layer, loss and optimizer of the package once, forward and backward; yield the steps as they end.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    only : iterable of str, optional
        Names of steps; None: all.

    Raises
    ------
    UserError
        If there is no step of a name.
    """
    own = {name: cell for name, cell in CELLS.items() if cell.__module__.startswith(f"{cache.PACKAGE.name}.")}
    steps = {f"cell {name}": partial(_cell, cell, dtype) for name, cell in own.items()}
    steps |= {f"sampling with {name}": partial(_sampling, name, dtype) for name in LANGUAGE_CELLS}
    steps |= {"embedding, dropout and pooling": partial(_layers, dtype)}
    steps |= {f"loss {name}": partial(_loss, name, dtype) for name in LOSSES}
    steps |= {f"optimizer {name}": partial(_optimizer, name, dtype) for name in OPTIMIZERS}
    if only is not None:
        if unknown := [name for name in only if name not in steps]:
            raise UserError(f"there is no step {unknown[0]!r} of warming up; there are {', '.join(steps)}")
        steps = {name: steps[name] for name in only}
    yield from run(steps)


def _fit(model, x, y, **options):
    model.fit(x, y, epochs=1, verbose=0, n_threads=1, **options)


def _cell(cell, dtype):
    labels = np.zeros((2, 3), int)
    layer = Recurrent(2, num_layers=2, cell=cell())
    model = Model([layer, Dense(2)], 1, dtype, n_threads=1)
    predict(model)
    _fit(model, np.zeros((2, 3, 1), dtype), labels)
    if cell.from_hidden:
        masked = Recurrent(2, recurrent_dropout=0.5, cell=cell())
        _fit(Model([masked, Dense(2)], 1, dtype), np.zeros((2, 3, 1), dtype), labels)
    features = 1 if cell.from_hidden else WIDE
    wide = Model([Recurrent(WIDE, cell=cell()), Dense(2)], features, dtype, n_threads=2)  # whose units threads share
    outputs, _, pullback = wide.vjp(np.zeros((1, WIDE_STEPS, features), dtype))
    pullback(outputs)
    tokens = Model([OneHot(2), layer, Dense(2)], dtype=dtype, n_threads=1)
    predict(tokens)
    _fit(tokens, labels, labels)


def _sampling(name, dtype):
    lm = LanguageModel(name, 2, 1, dtype=dtype, n_threads=1).fit("ab" * 4, 1, verbose=0)
    lm.sample(2)


def _layers(dtype):
    tokens = np.zeros((2, 3), int)
    _fit(Model([Embedding(2, 3), Dropout(0.5), Dense(2, activation="tanh")], dtype=dtype), tokens, tokens)
    _fit(Model([Dropout(0.5, same_over_time=True), Dense(2)], 1, dtype), np.zeros((2, 3, 1), dtype), tokens)
    _fit(Model([OneHot(2), Dense(2)], dtype=dtype), tokens, tokens)
    _fit(Model([EmbeddingBag(2, 3, 1), Pool(), Dense(2)], dtype=dtype), tokens[:, :, None], tokens[:, 0])


def _loss(name, dtype):
    """Train with a loss on every kind of targets that it takes (classes, values, counts, label sequences), and predict."""
    x, trained = np.zeros((2, 3, 1), dtype), False
    values = np.full((2, 3, 2), 0.5, dtype)
    for y in (np.zeros((2, 3), int), values, np.ceil(values), np.ones((2, 1), int)):
        model = Model([Dense(2 * LOSSES[name]().outputs_per_target)], 1, dtype)
        with contextlib.suppress(TypeError, ValueError):
            _fit(model, x, y, loss=name)
            predict(model)
            if isinstance(model.loss, DistributionLoss):
                model.loss.quantiles(model.predict(x), (0.5,))
            trained = True
    if not trained:
        raise NotImplementedError(f"warming up knows no targets for the loss {name!r}")


def _optimizer(name, dtype):
    x, y = np.zeros((2, 3, 1), dtype), np.zeros((2, 3), int)
    _fit(Model([Dense(2)], 1, dtype), x, y, optimizer=name, clip_norm=1e-3, clip_value=1.0)
