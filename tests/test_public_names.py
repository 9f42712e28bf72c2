"""What a prompt and a notebook show: names, representations, tables, help, log records, and warming up."""

import html.parser
import importlib
import inspect
import logging
import os

import numpy as np
import pytest
from processes import run_python

import numbarnn as nr

MODULES = (
    "cells",
    "data",
    "decoding",
    "diagnostics",
    "errors",
    "interop",
    "language",
    "layers",
    "losses",
    "metrics",
    "optim",
    "plots",
)
X, Y = np.zeros((4, 3, 2)), np.zeros((4, 3), int)
EVIL = "<script>alert('a') & </td>"


def model():
    return nr.Model([nr.RNN(4), nr.Dense(3)], input_size=2, n_threads=1)


@pytest.fixture(scope="module")
def fitted():
    net = model()
    return net, net.fit(X, Y, epochs=2, validation=0.25, verbose=0)


# Names


def test_dir_has_the_public_names_alone():
    assert set(dir(nr)) == {*nr.__all__, *MODULES}


def test_submodules_need_no_import(tmp_path):
    code = "import numbarnn as nr; print(nr.metrics.f1.__name__, nr.decoding.best_path.__name__, nr.plots.plot_history.__name__)"
    assert run_python(code, cwd=tmp_path, cache=tmp_path).stdout.split() == ["f1", "best_path", "plot_history"]


@pytest.mark.parametrize("name", MODULES)
def test_modules_list_their_public_names(name):
    module = importlib.import_module(f"numbarnn.{name}")
    assert len(module.__all__) == len(set(module.__all__))
    assert all(getattr(module, public) is not None for public in module.__all__)
    if not hasattr(module, "__path__"):
        return
    # A folder's own names are those that it imports to show them.
    shown = {
        key
        for key, thing in vars(module).items()
        if str(getattr(thing, "__module__", "")).startswith("numbarnn.") and not key.startswith("_")
    }
    assert shown - {"module_attributes"} <= set(module.__all__)


# Representations


def test_representations_are_short_and_true(fitted):
    namespace = {
        "numbarnn": nr,
        **{name: getattr(nr, name) for name in nr.__all__},
        **vars(nr.optim),
        **vars(nr.losses),
    }
    things = [
        nr.LSTM(8), nr.LSTM(8, fix={"f": 1.0}, bias="single"), nr.GRU(3, reset_after=False, reverse=True), nr.Dense(2, False),
        nr.Embedding(5, 3), nr.EmbeddingBag(5, 3, 2), nr.OneHot(4), nr.Pool("max"), nr.Dropout(0.5), nr.Activation("relu"),
        nr.optim.Adam(0.1), nr.losses.Huber(2.0),
    ]  # fmt: skip
    for thing in things:
        assert eval(repr(thing), namespace) == thing
        assert len(repr(thing)) < 120
    net, history = fitted
    assert repr(net) == "Model([RNN(hidden_size=4), Dense(size=3)], input_size=2)"
    other = eval(repr(nr.Model([nr.OneHot(3), nr.GRU(2)], dtype="float64")), namespace)
    assert (other.dtype, other.layers) == (np.float64, (nr.OneHot(3), nr.GRU(2)))
    losses = history[-1]
    assert repr(history) == (
        f"<History of 2 epochs, loss {losses['loss']:.4g}, val_loss {losses['val_loss']:.4g}, ended by epochs>"
    )
    assert repr(net.params) == "<Params of 6 arrays, 47 values, float32>"
    assert repr(nr.Trainer(net)).startswith("<Trainer of Model([RNN(hidden_size=4), Dense(size=3)]")
    assert repr(nr.CharLM("gru", 8, 1)) == "<CharLM('gru', hidden_size=8, num_layers=1), not fitted>"
    assert repr(nr.data.ArraySource(X, Y)) == "<ArraySource of 4 samples in 1 batch>"
    assert repr(nr.data.TokenStream(np.arange(9), 2, 2)) == "<TokenStream of 8 characters in 2 batches>"
    assert repr(nr.data.Ragged.of(np.zeros((3, 2)), [1, 2])) == "<Ragged of 2 samples, values (3, 2) float64>"
    assert repr(net.summary()) == net.summary()


class Table(html.parser.HTMLParser):
    """Collects tags and cells; fails where a text became a tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        assert not attributes
        self.tags.append(tag)

    def handle_data(self, text):
        self.texts.append(text)


def tables(fitted):
    net, history = fitted
    named = nr.Model([nr.RNN(2, name=EVIL.replace(".", "")), nr.Dense(1)], input_size=2)
    frame = pytest.importorskip("pandas").DataFrame(np.zeros((20, 1)), columns=[EVIL])
    yield "Model", named, EVIL
    yield "Model", net, "47"
    yield "History", history, "val_loss"
    yield "Windows", nr.data.make_windows(frame, 3), EVIL
    yield "Diagnosis", nr.diagnostics.diagnose(net, X, Y), "gradient"
    yield "Forecaster", nr.Forecaster(5, cell=EVIL), EVIL


def test_notebooks_show_tables(fitted):
    for title, thing, text in tables(fitted):
        found = Table(thing._repr_html_())
        assert set(found.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
        assert found.texts[0] == title
        assert any(text in cell for cell in found.texts), (title, found.texts)
    assert "the last 20 of 30 epochs" in model().fit(X, Y, epochs=30, verbose=0)._repr_html_()
    assert callable(getattr(nr.SequenceClassifier(), "_repr_html_", None))


@pytest.mark.parametrize("layer", [nr.RNN, nr.LSTM, nr.GRU, nr.IndRNN, nr.MinGRU, nr.MinLSTM])
def test_help_explains_recurrent_layers(layer):
    text = layer.__doc__
    for name in inspect.signature(layer).parameters:
        assert f"\n{name}" in text or f", {name}" in text, name
    assert "h_t" in text
    assert "Those of" not in text
    assert "References\n----------\n" in text
    assert text.count("Parameters\n----------\n") == 1


# Log records


def test_epochs_are_logged_and_nothing_is_printed(caplog, capsys):
    net = model()
    with caplog.at_level(logging.INFO, logger="numbarnn"):
        history = net.fit(X, Y, epochs=2, validation=0.25, verbose=0)
    records = [record for record in caplog.records if record.name == "numbarnn"]
    assert [record.epoch for record in records] == history.records
    assert records[1].getMessage().startswith(f"epoch 2/2  loss {history[1]['loss']:.4f}  val_loss")
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("numbarnn").handlers == []
    caplog.clear()
    nr.warmup(net)
    assert not [record for record in caplog.records if record.name == "numbarnn"]


LOG = """
import logging, sys
import numpy as np, numbarnn as nr
{setting}
model = nr.Model([nr.Dense(3)], input_size=2, n_threads=1)
model.fit(np.zeros((4, 3, 2)), np.zeros((4, 3), int), epochs=1)
"""


@pytest.mark.parametrize(
    ("setting", "lines"),
    [("", 1), ("logging.basicConfig(level=logging.INFO)", 1), ("logging.basicConfig(level=logging.WARNING)", 1)],
)
def test_nothing_is_shown_twice(setting, lines, tmp_path):
    cache = os.environ.get("NUMBA_CACHE_DIR", tmp_path)
    shown = run_python(LOG.format(setting=setting), cwd=tmp_path, cache=cache).stderr
    epochs = [line for line in shown.splitlines() if "epoch 1/1" in line]
    assert len(epochs) == lines, shown
    assert epochs[0].startswith("INFO:numbarnn:") is ("INFO" in setting)


# Warming up


WARM = """
import sys, numpy as np, numbarnn as nr
from numbarnn.kernels import cache
model = nr.load(sys.argv[1])
compiled = []
cache.on_compile.append(compiled.append)
x = np.zeros((5, 4, 2), np.float32)
model.predict(x)
model.stream().step(x[0, 0])
model.fit(x, np.zeros((5, 4), int), epochs=1, verbose=0)
print(len(compiled))
"""


def test_warmup_leaves_nothing_to_compile(tmp_path):
    net = nr.Model([nr.RNN(4), nr.Dense(3)], input_size=2)
    net.save(tmp_path / "model")
    code = "import sys, numbarnn as nr; print(sum(step.compiled for step in nr.warmup(nr.load(sys.argv[1]))) > 0)"
    assert run_python(code, tmp_path / "model", cwd=tmp_path, cache=tmp_path / "cache").stdout == "True\n"
    assert run_python(WARM, tmp_path / "model", cwd=tmp_path, cache=tmp_path / "cache").stdout == "0\n"


def test_load_warms_up_on_request(tmp_path, monkeypatch):
    from numbarnn.training import warmup

    seen = []
    monkeypatch.setattr(warmup, "warmup", lambda model, train: seen.append((type(model), train)))
    model().save(tmp_path / "model")
    nr.load(tmp_path / "model")
    assert seen == []
    nr.load(tmp_path / "model", warm=True)
    assert seen == [(nr.Model, False)]


def test_warmup_of_every_kind_leaves_it_as_it_was(fitted):
    net, _ = fitted
    before = net.params.flat.copy()
    assert [step.name for step in nr.warmup(net)] == ["predicting", "training"]
    assert [step.name for step in nr.warmup(net, train=False)] == ["predicting"]
    assert np.array_equal(net.params.flat, before)
    lm = nr.CharLM("rnn", 2, 1, n_threads=1).fit("abab" * 5, 0, verbose=0)
    assert [step.name for step in nr.warmup(lm)] == ["predicting", "scoring", "sampling", "training"]
    with pytest.raises(ValueError, match="model must be fitted before"):
        nr.warmup(nr.Forecaster(5))
    with pytest.raises(
        TypeError, match=r"model must be a numbarnn.Model, LanguageModel, Forecaster or estimator, got 3"
    ):
        nr.warmup(3)
    with pytest.raises(ValueError, match="loss segment_cross_entropy does not go with the model"):
        nr.warmup(net, loss=nr.losses.SegmentCrossEntropy((1.0, 2.0)))
