"""Which of four birds is singing: one label for a whole sequence.

Songs of different lengths, made here: each bird repeats a phrase of its own, faster or slower, higher or lower, under noise; the
phrases have the same notes in different orders. Or real data: ``--train JapaneseVowels_TRAIN.ts --test ...``, or any
other files of the UEA archive.

Prints the accuracy on new songs, which bird is taken for which, precision and recall, and the probabilities of one song. Takes
about half a minute.
"""

import argparse

import numpy as np

from numbarnn import SequenceClassifier
from numbarnn.data import SequenceScaler, read_ts
from numbarnn.metrics import confusion, f1

PHRASES = {"blackbird": [0, 2, 1, 3], "robin": [3, 1, 2, 0], "thrush": [0, 1, 2, 3], "wren": [3, 2, 1, 0]}


def songs(count, seed):
    """Return songs (time steps, 2) of pitch and loudness, and the birds' names."""
    generator = np.random.default_rng(seed)
    x, y = [], []
    for bird in generator.choice(list(PHRASES), count):
        notes = np.tile(PHRASES[bird], generator.integers(1, 4))
        notes = np.roll(notes, generator.integers(4))  # the recording begins anywhere
        pitch = np.repeat(notes, generator.integers(2, 5, len(notes))) + generator.normal()
        loudness = np.sin(np.linspace(0, np.pi, len(pitch)))
        x.append(np.stack([pitch, loudness], axis=1) + 0.3 * generator.normal(size=(len(pitch), 2)))
        y.append(bird)
    return x, np.array(y)


def main():
    """Train, and show what is mistaken for what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", metavar="FILE.ts")
    parser.add_argument("--test", metavar="FILE.ts")
    parser.add_argument("--pooling", default="last", choices=["last", "mean", "max"])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    if options.train:
        (x, y), (new, truth) = read_ts(options.train), read_ts(options.test or options.train)
    else:
        (x, y), (new, truth) = songs(600, seed=0), songs(300, seed=1)

    lengths = [len(sample) for sample in x]
    print(
        f"{len(x)} sequences of {min(lengths)} to {max(lengths)} steps and {x[0].shape[1]} features, {len(set(y))} classes"
    )
    scaler = SequenceScaler().fit(x)
    net = SequenceClassifier(
        "gru",
        48,
        pooling=options.pooling,
        bidirectional=True,
        dropout=0.3,
        learning_rate=3e-3,
        epochs=options.epochs,
        patience=20,
        random_state=0,
    )
    net.fit(scaler.transform(x), y)

    found = net.predict(scaler.transform(new))
    print(f"\nright: {100 * net.score(scaler.transform(new), truth):.1f} %, after {net.n_iter_} epochs")
    print("\nTrue labels (rows) and what was heard:")
    print(confusion(truth, found))
    print()
    print(f1(truth, found).round(3))
    print("\nThe first song, by probability:")
    print(
        dict(zip(net.classes_.tolist(), net.predict_proba(scaler.transform(new[:1]))[0].round(3).tolist(), strict=True))
    )


if __name__ == "__main__":
    main()
