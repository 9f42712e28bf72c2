"""Words of Keras, torch and scikit-learn, typing errors, and targets of the wrong form: errors name the right word."""

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import words

X = np.zeros((4, 5, 2))
STEPS, ONE = np.zeros((4, 5), int), np.array([0, 1, 0, 1])
FITTED = {"epochs": 1, "verbose": 0}


def model(size=3, sequences=True):
    return nr.Model([nr.RNN(4, return_sequences=sequences), nr.Dense(size)], input_size=2, n_threads=1)


ARGUMENTS = [
    (nr.LSTM, {"units": 32}, "did you mean hidden_size"),
    (nr.LSTM, {"size": 32}, "did you mean hidden_size"),
    (nr.LSTM, {"batch_first": True}, "leave it out: arrays are always"),
    (nr.LSTM, {"activation": "tanh"}, "the functions of its gates are fixed; RNN, IndRNN and Dense have activation"),
    (
        nr.GRU,
        {"recurrent_activation": "sigmoid"},
        "the functions of its gates are fixed; RNN, IndRNN and Dense have activation",
    ),
    (nr.GRU, {"input_size": 3}, r"leave it out: the model has it, Model\(\[...\], input_size=...\)"),
    (nr.GRU, {"return_state": True}, "leave it out: Model.forward returns the outputs and the final"),
    (nr.GRU, {"go_backwards": True}, "did you mean reverse"),
    (nr.RNN, {"nonlinearity": "relu"}, "did you mean activation"),
    (nr.RNN, {"bidirectionel": True}, "did you mean bidirectional"),
    (nr.RNN, {"xyzzy": 1}, "its arguments are hidden_size, num_layers"),
    (nr.Dense, {"units": 3}, "did you mean size"),
    (nr.Dense, {"out_features": 3}, "did you mean size"),
    (nr.Dense, {"use_bias": False}, "did you mean bias"),
    (nr.Dropout, {"p": 0.5}, "did you mean rate"),
    (nr.Embedding, {"num_embeddings": 3}, "did you mean size"),
    (nr.Embedding, {"embedding_dim": 3}, "did you mean features"),
    (nr.Model, {"loss": "mse"}, "fit takes loss"),
    (nr.CharLM, {"lr": 0.1}, "fit takes learning_rate"),
    (nr.CharLM().fit, {"units": 3}, "CharLM takes hidden_size"),
    (nr.SequenceClassifier().fit, {"n_epochs": 3}, "SequenceClassifier takes epochs"),
    (nr.Forecaster(3).fit, {"validation_split": 0.2}, "did you mean split"),
    (nr.optim.Adam, {"lr": 1e-3}, "did you mean learning_rate"),
    (nr.optim.Adam, {"beta_1": 0.9}, "did you mean betas"),
    (nr.optim.Cosine, {"step": 3}, "did you mean steps"),
    (nr.optim.EMA, {"dekay": 0.9}, "did you mean decay"),
    (nr.losses.SoftmaxCrossEntropy, {"weight": [1]}, "did you mean class_weight"),
    (nr.losses.SoftmaxCrossEntropy, {"from_logits": True}, "leave it out: losses take logits"),
    (nr.SequenceClassifier, {"units": 3}, "did you mean hidden_size"),
    (nr.SequenceRegressor, {"seed": 3}, "did you mean random_state"),
    (nr.TemporalClassifier, {"n_epochs": 3}, "did you mean epochs"),
    (nr.Forecaster, {"window_size": 3}, "did you mean lookback"),
    (nr.Forecaster, {"n_lags": 3}, "did you mean lookback"),
    (nr.CharLM, {"n_layers": 3}, "did you mean num_layers"),
    (nr.LanguageModel, {"vocab_size": 3}, "did you mean max_vocabulary"),
    (nr.data.SequenceScaler, {"xyzzy": 3}, "its arguments are"),
    (nr.load, {"filepath": "m"}, "did you mean path"),
    (nr.data.make_windows, {"look_back": 3}, "did you mean lookback"),
    (model().fit, {"n_epochs": 3}, "did you mean epochs"),
    (model().fit, {"lr": 0.1}, "did you mean learning_rate"),
    (model().fit, {"validation_split": 0.2}, "did you mean validation"),
    (model().fit, {"validation_data": 0.2}, "did you mean validation"),
    (model().fit, {"X": X}, "did you mean x"),
    (model().fit, {"metrics": ["accuracy"]}, r"model.evaluate\(x, y, metrics=\[...\]\) computes them"),
    (model().predict, {"mask": 1}, "did you mean lengths"),
    (model().evaluate, {"metric": "accuracy"}, "did you mean metrics"),
    (model().save, {"filepath": "m"}, "did you mean path"),
    (nr.Model.load, {"map_location": "cpu"}, "did you mean device"),
    (nr.CharLM().fit, {"corpus": "abc"}, "did you mean text"),
    (nr.CharLM().sample, {"prompt": "abc"}, "did you mean prime"),
    (nr.SequenceClassifier().fit, {"x": X}, "did you mean X"),
    (nr.Forecaster(3).fit, {"df": X}, "did you mean data"),
    (nr.Trainer(model()).fit, {"num_epochs": 3}, "did you mean epochs"),
]


@pytest.mark.parametrize(("function", "options", "message"), ARGUMENTS)
def test_unexpected_arguments(function, options, message):
    (name,) = options
    with pytest.raises(TypeError, match=rf"got an unexpected argument '{name}'; {message}"):
        function(**options)


NAMES = [
    (lambda: model().fit(X, STEPS, loss="bce"), "binary_cross_entropy"),
    (lambda: model().fit(X, STEPS, loss="BCEWithLogitsLoss"), "binary_cross_entropy"),
    (lambda: model().fit(X, STEPS, loss="categorical_crossentropy"), "softmax_cross_entropy"),
    (lambda: model().fit(X, STEPS, loss="sparse_categorical_crossentropy"), "softmax_cross_entropy"),
    (lambda: model().fit(X, STEPS, loss="cross_entropy_loss"), "softmax_cross_entropy"),
    (lambda: model().fit(X, STEPS, loss="mean_squared_error"), "mse"),
    (lambda: model().fit(X, STEPS, loss="l1"), "mae"),
    (lambda: model().fit(X, STEPS, optimizer="adamm"), "adam"),
    (lambda: model().evaluate(X, STEPS, ["acc"], loss="ctc"), "accuracy"),
    (lambda: model().evaluate(X, STEPS, ["r2_score"], loss="mse"), "r2"),
    (lambda: nr.Dense(3, activation="linear"), "identity"),
    (lambda: nr.Pool("avg"), "mean"),
    (lambda: nr.LanguageModel("LTSM"), "lstm"),
    (lambda: nr.LanguageModel("minGRU"), "mingru"),
    (lambda: nr.LanguageModel("min_lstm"), "minlstm"),
    (lambda: nr.LanguageModel(unit="char"), "character"),
    (lambda: nr.Model([nr.Dense(1)], 1, device="gpu"), "cuda"),
]


@pytest.mark.parametrize(("job", "word"), NAMES)
def test_unknown_names(job, word):
    with pytest.raises(ValueError, match=f"; did you mean '{word}'"):
        job()


ATTRIBUTES = [
    (nr, "SimpleRNN", "did you mean 'RNN'"),
    (nr, "Linear", "did you mean 'Dense'"),
    (nr, "Sequential", "did you mean 'Model'"),
    (nr, "Adam", "it is numbarnn.optim.Adam"),
    (nr, "Bidirectional", "bidirectional=True"),
    (nr, "LSTMM", "did you mean 'LSTM'"),
    (nr, "minGRU", "did you mean 'MinGRU'"),
    (nr, "minLSTM", "did you mean 'MinLSTM'"),
    (nr, "MinimalGRU", "did you mean 'MinGRU'"),
    (nr.losses, "CrossEntropyLoss", "did you mean 'SoftmaxCrossEntropy'"),
    (nr.losses, "BCEWithLogitsLoss", "did you mean 'BinaryCrossEntropy'"),
    (nr.losses, "MSELoss", "did you mean 'MeanSquaredError'"),
    (nr.losses, "CTCLoss", "did you mean 'CTC'"),
    (nr.metrics, "f1_score", "did you mean 'f1'"),
    (nr.metrics, "accuracy_score", "did you mean 'accuracy'"),
    (nr.metrics, "mean_absolute_error", "did you mean 'mae'"),
    (nr.optim, "StepLR", "did you mean 'StepDecay'"),
    (nr.optim, "ReduceLROnPlateau", "did you mean 'ReduceOnPlateau'"),
    (nr.optim, "clip_grad_norm_", "did you mean 'clip_by_norm'"),
    (nr.decoding, "greedy_decode", "did you mean 'best_path'"),
    (model(), "parameters", "params has the parameters by name"),
    (model(), "count_params", "params.size is the number"),
    (model(), "compile", "fit takes loss and optimizer"),
    (model(), "eval", "dropout acts in fit alone"),
    (model(), "to", "the device is an argument"),
    (model(), "evalute", "did you mean 'evaluate'"),
]


@pytest.mark.parametrize(("owner", "name", "message"), ATTRIBUTES)
def test_unknown_attributes(owner, name, message):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; .*{message}"):
        getattr(owner, name)
    assert not hasattr(owner, "__xyzzy__")


TARGETS = [
    (model(), ONE, {}, "for one target a sequence the model must give one output: return_sequences=False"),
    (model(), np.zeros((4, 3)), {"loss": "mse"}, "for one target a sequence the model must give one output"),
    (model(3, False), STEPS, {}, "for a target of every step the model must give outputs of every step"),
    (model(3, False), np.zeros((4, 5, 3)), {"loss": "mse"}, "for a target of every step the model must give outputs"),
    (model(3, False), np.eye(3, dtype=int)[ONE], {}, r"these are one-hot: pass the classes, y.argmax\(axis=-1\)"),
    (model(), np.eye(3, dtype=int)[STEPS], {}, r"these are one-hot: pass the classes, y.argmax\(axis=-1\)"),
    (model(), 1 + np.eye(3, dtype=int)[STEPS], {}, r"must be floats: target.astype\(float\)"),
    (model(1, False), ONE, {}, "for yes and no use loss='binary_cross_entropy', or Dense"),
]


@pytest.mark.parametrize(("model", "y", "options", "message"), TARGETS)
def test_targets_of_the_wrong_form(model, y, options, message):
    with pytest.raises(ValueError, match=f"^y.*{message}"):
        model.fit(X, y, **FITTED, **options)


def test_suggestions_leave_classes_as_they_were():
    assert list(inspect.signature(nr.LSTM).parameters)[:2] == ["hidden_size", "num_layers"]
    assert list(inspect.signature(nr.Model).parameters)[:2] == ["layers", "input_size"]
    assert list(inspect.signature(nr.Model.fit).parameters)[:3] == ["self", "x", "y"]
    assert list(inspect.signature(nr.SequenceClassifier.fit).parameters)[:3] == ["self", "X", "y"]
    assert nr.Model.fit.__doc__.startswith("Train the model")
    assert dataclasses.replace(nr.LSTM(3), hidden_size=4) == nr.LSTM(4)
    for thing in (
        nr.LSTM(3, fix={"f": 1.0}),
        nr.optim.Adam(0.1),
        nr.losses.Huber(2.0),
        nr.optim.Cosine(3),
        nr.optim.EMA(0.5),
    ):
        for other in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
            assert other == thing
    clone = pytest.importorskip("sklearn.base").clone
    assert clone(nr.SequenceClassifier(hidden_size=3)).get_params()["hidden_size"] == 3
    assert clone(nr.Forecaster(5)).lookback == 5


def test_functions_that_take_any_argument_are_left_alone():
    assert words.check_arguments(lambda **options: None, "f", {"xyzzy": 1}) is None
    assert words.check_arguments(lambda lr: None, "f", {"lr": 1}) is None


def test_every_word_leads_to_a_name_that_exists():
    """The tables would grow old without this: each name of this package in them is one of an argument, a choice or an attribute."""
    public = [getattr(nr, name) for name in dir(nr) if not name.startswith("__")]
    holders = [nr, *(thing for thing in public if inspect.ismodule(thing))]
    things = [getattr(holder, name) for holder in holders for name in getattr(holder, "__all__", ())]
    callables = [thing for thing in things if callable(thing)]
    classes = [thing for thing in callables if inspect.isclass(thing)]
    callables += [method for cls in classes for method in vars(cls).values() if inspect.isfunction(method)]
    arguments = set()
    for function in callables:
        try:
            arguments |= set(inspect.signature(function).parameters)
        except ValueError:  # of classes without one
            continue
    unknown = {own for owns, _ in words.ARGUMENTS for own in owns.split()} - arguments
    assert unknown == set()
    names = {name for holder in holders for name in getattr(holder, "__all__", ())}
    choices = {
        *nr.losses.LOSSES,
        *nr.optim.OPTIMIZERS,
        "rnn",
        "mingru",
        "minlstm",
        "identity",
        "logistic",
        "mean",
        "cuda",
        "keras",
        "character",
        "word",
    }
    assert {own for owns, _ in words.NAMES for own in owns.split()} - names - choices - {"byte"} == set()
