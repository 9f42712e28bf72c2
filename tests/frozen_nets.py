"""Frozen libraries for tests: models compiled once, and libraries of one level each, called as C is."""

import ctypes
import functools
import math
import pathlib
from typing import NamedTuple

import numpy as np

from numbarnn import GRU, LSTM, Activation, Dense, Embedding, EmbeddingBag, Model, OneHot, Pool, Recurrent
from numbarnn.cells import CELLS
from numbarnn.frozen.c_source import c_interface
from numbarnn.frozen.library import NEON, check_levels, link_parts, make_parts
from numbarnn.kernels.levels import LEVELS, runs_here

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def here():
    """Return the levels that this processor runs."""
    return [level for level in check_levels(None) if level == NEON or runs_here(LEVELS[level])]


def fused(level):
    """Return whether a level has the bits of the model."""
    return level == NEON or LEVELS[level].fused


def every_cell():
    """Return a stack of all cells; inside it, what else a step may have."""
    layers = [Recurrent(6 + index % 3, cell=cell(), init="torch") for index, cell in enumerate(CELLS.values())]
    return Model(
        [Dense(9, activation="tanh"), *layers, LSTM(33, num_layers=2), Activation("relu"), Dense(5)],
        input_size=3,
        seed=1,
    )


class Wave(NamedTuple):
    """A cell that calls the C library's mathematics."""

    gates = ("h",)
    preactivations = ("h",)
    from_input = {"h": "h"}
    from_hidden = {"h": "h"}
    states = ("h",)
    saved = ()
    diagonal = ()

    @staticmethod
    def forward(cell, preactivations, states, diagonal):
        return (math.sin(preactivations[0]),), ()

    @staticmethod
    def backward(cell, saved, states, diagonal, after, gradients):
        return (gradients[0],), (gradients[0],), ()


def whole_sequences():
    """Return a net of float64 that reads sequences from their end too."""
    layers = [GRU(5, bidirectional=True, num_layers=2), LSTM(4, reverse=True), Pool("mean"), Dense(3)]
    return Model(layers, input_size=2, dtype="float64", seed=2)


def letters():
    """Return a language model's net."""
    return Model([OneHot(17), LSTM(12), Dense(17)], seed=3)


def bags():
    """Return a net that reads bags of tokens, and has one output a sample."""
    return Model([EmbeddingBag(11, 7, bag=3), GRU(8, return_sequences=False), Dense(2)], seed=4)


def embedded():
    """Return a net of float64 that reads tokens."""
    return Model([Embedding(9, 4), GRU(6), Dense(2)], dtype="float64", seed=5)


MODELS = {"cells": every_cell, "sequences": whole_sequences, "letters": letters, "bags": bags, "embedded": embedded}


@functools.cache
def compiled(kind):
    """Return (model, parts): of one model for all levels, of the others for one that has the model's bits."""
    model = MODELS[kind]()
    levels = check_levels(None) if kind == "cells" else [level for level in here() if fused(level)][:1] or here()
    return model, make_parts(model, c_interface(model, "net"), levels)


class Library:
    """A library of one level."""

    def __init__(self, kind, level, folder):
        self.model, parts = compiled(kind)
        self.interface, self.level = parts.interface, level
        self.path = pathlib.Path(folder, "net.so")
        link_parts(parts, self.path, [level])
        self.library = ctypes.CDLL(str(self.path))
        for name in ("state_bytes", "workspace_bytes"):
            self[name].restype = ctypes.c_size_t
        self.dtype = self.model.dtype

    def __getitem__(self, name):
        return self.library[f"net_{name}"]

    def call(self, name, *arguments):
        """Call a function; arrays go by their addresses, None as NULL."""
        given = []
        for value in arguments:
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                value = value.ctypes.data
            given.append(ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value or 0))
        return self[name](*given)

    def inputs(self, samples, steps, seed=0):
        """Return inputs of the model, as C takes them."""
        first, rng = self.model.signals[0], np.random.default_rng(seed)
        if first.bag:
            return rng.integers(-1, first.size, (samples, steps, first.bag))
        if first.tokens:
            return rng.integers(0, first.size, (samples, steps))
        return rng.normal(size=(samples, steps, first.size)).astype(self.dtype)

    def states(self, samples):
        """Return states before the first step."""
        return np.zeros((samples, self["state_bytes"]()), np.uint8)

    def work(self, samples, steps):
        """Return scratch memory that is full of ones."""
        size = self["workspace_bytes"](ctypes.c_int64(samples), ctypes.c_int64(steps))
        memory = np.full(size + 64, 255, np.uint8)
        return memory[:size]

    def forward(self, x, lengths=None, h0=None, h1=None):
        """Return the outputs."""
        samples, steps = x.shape[:2]
        sequence = self.interface.sequence
        y = np.full(
            (samples, steps, self.interface.outputs) if sequence else (samples, self.interface.outputs),
            np.nan,
            self.dtype,
        )
        assert self.call("forward", x, samples, steps, lengths, h0, h1, y, self.work(samples, steps)) == 0
        return y

    def step(self, x_t, state):
        """Return the outputs of a step."""
        y = np.full(self.interface.outputs, np.nan, self.dtype)
        x_t = int(x_t) if self.interface.tokens and not self.interface.bag else np.ascontiguousarray(x_t)
        assert self.call("step", x_t, state, y) == 0
        return y

    def agrees(self, found, expected):
        """Return whether outputs are the model's: to the bit where both fuse, else to rounding."""
        if fused(self.level) and all(map(fused, here()[-1:])):
            return np.array_equal(found, expected)
        return np.abs(found - expected).max() <= TOLERANCE[self.dtype.name] * max(1.0, np.abs(expected).max())
