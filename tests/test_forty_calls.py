"""Forty calls as users of Keras, torch and scikit-learn write them: 36 work, the others raise an error with the right word.

Words that differ by design (``lr``, ``epochs`` by other names, losses of other names and so on) are in `test_near_misses.py`.
"""

import copy
import pickle

import numpy as np
import pytest

import numbarnn as nr

G = np.random.default_rng(0)
X, Y = G.standard_normal((8, 5, 2)).astype(np.float32), G.integers(0, 3, (8, 5))
LABELS = np.array([0, 1] * 4)
VALUES = X[:, -1, 0]


class Callback(nr.training.callbacks.Callback):
    """Counts epochs."""

    epochs = 0

    def on_epoch_end(self, trainer, record):
        self.epochs += 1


class Bench:
    """What the calls use: `m` and `s` are nets, `c` and `r` estimators, `path` a file."""

    def __init__(self, folder):
        self.m = nr.Model([nr.RNN(4), nr.Dropout(0.2), nr.Dense(3)], input_size=2, n_threads=1)
        self.m.fit(X, Y, epochs=1, verbose=0)
        options = {"epochs": 1, "hidden_size": 4, "n_threads": 1}
        self.c = nr.SequenceClassifier("rnn", random_state=0, **options)
        self.r = nr.SequenceRegressor("rnn", random_state=0, **options)
        self.c.fit(X, LABELS)
        self.path = folder / "model.safetensors"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    pytest.importorskip("sklearn")
    return Bench(tmp_path_factory.mktemp("forty"))


def fit(b, **options):
    model = b.m.copy()
    history = model.fit(X, Y, **{"epochs": 2, "verbose": 0} | options)
    return len(history) == 2


def saved(b):
    b.m.save(b.path)
    return np.array_equal(nr.load(b.path).predict(X), b.m.predict(X))


def restored(b):
    other = nr.Model(b.m.layers, input_size=2, seed=1)
    other.load_state_dict(b.m.state_dict())
    return np.array_equal(other.params.flat, b.m.params.flat)


def called_back(b):
    seen = Callback()
    return fit(b, callbacks=[seen]) and seen.epochs == 2


def searched(b):
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(b.c, {"hidden_size": [2, 4]}, cv=2).fit(X, LABELS).best_params_["hidden_size"] in (2, 4)


def crossed(b):
    from sklearn.model_selection import cross_val_score

    return len(cross_val_score(b.c, X, LABELS, cv=2)) == 2


def piped(b):
    from sklearn.pipeline import make_pipeline

    return make_pipeline(nr.data.SequenceScaler(), b.c).fit(X, LABELS).predict(X).shape == (8,)


def cloned(b):
    from sklearn.base import clone

    return clone(b.c).get_params() == b.c.get_params()


def split(b):
    from sklearn.model_selection import train_test_split

    train, _, labels, _ = train_test_split(X, LABELS, test_size=0.25, random_state=0, stratify=LABELS)
    return 0 <= copy.deepcopy(b.c).fit(train, labels).score(X, LABELS) <= 1


CALLS = {
    # Keras
    "nr.LSTM(32, return_sequences=False)": lambda b: nr.LSTM(32, return_sequences=False),
    "nr.LSTM(units=32)": lambda b: nr.LSTM(units=32),
    "nr.GRU(16, reset_after=False, dropout=0.1, recurrent_dropout=0.1)": lambda b: nr.GRU(
        16, reset_after=False, dropout=0.1, recurrent_dropout=0.1
    ),
    "nr.Dense(10, activation='sigmoid')": lambda b: nr.Dense(10, activation="sigmoid"),
    "nr.Embedding(1000, 16)": lambda b: nr.Embedding(1000, 16),
    "nr.Dropout(0.2)": lambda b: nr.Dropout(0.2),
    "model.summary()": lambda b: "total" in b.m.summary(),
    "len(model.layers)": lambda b: len(b.m.layers) == 3,
    "model.layers[0]": lambda b: b.m.layers[0] == nr.RNN(4),
    "model.fit(x, y, epochs=2, batch_size=4, shuffle=False)": lambda b: fit(b, batch_size=4, shuffle=False),
    "model.fit(x, y, epochs=2, validation_split=0.2)": lambda b: fit(b, validation_split=0.2),
    "model.fit(x, y, loss=..., optimizer='adam')": lambda b: fit(b, loss="softmax_cross_entropy", optimizer="adam"),
    "model.fit(x, y, sample_weight=weight)": lambda b: fit(b, sample_weight=np.ones(8)),
    "model.fit(x, y, callbacks=[callback])": called_back,
    "model.fit(...)['loss']": lambda b: len(b.m.copy().fit(X, Y, epochs=2, verbose=0)["loss"]) == 2,
    "model.predict(x)": lambda b: b.m.predict(X).shape == (8, 5),
    "model.evaluate(x, y)": lambda b: set(b.m.evaluate(X, Y)) == {"loss"},
    "model.evaluate(x, y, metrics=['accuracy'])": lambda b: 0 <= b.m.evaluate(X, Y, metrics=["accuracy"])["accuracy"] <= 1,
    "model.save(path); load(path)": saved,
    # torch
    "nr.LSTM(16, num_layers=2, bidirectional=True, dropout=0.1)": lambda b: nr.LSTM(
        16, num_layers=2, bidirectional=True, dropout=0.1
    ),
    "nr.LSTM(16, batch_first=True)": lambda b: nr.LSTM(16, batch_first=True),
    "outputs, state = model(x)": lambda b: b.m(X)[0].shape == (8, 5, 3),
    "outputs, state = model(x, state)": lambda b: b.m(X, b.m(X)[1])[0].shape == (8, 5, 3),
    "model.parameters()": lambda b: b.m.parameters(),
    "sum(p.size for p in model.params.values())": lambda b: sum(p.size for p in b.m.params.values()) == b.m.params.size,
    "model.load_state_dict(model.state_dict())": restored,
    "nr.optim.AdamW(1e-3, weight_decay=0.01)": lambda b: fit(b, optimizer=nr.optim.AdamW(1e-3, weight_decay=0.01)),
    "nr.optim.SGD(0.1, momentum=0.9, nesterov=True)": lambda b: nr.optim.SGD(0.1, momentum=0.9, nesterov=True),
    "clip_norm and schedule": lambda b: fit(b, clip_norm=1.0, schedule=nr.optim.StepDecay(1)),
    "copy.deepcopy(model)": lambda b: np.array_equal(copy.deepcopy(b.m).predict(X), b.m.predict(X)),
    "pickle.dumps(model)": lambda b: np.array_equal(pickle.loads(pickle.dumps(b.m)).predict(X), b.m.predict(X)),
    "repr(model)": lambda b: "RNN" in repr(b.m),
    # scikit-learn
    "clf.fit(X, y).score(X, y)": lambda b: 0 <= copy.deepcopy(b.c).fit(X, LABELS).score(X, LABELS) <= 1,
    "clf.predict_proba(X)": lambda b: b.c.predict_proba(X).shape == (8, 2),
    "clf.classes_": lambda b: b.c.classes_.tolist() == [0, 1],
    "reg.fit(X, y).predict(X)": lambda b: b.r.fit(X, VALUES).predict(X).shape == (8,),
    "GridSearchCV(clf, grid).fit(X, y)": searched,
    "cross_val_score(clf, X, y)": crossed,
    "make_pipeline(scaler, clf).fit(X, y)": piped,
    "clone(clf); train_test_split(X, y)": lambda b: cloned(b) and split(b),
}  # fmt: skip

# Those that do not work, and the word that their error names.
OTHER_WORDS = {
    "nr.LSTM(units=32)": "hidden_size",
    "model.fit(x, y, epochs=2, validation_split=0.2)": "validation",
    "nr.LSTM(16, batch_first=True)": r"\(samples, time steps, features\)",
    "model.parameters()": "params",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_call(bench, call):
    if call in OTHER_WORDS:
        with pytest.raises((AttributeError, TypeError), match=OTHER_WORDS[call]):
            CALLS[call](bench)
    else:
        assert CALLS[call](bench)


def test_there_are_forty_and_36_work():
    assert len(CALLS) == 40
    assert len(CALLS.keys() - OTHER_WORDS.keys()) >= 36
