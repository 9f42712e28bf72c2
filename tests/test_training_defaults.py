"""What training does where the user says nothing: the same for models, trainers and estimators."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.data import ArraySource
from numbarnn.training.callbacks import Callback
from numbarnn.training.defaults import MOST_EPOCHS, MOST_EPOCHS_OF_STEPS, RATE, UPDATES

X = np.random.default_rng(0).standard_normal((60, 2, 1)).astype(np.float32)
STEPS = (X[:, :, 0] > 0).astype(int)
SAMPLES = STEPS[:, 0]


class Updates(Callback):
    """Counts optimizer steps, and notes the learning rate."""

    def on_train_end(self, trainer, history):
        self.steps, self.rate, self.optimizer = trainer.step, trainer.learning_rate, trainer.optimizer


def model(each_step):
    return nr.Model([nr.RNN(2, return_sequences=each_step), nr.Dense(2)], 1, n_threads=1)


def fitted(each_step=False, **options):
    watch = Updates()
    history = model(each_step).fit(X, STEPS if each_step else SAMPLES, verbose=0, callbacks=[watch], **options)
    return watch, history


def test_updates():
    watch, history = fitted(batch_size=1)
    assert (watch.steps, len(history), watch.rate) == (UPDATES, UPDATES // len(X), RATE)


def test_updates_where_batches_are_accumulated():
    watch, history = fitted(batch_size=1, accumulate=3)
    assert (watch.steps, len(history)) == (UPDATES, 3 * UPDATES // len(X))


@pytest.mark.parametrize(("each_step", "most"), [(False, MOST_EPOCHS), (True, MOST_EPOCHS_OF_STEPS)])
def test_most_epochs(each_step, most):
    assert len(fitted(each_step)[1]) == most


def test_epochs_that_are_given():
    assert len(fitted(epochs=3)[1]) == 3
    assert len(fitted(epochs=0)[1]) == 0


def test_rates():
    def rate(**options):
        return fitted(epochs=1, **options)[0].rate

    assert rate(optimizer="Adam") == rate(optimizer="adamw") == RATE
    assert rate(learning_rate=0.5) == 0.5
    assert rate(optimizer=nr.optim.Adam()) == nr.optim.Adam().learning_rate
    assert rate(optimizer="rmsprop") == nr.optim.RMSprop().learning_rate


@pytest.mark.parametrize(("options", "rate"), [({}, nr.optim.Adam().learning_rate), ({"learning_rate": 0.5}, 0.5)])
def test_language_models_have_rates_of_their_own(options, rate):
    watch = Updates()
    options |= {"epochs": 1, "verbose": 0, "schedule": nr.optim.Schedule()}
    nr.CharLM(hidden_size=2, n_threads=1).fit("abcabcabc" * 20, optimizer="adam", callbacks=[watch], **options)
    assert watch.rate == rate


def test_a_trainer_is_as_a_model():
    history = nr.Trainer(model(False)).fit(ArraySource(X, SAMPLES, batch_size=1), verbose=0)
    assert len(history) == UPDATES // len(X)
    assert history.records[0]["learning_rate"] == RATE


@pytest.mark.parametrize(
    ("estimator", "y", "most"),
    [
        (nr.SequenceClassifier, SAMPLES, MOST_EPOCHS),
        (nr.SequenceRegressor, X[:, 0, 0], MOST_EPOCHS),
        (nr.SegmentClassifier, SAMPLES, MOST_EPOCHS),
        (nr.SegmentClassifier, STEPS, MOST_EPOCHS_OF_STEPS),
    ],
)
def test_estimators_are_as_models(estimator, y, most):
    net = estimator("rnn", 2, random_state=0, n_threads=1).fit(X, y)
    assert net.n_iter_ == most
    assert net.history_.records[0]["learning_rate"] == RATE


def test_a_source_without_a_length():
    class Batches:
        def batches(self, generator):
            yield X, SAMPLES

    with pytest.raises(ValueError, match="epochs must be given with a source that does not say how many batches"):
        model(False).fit(Batches(), verbose=0)
    assert len(model(False).fit(Batches(), epochs=2, verbose=0)) == 2


def test_what_is_wrong_with_a_source_comes_first():
    class Batches:
        def batches(self, generator):
            yield X, SAMPLES

        def check(self):
            raise ValueError("no data")

    with pytest.raises(ValueError, match="no data"):
        model(False).fit(Batches(), verbose=0)
