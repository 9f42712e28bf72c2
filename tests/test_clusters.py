"""Workers of Dask and of joblib: the bits of one process, one thread a worker, and what happens when a worker dies."""

import os
import re
import signal

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits

import numbarnn as nr
from numbarnn import parallel, workers
from numbarnn.errors import DivergedError, RefitError

pytestmark = pytest.mark.slow  # workers are processes that start, import and compile


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed: pip install numbarnn[dask]")
    import dask

    local = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None, "silence_logs": 50}
    failures = dask.config.set(
        {"distributed.scheduler.allowed-failures": 1}
    )  # a task that ends two workers is given up
    with failures, distributed.LocalCluster(**local) as cluster, distributed.Client(cluster) as found:
        yield found


# Threads


@pytest.fixture
def processors(monkeypatch):
    """Let this process have six processors, and no variable that says otherwise."""
    for name in ("NUMBARNN_NUM_THREADS", *parallel.LIMITS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(parallel, "_own_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(6), raising=False)


@pytest.mark.parametrize(
    ("settings", "threads", "reason"),
    [
        ({}, 6, "affinity of the process"),
        ({"OMP_NUM_THREADS": "2"}, 2, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "2,1"}, 2, "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "1"}, 1, "NUMBA_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "64"}, 6, "affinity of the process"),  # a limit, and no more than that
        ({"OMP_NUM_THREADS": "0"}, 6, "affinity of the process"),
        ({"OMP_NUM_THREADS": "many"}, 6, "affinity of the process"),
    ],
)
def test_variables_of_other_libraries_limit_the_threads(monkeypatch, processors, settings, threads, reason):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert parallel.granted_threads() == (threads, reason)
    assert parallel.default_threads() == threads
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", "5")
    assert parallel.default_threads() == 5


def test_processes_share_the_processors(monkeypatch, processors):
    assert [parallel.default_threads(count) for count in (1, 2, 4, 9)] == [6, 3, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of each process
    assert [parallel.default_threads(count) for count in (1, 2, 4)] == [2, 2, 1]


# Searches


def search(**options):
    model_selection = pytest.importorskip("sklearn.model_selection")
    x = np.random.default_rng(0).normal(size=(40, 6, 1))
    net = nr.SequenceClassifier("lstm", 4, epochs=2, dtype="float64", linear=None, average=None, random_state=0)
    grid = model_selection.GridSearchCV(net, {"learning_rate": [0.01, 0.03]}, cv=2, error_score="raise", **options)
    return grid.fit(x, x.sum(axis=(1, 2)) > 0)


def assert_same_search(found, expected):
    for name in ("split0_test_score", "split1_test_score"):
        assert_same_bits(found.cv_results_[name], expected.cv_results_[name])
    assert found.best_params_ == expected.best_params_
    assert_same_bits(found.best_estimator_.model_.params.flat, expected.best_estimator_.model_.params.flat)


def test_a_search_with_loky():
    joblib = pytest.importorskip("joblib")
    assert_same_search(search(n_jobs=2), search())
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(parallel.default_threads)() for _ in range(2))
    assert all(2 * found <= max(2, joblib.cpu_count()) for found in threads) or "NUMBARNN_NUM_THREADS" in os.environ


def test_a_search_with_dask(client):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("dask"):
        found = search(n_jobs=-1)
    assert_same_search(found, search())
    if "NUMBARNN_NUM_THREADS" not in os.environ:
        assert set(client.run(parallel.default_threads).values()) == {1}


# Backtests


def forecaster(**options):
    t = np.arange(200)
    values = 10 + 3 * np.sin(t / 4) + np.random.default_rng(0).normal(0, 0.3, 200)
    data = pd.DataFrame({"a": values}, pd.date_range("2024", periods=200, freq="h"))
    settings = {"epochs": 2, "hidden_size": 3, "lookback": 6, "horizon": 2, "cell": "gru", "change": None} | options
    return nr.Forecaster(**settings).fit(data, split=(0.6, 0.2, 0.2), verbose=0)


def test_backtests_with_refits(client, capfd):
    f = forecaster()
    options = {"level": 0.8, "refit": 15}
    expected = f.backtest(**options, verbose=0)
    found = f.backtest(**options, client=client)
    assert "refit 3 of 3" in capfd.readouterr().err
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs
    with pytest.raises(ValueError, match="client needs refit"):
        f.backtest(client=client)


def test_a_refit_that_fails_is_named(client):
    class Unstable(nr.Forecaster):
        def get_params(self, deep=True):
            return super().get_params(deep) | {"learning_rate": 1e30}

    f = forecaster()
    f.__class__ = Unstable
    with pytest.raises(RefitError, match="refit 1 of 3, on the rows up to 2024") as found:
        f.backtest(refit=15, client=client, verbose=0)
    assert found.value.finished is None


# Workers


def test_results_come_in_order_and_data_is_sent_once(client):
    import threading

    lock = threading.Lock()

    class Counted:
        """Refuses to be pickled twice."""

        count = 0

        def __reduce__(self):
            with lock:
                type(self).count += 1
            return int, (10,)

    pieces = list(range(12))
    assert list(workers.results(client, max, pieces, Counted())) == [max(10, piece) for piece in pieces]
    assert Counted.count == 1


def test_a_piece_of_a_worker_that_dies_is_done_by_another(client, tmp_path):
    flag = tmp_path / "died"

    def deadly(piece):
        if piece == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return piece * 10

    assert list(workers.results(client, deadly, range(5))) == [0, 10, 20, 30, 40]
    assert flag.exists()


def test_chunks_cover_all_nets():
    class Two:
        @staticmethod
        def nthreads():
            return {"one": 1, "other": 1}

    class Starting:
        """A cluster whose workers are still to come."""

        nthreads = staticmethod(dict)

    assert [len(workers.chunks(count, Starting)) for count in (1, 9, 200)] == [1, 9, 64]
    for count in (1, 7, 8, 200):
        cut = workers.chunks(count, Two)
        assert [index for first, last in cut for index in range(first, last)] == list(range(count))
        assert len(cut) == min(count, 8)


@pytest.mark.parametrize("value", [2, "tcp://127.0.0.1:8786", object()])
def test_a_client_is_asked_for(value):
    with pytest.raises(TypeError, match=r"client must be a dask.distributed.Client.*pip install 'numbarnn\[dask\]'"):
        workers.check_client(value)


def test_a_client_must_be_running():
    class Closed:
        """Of a client, what is asked for; work is never sent with `scatter`."""

        submit = cancel = nthreads = staticmethod(dict)
        status = "closed"

    with pytest.raises(
        ValueError, match=r"client must be connected to its scheduler, got one whose status is 'closed'"
    ):
        workers.check_client(Closed)
    Closed.status = "running"
    assert workers.check_client(Closed) is Closed


# Many nets


def many(count=9, seed=0):
    layers = [nr.LSTM(4, return_sequences=False), nr.Dense(1)]
    return [nr.Model(layers, input_size=1, dtype="float64", seed=seed + index) for index in range(count)]


def task(samples=20, seed=0):
    x = np.random.default_rng(seed).normal(size=(samples, 6, 1))
    return x, x.sum(axis=1)


def rows(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


OPTIONS = {"loss": "mse", "epochs": 3, "batch_size": 8, "validation": task(6, 1), "patience": 1}


def test_nets_are_those_of_one_process(client, capfd):
    """Shared sources, and lists with one value for each net."""
    each = {"learning_rate": [0.003 * (1 + index) for index in range(9)], "seeds": list(range(9))}
    local, spread = many(), many()
    expected = nr.fit_many(local, task(), **OPTIONS, **each, verbose=0)
    found = nr.fit_many(spread, task(), **OPTIONS, **each, client=client)
    assert re.search(r"^chunk (\d) of \1$", capfd.readouterr().err, re.MULTILINE)
    assert [rows(history) for history in found] == [rows(history) for history in expected]
    assert [history.best for history in found] == [history.best for history in expected]
    for one, other in zip(spread, local, strict=True):
        assert_same_bits(one.params.flat, other.params.flat)
        assert one.loss.name == other.loss.name
    sources = [task(seed=index) for index in range(9)]
    x = [x for x, _ in sources]
    for asked in (x, x[0]):
        found = nr.predict_many(spread, asked, client=client)
        pairs = zip(found, nr.predict_many(local, asked), strict=True)
        for one, other in pairs:
            assert_same_bits(one, other)
    nr.fit_many(local, sources, loss="mse", epochs=1, verbose=0)
    nr.fit_many(spread, sources, loss="mse", epochs=1, verbose=0, client=client)
    for one, other in zip(spread, local, strict=True):
        assert_same_bits(one.params.flat, other.params.flat)


def test_errors_name_the_net(client):
    models = many()
    before = [model.params.flat.copy() for model in models]
    with pytest.raises(DivergedError, match=r"^models\[5\]: loss"):
        nr.fit_many(
            models,
            task(),
            loss="mse",
            epochs=2,
            learning_rate=[0.01] * 5 + [1e200] + [0.01] * 3,
            client=client,
            verbose=0,
        )
    assert_same_bits(models[5].params.flat, before[5])
    with pytest.raises(ValueError, match=r"^x must have shape .* \(models\[7\]\)$"):
        nr.predict_many(models, [np.zeros((2, 6, 1))] * 7 + [np.zeros((2, 6, 3))] * 2, kind="forward", client=client)
    with pytest.raises(ValueError, match="checkpoint and resume must be left out with client"):
        nr.fit_many(models, task(), checkpoint="runs", client=client)
    with pytest.raises(ValueError, match="learning_rate must be one value for all nets"):
        nr.fit_many(models, task(), learning_rate=[0.1], client=client)


def test_nets_of_a_worker_that_dies_are_trained_by_another(client, tmp_path):
    flag, (x, y) = tmp_path / "died", task()

    class Deadly:
        """Ends the process that asks it first for the second epoch."""

        def __init__(self):
            self.epoch = 0

        def batches(self, generator):
            self.epoch += 1
            if self.epoch == 2 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield x, y

    local, spread = many(4), many(4)
    nr.fit_many(local, [[(x, y)]] * 4, loss="mse", epochs=3, verbose=0)
    nr.fit_many(spread, [[(x, y)], Deadly(), [(x, y)], [(x, y)]], loss="mse", epochs=3, verbose=0, client=client)
    assert flag.exists()
    for one, other in zip(spread, local, strict=True):
        assert_same_bits(one.params.flat, other.params.flat)


def test_nets_that_end_every_worker_are_named(client):
    class Deadly:
        def batches(self, generator):
            os.kill(os.getpid(), signal.SIGKILL)
            yield

    source = [task()] * 3 + [Deadly()]
    with pytest.raises(
        RuntimeError, match=r"models\[3\] to models\[3\] were not done: every worker that was given them died"
    ):
        nr.fit_many(many(4), source, loss="mse", epochs=1, verbose=0, client=client)
