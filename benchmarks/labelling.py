"""Classifiers of sequences and of steps on real sets: epochs chosen on a validation part, the test part reported, mean over seeds.

    python benchmarks/labelling.py FOLDER [--sets vowels digits speakers tags protein] [--seeds 3]
    python benchmarks/labelling.py FOLDER --speed [--sets vowels digits tags protein]

FOLDER holds japanese_vowels, fsdd, ud_english_ewt and protein_qian_sejnowski. Of digits and tags training ends with the weights of
the epoch with the least loss on the validation part. Of the others the number of epochs was chosen on several validation parts, and
a second net is trained for as long on training and validation part together; the seeds of speakers, six, are the folds, and their
settings, the same for all, had the best mean over nets that leave out two speakers, of every pair, and are scored on both.
``--speed`` instead times epochs of the same nets in numbarnn and in torch, as `epochs.py` says.
"""

import argparse
import pathlib
import time

import epochs
import numpy as np

from numbarnn import SegmentClassifier, SequenceClassifier
from numbarnn.data import SequenceScaler, WordFeatures, read_conll, read_ts

WORDS = WordFeatures(prefix=3, suffix=3, shape=True, lower=True, min_count=2)
SETTINGS = {
    "vowels": {
        "cell": "gru", "hidden_size": 64, "pooling": "last", "bidirectional": True, "dropout": 0.6, "input_dropout": 0.3,
        "recurrent_dropout": 0.3, "learning_rate": 3e-3, "batch_size": 16, "epochs": 50,
    },
    "digits": {
        "cell": "gru", "hidden_size": 64, "pooling": "mean", "bidirectional": True, "dropout": 0.4, "input_dropout": 0.1,
        "learning_rate": 3e-3, "batch_size": 32, "epochs": 40, "patience": 10,
    },
    "tags": {
        "cell": "lstm", "hidden_size": 64, "bidirectional": True, "dropout": 0.4, "input_dropout": 0.3, "tokens": WORDS,
        "embedding_size": 64, "learning_rate": 2e-3, "batch_size": 32, "epochs": 10, "patience": 2,
    },
    "protein": {
        "cell": "gru", "hidden_size": 64, "bidirectional": True, "dropout": 0.5, "input_dropout": 0.8, "learning_rate": 2e-3,
        "batch_size": 4, "epochs": 30, "average": 0.995,
    },
}  # fmt: skip
SETTINGS["speakers"] = SETTINGS["digits"] | {
    "dropout": 0.5, "input_dropout": 0.4, "recurrent_dropout": 0.5, "epochs": 25, "patience": None,
}  # fmt: skip
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
SMALL = ("vowels", "speakers", "protein")


# Sets: training, validation and test part, each (X, y)


def vowels(folder, seed):
    """Japanese Vowels, nine speakers of 30 utterances each for training, of which every fifth is for validation."""
    (x, y), test = (read_ts(folder / "japanese_vowels" / f"JapaneseVowels_{part}.ts.gz") for part in ("TRAIN", "TEST"))
    held = np.arange(len(x)) % 5 == seed % 5
    return standardised(part(x, y, ~held), part(x, y, held), test)


def digits(folder, seed):
    """Spoken digits, the official split: recordings 0-4 of each digit and speaker are the test; 5-9 are for validation."""
    x, y, _, index = recordings(folder)
    return standardised(part(x, y, index >= 10), part(x, y, (index >= 5) & (index < 10)), part(x, y, index < 5))


def speakers(folder, seed):
    """Spoken digits of a speaker who was never heard, number `seed`; the next one is for validation."""
    x, y, speaker, _ = recordings(folder)
    names = np.unique(speaker)
    held, validation = (speaker == names[(seed + k) % len(names)] for k in (0, 1))
    x = [sample - sample.mean(axis=0) for sample in x]  # a voice and a microphone shift all steps
    x = [stacked(np.concatenate([sample, slopes(sample)], axis=1), 4) for sample in x]
    return standardised(part(x, y, ~held & ~validation), part(x, y, validation), part(x, y, held))


def slopes(sample):
    """Return how each feature rises, the slope of a line through five steps."""
    padded = np.pad(sample, ((2, 2), (0, 0)), mode="edge")
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10


def stacked(sample, rows):
    """Return a sample with that many consecutive steps stacked as one, the last step repeated to fill the last."""
    padded = np.pad(sample, ((0, -len(sample) % rows), (0, 0)), mode="edge")
    return padded.reshape(-1, rows * sample.shape[1])


def recordings(folder):
    """Return MFCCs, digits, speakers and numbers of the Free Spoken Digit Dataset."""
    with np.load(folder / "fsdd" / "fsdd_mfcc13.npz") as file:
        values, offsets, *others = (file[name] for name in ("mfcc", "offsets", "label", "speaker", "index"))
    return np.split(values.astype(np.float32), offsets[1:-1]), *others


def tags(folder, seed):
    """Universal Dependencies, English Web Treebank: the published parts."""
    return [read_conll(folder / "ud_english_ewt" / f"{name}.tsv.gz") for name in ("train", "dev", "test")]


def protein(folder, seed):
    """Secondary structure of proteins (Qian & Sejnowski 1988); every sixth chain of training is for validation."""
    parts = []
    for name in ("train", "test"):
        text = (folder / "protein_qian_sejnowski" / f"protein-secondary-structure.{name}").read_text("latin-1")
        chains = []
        for line in text.splitlines():
            fields = line.split()
            if fields == ["<>"]:
                chains.append([])
            elif len(fields) == 2 and not line.startswith("#"):
                chains[-1].append(fields)
        chains = [chain for chain in chains if chain]
        parts.append(
            ([windows(row[0] for row in chain) for chain in chains], [[row[1] for row in chain] for chain in chains])
        )
    (x, y), test = parts
    held = np.arange(len(x)) % 6 == seed % 6
    return [part(x, y, ~held), part(x, y, held), test]


def windows(residues, width=17):
    """Return for every residue which it and its neighbours are, (residues, width * (amino acids + 1)); none past the ends."""
    none = len(AMINO_ACIDS)
    codes = np.pad([AMINO_ACIDS.index(residue) for residue in residues], width // 2, constant_values=none)
    around = codes[np.arange(len(codes) - width + 1)[:, None] + np.arange(width)]
    return np.eye(none + 1, dtype=np.float32)[around].reshape(len(around), -1)


SETS = {"vowels": vowels, "digits": digits, "speakers": speakers, "tags": tags, "protein": protein}


def part(x, y, chosen):
    """Return the chosen samples."""
    rows = np.flatnonzero(chosen)
    return [x[row] for row in rows], [y[row] for row in rows]


def standardised(train, *others):
    """Return parts scaled by the first."""
    scaler = SequenceScaler().fit(train[0])
    return [(scaler.transform(x), y) for x, y in (train, *others)]


def classifier(name, seed, n_threads, **changes):
    """Return the net of a set."""
    if "pooling" not in SETTINGS[name]:
        return SegmentClassifier(**SETTINGS[name] | changes, random_state=seed, n_threads=n_threads)
    # Without a linear path: the figures are those of nets, and so are those of other engines.
    return SequenceClassifier(**SETTINGS[name] | changes, linear=None, random_state=seed, n_threads=n_threads)


def main():
    """Print a line for every run, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the set's own")
    epochs.add_options(parser)
    options = parser.parse_args()
    if options.engine:
        (name,) = options.sets
        epochs.answer(options, classifier(name, 0, options.threads), *SETS[name](options.folder, 0)[0])
        return
    if options.speed:
        for name in options.sets:
            more = ["--epochs", str(options.epochs)] if options.epochs else []
            epochs.in_turn(name, options, [__file__, str(options.folder), "--sets", name, *more])
        return
    for name in options.sets:
        scores = []
        for seed in range(options.seeds):
            train, validation, test = SETS[name](options.folder, seed)
            started = time.perf_counter()
            changes = {"epochs": options.epochs} if options.epochs else {}
            net = classifier(name, seed, options.threads, **changes).fit(*train, validation=validation)
            seconds = time.perf_counter() - started
            scores.append([net.score(*validation), net.score(*test)])
            note = f"{net.n_iter_} epochs, {seconds:.0f} s"
            if net.history_.stopped == "early stopping":
                note = f"epoch {net.history_.best + 1} of {note}"
            if name in SMALL:
                note += f"; without the validation part the test was {scores[-1][1]:.4f}"
                both = classifier(name, seed, options.threads, **changes)
                both.fit(*(list(a) + list(b) for a, b in zip(train, validation, strict=True)))
                scores[-1][1] = both.score(*test)
            print(f"{name} seed {seed}: validation {scores[-1][0]:.4f}, test {scores[-1][1]:.4f}; {note}", flush=True)
        validation, test = np.mean(scores, axis=0)
        print(f"{name}: mean of {options.seeds} seeds: validation {validation:.4f}, test {test:.4f}", flush=True)


if __name__ == "__main__":
    main()
