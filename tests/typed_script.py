"""A user's script, for type checkers: `tests/test_typing.py` gives it to mypy and pyright, in their strict modes.

It is checked, not run; tests/test_snippets.py runs what the documentation shows.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import numbarnn as nr
from numbarnn import data, diagnostics, metrics
from numbarnn.losses import Huber
from numbarnn.optim import Adam, Cosine


def train(x: np.ndarray, y: np.ndarray) -> nr.Model:
    """Train a classifier of steps."""
    model = nr.Model(
        [nr.LSTM(32, num_layers=2, bidirectional=True), nr.Dropout(0.1), nr.Dense(2)], input_size=1, seed=0
    )
    history = model.fit(x, y, epochs=10, validation=0.2, optimizer=Adam(1e-3), schedule=Cosine(100), verbose=0)
    frame: pd.DataFrame = history.to_frame()
    print(frame.tail())
    return model


def use(model: nr.Model, x: np.ndarray, folder: Path) -> float:
    """Predict, step by step too, and save."""
    probabilities: np.ndarray = model.predict_proba(x)
    outputs, state = model.forward(x)
    y_t, state = model.step(x[:, 0], state)
    stream = model.stream()
    for x_t in x[0].astype(np.float32):
        y_t = stream.step(x_t)
    model.save(folder / "model.safetensors")
    again = nr.load(folder / "model.safetensors")
    print(type(again).__name__, outputs.shape, y_t.shape)
    return float(probabilities.max())


def label(samples: list[np.ndarray], labels: list[str]) -> float:
    """Fit a classifier of sequences."""
    net = nr.SequenceClassifier("gru", 16, pooling="mean", random_state=0, epochs=2)
    net.fit(samples, labels)
    net.save("labels.safetensors")
    return net.score(samples, labels)


def forecast(frame: pd.DataFrame) -> pd.DataFrame:
    """Fit a forecaster and ask for intervals."""
    forecaster = nr.Forecaster(lookback=72, horizon=24, calendar=["hour"]).fit(frame, target="temperature", verbose=0)
    print(forecaster.evaluate().attrs["verdict"])
    return forecaster.predict_interval(0.9)


def write(text: str) -> str:
    """Train a language model and let it write."""
    model = nr.CharLM("lstm", hidden_size=16).fit(text, epochs=1)
    print(model.score(text).bits)
    return model.sample(100, prime="The ", temperature=0.7)


def look(model: nr.Model, x: np.ndarray, y: np.ndarray) -> None:
    """Look inside, and compare losses and metrics."""
    windows = data.make_windows(np.arange(100.0), lookback=10)
    net = nr.Model([nr.GRU(8), nr.Pool("last"), nr.Dense(1)], input_size=1)
    net.fit(windows, loss=Huber(1.0), epochs=1)
    print(diagnostics.trace(model, x).to_frame(), diagnostics.gradient_flow(model, x, y).decades_per_step())
    print(diagnostics.diagnose(model, x, y), metrics.rmse(y, y))
