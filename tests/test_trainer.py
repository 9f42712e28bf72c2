"""Training: steps, epochs, validation, truncation, interruption, progress."""

import contextlib
import itertools
import os
import re
import signal
import threading
import warnings

import naive
import numpy as np
import pytest
from conftest import assert_close, assert_same_bits, normal

from numbarnn import GRU, LSTM, RNN, Dense, Model, OneHot, Trainer
from numbarnn.core import seeds
from numbarnn.core.seeds import USES, generator
from numbarnn.data import ArraySource, Batch, TokenStream
from numbarnn.errors import DivergedError, ShapeError, TokenError
from numbarnn.optim import EMA, SGD, Adam, ExponentialDecay, ReduceOnPlateau, WarmUp
from numbarnn.training.callbacks import Callback, EarlyStopping


def task(samples=60, steps=7, seed=0):
    """Sums of numbers: is the sum so far positive?"""
    x = np.random.default_rng(seed).normal(size=(samples, steps, 1))
    return x, (x.cumsum(axis=1)[:, :, 0] > 0).astype(np.int64)


def net(dtype="float64", **options):
    return Model([LSTM(6, **options), Dense(2)], input_size=1, dtype=dtype, seed=1)


def fit(model, x, y, **options):
    return model.fit(x, y, **{"epochs": 2, "verbose": 0, **options})


def test_learns():
    model = net()
    history = fit(model, *task(400), epochs=8, optimizer=Adam(learning_rate=0.02), validation=0.25)
    assert history.stopped == "epochs"
    assert len(history) == 8
    assert history[-1]["val_loss"] < 0.5 * history[0]["val_loss"]
    assert [record["epoch"] for record in history] == list(range(1, 9))
    frame = history.to_frame()
    assert list(frame.index) == list(range(1, 9))
    assert {"loss", "val_loss", "learning_rate", "seconds"} <= set(frame.columns)


def test_one_step_is_the_optimizers_step():
    """fit does what loss_and_grad and the naive optimizer do."""
    x, y = task(8)
    model, twin = net(), net()
    fit(model, x, y, epochs=1, batch_size=8, optimizer=SGD(learning_rate=0.3), shuffle=False)
    _, gradients = twin.loss_and_grad(x, y)
    for name, gradient in gradients.items():
        assert_close(model.params[name], twin.params[name] - 0.3 * gradient, 1e-12, name)


def test_same_seed_same_weights_whatever_the_threads(pieces):
    x, y = task()
    weights = []
    for n_threads in (1, 2, 3):
        model = net(dropout=0.3, num_layers=2, recurrent_dropout=0.2)
        fit(model, x, y, seed=4, n_threads=n_threads)
        weights.append(model.params.flat.copy())
    assert max(pieces) == 3
    assert_same_bits(weights[1], weights[0])
    assert_same_bits(weights[2], weights[0])
    other = net(dropout=0.3, num_layers=2, recurrent_dropout=0.2)
    fit(other, x, y, seed=5)
    assert not np.array_equal(other.params.flat, weights[0])


def test_order_changes_with_the_epoch():
    source = ArraySource(np.arange(20.0)[:, None], np.arange(20), batch_size=7)
    orders = [np.concatenate([b.y for b in source.batches(np.random.default_rng([3, epoch]))]) for epoch in (0, 0, 1)]
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert sorted(orders[2]) == list(range(20))
    assert len(source) == 3


def test_every_use_of_a_seed_has_a_stream_of_its_own():
    streams = [generator(7, use, *numbers) for use in USES for numbers in ((), (0,), (1,))]
    streams += [np.random.default_rng(seed) for seed in (7, [7, 0], [7, 1])]
    drawn = {stream.bit_generator.random_raw() for stream in streams}
    assert len(drawn) == 3 * len(USES) + 2  # default_rng(7) is default_rng([7, 0])
    assert generator(7, "order", 1).integers(2**62) == generator(7, "order", 1).integers(2**62)


def test_weights_and_order_do_not_share_a_stream(monkeypatch):
    drawn = []
    monkeypatch.setattr(seeds, "generator", lambda *key: drawn.append(key) or generator(*key))
    x, y = task()
    model = net()
    fit(model, x, y, epochs=2, seed=0, validation=0.2)
    assert drawn[0] == (1, "weights")
    assert {key[1:] for key in drawn[1:]} == {("order", 0), ("order", 1), ("evaluation",)}


def test_rate_falls_where_the_validation_loss_stays(tmp_path):
    x, y = task(20)
    options = {"schedule": ReduceOnPlateau(0.5, patience=0, threshold=0.5), "validation": 0.5, "optimizer": SGD(1e-6)}
    history = fit(net(), x, y, epochs=4, **options)
    assert [record["learning_rate"] for record in history] == [1e-6, 1e-6, 5e-7, 2.5e-7]
    # The first loss is the best of all; a resumed run knows it.
    path = tmp_path / "run.ckpt"
    fit(net(), x, y, epochs=2, checkpoint=path, **options)
    again = fit(net(), x, y, epochs=4, checkpoint=path, resume=True, **options)
    assert [record["learning_rate"] for record in again] == [record["learning_rate"] for record in history]
    with pytest.raises(ValueError, match="monitors val_loss, which needs validation data"):
        fit(net(), x, y, schedule=WarmUp(3, ReduceOnPlateau()))


def test_validation_fraction_holds_out_the_last():
    x, y = task(10)
    train, held = ArraySource(x, y, batch_size=4).split(0.3)
    assert_same_bits(train.x, x[:7])
    assert_same_bits(held.x, x[7:])
    assert not held.shuffle


def test_evaluate_is_the_mean_over_valid_steps():
    x, y = task(9)
    lengths = np.array([7, 0, 3, 1, 7, 2, 5, 6, 4])
    model = net()
    source = ArraySource(x, y, lengths=lengths, batch_size=4, shuffle=False)
    losses = [
        naive.softmax_cross_entropy(model.forward(x[i : i + 1, :n])[0][0], y[i, :n], reduction="sum")[0]
        for i, n in enumerate(lengths)
        if n
    ]
    assert Trainer(model).evaluate(source) == pytest.approx(sum(losses) / lengths.sum(), rel=1e-12)


def test_dropout_acts_in_training_only():
    x, y = task()
    model = net(dropout=0.5, num_layers=2)
    assert Trainer(model).evaluate((x, y)) == Trainer(model, seed=9).evaluate((x, y))
    first = Trainer(model, optimizer=SGD(learning_rate=0.0)).train_batch(Batch(x, y))[0]
    second = Trainer(model, optimizer=SGD(learning_rate=0.0), seed=9).train_batch(Batch(x, y))[0]
    assert first != second


# Truncated back-propagation through time


def test_tbptt_is_training_on_chunks():
    x, y = task(5, 9)
    model, twin = net(), net()
    fit(model, x, y, epochs=1, tbptt=4, batch_size=5, shuffle=False, optimizer=SGD(learning_rate=0.2))
    trainer = Trainer(twin, optimizer=SGD(learning_rate=0.2))
    for first in (0, 4, 8):
        trainer.train_batch(Batch(x[:, first : first + 4], y[:, first : first + 4], keep_state=first > 0))
    assert trainer.step == 3
    assert_same_bits(model.params.flat, twin.params.flat)


def test_tbptt_carries_the_state():
    """With no learning, the loss in chunks is the loss of the whole; without the state it would not be."""
    x, y = task(5, 9)
    lengths = np.array([9, 4, 0, 6, 8])
    model = net()
    whole = Trainer(model).evaluate((x, y, lengths))
    trainer = Trainer(model, optimizer=SGD(learning_rate=0.0), tbptt=4)
    loss, weight = trainer.train_batch(Batch(x, y, lengths))
    assert loss == pytest.approx(whole, rel=1e-12)
    assert weight == lengths.sum()


def test_tbptt_needs_targets_for_every_step():
    x, y = task(5, 9)
    model = Model([LSTM(4, return_sequences=False), Dense(2)], input_size=1)
    with pytest.raises(ShapeError, match="tbptt needs targets for every one of 9 steps"):
        fit(model, x, y[:, -1], tbptt=4)


def test_tbptt_is_refused_where_a_layer_reads_from_the_end():
    """The reverse direction of a chunk would not see the steps after it, and carry the state of earlier ones instead."""
    model = Model([LSTM(4), GRU(3, bidirectional=True), Dense(2)], input_size=1)
    for steps in (2, 100):
        with pytest.raises(ValueError, match="the reverse direction of a layer would begin anew"):
            fit(model, *task(5, 9), tbptt=steps)


def test_token_stream_cuts_and_continues():
    stream = TokenStream(np.arange(91), batch_size=3, seq_length=10)
    batches = list(stream.batches())
    assert [b.x.shape for b in batches] == [(3, 10)] * 3 == [(3, 10)] * len(stream)
    assert [b.keep_state for b in batches] == [False, True, True]
    assert [b.lengths for b in batches] == [None] * 3
    assert np.array_equal(np.concatenate([b.x for b in batches], axis=1), stream.x)
    assert all(np.array_equal(b.y, b.x + 1) for b in batches)
    assert np.array_equal(stream.x[:, 0], [0, 30, 60])
    assert stream.items == 90


@pytest.mark.parametrize("size", [2, 3, 50, 101, 2501, 2502, 2550, 3999, 4999, 20001])
@pytest.mark.parametrize(("batch_size", "seq_length"), [(50, 50), (1, 1000), (7, 1)])
def test_token_stream_leaves_nothing_out(size, batch_size, seq_length):
    """Every token but the first is the target of the one before it, once; streams go on from chunk to chunk."""
    stream, following = TokenStream(np.arange(size), batch_size, seq_length), None
    targets, widths = [], []
    for batch in stream.batches():
        samples, steps = batch.x.shape
        lengths = np.full(samples, steps) if batch.lengths is None else batch.lengths
        valid = np.arange(steps) < lengths[:, None]
        assert np.array_equal(batch.y[valid], batch.x[valid] + 1)
        assert following is None or np.array_equal(batch.x[lengths > 0, 0], following[lengths > 0])
        following = batch.y[:, -1]
        targets.append(batch.y[valid])
        widths.append(steps)
    assert sorted(np.concatenate(targets).tolist()) == list(range(1, size))
    assert stream.items == size - 1
    assert max(widths) <= seq_length
    assert max(widths) - min(widths) <= 1
    assert len(widths) == len(stream)


@pytest.mark.parametrize(
    ("size", "shape"), [(2, (1, 1)), (5, (1, 4)), (101, (2, 50)), (2451, (49, 50)), (2501, (50, 50))]
)
def test_token_stream_of_a_short_text(size, shape):
    """A text too short for all streams gets fewer, then shorter ones."""
    assert next(TokenStream(np.arange(size)).batches()).x.shape == shape


def test_token_stream_of_nothing():
    with pytest.raises(ShapeError, match="at least 2"):
        TokenStream(np.array([3]))
    with pytest.raises(TypeError, match="tokens must be integers, got dtype float64"):
        TokenStream([0.5, 1.0])


def test_a_rest_of_the_text_is_weighed_by_its_tokens():
    """The loss of an epoch is the mean over all tokens, whatever chunks they are in."""
    tokens = np.random.default_rng(0).integers(0, 4, 64)  # 21 a stream
    model = Model([OneHot(4), RNN(5), Dense(4)], dtype="float64")
    loss = Trainer(model).evaluate(TokenStream(tokens, 3, 21))
    for seq_length in (20, 4, 1):
        assert Trainer(model).evaluate(TokenStream(tokens, 3, seq_length)) == pytest.approx(loss, rel=1e-12)
    uneven = TokenStream(tokens[:-1], 3, 5)  # streams of 21, 21 and 20
    x = [stream[:length] for stream, length in zip(uneven.x, uneven.lengths, strict=True)]
    y = [stream[:length] for stream, length in zip(uneven.y, uneven.lengths, strict=True)]
    losses = [Trainer(model).evaluate((a[None], b[None])) * len(a) for a, b in zip(x, y, strict=True)]
    assert Trainer(model).evaluate(uneven) == pytest.approx(sum(losses) / 62, rel=1e-12)


def test_state_is_reset_where_an_epoch_begins():
    tokens = np.random.default_rng(0).integers(0, 4, 61)
    stream = TokenStream(tokens, 2, 10)
    model = Model([OneHot(4), RNN(5), Dense(4)])
    trainer = Trainer(model, optimizer=SGD(learning_rate=0.0))
    history = trainer.fit(stream, 3, verbose=0)
    assert len({round(record["loss"], 12) for record in history}) == 1
    assert trainer.state is None


def test_carried_state_needs_the_same_samples():
    x, y = task(6)
    trainer = Trainer(net())
    trainer.train_batch(Batch(x, y))
    with pytest.raises(ShapeError, match="has 4 samples, the batch before had 6"):
        trainer.train_batch(Batch(x[:4], y[:4], keep_state=True))


# Accumulated gradients, averaged weights


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_batches_are_one_batch(accumulate):
    """Parts of different sizes and lengths give the step of the whole, weighted by their valid steps."""
    x, y = task(16)
    lengths = np.array([7, 0, 3, 1, 7, 2, 5, 6, 4, 1, 1, 1, 7, 7, 3, 2])
    parts = {2: [0, 5, 16], 4: [0, 1, 2, 9, 16]}[accumulate]  # one of them has no valid step
    model, twin = net(), net()
    options = {"optimizer": Adam(0.05), "clip_norm": 0.02}
    trainer, whole = Trainer(model, accumulate=accumulate, **options), Trainer(twin, **options)
    for step in range(3):
        batches = [Batch(x[a:b], y[a:b], lengths[a:b]) for a, b in itertools.pairwise(parts)]
        total = sum(loss * weight for loss, weight in map(trainer.train_batch, batches))
        loss, weight = whole.train_batch(Batch(x, y, lengths))
        assert total == pytest.approx(loss * weight, rel=1e-12)
        assert trainer.step == whole.step == step + 1
        assert_close(model.params.flat, twin.params.flat, 1e-10)


def test_what_is_left_at_the_end_of_an_epoch_makes_a_step():
    x, y = task(50)
    model, twin = net(), net()
    options = {"batch_size": 10, "shuffle": False, "epochs": 1, "optimizer": SGD(0.5)}
    steps = []

    class Steps(Callback):
        def on_batch_end(self, trainer, loss):
            steps.append(trainer.step)

        def on_epoch_end(self, trainer, record):
            steps.append(trainer.step)

    history = fit(model, x, y, accumulate=2, callbacks=[Steps()], **options)
    assert steps == [0, 1, 1, 2, 2, 3]
    trainer = Trainer(twin, optimizer=SGD(0.5))
    for rows in (slice(0, 20), slice(20, 40), slice(40, 50)):
        trainer.train_batch(Batch(x[rows], y[rows]))
    assert_close(model.params.flat, twin.params.flat, 1e-12)
    assert len(history) == 1


def test_accumulated_batches_have_masks_of_their_own():
    x, y = task(8)
    model = net(dropout=0.5, num_layers=2)
    trainer = Trainer(model, optimizer=SGD(0.0), accumulate=9)
    losses = {trainer.train_batch(Batch(x, y))[0] for _ in range(3)}
    assert len(losses) == 3


def test_divergence_in_an_accumulated_step():
    x, y = task(8)
    model = Model([RNN(3), Dense(1)], input_size=1, dtype="float64")
    before = model.params.flat.copy()
    trainer = Trainer(model, "mse", accumulate=2)
    with np.errstate(all="ignore"):
        trainer.train_batch(Batch(x, y[:, :, None] + 1e200))
        with pytest.raises(DivergedError):
            trainer.train_batch(Batch(x, y[:, :, None]))
    assert_same_bits(model.params.flat, before)
    trainer.train_batch(Batch(x, y[:, :, None]))
    trainer.train_batch(Batch(x, y[:, :, None]))
    assert np.isfinite(model.params.flat).all()
    assert trainer.step == 1


@pytest.mark.parametrize("final", [True, False])
def test_average_of_the_weights(final):
    """The average follows its equation, is what validation scores, and is what training ends with by choice."""
    weights, scores = [], []

    class Keep(Callback):
        def on_batch_end(self, trainer, loss):
            weights.append(trainer.model.params.flat.copy())

        def on_epoch_end(self, trainer, record):
            assert_same_bits(trainer.model.params.flat, weights[-1])
            scores.append(record["val_loss"])

    x, y = task()
    model = net()
    fit(model, x, y, epochs=2, batch_size=12, average=EMA(0.7, final=final), validation=0.2, callbacks=[Keep()])
    average = weights[0]
    for each in weights[1:]:
        average = 0.7 * average + 0.3 * each
    assert len(weights) == 8
    if final:
        assert_close(model.params.flat, average, 1e-14)
    else:
        assert_same_bits(model.params.flat, weights[-1])
    twin = net()
    twin.set_flat(average)
    assert scores[-1] == pytest.approx(Trainer(twin).evaluate((x[48:], y[48:])), rel=1e-12)


def test_average_and_early_stopping_keep_the_average_of_the_best_epoch(monkeypatch):
    averages = []

    def evaluate(self, source):
        averages.append(self.model.params.flat.copy())
        return [3.0, 1.0, 2.0, 2.0][len(averages) - 1]

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    model = net()
    history = fit(model, *task(), epochs=20, validation=0.2, patience=2, average=0.8)
    assert (len(history), history.best) == (4, 1)
    assert_same_bits(model.params.flat, averages[1])


def test_weights_come_back_whatever_ends_validation(monkeypatch):
    trainer = Trainer(net(), average=0.5)
    for _ in range(2):
        trainer.train_batch(Batch(*task(8)))
    weights = trainer.model.params.flat.copy()
    assert not np.array_equal(trainer.average, weights)

    def interrupted(self, source):
        assert_same_bits(trainer.model.params.flat, trainer.average)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "evaluate", interrupted)
    with trainer.averaged(), contextlib.suppress(KeyboardInterrupt):
        trainer.evaluate(None)
    assert_same_bits(trainer.model.params.flat, weights)
    with contextlib.suppress(KeyboardInterrupt), trainer.averaged():
        trainer.evaluate(None)
    assert_same_bits(trainer.model.params.flat, weights)
    plain = Trainer(net())
    before = plain.model.params.flat.copy()
    with plain.averaged():
        assert_same_bits(plain.model.params.flat, before)


def test_validation_that_is_not_a_number_is_worse_than_any_number(monkeypatch):
    values = iter([np.nan, 2.0, np.nan, 1.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, source: next(values))
    assert fit(net(), *task(), epochs=4, validation=0.2, patience=9).best == 3


# Early stopping and callbacks


class Script(Callback):
    """Replaces the validation loss by prepared values."""

    def __init__(self, values):
        self.values, self.weights = iter(values), []

    def on_epoch_end(self, trainer, record):
        self.weights.append(trainer.model.params.flat.copy())


def test_early_stopping_restores_the_best_weights(monkeypatch):
    values = iter([3.0, 2.0, 2.5, 1.99, 2.2, 2.1, 0.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, source: next(values))
    model, script = net(), Script([])
    stopping = EarlyStopping(patience=3, min_delta=0.05)
    history = fit(model, *task(), epochs=20, validation=0.2, patience=stopping, callbacks=[script])
    assert history.stopped == "early stopping"
    assert history["val_loss"] == [3.0, 2.0, 2.5, 1.99, 2.2]
    assert history.best == 1
    assert_same_bits(model.params.flat, script.weights[1])
    assert not np.array_equal(script.weights[1], script.weights[-1])


def test_early_stopping_by_patience_alone(monkeypatch):
    values = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, source: next(values))
    assert len(fit(net(), *task(), epochs=20, validation=0.2, patience=2)) == 3


def test_early_stopping_without_validation():
    with pytest.raises(ValueError, match="needs validation data"):
        fit(net(), *task(), patience=2)


def test_callbacks_see_everything_and_can_stop():
    calls = []

    class Recorder(Callback):
        def on_train_begin(self, trainer):
            calls.append("begin")

        def on_batch_end(self, trainer, loss):
            calls.append(trainer.step)
            return trainer.step == 5

        def on_epoch_end(self, trainer, record):
            calls.append(f"epoch {record['epoch']}")

        def on_train_end(self, trainer, history):
            calls.append(history.stopped)

    history = fit(net(), *task(60), epochs=9, batch_size=20, callbacks=[Recorder()])
    assert calls == ["begin", 1, 2, 3, "epoch 1", 4, 5, "epoch 2", "callback"]
    assert [record["epoch"] for record in history] == [1, 2]


def test_time_limit(monkeypatch):
    import numbarnn.training.callbacks as module

    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    history = fit(net(), *task(), epochs=1000, batch_size=60, seconds=5)
    assert history.stopped == "callback"
    assert len(history) < 10


def test_schedule_is_followed():
    history = fit(net(), *task(), epochs=4, optimizer=SGD(learning_rate=0.4), schedule=ExponentialDecay(0.5, after=2))
    assert history["learning_rate"] == [0.4, 0.4, 0.2, 0.1]


@pytest.mark.parametrize("option", ["clip_norm", "clip_value"])
def test_clipping_limits_the_step(option):
    x, y = task(8)
    model, twin = net(), net()
    fit(model, x, y, epochs=1, batch_size=8, optimizer=SGD(learning_rate=1.0), **{option: 1e-3})
    step = twin.params.flat - model.params.flat
    size = np.linalg.norm(step) if option == "clip_norm" else np.abs(step).max()
    assert size == pytest.approx(1e-3, rel=1e-4)


# What goes wrong


def test_chunks_of_unsigned_lengths():
    x, y = task(4, steps=8)
    found = []
    for kind in (np.int64, np.uint8, np.uint64):
        model = net()
        fit(model, x, y, lengths=np.array([2, 8, 4, 0], kind), tbptt=3, shuffle=False)
        found.append(model.params.flat.copy())
    assert_same_bits(found[1], found[0])
    assert_same_bits(found[2], found[0])


@pytest.mark.parametrize(
    ("lengths", "message"), [([2, 80, 4, 1], r"lengths\[1\] is 80"), ([2, 8, -5, 1], r"lengths\[2\] is -5")]
)
def test_chunks_of_impossible_lengths_are_refused(lengths, message):
    x, y = task(4, steps=8)
    with pytest.raises(ValueError, match=message):
        fit(net(), x, y, lengths=lengths, tbptt=3)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 3)])
@pytest.mark.parametrize("lengths", [None, 5])
def test_states_carry_over_between_the_same_samples_alone(before, after, lengths):
    x, y = task(4)

    def batch(samples, **options):
        return Batch(x[:samples], y[:samples], lengths and np.full(samples, lengths), **options)

    batches = [batch(before), batch(after, keep_state=True)]
    trainer = Trainer(net())
    for run in (trainer.evaluate, lambda batches: [trainer.train_batch(b) for b in batches]):
        with pytest.raises(ShapeError, match=f"has {after} samples, the batch before had {before}"):
            run(batches)


def test_a_state_of_another_model_is_refused():
    x, y = task(4)
    trainer = Trainer(net())
    trainer.train_batch(Batch(x, y))
    with pytest.raises(ShapeError, match=r"expected .* = \(1, 4, 6\), got \(1, 4, 1\)"):
        trainer.state = ((np.zeros((1, 4, 1)), np.zeros((1, 4, 1))),)
    trainer.train_batch(Batch(x, y, keep_state=True))


def test_divergence_leaves_the_weights_of_the_step_before():
    x, y = task()
    model = Model([RNN(5, activation="identity", init="uniform(0.5)"), Dense(1)], input_size=1)
    seen = []

    class Keep(Callback):
        def on_batch_end(self, trainer, loss):
            seen.append(trainer.model.params.flat.copy())

    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="smaller learning rate"):
        fit(model, x, y[:, :, None], epochs=50, loss="mse", optimizer=SGD(learning_rate=10.0), callbacks=[Keep()])
    assert seen
    assert_same_bits(model.params.flat, seen[-1])
    assert np.isfinite(model.params.flat).all()


@pytest.mark.parametrize(("optimizer", "rate"), [(Adam, 1e300), (Adam, 1e38), (SGD, 1e38)])
def test_a_step_to_infinite_weights_is_undone(optimizer, rate):
    """Loss and gradient are finite, and it is the last step: nothing after it would show."""
    x, y = task(8)
    model, optimizer = net("float64" if rate == 1e300 else "float32"), optimizer(rate)
    before = model.params.flat.copy()
    with pytest.raises(DivergedError, match="step 1 of epoch 1"):
        fit(model, x, y, epochs=1, batch_size=8, optimizer=optimizer)
    assert_same_bits(model.params.flat, before)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_whose_square_overflows(clip):
    """It would make a second moment infinite, and the weights would never move again; clipped it does not."""
    model = Model([Dense(1)], input_size=1)
    before = model.params.flat.copy()
    trainer = Trainer(model, "mae", "adam", clip_norm=clip)
    batch = Batch(np.full((2, 3, 1), 1e20), np.zeros((2, 3, 1)))
    if clip is None:
        with pytest.raises(DivergedError, match=r"gradient norm 1\.0000.*e\+20"):
            trainer.train_batch(batch)
        assert_same_bits(model.params.flat, before)
    else:
        trainer.train_batch(batch)
        assert np.isfinite(trainer.arrays[1]).all()
        assert (model.params.flat != before).all()


@pytest.mark.parametrize("kind", ["model", "trainer"])
def test_weights_that_cannot_be_loaded_are_not_saved(tmp_path, kind):
    model = net()
    owner = model if kind == "model" else Trainer(model)
    owner.save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    with model.params.writing() as flat:
        flat[1] = np.inf
    with pytest.raises(ValueError, match="has 1 NaN or infinite value, so the file could not be loaded"):
        owner.save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before


@pytest.mark.parametrize("name", ["x", "y"])
def test_nan_is_refused_with_count_and_place(name):
    x, y = task()
    model = Model([LSTM(4), Dense(1)], input_size=1)
    data = {"x": x, "y": y[:, :, None].astype(float)}
    data[name][3, 2, 0] = data[name][5, 0, 0] = np.nan
    before = model.params.flat.copy()
    with pytest.raises(ValueError, match=re.escape(f"{name} has 2 NaN or infinite values, the first at [3, 2, 0]")):
        fit(model, data["x"], data["y"], loss="mse")
    assert_same_bits(model.params.flat, before)


def test_nan_in_the_padding_is_none():
    x, y = task(6)
    model, twin = net(), net()
    fit(model, x, y, lengths=[7, 7, 4, 7, 7, 7])
    x[2, 4:] = np.nan
    fit(twin, x, y, lengths=[7, 7, 4, 7, 7, 7])
    assert_same_bits(twin.params.flat, model.params.flat)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"clip_norm": 0}, ValueError, "clip_norm"),
        ({"clip_value": "5"}, TypeError, "clip_value"),
        ({"tbptt": 0}, ValueError, "tbptt"),
        ({"memory_limit": 0}, ValueError, "memory_limit"),
        ({"memory_limit": "much"}, ValueError, 'memory_limit must be a number of bytes, or a .* such as "300 MB"'),
        ({"memory_limit": 1e6}, TypeError, "memory_limit"),
        ({"memory_limit": 100}, ValueError, "memory_limit must be at least"),
        ({"accumulate": 0}, ValueError, "accumulate"),
        ({"accumulate": 1.5}, TypeError, "accumulate"),
        ({"average": 1.0}, ValueError, "decay"),
        ({"average": "ema"}, TypeError, "average"),
        ({"seconds": 0}, ValueError, "seconds"),
        ({"optimizer": "adagard"}, ValueError, "adagard"),
        ({"loss": "entropy"}, ValueError, "entropy"),
        ({"schedule": 0.5}, TypeError, "schedule"),
        ({"validation": 1.5}, ValueError, "fraction"),
        ({"validation": 3}, TypeError, "validation must be arrays"),
        ({"patience": 0, "validation": 0.2}, ValueError, "patience"),
        ({"lengths": [3]}, ShapeError, r"lengths must have shape \(60,\), one for each sample"),
        ({"sample_weight": np.ones(3)}, ShapeError, "sample_weight"),
        ({"seed": -1}, ValueError, "seed"),
        ({"n_threads": 0}, ValueError, "n_threads"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        fit(net(), *task(), **options)


def test_numbers_of_samples_must_agree():
    x, y = task()
    with pytest.raises(ShapeError, match="y must have one entry for each of 60 samples"):
        fit(net(), x, y[:-1])


def test_a_source_that_is_none():
    with pytest.raises(TypeError, match="source must be arrays"):
        Trainer(net()).fit(7, verbose=0)


def test_any_iterable_of_batches_is_a_source():
    x, y = task()
    model, twin = net(), net()
    Trainer(model, seed=1).fit([(x[:30], y[:30]), (x[30:], y[30:])], 2, verbose=0)
    Trainer(twin, seed=1).fit(ArraySource(x, y, batch_size=30, shuffle=False), 2, verbose=0)
    assert_same_bits(model.params.flat, twin.params.flat)


# Ctrl-C


class Interrupt(Callback):
    """Sends Ctrl-C after some steps, and keeps what the weights are after every step."""

    def __init__(self, step):
        self.step, self.weights = step, None

    def on_batch_end(self, trainer, loss):
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)
        self.weights = trainer.model.params.flat.copy()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself")
@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="needs the main thread")
def test_ctrl_c_ends_after_the_whole_step():
    model, interrupt = net(), Interrupt(4)
    before = signal.getsignal(signal.SIGINT)
    with pytest.warns(UserWarning, match="interrupted after step 4"):
        history = fit(model, *task(60), epochs=9, batch_size=20, callbacks=[interrupt], validation=0.2)
    assert history.stopped == "interrupted"
    assert [record["epoch"] for record in history] == [1, 2]
    assert_same_bits(model.params.flat, interrupt.weights)
    assert signal.getsignal(signal.SIGINT) is before


# Progress


def test_plain_lines_where_there_is_no_terminal(capsys):
    fit(net(), *task(), epochs=3, validation=0.2, verbose=1)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert len(lines) == 3
    assert re.fullmatch(r"epoch 2/3  loss \d\.\d{4}  val_loss \d\.\d{4}  [\d,]+ samples/s  \d+ s left", lines[1])


def test_silence(capsys):
    fit(net(), *task(), verbose=0)
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal(capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm.auto on a missing widget library
        fit(net(), *task(), epochs=2, verbose=1)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "loss 0." in shown
    assert "sample/s" in shown


def test_history_of_no_epochs():
    history = fit(net(), *task(), epochs=0)
    assert len(history) == 0
    assert history.to_frame().empty
    assert history["loss"] == []


def test_numbers_of_numpy_are_numbers(tmp_path):
    """As they come from np.arange, np.logspace and parameter grids."""
    x = normal(0, 12, 4, 2)
    y = (x.sum(axis=2) > 0).astype(int)
    python = {
        "tbptt": 2, "clip_norm": 1.0, "clip_value": 1, "average": 0.5, "validation": 0.25, "patience": 3, "seconds": 100,
        "n_threads": 1, "accumulate": 2, "epochs": 2, "batch_size": 4, "seed": 5, "checkpoint_every": 2,
    }  # fmt: skip
    numpy = {name: np.float32(v) if isinstance(v, float) else np.int64(v) for name, v in python.items()}
    weights = []
    for index, options in enumerate((python, numpy)):
        model = Model([LSTM(3), Dense(2)], input_size=2)
        history = model.fit(x, y, verbose=0, checkpoint=tmp_path / f"{index}.ckpt", **options)
        assert history.stopped == "epochs"
        weights.append(model.params.flat.copy())
    assert_same_bits(*weights)
    more = Model([LSTM(3), Dense(2)], input_size=2)
    more.fit(x, y, verbose=0, checkpoint=tmp_path / "0.ckpt", resume=True, **numpy)  # the same settings
    assert_same_bits(more.params.flat, weights[0])


def test_arrays_in_a_list_are_no_batches():
    x = normal(0, 12, 4, 2)
    model = Model([LSTM(3), Dense(2)], input_size=2)
    with pytest.raises(TypeError, match=r"tuples \(x, y, ...\), got ndarray; arrays are passed as a tuple \(x, y\)"):
        model.fit([x, np.zeros((12, 4), int)], verbose=0)


def test_wrong_classes_are_named_by_their_place_in_the_data():
    x, y = task()
    wrong = y.copy()
    wrong[7, 2] = 9
    with pytest.raises(TokenError, match=r"^y\[7, 2\] is 9; .*1 target wrong"):
        fit(net(), x, wrong)
    with pytest.raises(TokenError, match=r"^validation: y\[7, 2\] is 9"):
        fit(net(), x, y, validation=(x, wrong))
    lengths = np.full(len(x), x.shape[1])
    lengths[7] = 2
    fit(net(), x, wrong, lengths=lengths)


def test_what_has_no_steps_that_count_is_named():
    x, y = task()
    with pytest.raises(ValueError, match="sample_weight must not be 0 for all"):
        fit(net(), x, y, sample_weight=np.zeros(len(x)))
    with pytest.raises(ShapeError, match="source has no steps that count"):
        fit(net(), x, np.full_like(y, -100))
    with pytest.raises(ShapeError, match="validation has no steps that count"):
        fit(net(), x, y, validation=[])
