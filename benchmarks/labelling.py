"""Classifiers of sequences and of steps on real sets: epochs chosen on a validation part, the test part reported, mean over seeds.

    python benchmarks/labelling.py FOLDER [--sets vowels digits speakers tags protein] [--seeds 3]
    python benchmarks/labelling.py FOLDER --speed [--sets vowels digits tags]

FOLDER holds japanese_vowels, fsdd, ud_english_ewt and protein_qian_sejnowski. Of digits and tags training ends with the weights of
the epoch with the least loss on the validation part. Of the others the number of epochs was chosen on several validation parts, and
a second net is trained for as long on training and validation part together; the seeds of speakers, six, are the folds. ``--speed``
instead times epochs of the same nets in numbarnn and in torch, each in a process of its own, in turn: from lists of samples to the
last optimizer step, without compiling and without the first epoch.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

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
        "cell": "gru", "hidden_size": 64, "bidirectional": True, "dropout": 0.7, "input_dropout": 0.2, "embedding_size": 16,
        "learning_rate": 1.5e-3, "batch_size": 4, "epochs": 25,
    },
}  # fmt: skip
SETTINGS["speakers"] = SETTINGS["digits"] | {"dropout": 0.5, "input_dropout": 0.2, "epochs": 15, "patience": None}
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
    return standardised(part(x, y, ~held & ~validation), part(x, y, validation), part(x, y, held))


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
        parts.append(([[row[0] for row in chain] for chain in chains], [[row[1] for row in chain] for chain in chains]))
    (x, y), test = parts
    held = np.arange(len(x)) % 6 == seed % 6
    return [part(x, y, ~held), part(x, y, held), test]


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
    kind = SequenceClassifier if "pooling" in SETTINGS[name] else SegmentClassifier
    return kind(**SETTINGS[name] | changes, random_state=seed, n_threads=n_threads)


# Speed


def numbarnn_seconds(name, folder, epochs, n_threads):
    """Return seconds an epoch."""
    (x, y), *_ = SETS[name](folder, 0)
    net = classifier(name, 0, n_threads, epochs=1, patience=None, warm_start=True).fit(x, y)
    found = []
    for _ in range(epochs):
        started = time.perf_counter()
        net.fit(x, y)
        found.append(time.perf_counter() - started)
    return found


def torch_seconds(name, folder, epochs, n_threads):
    """Return the same for torch: samples of a batch padded and packed."""
    import torch
    from torch import nn
    from torch.nn.utils import rnn

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    (x, y), *_ = SETS[name](folder, 0)
    settings, sequence = SETTINGS[name], "pooling" in SETTINGS[name]
    table = None
    if isinstance(x[0][0], str):
        table = (settings.get("tokens") or WordFeatures()).learn(word for sentence in x for word in sentence)
        # Token 0 is torch's padding, which adds nothing.
        x = [torch.tensor(table.encode(sentence) + 1) for sentence in x]
    else:
        x = [torch.tensor(np.asarray(sample, np.float32)) for sample in x]
    labels = sorted({label for item in y for label in ([item] if sequence else item)})
    place = {label: number for number, label in enumerate(labels)}
    y = [torch.tensor(place[item] if sequence else [place[label] for label in item]) for item in y]
    hidden = settings["hidden_size"]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            size = x[0].shape[1]
            if table is not None:
                size = settings["embedding_size"]
                self.embedding = nn.Embedding(len(table) + 1, size, padding_idx=0)
            kind = {"gru": nn.GRU, "lstm": nn.LSTM}[settings["cell"]]
            self.recurrent = kind(size, hidden, batch_first=True, bidirectional=True)
            self.dense = nn.Linear(2 * hidden, len(labels))
            self.before, self.after = nn.Dropout(settings["input_dropout"]), nn.Dropout(settings["dropout"])

        def forward(self, x, lengths):
            if table is not None:
                x = self.embedding(x).sum(dim=2)
            packed = rnn.pack_padded_sequence(self.before(x), lengths, batch_first=True, enforce_sorted=False)
            h, _ = rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
            if sequence:
                h = h.sum(dim=1) / lengths[:, None]
            return self.dense(self.after(h))

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), settings["learning_rate"])

    def epoch():
        for rows in torch.randperm(len(x)).split(settings["batch_size"]):
            batch = [x[row] for row in rows]
            lengths = torch.tensor([len(sample) for sample in batch])
            outputs = net(rnn.pad_sequence(batch, batch_first=True), lengths)
            target = [y[row] for row in rows]
            target = torch.stack(target) if sequence else rnn.pad_sequence(target, batch_first=True, padding_value=-100)
            loss = nn.functional.cross_entropy(outputs.reshape(-1, len(labels)), target.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()

    epoch()
    found = []
    for _ in range(epochs):
        started = time.perf_counter()
        epoch()
        found.append(time.perf_counter() - started)
    return found


ENGINES = {"numbarnn": numbarnn_seconds, "torch": torch_seconds}


def speed(options):
    """Print medians of the seconds of an epoch."""
    for name in options.sets:
        found = {engine: [] for engine in ENGINES}
        for _ in range(options.rounds):
            for engine, seconds in found.items():
                command = [sys.executable, __file__, str(options.folder), "--sets", name, "--engine", engine]
                command += ["--threads", str(options.threads), "--epochs", str(options.epochs or 3)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds += json.loads(done.stdout.splitlines()[-1])
        medians = {engine: statistics.median(seconds) for engine, seconds in found.items()}
        ratio = medians["torch"] / medians["numbarnn"]
        shown = ", ".join(f"{engine} {seconds:.2f} s" for engine, seconds in medians.items())
        print(f"{name}: {shown} an epoch; numbarnn is {ratio:.2f} times as fast", flush=True)


def main():
    """Print a line for every run, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the set's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engine", choices=list(ENGINES), help="time this engine once and print seconds as JSON")
    options = parser.parse_args()
    if options.engine:
        print(
            json.dumps(ENGINES[options.engine](options.sets[0], options.folder, options.epochs or 3, options.threads))
        )
        return
    if options.speed:
        speed(options)
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
