"""Ensembles against their estimators one after another: ``python benchmarks/ensembles.py [--nets 10] [--threads 1]``.

200 samples of 24 steps and 3 features, 10 epochs, after a first fit that compiles; the linear path (the default) trains four more
nets for each, of the folds that choose its share. The weights of both are compared, bit by bit.
"""

import argparse
import time

import numpy as np

import numbarnn as nr
from numbarnn.sklearn_api import clone


def seconds(function):
    """Return what a function returns, and how long it takes."""
    started = time.perf_counter()
    found = function()
    return found, time.perf_counter() - started


def main():
    """Print a line for each estimator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    x = generator.standard_normal((200, 24, 3))
    y = x[:, :, 0].mean(axis=1) + 0.1 * generator.standard_normal(200)
    options = {"epochs": 10, "random_state": 0, "n_threads": given.threads}
    estimators = {
        "regressor, LSTM 16": nr.SequenceRegressor("lstm", 16, **options),
        "regressor, LSTM 16, linear=None": nr.SequenceRegressor("lstm", 16, linear=None, **options),
        "regressor, LSTM 64, linear=None": nr.SequenceRegressor("lstm", 64, linear=None, **options),
        "classifier, two-way GRU 16": nr.SequenceClassifier("gru", 16, bidirectional=True, **options),
    }
    for name, estimator in estimators.items():
        target = y > 0 if isinstance(estimator, nr.SequenceClassifier) else y
        nr.Ensemble(clone(estimator, epochs=1), 2).fit(x, target)
        clone(estimator, epochs=1).fit(x, target)
        ensemble = nr.Ensemble(estimator, given.nets, random_state=0)
        _, together = seconds(lambda: ensemble.fit(x, target))  # noqa: B023
        states = [net.random_state for net in ensemble.estimators_]
        nets, apart = seconds(lambda: [clone(estimator, random_state=one).fit(x, target) for one in states])  # noqa: B023
        pairs = zip(nets, ensemble.estimators_, strict=True)
        same = all(one.model_.params.flat.tobytes() == other.model_.params.flat.tobytes() for one, other in pairs)
        print(f"{name}: together {together:.2f} s, apart {apart:.2f} s, {apart / together:.1f} times; equal: {same}")


if __name__ == "__main__":
    main()
