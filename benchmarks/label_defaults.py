"""The study behind the defaults of the estimators: settings beside each other on labelled sets of several kinds and sizes.

    python benchmarks/label_defaults.py DATA validation [--only NAME ...] [--settings NAME ...] [--out FILE]
    python benchmarks/label_defaults.py DATA choose --out FILE
    python benchmarks/label_defaults.py DATA test [--only NAME ...] [--settings NAME ...] [--seeds N] [--out FILE]

"validation" trains every setting on two thirds of the training part of every set, and appends a line of JSON to FILE for each, with
the errors on the rest: the share of wrong labels (of several labels: of samples or steps that are not all right; of values: the
RMSE in standard deviations), and for labels the mean negative log-likelihood. What FILE has is not run again, so that the study may
be stopped at any time and run in pieces. "choose" prints, for every setting and set, the error divided by that of the best setting,
and the geometric means by which the defaults were chosen. "test" trains on the whole training part and gives the errors on the test
part, beside those of a linear model on summaries: mean, standard deviation, last, minimum and maximum of each feature over the
steps, with logistic regression or ridge regression, penalties by cross-validation.

DATA is a folder with japanese_vowels, fsdd, ud_english_ewt, protein_qian_sejnowski and beijing_pm25. Settings are named by what
differs from the first one; "defaults" are those of the estimators. `label_defaults.jsonl` holds the validation errors: one fold
of most sets, two of the smallest, and not every setting on every set, so that differences of one or two samples mean nothing.
What they say of nets without a linear path: nothing loses as much as inputs without scales in units of their own, or too few
steps of the optimizer; both directions win on all sets of labels but the one that is made of past steps; labels of steps are
learned by heart after 50 epochs; averaged weights, patience on a fifth of the samples and a mean over the steps gain nothing
that is sure.

Test errors of the defaults, of the net alone and of the linear model are in docs/results.md. A net alone loses to the linear
model on five samples a class, and on values that are mostly noise; hence the linear path (`numbarnn/estimators/linear.py`).

The study covers sets of 45 to 1,000 samples of 5 to 160 steps. It does not cover large sets, label sequences
(`TemporalClassifier`), dropout, cells but the LSTM, sizes, schedules, ensembles, and optimizers but Adam.
"""

import argparse
import json
import math
import pathlib
import time

import labelling
import numpy as np
import pandas as pd

from numbarnn import SegmentClassifier, SequenceClassifier, SequenceRegressor
from numbarnn.data import WordFeatures, datasets, read_conll, read_ts

FOLDS = 3
TWICE = ("vowels", "vowels, tiny", "questions a step")  # sets of which two folds are left out in turn, of others one
# What settings have in common, with no linear path; "defaults" are what the estimators do by themselves.
BASE = {"scale": "auto", "learning_rate": 3e-3, "updates": 3000, "bidirectional": False, "average": None}
SETTINGS = {
    "base": {},
    "before": {"scale": None, "learning_rate": 1e-2, "updates": None, "epochs": 50},
    "no scale": {"scale": None},
    "rate 1e-2": {"learning_rate": 1e-2},
    "1,000 updates": {"updates": 1000},
    "at most 50 epochs": {"most": 50},
    "average .98": {"average": 0.98},
    "patience": {"patience": 25, "validation": 0.2},
    "both directions": {"bidirectional": True},
    "pooling mean": {"pooling": "mean"},
    "both directions, mean": {"bidirectional": True, "pooling": "mean"},
    "both directions, at most 50 epochs": {"bidirectional": True, "most": 50},
    "both directions, at most 20 epochs": {"bidirectional": True, "most": 20},
}


class Set:
    """A labelled set: the estimator for it, and its training and test part, each (X, y)."""

    def __init__(self, kind, train, test, **options):
        self.kind, self.train, self.test, self.options = kind, train, test, options


def vowels(data):
    """Return training and test part of the Japanese Vowels."""
    return [read_ts(data / "japanese_vowels" / f"JapaneseVowels_{part}.ts.gz") for part in ("TRAIN", "TEST")]


def vowels_as_measured(data):
    """Return speakers by their vowels, 270 utterances."""
    return Set(SequenceClassifier, *vowels(data))


def vowels_in_units(data):
    """Return the same with every feature in units of its own, far from 0."""
    units = 10.0 ** np.arange(-3, 9)
    return Set(SequenceClassifier, *(([sample * units + 3 * units for sample in x], y) for x, y in vowels(data)))


def vowels_tiny(data):
    """Return the same, 5 utterances a speaker."""
    (x, y), test = vowels(data)
    rows = np.arange(len(x)) % 30 < 5
    return Set(SequenceClassifier, labelling.part(x, y, rows), test)


def digits_parts(data):
    """Return 600 recordings for training and 300 for testing: MFCCs, digits and speakers."""
    x, digits, speaker, index = labelling.recordings(data)
    chosen = [(index >= 5) & (index < 15), index < 5]
    return [[[x[row] for row in np.flatnonzero(own)], digits[own], speaker[own]] for own in chosen]


def digits(data):
    """Return spoken digits."""
    return Set(SequenceClassifier, *((x, y.tolist()) for x, y, _ in digits_parts(data)))


def digits_and_speakers(data):
    """Return several labels: which digit it is, and who says it."""
    parts = digits_parts(data)
    return Set(
        SequenceClassifier, *((x, [{f"{d}", name} for d, name in zip(y, who, strict=True)]) for x, y, who in parts)
    )


def questions(data):
    """Return several labels a step, synthetic: which of three sums so far are above their mean, in units of their own."""

    def part(samples, seed):
        x = np.random.default_rng(seed).normal(size=(samples, 20, 3))
        return list(1000 + x * [1, 10, 100]), list((x.cumsum(axis=1) > 0).astype(int))

    return Set(SegmentClassifier, part(200, 0), part(500, 1))


def tags(data):
    """Return parts of speech, 800 sentences of at most 25 words."""
    parts = []
    for name, count in (("train", 800), ("test", 500)):
        x, y = read_conll(data / "ud_english_ewt" / f"{name}.tsv.gz")
        rows = [row for row in range(len(x)) if len(x[row]) <= 25][:count]
        parts.append(([x[row] for row in rows], [y[row] for row in rows]))
    return Set(SegmentClassifier, *parts, tokens=WordFeatures(suffix=3, shape=True, lower=True, min_count=2))


def protein(data):
    """Return secondary structure: one-hot codes of residues, 111 chains."""
    train, validation, test = labelling.protein(data, 0)
    train = [train[0] + validation[0], train[1] + validation[1]]
    width = len(labelling.AMINO_ACIDS) + 1
    centre = slice(8 * width, 9 * width - 1)
    return Set(SegmentClassifier, *(([sample[:, centre] for sample in x], y) for x, y in (train, test)))


def adding(data):
    """Return the adding problem of 30 steps: 800 samples."""
    parts = [datasets.adding(count, 30, seed=seed)[:2] for count, seed in ((800, 0), (500, 1))]
    return Set(SequenceRegressor, *parts)


def air(data):
    """Return the mean of PM2.5 over the next day, of 24 hours of weather in their units: 500 windows."""
    table = pd.read_csv(data / "beijing_pm25" / "pollution.csv.gz")[
        ["pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]
    ]
    values = table.ffill().bfill().to_numpy(float)
    days = values[: len(values) // 24 * 24].reshape(-1, 24, 7)
    x, y = days[:-1], days[1:, :, 0].mean(axis=1)
    rows = np.random.default_rng(0).permutation(len(x))
    return Set(SequenceRegressor, *((x[own], y[own]) for own in (rows[:500], rows[500:1500])))


SETS = {
    "vowels": vowels_as_measured, "vowels in units": vowels_in_units, "vowels, tiny": vowels_tiny, "digits": digits,
    "digits and speakers": digits_and_speakers, "questions a step": questions, "tags": tags, "protein": protein, "adding": adding,
    "air": air,
}  # fmt: skip


def taken(data, rows):
    """Return some samples of a part (X, y)."""
    return tuple(part[rows] if isinstance(part, np.ndarray) else [part[row] for row in rows] for part in data)


def net_for(own, setting, samples, seed, threads):
    """Return the estimator of a setting, or None where it is not one for the set."""
    if setting == "defaults":
        return own.kind(random_state=seed, n_threads=threads, **own.options)
    alone = {} if own.kind is SegmentClassifier else {"linear": None}
    options = BASE | alone | own.options | SETTINGS[setting]
    if "pooling" in options and own.kind is not SequenceClassifier:
        return None
    updates, most = options.pop("updates"), options.pop("most", 200)
    if updates is not None:
        batches = math.ceil(samples * (1 - options.get("validation", 0)) / 32)
        options["epochs"] = min(most, math.ceil(updates / batches))
    return own.kind(random_state=seed, n_threads=threads, **options)


def errors(net, x, y):
    """Return the error of a fitted net, and the mean negative log-likelihood of labels (None of values)."""
    if isinstance(net, SequenceRegressor):
        return float(np.sqrt(max(0.0, 1 - net.score(x, y)))), None
    p = net.predict_proba(x)
    p, flat = (np.concatenate(p), np.concatenate(y)) if isinstance(net, SegmentClassifier) else (p, y)
    if p.ndim == 2 and np.ndim(flat[0]) == 1:
        likelihood = np.where(flat, p, 1 - p)
    elif isinstance(flat[0], set):
        likelihood = np.where([[label in row for label in net.classes_] for row in flat], p, 1 - p)
    else:
        column = {label: index for index, label in enumerate(net.classes_.tolist())}
        known = np.array([column.get(label, -1) for label in np.asarray(flat).tolist()])
        likelihood = np.where(known < 0, 0, p[np.arange(len(p)), known])
    return 1 - net.score(x, y), float(-np.log(np.maximum(likelihood, 1e-6)).mean())


def summaries(x):
    """Return mean, standard deviation, last, minimum and maximum of each feature of samples."""
    parts = [[s.mean(axis=0), s.std(axis=0), s[-1], s.min(axis=0), s.max(axis=0)] for s in map(np.asarray, x)]
    return np.array([np.concatenate(part) for part in parts])


def linear_error(own):
    """Return the test error of a linear model on summaries; None where labels are of steps."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.model_selection import GridSearchCV
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

    if own.kind is SegmentClassifier:
        return None
    (x, y), (test, truth) = own.train, own.test
    x, test = summaries(x), summaries(test)
    if own.kind is SequenceRegressor:
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15))).fit(x, y)
        return float(np.sqrt(max(0.0, 1 - model.score(test, truth))))
    logistic = GridSearchCV(LogisticRegression(max_iter=500), {"C": np.logspace(-3, 2, 6)}, cv=3)
    if isinstance(y[0], set):
        names = MultiLabelBinarizer().fit(y)
        y, truth, logistic = names.transform(y), names.transform(truth), MultiOutputClassifier(logistic)
    return float(1 - make_pipeline(StandardScaler(), logistic).fit(x, y).score(test, truth))


def jobs(options):
    """Yield (set's name, set, setting) of all that is asked for."""
    for name in options.only or SETS:
        own = SETS[name](options.data)
        for setting in options.settings or SETTINGS:
            yield name, own, setting


def run(options, name, own, setting, fold, train, held, seed=None):
    """Train one net, unless it is in the file, and write its errors."""
    key = {"set": name, "setting": setting, "fold": fold} | ({"seed": seed} if seed else {})
    if any(row.items() >= key.items() for row in read(options.out)):
        return
    net = net_for(own, setting, len(train[0]), fold or seed or 0, options.threads)
    if net is None:
        return
    started = time.perf_counter()
    error, likelihood = errors(net.fit(*train), *held)
    row = key | {"error": round(error, 5), "nll": likelihood and round(likelihood, 5), "epochs": net.n_iter_}
    row["seconds"] = round(time.perf_counter() - started, 2)
    print(json.dumps(row), flush=True)
    if options.out:
        with open(options.out, "a") as file:
            file.write(json.dumps(row) + "\n")


def read(path):
    """Return the rows of a file, none where there is no file."""
    if not path or not pathlib.Path(path).exists():
        return []
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def validation(options):
    """Train every setting on folds of the training parts."""
    for name, own, setting in jobs(options):
        for fold in range(1 + (name in TWICE)):
            held = np.random.default_rng(0).permutation(len(own.train[0])) % FOLDS == fold
            train, rest = (taken(own.train, np.flatnonzero(rows)) for rows in (~held, held))
            run(options, name, own, setting, fold, train, rest)


def choose(options):
    """Print errors of settings divided by the best, and the geometric means over sets of errors and likelihoods."""
    rows = [row for row in read(options.out) if row["fold"] is not None]  # others are test errors
    table = pd.DataFrame(rows).groupby(["setting", "set"])[["error", "nll", "seconds"]].mean().unstack()
    for column in ("error", "nll"):
        ratios = (table[column] + 1e-3) / (table[column].min() + 1e-3)
        ratios["mean"] = np.exp(np.log(ratios).mean(axis=1))
        print(f"{column}, divided by that of the best setting\n{ratios.sort_values('mean').round(2).to_string()}\n")
    print(f"seconds\n{table['seconds'].mean(axis=1).round(1).to_string()}")


def test(options):
    """Train settings on whole training parts; print errors on the test parts, and those of a linear model."""
    linear = {}
    for name, own, setting in jobs(options):
        if name not in linear:
            linear[name] = linear_error(own)
            print(f"{name}: linear model on summaries {linear[name]}")
        for seed in range(options.seeds):
            run(options, name, own, setting, None, own.train, own.test, seed)


def main():
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("part", choices=["validation", "choose", "test"])
    parser.add_argument("--only", nargs="*", choices=list(SETS), metavar="SET")
    parser.add_argument("--settings", nargs="*", choices=["defaults", *SETTINGS], metavar="SETTING")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    {"validation": validation, "choose": choose, "test": test}[options.part](options)


if __name__ == "__main__":
    main()
