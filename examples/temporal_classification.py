"""Label sequences without known alignment: which words were said, and when, from recordings labelled by their words alone.

Without a file: synthetic "speech". Every digit is a short chirp of three tones in noise, said faster or slower and louder or
softer; a recording is a few of them with pauses, and training sees only their labels. With ``--fsdd``, ``--yesno`` or
``--cmudict`` and a path the same on real data: joined recordings of spoken digits, eight words yes or no, and letters to phones.
``--plot FILE`` draws what the net says at every step, with the labels under it.

Prints the label errors of two decoders, and for one recording what was said, the three likeliest label sequences, and at which
steps each label lies. Takes about half a minute without a file; minutes to an hour on the real data.
"""

import argparse
import gzip
import itertools
import pathlib
import re

import numpy as np

import numbarnn
from numbarnn.metrics import label_errors
from numbarnn.optim import Cosine

BANDS = 12


def synthetic(samples, seed):
    """Return recordings, arrays (steps, bands) of energies, and their sequences of digits."""
    generator, tones = (
        np.random.default_rng(seed),
        np.random.default_rng(0).permuted(np.tile(np.arange(BANDS), (10, 1)), axis=1),
    )
    recordings, sequences = [], []
    for _ in range(samples):
        sequence, parts = generator.integers(0, 10, generator.integers(1, 6)), []
        for digit in sequence:
            parts.append(np.zeros((generator.integers(2, 9), BANDS)))
            for tone in tones[digit, :3]:
                bump = np.exp(-0.5 * (np.arange(BANDS) - tone) ** 2)
                parts.append(np.tile(generator.uniform(0.7, 1.3) * bump, (generator.integers(2, 6), 1)))
        parts.append(np.zeros((generator.integers(2, 9), BANDS)))
        energies = np.concatenate(parts)
        recordings.append((energies + 0.2 * generator.standard_normal(energies.shape)).astype(np.float32))
        sequences.append("".join(map(str, sequence)))
    return recordings, sequences


def mfcc(audio):
    """Return 13 mel-frequency cepstral coefficients of 8 kHz audio (int16), a row for every 10 ms."""
    x = np.asarray(audio, np.float64) / 32768
    x = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
    count = max(1, -(-(len(x) - 200) // 80) + 1)
    x = np.concatenate([x, np.zeros(max(0, (count - 1) * 80 + 200 - len(x)))])
    frames = x[np.arange(count)[:, None] * 80 + np.arange(200)] * np.hamming(200)
    power = np.abs(np.fft.rfft(frames, 256)) ** 2 / 256
    hertz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 28) / 2595) - 1)
    edges, bins = np.floor(257 * hertz / 8000), np.arange(129)
    low, mid, high = (edges[k : 26 + k, None] for k in range(3))
    bank = np.maximum(0, np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)))
    energy = np.log(np.maximum(power @ bank.T, 1e-10))
    k, n = np.arange(13)[:, None], np.arange(26)
    cosines = np.sqrt(2 / 26) * np.cos(np.pi * k * (2 * n + 1) / 52)
    cosines[0] /= np.sqrt(2)
    return (energy @ cosines.T).astype(np.float32)


def connected_digits(path, part, count):
    """Return utterances of 3 to 7 joined digits of one speaker, and their digits; parts use recordings of their own."""
    low, high, seed = {"train": (10, 49, 0), "dev": (5, 9, 1), "test": (0, 4, 2)}[part]
    with np.load(path) as file:
        audio, offsets = file["audio"], file["offsets"]
        speakers, labels, index = file["speaker"].tolist(), file["label"].tolist(), file["index"].tolist()
    where = {key: k for k, key in enumerate(zip(speakers, labels, index, strict=True))}
    names, generator = sorted(set(speakers)), np.random.default_rng(seed)
    features, sequences = [], []
    for _ in range(count):
        length, speaker = int(generator.integers(3, 8)), names[int(generator.integers(0, 6))]
        parts, sequence = [], ""
        for _ in range(length):
            digit, recording = int(generator.integers(0, 10)), int(generator.integers(low, high + 1))
            gap, k = int(generator.integers(0, 801)), where[speaker, digit, recording]
            parts += [audio[offsets[k] : offsets[k + 1]], np.zeros(gap, np.int16)]
            sequence += str(digit)
        features.append(mfcc(np.concatenate(parts)))
        sequences.append(sequence)
    return features, sequences


def yes_no(path):
    """Return recordings of eight words, and their labels: those that begin with no, and those that begin with yes."""
    with np.load(path) as file:
        rows, offsets, labels = file["mfcc"].astype(np.float32), file["offsets"], file["labels"]
    words = [[("no", "yes")[word] for word in sequence] for sequence in labels]
    recordings = [rows[a:b] for a, b in itertools.pairwise(offsets)]
    parts = ([k for k in range(len(words)) if labels[k, 0] == first] for first in (0, 1))
    return [([recordings[k] for k in part], [words[k] for k in part]) for part in parts]


def pronunciations(path):
    """Return {word: pronunciations} of the words of letters alone; a pronunciation is a tuple of phones without stress."""
    found = {}
    with gzip.open(path, "rt", encoding="latin-1") as file:
        for line in file:
            word, *phones = line.partition("#")[0].split()
            word = re.sub(r"\(\d+\)$", "", word)
            if word.isalpha() and word.isascii():
                found.setdefault(word.lower(), []).append(tuple(phone.rstrip("012") for phone in phones))
    return found


def letters(words):
    """Return words with every letter small and capital ("cCaAtT"), since few letters are more than two phones."""
    return ["".join(letter + letter.upper() for letter in word) for word in words]


def scaled(parts):
    """Return lists of recordings scaled by mean and deviation of the first list."""
    rows = np.concatenate(parts[0])
    center, scale = rows.mean(axis=0), rows.std(axis=0)
    return [[(part - center) / scale for part in recordings] for recordings in parts]


def stacked(recordings, rows=6):
    """Return recordings with that many consecutive rows stacked as one step."""
    return [part[: len(part) // rows * rows].reshape(-1, rows * part.shape[1]) for part in recordings]


def runs(recordings, sequences, seed):
    """Return a random run of words of every recording, between the silence at its ends, and its words; cut where it is quiet."""
    generator, parts, words = np.random.default_rng(seed), [], []
    for recording, sequence in zip(recordings, sequences, strict=True):
        loudness = np.convolve(recording[:, 0], np.ones(5) / 5, "same")  # the first coefficient is the energy
        low, high = np.percentile(loudness, [10, 95])
        edges = np.flatnonzero(np.diff(loudness < low + 0.45 * (high - low), prepend=False, append=False))
        middles = edges.reshape(-1, 2).mean(axis=1).astype(int)
        if len(middles) != len(sequence) + 1:
            continue  # what is not a pause, or one that was not found
        first, last = np.sort(generator.choice(len(middles), 2, replace=False))
        ends = recording[: middles[0]], recording[middles[-1] :]
        parts.append(np.concatenate([ends[0], recording[middles[first] : middles[last]], ends[1]]))
        words.append(sequence[first:last])
    return parts, words


def varied(recordings, sequences, copies, seed):
    """Return copies of recordings, slower or faster, of another colour and in noise, so that a small set is not memorised."""
    generator, more = np.random.default_rng(seed), []
    for part in recordings * copies:
        count = int(len(part) * generator.uniform(0.85, 1.15))
        rows = part[np.linspace(0, len(part) - 1, count).round().astype(int)]
        color, noise = generator.standard_normal(part.shape[1]), generator.standard_normal(rows.shape)
        more.append((rows + 0.2 * color + 0.5 * noise).astype(np.float32))
    return more, sequences * copies


def load(kind, path, samples=None, seed=0):
    """Return pairs (inputs, label sequences) for training, validation (or None) and test, and settings.

    The label sequences of a test word are a list of all that are right.
    """
    if kind == "fsdd":
        train, validation, test = (
            connected_digits(path, part, count)
            for part, count in (("train", samples or 4000), ("dev", 500), ("test", 500))
        )
        inputs = scaled([train[0], validation[0], test[0]])
        pairs = [(x, part[1]) for x, part in zip(inputs, (train, validation, test), strict=True)]
        settings = {"epochs": 10, "hidden_size": 64, "dropout": 0.2, "learning_rate": 5e-3, "batch_size": 16}
        return *pairs, settings | {"patience": 10}
    if kind == "yesno":
        train, test = yes_no(path)
        # All training recordings begin with no: runs out of them show that any word may.
        pieces = [train, *(runs(*train, seed=k) for k in (0, 1))]
        x, y = ([sample for piece in pieces for sample in piece[k]] for k in (0, 1))
        x, test_x = scaled([x, test[0]])
        x, y = varied(x, y, 16, seed)
        settings = {"epochs": 10, "hidden_size": 24, "num_layers": 2, "dropout": 0.3, "batch_size": 8}
        return (stacked(x), y), None, (stacked(test_x), test[1]), settings
    if kind == "cmudict":
        found = pronunciations(path)
        words = np.array(sorted(found))[np.random.default_rng(0).permutation(len(found))].tolist()
        train = [(word, phones) for word in words[14670:][:samples] for phones in found[word]]
        validation = letters(words[12000:14670]), [found[word][0] for word in words[12000:14670]]
        test = letters(words[:12000]), [found[word] for word in words[:12000]]
        # A few words have more phones than steps for them; they have no effect.
        settings = {"epochs": 10, "hidden_size": 128, "num_layers": 2, "dropout": 0.2, "learning_rate": 5e-3}
        settings |= {"batch_size": 64, "infeasible": "zero"}
        return (letters([word for word, _ in train]), [phones for _, phones in train]), validation, test, settings
    settings = {"epochs": 20, "hidden_size": 32, "batch_size": 16}
    return synthetic(samples or 400, seed), None, synthetic(100, seed + 1), settings


def untrained(kind, settings, samples, seed, **options):
    """Return the net; on the large sets the learning rate sinks along half a cosine to nothing."""
    schedule = None
    if kind in ("fsdd", "cmudict"):
        schedule = Cosine(settings["epochs"] * -(-samples // settings["batch_size"]))
    return numbarnn.TemporalClassifier("lstm", random_state=seed, schedule=schedule, **settings, **options)


def errors_of(truth, sequences):
    """Return label errors; where several label sequences are right, those of the nearest."""
    if truth and isinstance(truth[0], list) and isinstance(truth[0][0], tuple):
        truth = [
            min(every, key=lambda one, found=found: label_errors([one], [found]).edits)
            for every, found in zip(truth, sequences, strict=True)
        ]
    return label_errors(truth, sequences)


def main():
    """Read, train, decode, align."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--fsdd", type=pathlib.Path, metavar="NPZ", help="audio of the free spoken digit data set")
    kinds.add_argument("--yesno", type=pathlib.Path, metavar="NPZ", help="MFCC of the yesno recordings")
    kinds.add_argument("--cmudict", type=pathlib.Path, metavar="GZ", help="the pronouncing dictionary of CMU")
    parser.add_argument("--samples", type=int, help="recordings or words to train on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="write a plot (needs matplotlib)")
    options = parser.parse_args()

    kind = next((kind for kind in ("fsdd", "yesno", "cmudict") if getattr(options, kind)), "synthetic")
    train, validation, (test, truth), settings = load(kind, getattr(options, kind, None), options.samples, options.seed)
    if options.epochs:
        settings["epochs"] = options.epochs
    classifier = untrained(kind, settings, len(train[0]), options.seed, verbose=1)
    classifier.fit(*train, validation=validation)

    print()
    beam = [hypotheses[0].labels for hypotheses in classifier.decode(test, beam_width=10)]
    for name, sequences in (("best path", classifier.predict(test)), ("beam search", beam)):
        errors = errors_of(truth, sequences)
        print(
            f"{name}: label error {errors.rate:.2%} ({errors.substitutions} substitutions, {errors.insertions} insertions, "
            f"{errors.deletions} deletions of {errors.labels}), wrong sequences {errors.sequence_error:.2%}"
        )

    longest = max(range(min(50, len(test))), key=lambda k: len(beam[k]))
    sample, sequence = test[longest], truth[longest][0] if kind == "cmudict" else truth[longest]
    print(f"\nA test sample of {len(sample)} steps, said: {' '.join(sequence)}")
    for hypothesis in classifier.decode([sample], n_best=3)[0]:
        print(f"  heard with log probability {hypothesis.log_probability:7.3f}: {' '.join(hypothesis.labels)}")
    (alignment,) = classifier.align([sample], [sequence])
    for label, first, last in zip(sequence, alignment.first, alignment.last, strict=True):
        print(f"  {label} at steps {first} to {last}")

    if options.plot:
        from numbarnn.plots import plot_alignment

        names = ["-", *classifier.classes_]
        plot_alignment(classifier.predict_proba([sample])[0], alignment, names).figure.savefig(options.plot)


if __name__ == "__main__":
    main()
