"""The linear path of estimators: what it computes, when there is one, and that everything around estimators goes with it."""

import pickle
import signal
import warnings

import numpy as np
import pytest
from conftest import assert_close, assert_same_bits

import numbarnn as nr
from numbarnn import io
from numbarnn.core import seeds
from numbarnn.core.ragged import Ragged
from numbarnn.errors import DivergedError, ModelFileError
from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor, linear
from numbarnn.estimators import path as path_module
from numbarnn.estimators.linear import RunningSummaries, fit_labels, fit_values, is_small, summaries
from numbarnn.estimators.share import HALF, LEAST_HELD_OUT, SHARES, best_share, folds, mixed_losses
from numbarnn.optim import EMA
from numbarnn.training.trainer import Trainer

FEW = {"epochs": 2, "hidden_size": 3, "random_state": 0, "n_threads": 1}
GENERATOR = np.random.default_rng(0)
X = [GENERATOR.normal(size=(length, 2)) * [1, 50] + [0, 300] for length in GENERATOR.integers(2, 8, 60)]
MEANS = np.array([sample.mean(axis=0) for sample in X])
VALUES = 7 + MEANS @ [2.0, 0.1] + 0.1 * GENERATOR.normal(size=60)
LABELS = np.where(MEANS[:, 0] > 0.2, "high", np.where(MEANS[:, 0] < -0.2, "low", "middle"))
SEVERAL = (MEANS > [0, 300]).astype(int)


def naive_summaries(sample):
    parts = [sample.mean(axis=0), sample.std(axis=0), sample[-1], sample.min(axis=0), sample.max(axis=0)]
    return np.concatenate(parts)


def regressor(**options):
    return SequenceRegressor("rnn", **FEW | options).fit(X, VALUES)


def classifier(y=LABELS, **options):
    return SequenceClassifier("rnn", **FEW | {"bidirectional": False} | options).fit(X, y)


def scaled(net, x):
    return [((sample - net.scaler_.center_) / net.scaler_.scale_).astype(np.float32) for sample in x]


def net_outputs(net, x):
    return np.array([net.model_.forward(sample[None])[0][0] for sample in scaled(net, x)], np.float64)


def path_outputs(net, x):
    rows, path = np.array([naive_summaries(sample.astype(np.float64)) for sample in scaled(net, x)]), net.linear_
    return (rows - path.center) / path.scale @ path.weight + path.bias


def test_summaries():
    expected = np.array([naive_summaries(sample) for sample in X])
    assert_close(summaries(Ragged.of(np.concatenate(X), [len(sample) for sample in X])), expected, 1e-10)
    array = np.array([sample[:2] for sample in X])
    assert_close(summaries(array), np.array([naive_summaries(sample) for sample in array]), 1e-10)
    long = np.tile(array, (3, 5000, 1))  # more than is taken at once
    assert_close(summaries(long[::40]), np.array([naive_summaries(sample) for sample in long[::40]]), 1e-10)
    running = RunningSummaries()
    for count, row in enumerate(X[3], 1):
        assert_close(running.add(row)[0], naive_summaries(X[3][:count]), 1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [5, 30], ids=["few summaries", "more than samples"])
def test_samples_are_left_out_in_closed_form(count, weighted):
    """Each sample's value is that of a regression on the others, with the same scales and penalty."""
    rows = GENERATOR.normal(size=(12, count)) + 5
    target = rows[:, :2] ** 2
    weight = GENERATOR.uniform(0.5, 2, 12) if weighted else np.ones(12)
    weight /= weight.sum()
    center = weight @ rows
    z = (rows - center) / np.sqrt(weight @ (rows - center) ** 2)
    ones = np.column_stack([np.ones(12), z])
    for penalty, (path, left_out) in zip(linear.PENALTIES, linear._regressions(rows, target, weight), strict=True):
        ridge = penalty * np.diag([0] + [1] * count)
        for sample in range(12):
            w = np.where(np.arange(12) == sample, 0, weight)
            found = np.linalg.solve(ones.T @ (w[:, None] * ones) + ridge, ones.T @ (w[:, None] * target))
            assert_close(left_out[sample], ones[sample] @ found, 1e-6)
        found = np.linalg.solve(ones.T @ (weight[:, None] * ones) + ridge, ones.T @ (weight[:, None] * target))
        assert_close(path.outputs(rows), ones @ found, 1e-8)


def test_what_is_explained():
    rows = GENERATOR.normal(size=(80, 5))
    line, noise = rows @ np.ones((5, 1)), GENERATOR.normal(size=(80, 1))
    assert fit_values(rows, line, None)[1] > 0.999
    assert fit_values(rows, noise, None)[1] < 0.05
    assert fit_values(rows, np.ones((80, 1)), None)[1] == 0
    kinds = np.eye(3)[rows[:, :3].argmax(axis=1)]
    path, explained = fit_labels(rows, kinds, None, False)
    assert explained > 0.3
    assert (path.outputs(rows).argmax(axis=1) == kinds.argmax(axis=1)).mean() > 0.8
    questions = (rows[:, :2] > 0).astype(float)
    path, explained = fit_labels(rows, questions, None, True)
    assert explained > 0.3
    assert ((path.outputs(rows) > 0) == questions).mean() > 0.85
    assert fit_labels(rows, np.eye(3)[GENERATOR.integers(0, 3, 80)], None, False)[1] < 0.05
    assert fit_labels(rows, np.ones((80, 1)), None, False)[1] == 0


def test_weights_are_counts():
    """A sample of weight 2 is two samples, but for which one is left out."""
    rows, target = GENERATOR.normal(size=(30, 5)), GENERATOR.normal(size=(30, 1))
    weight = GENERATOR.integers(1, 4, 30)
    pairs = zip(
        linear._regressions(rows, target, weight / weight.sum()),
        linear._regressions(*(np.repeat(part, weight, axis=0) for part in (rows, target)), np.full(weight.sum(), 1 / weight.sum())),
        strict=True,
    )  # fmt: skip
    for (path, _), (other, _) in pairs:
        assert_close(path.outputs(rows), other.outputs(rows), 1e-8)


def test_outputs_of_a_regressor():
    net = regressor(epochs=30)
    assert net.linear_.share in SHARES
    mixed = (1 - net.linear_.share) * net_outputs(net, X) + net.linear_.share * path_outputs(net, X)
    center, scale = VALUES.mean(), VALUES.std()
    assert_close(net.predict(X), center + scale * mixed[:, 0], 1e-5)


@pytest.mark.parametrize("several", [False, True])
def test_outputs_of_a_classifier(several):
    net = classifier(SEVERAL if several else LABELS)
    share = net.linear_.share
    logits = (1 - share) * net_outputs(net, X) + share * path_outputs(net, X)
    p = np.exp(logits)
    expected = p / (1 + p) if several else p / p.sum(axis=1, keepdims=True)
    assert_close(net.predict_proba(X), expected, 1e-5)


def test_the_net_is_the_one_without_a_path():
    for one, other in (
        (regressor(), regressor(linear=None)),
        (classifier(), classifier(linear=None)),
        (classifier(SEVERAL), classifier(SEVERAL, linear=None)),
    ):
        assert one.linear_ is not None
        assert other.linear_ is None
        assert_same_bits(one.model_.params.flat, other.model_.params.flat)
        assert one.history_.records[-1]["loss"] == other.history_.records[-1]["loss"]


def test_the_better_one_has_the_share():
    """An untrained net has no share where a line explains all; a line has none where only the order tells."""
    assert regressor(epochs=0).linear_.share == 1
    x = np.random.default_rng(1).normal(size=(400, 3, 1))
    product = x[:, 0, 0] * x[:, 1, 0]
    net = SequenceRegressor("rnn", **FEW).fit(x, product)
    assert net.linear_ is None
    assert_same_bits(net.predict(x), SequenceRegressor("rnn", linear=None, **FEW).fit(x, product).predict(x))


def test_what_patience_holds_out_chooses_the_share():
    net = regressor(epochs=3, patience=3, validation=0.25)
    kept = slice(0, 45)
    alone = SequenceRegressor("rnn", linear=None, **FEW | {"epochs": 3}, patience=3, validation=0.25).fit(X, VALUES)
    assert_same_bits(net.model_.params.flat, alone.model_.params.flat)
    rows = np.array([naive_summaries(sample.astype(np.float64)) for sample in scaled(net, X[kept])])
    target = (VALUES[kept] - VALUES[kept].mean()) / VALUES[kept].std()
    assert_close(net.linear_.weight, fit_values(rows, target[:, None], None)[0].weight, 1e-4)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("given", [False, True], ids=["fraction", "data"])
def test_what_patience_holds_out_of_labels_chooses_the_share(several, given):
    y = SEVERAL if several else LABELS
    one = {"patience": 3, "validation": 0.25, "epochs": 0}
    net = classifier(y, **one)
    if given:
        net = SequenceClassifier("rnn", bidirectional=False, **FEW | one).fit(
            X[:40], y[:40], validation=(X[40:], y[40:])
        )
    assert net.linear_.share == 1
    one["validation"] = 0.1  # of 60: too few
    assert classifier(y, **one).linear_.share == HALF


def test_noise():
    """Where most of the values is noise, a net that learns it by heart loses to the regression, and the two together do less."""
    errors = {"auto": 0.0, None: 0.0}
    for seed in (3, 4):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(260, 5, 4))
        y = x.mean(axis=1) @ np.ones(4) + generator.normal(size=260)
        for how in errors:
            net = SequenceRegressor(
                "rnn", 32, random_state=0, epochs=100, learning_rate=0.01, n_threads=1, linear=how
            ).fit(x[:60], y[:60])
            errors[how] += np.mean((net.predict(x[60:]) - y[60:]) ** 2)
    assert errors["auto"] < 0.9 * errors[None]


def test_shares():
    """The most of the line that is not clearly worse than what is best."""
    generator = np.random.default_rng(0)
    line, noise, other = generator.normal(size=(3, 400, 1))

    def share(truth, net, count=400):
        losses = mixed_losses(net[:count], line[:count], lambda found: np.square(found - truth[:count])[:, 0])
        expected = [np.square((1 - s) * net[:count] + s * line[:count] - truth[:count])[:, 0] for s in SHARES]
        assert losses.shape == (len(SHARES), count)
        assert np.allclose(losses, expected, 1e-12, 1e-12)
        return best_share(losses)

    assert share(line, line + noise) == 1
    assert share(line + noise, line + noise) < 0.1
    # Errors of the same size that have nothing to do with one another: a half is best, and a little more is not clearly worse.
    assert HALF <= share(line + noise, line + noise + other) < 0.7
    assert share(line, line) == 1
    for count in range(LEAST_HELD_OUT):
        assert share(line, line + noise, count) == HALF


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_losses_that_are_not_finite(value):
    """They do not count; outputs that overflow make them without a warning."""
    assert best_share(np.full((len(SHARES), 50), value)) == HALF
    losses = np.random.default_rng(0).normal(size=(len(SHARES), 50)) - 3 * SHARES[:, None]
    wrong = losses.copy()
    wrong[:, 7] = value
    assert best_share(wrong) == best_share(np.delete(losses, 7, axis=1)) > HALF
    wrong[3, 9] = value
    assert best_share(wrong) == best_share(np.delete(losses, [7, 9], axis=1))
    net, line = np.full((3, 1), value), np.ones((3, 1))
    assert not np.isfinite(mixed_losses(net, line, lambda found: np.square(found)[:, 0])).any(axis=0).all()


def test_folds():
    """Every sample is in one fold where all four are needed; classes have their shares; of many samples there is one fold."""
    strata = np.repeat([0, 1, 2], [40, 12, 8])
    found = folds(60, strata, np.random.default_rng(0))
    assert_same_bits(np.sort(np.concatenate(found)), np.arange(60))
    assert [np.bincount(strata[fold]).tolist() for fold in found] == [[10, 3, 2]] * 4
    assert [len(folds(count, None, np.random.default_rng(0))) for count in (10, 250, 400, 600, 1000, 2000)] == [
        4,
        4,
        3,
        2,
        1,
        1,
    ]
    assert_same_bits(np.sort(np.concatenate(folds(11, None, np.random.default_rng(0)))), np.arange(11))


def test_the_share_is_chosen_by_nets_that_have_not_seen_the_samples(monkeypatch):
    """The nets of the folds, and their lines, are those of the rest of the samples alone."""
    kept, x = [], [sample / [1, 50] - [0, 6] for sample in X]
    monkeypatch.setattr(
        path_module,
        "mixed_losses",
        lambda net, line, losses: kept.append((net, line)) or mixed_losses(net, line, losses),
    )
    net = SequenceRegressor("rnn", **FEW, scale=None).fit(x, VALUES)
    found = folds(60, None, seeds.generator(net.seed_, "holdout"))
    assert len(kept) == len(found) == 4
    target = (VALUES - VALUES.mean()) / VALUES.std()
    rows = np.array([naive_summaries(sample) for sample in x])
    for fold, (_, line) in zip(found, kept, strict=True):
        rest = np.delete(np.arange(60), fold)
        assert_close(line, fit_values(rows[rest], target[rest, None], None)[0].outputs(rows[fold]), 1e-3)
    x[found[0][0]] = x[found[0][0]] + 1  # a sample of the first fold
    SequenceRegressor("rnn", **FEW, scale=None).fit(x, VALUES)
    assert_same_bits(kept[4][0][1:], kept[0][0][1:])
    assert not np.array_equal(kept[5][0], kept[1][0])


def test_a_class_of_one_sample():
    labels = np.where(np.arange(60) == 7, "rare", LABELS)
    net = classifier(labels)
    assert 0 < net.linear_.share <= 1
    assert np.isfinite(net.predict_proba(X)).all()


def test_interrupted_folds_leave_a_half(monkeypatch):
    train, nets = SequenceRegressor._train, []

    def interrupted(net, *arguments, **options):
        history = train(net, *arguments, **options)
        nets.append(net.model_)
        if len(nets) > 1:
            warnings.warn("training was interrupted after step 3; the model is as of that step", stacklevel=2)
            history.stopped = "interrupted"
        return history

    monkeypatch.setattr(SequenceRegressor, "_train", interrupted)
    with pytest.warns(UserWarning, match="interrupted") as caught:
        net = regressor()
    assert (net.linear_.share, len(nets), net.model_ is nets[0]) == (HALF, 2, True)
    assert net.history_.stopped == "interrupted"
    (found,) = caught
    assert str(found.message) == (
        "the choice of the share of the linear path was interrupted; the net is trained whole, and the share is that of the folds "
        "before, or a half"
    )
    assert found.filename == __file__


@pytest.mark.parametrize(
    ("kind", "y"), [(SequenceRegressor, VALUES), (SequenceClassifier, LABELS)], ids=["values", "labels"]
)
def test_ctrl_c_in_a_fold(kind, y, monkeypatch):
    """The net is the one that was trained whole, and nothing else is said of it."""
    train, chunk, nets = kind._train_silently, Trainer._train_chunk, []

    def started(net, *arguments):
        nets.append(net.model_)
        return train(net, *arguments)

    def signalled(trainer, batch):
        if len(nets) == 2:
            signal.raise_signal(signal.SIGINT)
        return chunk(trainer, batch)

    monkeypatch.setattr(kind, "_train_silently", started)
    monkeypatch.setattr(Trainer, "_train_chunk", signalled)
    with pytest.warns(UserWarning, match="^the choice of the share of the linear path was interrupted") as caught:
        net = kind("rnn", **FEW).fit(X, y)
    assert (len(caught), len(nets), net.history_.stopped) == (1, 2, "interrupted")
    nets.clear()
    alone = kind("rnn", linear=None, **FEW).fit(X, y)
    assert_same_bits(net.model_.params.flat, alone.model_.params.flat)
    assert net.linear_ is not None


@pytest.mark.parametrize("wrong", [{0}, {0, 1, 2, 3}], ids=["one", "all"])
def test_folds_whose_nets_diverge_are_left_out(wrong, monkeypatch):
    train, numbers = SequenceRegressor._train_silently, iter(range(4))

    def diverging(net, *arguments):
        if next(numbers) in wrong:
            raise DivergedError("the loss is nan")
        return train(net, *arguments)

    monkeypatch.setattr(SequenceRegressor, "_train_silently", diverging)
    kept = []
    monkeypatch.setattr(path_module, "best_share", lambda losses: kept.append(losses.shape[1]) or best_share(losses))
    net = regressor()
    assert kept == [60 - 15 * len(wrong)]
    assert net.history_.stopped == "epochs"
    assert np.isfinite(net.predict(X)).all()
    if len(wrong) == 4:
        assert net.linear_.share == HALF


@pytest.mark.parametrize("verbose", [0, 1])
def test_what_is_shown_of_folds(verbose, capsys):
    regressor(verbose=verbose)
    shown = capsys.readouterr().err
    assert [line for line in shown.splitlines() if "share" in line] == [
        f"share of the linear path: net {fold} of 4" for fold in range(1, 5) if verbose
    ]
    assert shown.count("epoch 2") == shown.count("epoch 1") == verbose


def test_average():
    """ "auto" is an average of decay .98 where it has steps enough to forget where training began."""
    for kind, y in ((SequenceClassifier, LABELS), (SequenceRegressor, VALUES), (SegmentClassifier, LABELS)):
        options = FEW | ({} if kind is SegmentClassifier else {"linear": None})
        for epochs, expected in ((124, None), (125, EMA(0.98))):  # of two batches
            net = kind("rnn", **options | {"epochs": epochs})
            found = net.fit(X, y).model_.params.flat
            same = net.set_params(average=expected).fit(X, y).model_.params.flat
            assert_same_bits(found, same)
            assert net.trainer_.ema == expected
        for call in (net.set_params(average="ema").fit, net.partial_fit):
            with pytest.raises(
                ValueError, match=r"average must be 'auto', None, an EMA or its decay in \[0, 1\), got 'ema'"
            ):
                call(X, y)


def test_average_of_partial_fit():
    """ "auto" is none there, of however many steps one call is."""
    x, y = np.random.default_rng(0).normal(size=(250, 2, 1)), np.arange(250) % 2
    for kind in (SequenceClassifier, SequenceRegressor):
        net = kind("rnn", batch_size=1, **FEW).partial_fit(x, y)
        assert net.trainer_.ema is None
        assert net.set_params(average=0.9).partial_fit(x, y).trainer_.ema == EMA(0.9)


@pytest.mark.parametrize(
    "make", [regressor, classifier, lambda: classifier(SEVERAL), lambda: classifier(pooling="mean")]
)
def test_files_pickles_and_streams(make, tmp_path):
    net = make()
    assert net.linear_ is not None
    net.save(tmp_path / "net")
    for other in (nr.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert other.linear_.share == net.linear_.share
        assert_same_bits(other.predict(X), net.predict(X))
    stream = net.stream()
    for sample in X[:5]:
        stream.reset()
        sample = np.concatenate([sample, 100 * sample[:2]])  # and far beyond training
        for count, row in enumerate(sample, 1):
            found, expected = stream.step(row), net.predict([sample[:count]])[0]
            if net.KIND == "sequence_regressor":
                assert_close(found, expected, 1e-5)
            else:
                assert_close(stream.probabilities, net.predict_proba([sample[:count]])[0], 1e-5)


def test_training_that_goes_on():
    net = classifier(warm_start=True)
    path = net.linear_
    assert net.fit(X, LABELS).linear_ is path
    assert net.partial_fit(X, LABELS).linear_ is path
    assert SequenceClassifier("rnn", **FEW).partial_fit(X, LABELS).linear_ is None
    assert SequenceRegressor("rnn", **FEW).partial_fit(X, VALUES).linear_ is None
    net.set_params(warm_start=False, linear=None)
    assert net.fit(X, LABELS).linear_ is None


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_linear_none_ends_the_path(how):
    for net, y in ((classifier(warm_start=True), LABELS), (regressor(warm_start=True), VALUES)):
        assert net.linear_ is not None
        getattr(net.set_params(linear=None), how)(X, y)
        assert net.linear_ is None
        predict = net.predict_proba if y is LABELS else net.predict
        outputs = net_outputs(net, X)
        p = np.exp(outputs)
        assert_close(
            predict(X),
            p / p.sum(axis=1, keepdims=True) if y is LABELS else VALUES.mean() + VALUES.std() * outputs[:, 0],
            1e-5,
        )


def test_where_there_is_none():
    tokens = [sample[:, 0] > 0 for sample in X]
    tokens = [np.where(sample, 1, 0) for sample in tokens]
    assert SequenceClassifier("rnn", tokens=2, **FEW).fit(tokens, LABELS).linear_ is None
    assert classifier(SEVERAL, class_weight="balanced").linear_ is None
    assert classifier(["same"] * 60).linear_ is None
    assert regressor(loss="gaussian").linear_ is None
    assert SegmentClassifier("rnn", **FEW).fit(X, LABELS).linear_ is None
    assert SequenceRegressor("rnn", **FEW).fit(X[:9], VALUES[:9]).linear_ is None
    assert not is_small(3000, 2)
    assert not is_small(100, 1000)


def test_weights_of_samples_and_classes():
    """What has no weight is as if it were not there, in the path too."""
    weight = np.where(np.arange(60) % 3 == 0, 0.0, 1.0)
    rows = np.flatnonzero(weight)
    for make, y in ((SequenceClassifier, LABELS), (SequenceRegressor, VALUES)):
        whole = make("rnn", **FEW | {"epochs": 0}).fit(X, y, weight)
        part = make("rnn", **FEW | {"epochs": 0}).fit([X[row] for row in rows], y[rows])
        assert_close(whole.linear_.weight, part.linear_.weight, 1e-5)
    doubled = classifier(epochs=0, class_weight={"high": 2, "low": 1, "middle": 1}).linear_
    by_sample = SequenceClassifier("rnn", bidirectional=False, **FEW | {"epochs": 0}).fit(
        X, LABELS, np.where(LABELS == "high", 2.0, 1.0)
    )
    assert_close(doubled.weight, by_sample.linear_.weight, 1e-10)


def test_settings():
    for kind, y in ((SequenceClassifier, LABELS), (SequenceRegressor, VALUES)):
        assert kind().get_params()["linear"] == "auto"
        with pytest.raises(ValueError, match="linear must be 'auto' or None, got 'yes'"):
            kind(linear="yes").fit(X, y)


BROKEN = {
    "shape": lambda about, arrays: arrays.update({"linear.weight": arrays["linear.weight"][:-1]}),
    "dtype": lambda about, arrays: arrays.update({"linear.bias": arrays["linear.bias"].astype(np.float32)}),
    "infinite": lambda about, arrays: arrays["linear.bias"].fill(np.inf),
    "scale": lambda about, arrays: arrays["linear.scale"].fill(0),
    "limits": lambda about, arrays: arrays["linear.low"].fill(arrays["linear.high"].max() + 1),
    "shape of limits": lambda about, arrays: arrays.update({"linear.high": arrays["linear.high"][:-1]}),
    "a lower limit": lambda about, arrays: arrays.pop("linear.low"),
    "an upper limit": lambda about, arrays: arrays.pop("linear.high"),
    "missing": lambda about, arrays: arrays.pop("linear.center"),
    "share": lambda about, arrays: about.update(linear=1.5),
    "kind of share": lambda about, arrays: about.update(linear="half"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(name, tmp_path):
    regressor(epochs=0).save(tmp_path / "net")
    about, arrays = io.read(tmp_path / "net", "sequence_regressor")
    arrays = {key: np.array(array) for key, array in arrays.items()}
    BROKEN[name](about, arrays)
    with pytest.raises(ModelFileError):
        SequenceRegressor.from_description(about, arrays)


def test_files_of_before(tmp_path):
    """A net of before there were linear paths predicts what it did."""
    net = regressor(linear=None)
    net.save(tmp_path / "net")
    about, arrays = io.read(tmp_path / "net", "sequence_regressor")
    about["version"] = 2
    del about["settings"]["linear"]
    other = SequenceRegressor.from_description(about, arrays)
    assert other.linear is None
    assert_same_bits(other.predict(X), net.predict(X))


def test_files_without_limits(tmp_path):
    """Paths of before summaries had limits go on for ever, as they did."""
    net = regressor(epochs=0)
    net.save(tmp_path / "net")
    about, arrays = io.read(tmp_path / "net", "sequence_regressor")
    other = SequenceRegressor.from_description(
        about, {k: v for k, v in arrays.items() if k[:10] not in ("linear.low", "linear.hig")}
    )
    assert other.linear_.low is None
    assert_same_bits(other.predict(X), net.predict(X))
    far = [50 * sample for sample in X]
    assert np.abs(other.predict(far)).max() > 3 * np.abs(net.predict(far)).max()
    other.save(tmp_path / "other")
    assert_same_bits(nr.load(tmp_path / "other").predict(far), other.predict(far))
