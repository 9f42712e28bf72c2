"""The defaults of the estimators beside settings around them, one changed at a time, on sets that are small enough for repetitions.

    python benchmarks/label_grid.py DATA run [--only NAME ...] [--settings NAME ...] [--seeds N] [--out FILE]
    python benchmarks/label_grid.py DATA table --out FILE

"run" trains every setting on two thirds of the training part of every set of `label_defaults.py`, for each of the three folds and
seeds 0 to N - 1, and appends a line of JSON with the error on the rest to FILE for each (the share of wrong labels; of values the
RMSE in standard deviations). What FILE has is not run again. "linear" is not a net but the linear model on summaries of
`label_defaults.py`. "table" prints mean errors of every setting and set, and which was the best of each set.

"N nets" are nets of different seeds whose probabilities or values are averaged.
"""

import argparse
import itertools
import json
import math
import pathlib
import time

import numpy as np
import pandas as pd
from label_defaults import FOLDS, SETS, Set, errors, linear_error, read, taken

from numbarnn import SegmentClassifier, SequenceClassifier, SequenceRegressor, metrics
from numbarnn.optim import AdamW, Cosine
from numbarnn.training.defaults import default_epochs

SMALL = ("vowels, tiny", "air", "vowels", "adding", "questions a step", "digits")
# What differs from the defaults of the estimators, and those whose names do not begin with "defaults" have neither a linear path
# nor an average of the weights.
SETTINGS = {
    "defaults": {},
    "linear": {},
    "net alone": {},
    "rate 1e-2": {"learning_rate": 1e-2},
    "rate 1e-3": {"learning_rate": 1e-3},
    "1,000 updates": {"updates": 1000},
    "10,000 updates": {"updates": 10000},
    "64 units": {"hidden_size": 64},
    "16 units": {"hidden_size": 16},
    "GRU": {"cell": "gru"},
    "other direction": {"bidirectional": None},
    "mean over the steps": {"pooling": "mean"},
    "no scale": {"scale": None},
    "dropout .3": {"dropout": 0.3},
    "decay 1": {"optimizer": AdamW(3e-3, weight_decay=1.0)},
    "average .98": {"average": 0.98},
    "average .995": {"average": 0.995},
    "cosine": {"cosine": True},
    "cosine, rate 1e-2": {"cosine": True, "learning_rate": 1e-2},
    "cosine, 10,000 updates": {"cosine": True, "updates": 10000},
    "average .98, rate 1e-2": {"average": 0.98, "learning_rate": 1e-2},
    "3 nets": {"nets": 3},
    "3 nets, rate 1e-2": {"nets": 3, "learning_rate": 1e-2},
    "defaults, 3 nets": {"nets": 3},
    "defaults, rate 1e-2": {"learning_rate": 1e-2},
    "defaults, cosine": {"cosine": True},
    "defaults, cosine, rate 1e-2": {"cosine": True, "learning_rate": 1e-2},
}


class Nets:
    """Nets of different seeds, whose probabilities or values are averaged."""

    def __init__(self, nets):
        self.nets = nets

    def fit(self, x, y):
        """Train them."""
        for net in self.nets:
            net.fit(x, y)
        return self

    def predict_proba(self, x):
        """Return the mean of their probabilities."""
        found = [net.predict_proba(x) for net in self.nets]
        if isinstance(found[0], list):
            return [np.mean(parts, axis=0) for parts in zip(*found, strict=True)]
        return np.mean(found, axis=0)

    def error(self, x, y):
        """Return the share of wrong labels, or the RMSE of values in standard deviations."""
        first = self.nets[0]
        if isinstance(first, SequenceRegressor):
            return math.sqrt(max(0.0, 1 - metrics.r2(y, np.mean([net.predict(x) for net in self.nets], axis=0))))
        p = self.predict_proba(x)
        p, flat = (np.concatenate(p), np.concatenate(y)) if isinstance(p, list) else (p, y)
        if np.ndim(flat[0]) == 1:
            return float(1 - ((p > 0.5) == np.asarray(flat, bool)).all(axis=1).mean())
        return float(1 - metrics.accuracy(flat, first.classes_[p.argmax(axis=1)]))


def net_of(own, setting, samples, seed):
    """Return the estimator of a setting, or None where it is not one for the set."""
    options = dict(SETTINGS[setting])
    if not setting.startswith("defaults"):
        options = {"average": None} | options
        if own.kind is not SegmentClassifier:  # which has no linear path
            options["linear"] = None
    if "pooling" in options and own.kind is not SequenceClassifier:
        return None
    if "bidirectional" in options:
        options["bidirectional"] = not own.kind().bidirectional
    batches = math.ceil(samples / 32)
    if "updates" in options:
        options["epochs"] = math.ceil(options.pop("updates") / batches)
    if options.pop("cosine", False):  # from the learning rate to 0 at the end
        epochs = options.get("epochs") or default_epochs(batches, own.kind is SegmentClassifier)
        options["schedule"] = Cosine(epochs * batches)
    count = options.pop("nets", 1)
    nets = [own.kind(random_state=seed + 100 * k, n_threads=1, **own.options | options) for k in range(count)]
    return nets[0] if count == 1 else Nets(nets)


def run(options):
    """Train what FILE does not have yet."""
    for name in options.only or SMALL:
        own = SETS[name](options.data)
        for seed, setting, fold in itertools.product(range(options.seeds), options.settings or SETTINGS, range(FOLDS)):
            key = {"set": name, "setting": setting, "fold": fold, "seed": seed}
            if any(row.items() >= key.items() for row in read(options.out)) or (setting == "linear" and seed):
                continue
            held = np.random.default_rng(0).permutation(len(own.train[0])) % FOLDS == fold
            train, rest = (taken(own.train, np.flatnonzero(rows)) for rows in (~held, held))
            started = time.perf_counter()
            if setting == "linear":
                error = linear_error(Set(own.kind, train, rest))
            else:
                net = net_of(own, setting, len(train[0]), seed)
                if net is None:
                    continue
                net.fit(*train)
                error = net.error(*rest) if isinstance(net, Nets) else errors(net, *rest)[0]
            if error is None:
                continue
            row = key | {"error": round(error, 5), "seconds": round(time.perf_counter() - started, 2)}
            print(json.dumps(row), flush=True)
            if options.out:
                with open(options.out, "a") as file:
                    file.write(json.dumps(row) + "\n")


def table(options):
    """Print mean errors, how many runs they are means of, and the best setting of each set."""
    rows = pd.DataFrame(read(options.out))
    by = rows.groupby(["setting", "set"])["error"]
    found = by.mean().unstack()
    order = [name for name in SETTINGS if name in found.index]
    print(found.loc[order].round(3).to_string())
    print(f"\nruns\n{by.size().unstack().loc[order].to_string()}\n")
    print(found.idxmin().to_string())


def main():
    """Run the grid, or print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("part", choices=["run", "table"])
    parser.add_argument("--only", nargs="*", choices=list(SETS), metavar="SET")
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    {"run": run, "table": table}[options.part](options)


if __name__ == "__main__":
    main()
