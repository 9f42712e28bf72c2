"""Files that are changed at random and then loaded and used; `test_mutated_files.py` starts this in a process of its own.

A file of every kind is changed in its bytes, in the text of its description, in the values of the description, or in its arrays;
all but the first with a hash that fits, as if the package had written it. It has to be refused by the documented error, or to load
and work; in a second, and with little memory. In the second mode one bit is flipped: the file is refused, or says the same.

Arguments: folder, "mutations" or "flips", number of files, seed. Prints a line for every failure, then counts as JSON.
"""

import collections
import copy
import json
import pathlib
import random
import resource
import sys
import time
import warnings

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save

import numbarnn as nr
from numbarnn import io
from numbarnn.errors import CheckpointError, DivergedError, ModelFileError
from numbarnn.kernels import cache

SECONDS, MEGABYTES = 1.0, 64
TEXT = "the cat sat on the mat. the dog sat on the log.\n" * 3
GENERATOR = np.random.default_rng(0)
X = [GENERATOR.normal(size=(length, 2)) for length in GENERATOR.integers(4, 9, 12)]
WORDS = [[f"w{abs(int(4 * step))}ing" for step in sample[:, 0]] for sample in X]
STEPS = [["up" if value > 0 else "down" for value in sample[:, 0]] for sample in X]
FEW = {"epochs": 1, "hidden_size": 3, "random_state": 0, "n_threads": 1}


def table():
    index = pd.date_range("2024-01-01", periods=60, freq="h", tz="Europe/Berlin")
    return pd.DataFrame(GENERATOR.normal(size=(60, 2)), index=index, columns=["a", "b"])


def irregular():
    """Return two series with gaps, missing values and categories."""
    data = table().assign(kind=["x", "y", "z"] * 20).drop(table().index[[9, 30]])
    data.iloc[[3, 40], 1] = np.nan
    return {"one": data, "two": data.iloc[5:]}


def net():
    return nr.Model([nr.LSTM(3, dropout=0.2, num_layers=2), nr.Dense(2)], 2, seed=1, n_threads=1)


def train(path, resume, epochs):
    x = np.random.default_rng(0).normal(size=(12, 4, 2))
    return net().fit(
        x, (x[:, :, 0] > 0).astype(int), epochs=epochs, validation=0.25, patience=5, average=0.9, checkpoint=path, resume=resume,
        verbose=0, batch_size=5, n_threads=1,
    )  # fmt: skip


def write_all(folder):
    """Write a file of every kind; return their paths by kind."""
    language = {"epochs": 1, "batch_size": 2, "seq_length": 10, "verbose": 0}
    made = {
        "model": net(),
        "tokens": nr.Model([nr.Embedding(5, 3), nr.LSTM(3, bidirectional=True), nr.Dropout(0.1), nr.Dense(2)], seed=1, n_threads=1),
        "own": nr.Model([nr.Recurrent(3, cell=nr.cells.RNN()), nr.Dense(2)], 2, seed=1, n_threads=1),
        "charlm": nr.CharLM("lstm", 4, 1, n_threads=1).fit(TEXT, **language),
        "language_model": nr.LanguageModel("lstm", 4, 1, unit="word", embedding_size=3, n_threads=1).fit(TEXT, **language),
        "forecaster": nr.Forecaster(6, horizon=2, calendar=("hour",), hidden_size=3, epochs=1, n_threads=1).fit(
            table(), target="a", verbose=0
        ),
        "recursive": nr.Forecaster(6, horizon=2, recursive=True, difference=1, hidden_size=3, epochs=1, n_threads=1).fit(
            table(), verbose=0
        ),
        "inputs": nr.Forecaster(
            6, missing="mask", irregular="elapsed", static=["series"], categories=["kind"], hidden_size=3, epochs=1, n_threads=1
        ).fit(irregular(), "a", verbose=0),
        "holidays": nr.Forecaster(6, holidays={"fair": ["2024-01-02"]}, wide=True, hidden_size=3, epochs=1, n_threads=1).fit(
            table(), verbose=0
        ),
        "sequence_regressor": nr.SequenceRegressor(**FEW).fit(X, np.arange(12.0)),
        "sequence_classifier": nr.SequenceClassifier(**FEW, class_weight={"no": 2}).fit(X, ["no", "yes"] * 6),
        "segment_classifier": nr.SegmentClassifier(**FEW, tokens=nr.data.WordFeatures(suffix=2)).fit(WORDS, STEPS),
        "temporal_classifier": nr.TemporalClassifier(**FEW, bidirectional=False).fit(X, [[1, 2], [2]] * 6),
    }  # fmt: skip
    paths = {}
    for kind, thing in made.items():
        thing.save(folder / kind)
        paths[kind] = folder / kind
    train(folder / "checkpoint", False, 2)
    return paths | {"checkpoint": folder / "checkpoint"}


def use(kind, path):
    """Load a file and do with it what it is for."""
    if kind == "checkpoint":
        return train(path, True, 3)
    thing = nr.load(path)
    repr(thing)
    if isinstance(thing, nr.Model):
        thing.summary()
        signal = thing.signals[0]
        bag = (signal.bag,) if signal.bag else ()
        x = np.zeros((2, 3, *bag), int) if signal.tokens else np.zeros((2, 3, signal.size))
        return thing.predict(x, lengths=[3, 2])
    if isinstance(thing, nr.LanguageModel):
        text = thing.sample(4, seed=1)
        return thing.score(thing.vocabulary.decode([0, 1, 2]) + text)
    if isinstance(thing, nr.Forecaster):
        if thing.missing in ("drop", "ffill") and any(
            np.isnan(tail).any() for tail, _ in thing._state.rows.tails.values()
        ):
            return None  # it says that the last rows are missing
        return thing.predict()
    if thing._table is not None if hasattr(thing, "_table") else False:
        return thing.predict([["wing", "w1ing"], ["x"]], **segments(thing, [2, 1]))
    if getattr(thing, "_size", None) is not None:
        return thing.predict([np.zeros(2, int)], **segments(thing, [2]))
    features = 1 if thing._flat else thing.n_features_in_
    x = np.zeros((1, thing.n_features_in_)) if thing._flat else [np.zeros((2, features))]
    return thing.predict(x, **segments(thing, [2]))


def segments(thing, lengths):
    return {"segments": [[(0, n)] for n in lengths]} if getattr(thing, "_kind", "") == "segments" else {}


# Changes

STRANGE = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, 10**400, 0.5, -0.5, 1.0, 1e308, float("nan"), float("inf"),
    "", "x", "3", "\x1b[31m", "\ud800", "float64", "LSTM", "GRU", "RNN", "mean", "last", "h", "0h", "-1D", "UTC",
    "dateutil//dev/zero", "segments", "relu", [], [1], [[]], ["a", "b"], [1, 2, 3], {}, {"a": 1},
    {"type": "LSTM"}, {"record": "adam"},
]  # fmt: skip
TOKENS = [
    "[" * 50_000,
    "{",
    "}",
    "]",
    '"',
    ",",
    ":",
    "-",
    "9" * 5000,
    "1e999",
    "NaN",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "\\",
]


def parts(value, path=()):
    """Return the paths of everything in a JSON value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        found += parts(part, (*path, key))
    return found


def at(value, path):
    for key in path:
        value = value[key]
    return value


def change_values(about, generator):
    """Change a description: one to three values of it."""
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        paths = parts(about)
        if not paths:
            return
        *above, key = generator.choice(paths)
        owner, how = at(about, above), generator.randrange(8)
        if how == 0:
            del owner[key]
        elif how == 1:
            owner[key] = copy.deepcopy(at(about, generator.choice(paths)))
        elif how == 2 and type(owner[key]) in (int, float) and abs(owner[key]) < 2**70:
            owner[key] += generator.choice((-1, 1, 0.5, 1000))
        elif how == 3 and isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        elif how == 3:
            owner[f"{key}x"] = owner.pop(key)
        elif how == 4 and isinstance(owner, list):
            generator.shuffle(owner)
        else:
            owner[key] = copy.deepcopy(generator.choice(STRANGE))


def change_arrays(arrays, generator):
    """Change one of the arrays."""
    name = generator.choice(sorted(arrays))
    array, how = arrays[name].copy(), generator.randrange(8)
    if how == 0:
        del arrays[name]
        return
    if how == 1:
        arrays[generator.choice(("x", name + "x", generator.choice(sorted(arrays))))] = array
        return
    if how == 2:
        array = array[:-1] if generator.random() < 0.5 else np.concatenate([array, array])
    elif how == 3:
        array = array.T if array.ndim > 1 else array[:, None]
    elif how == 4:
        with np.errstate(all="ignore"):
            array = array.astype(generator.choice(("f2", "f4", "f8", "i8", "u1", "?")))
    elif how == 5:
        array = array[:0]
    elif array.size:
        values = (
            (np.nan, np.inf, -np.inf, 1e38, -1e30, 0.0, -1.0, 1e-45)
            if array.dtype.kind == "f"
            else (0, -1, 2**62, -(2**63))
        )
        whole = generator.random() < 0.3
        array[... if whole else np.unravel_index(generator.randrange(array.size), array.shape)] = generator.choice(
            values
        )
    arrays[name] = array


def change_bytes(content, generator):
    """Return other bytes."""
    content = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 5))):
        how, offset = generator.randrange(6), generator.randrange(len(content) + 1)
        if how == 0:
            del content[offset:]
        elif how == 1:
            del content[offset : offset + generator.randrange(1, 20)]
        elif how == 2:
            content[offset:offset] = generator.randbytes(generator.randrange(1, 20))
        elif how == 3:
            content[:8] = generator.choice((0, 1, len(content), 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little")
        elif offset < len(content):
            content[offset] = generator.randrange(256) if how == 4 else content[offset] ^ (1 << generator.randrange(8))
        if not content:
            break
    return bytes(content)


def change_text(text, generator):
    """Return another text of a description."""
    offset = generator.randrange(len(text))
    cut = generator.choice((0, 1, 1, 5, 40))
    return (
        text[:offset]
        + generator.choice((*TOKENS, str(generator.randrange(10)), chr(generator.randrange(32, 127))))
        + text[offset + cut :]
    )


def text_of(path):
    with safe_open(path, "np") as file:
        return file.metadata()["numbarnn"].partition("\n")[0]


def signed(text, arrays):
    """Return the content of a file whose hash fits."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(arrays, metadata={"numbarnn": f"{text}\n{io._hash(text, arrays)}"})


def mutated(content, text, arrays, generator):
    """Return the content of a changed file."""
    how = generator.choice(("bytes", "text", "values", "values", "values", "arrays", "arrays", "both"))
    if how == "bytes":
        return change_bytes(content, generator)
    if how == "text":
        return signed(change_text(text, generator), arrays)
    about, arrays = json.loads(text), dict(arrays)
    if how != "arrays":
        change_values(about, generator)
    if how != "values":
        change_arrays(arrays, generator)
    return signed(json.dumps(about), arrays)


# What has to be seen


def peak():
    """Return the largest memory of this process so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def mutations(paths, folder, count, seed):
    """Load and use changed files; return failures and counts."""
    generator, failures, compiled = random.Random(seed), [], []
    cache.on_compile.append(compiled.append)
    known = {kind: (path.read_bytes(), text_of(path), io.read(path)[1]) for kind, path in paths.items()}
    for kind, path in paths.items():  # compiled before anything is measured
        copied = folder / f"{kind}.first"
        copied.write_bytes(path.read_bytes())
        use(kind, copied)
    outcomes, slowest, before = collections.Counter(), 0.0, peak()
    target = folder / "mutated"
    for number in range(count):
        kind = generator.choice(list(paths))
        content = mutated(*known[kind], generator)
        target.write_bytes(content)
        compiled.clear()
        started = time.process_time()
        try:
            use(kind, target)
            outcome = "used"
        except (ModelFileError, CheckpointError):
            outcome = "refused"
        except DivergedError:
            outcome = "diverged"  # a checkpoint of weights or moments that no run has
        except BaseException as error:
            outcome = f"{type(error).__name__}: {str(error)[:300]}"
        seconds = time.process_time() - started
        outcomes[outcome if outcome in ("used", "refused", "diverged") else "failed"] += 1
        slow = seconds > SECONDS and not compiled
        slowest = max(slowest, 0.0 if compiled else seconds)
        grown = peak() - before
        if grown > MEGABYTES + 4 * len(content) / 2**20:
            outcome, before = f"{outcome}; {grown:.0f} MB", before + grown
        if slow or outcome not in ("used", "refused", "diverged") or (outcome == "diverged" and kind != "checkpoint"):
            failures.append(f"{kind}, file {number} of seed {seed}: {outcome}, {seconds:.2f} s")
            (folder / f"failed.{kind}.{number}").write_bytes(content)
    return failures, dict(outcomes) | {"slowest": slowest, "megabytes": peak() - before}


def flips(paths, folder, count, seed):
    """Read files with one flipped bit; return failures and counts."""
    generator, failures, outcomes = random.Random(seed), [], collections.Counter()
    known = {kind: (path.read_bytes(), io.read(path)) for kind, path in paths.items()}
    target = folder / "flipped"
    for number in range(count):
        kind = list(paths)[number % len(paths)]
        content, (about, arrays) = bytearray(known[kind][0]), known[kind][1]
        # Half of them in the header, which arrays of real size leave little of.
        size = len(content) if number % 2 else 8 + int.from_bytes(content[:8], "little")
        bit = generator.randrange(8 * size)
        content[bit // 8] ^= 1 << bit % 8
        target.write_bytes(content)
        try:
            found, others = io.read(target)
        except (ModelFileError, CheckpointError):
            outcomes["refused"] += 1
            continue
        same = json.dumps(found) == json.dumps(about) and others.keys() == arrays.keys()
        if same and all(others[n].tobytes() == a.tobytes() and others[n].dtype == a.dtype for n, a in arrays.items()):
            outcomes["the same"] += 1
        else:
            failures.append(f"{kind}: bit {bit} is not noticed")
    return failures, dict(outcomes)


def main(folder, mode, count, seed):
    folder = pathlib.Path(folder)
    warnings.simplefilter("ignore")
    paths = write_all(folder)
    failures, counts = {"mutations": mutations, "flips": flips}[mode](paths, folder, count, seed)
    print("\n".join([*failures, json.dumps(counts)]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
