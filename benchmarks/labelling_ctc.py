"""Label error of `TemporalClassifier` on real data: joined spoken digits, yes and no, letters to phones.

    python benchmarks/labelling_ctc.py fsdd FILE [--seeds 0 1 2] [--epochs N] [--hidden-size N]
    python benchmarks/labelling_ctc.py fsdd FILE --speed [--samples N]

The readers, features, splits and settings are those of examples/temporal_classification.py. Of yesno it also scores random cuts:
runs of words taken out of the test recordings at the middle between two aligned words, so that their number cannot be known.
``--speed`` instead times epochs of the same nets in numbarnn and in torch, as `epochs.py` says.
"""

import argparse
import pathlib
import sys
import time

import epochs
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "examples"))
from temporal_classification import errors_of, load, untrained


def cuts(classifier, recordings, sequences, seed):
    """Return a random run of words of every recording, and its words."""
    generator, parts, words = np.random.default_rng(seed), [], []
    for recording, sequence, alignment in zip(
        recordings, sequences, classifier.align(recordings, sequences), strict=True
    ):
        middles = (alignment.last[:-1] + alignment.first[1:] + 1) // 2
        edges = [0, *middles, len(recording)]
        first, last = np.sort(generator.choice(len(sequence) + 1, 2, replace=False))
        parts.append(recording[edges[first] : edges[last]])
        words.append(sequence[first:last])
    return parts, words


def shown(errors):
    """Return errors in words."""
    return (
        f"label error {errors.rate:.2%} ({errors.substitutions} + {errors.insertions} + {errors.deletions} of {errors.labels}), "
        f"wrong sequences {errors.sequence_error:.2%} of {errors.sequences}"
    )


def main():
    """Train and score for every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["fsdd", "yesno", "cmudict", "synthetic"])
    parser.add_argument("path", type=pathlib.Path, nargs="?")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--hidden-size", type=int)
    parser.add_argument("--num-layers", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--learning-rate", type=float)
    epochs.add_options(parser)
    options = parser.parse_args()
    if options.speed:
        given = [value for value in sys.argv[1:] if value != "--speed"]
        epochs.in_turn(options.kind, options, [__file__, *given])
        return
    train, validation, (test, truth), settings = load(options.kind, options.path, options.samples)
    for name in ("epochs", "hidden_size", "num_layers", "batch_size", "dropout", "learning_rate"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    if options.engine:
        net = untrained(options.kind, settings, len(train[0]), 0, n_threads=options.threads)
        epochs.answer(options, net, *train)
        return
    print(f"{options.kind}: {len(train[0])} training, {len(test)} test samples; lstm {settings}", flush=True)
    for seed in options.seeds:
        classifier = untrained(options.kind, settings, len(train[0]), seed, n_threads=options.threads, verbose=1)
        started = time.perf_counter()
        classifier.fit(*train, validation=validation)
        seconds = time.perf_counter() - started
        print(f"seed {seed}: {classifier.n_iter_} epochs, {seconds:.0f} s", flush=True)
        print(f"  best path    {shown(errors_of(truth, classifier.predict(test)))}", flush=True)
        beam = [hypotheses[0].labels for hypotheses in classifier.decode(test, beam_width=10)]
        print(f"  beam of 10   {shown(errors_of(truth, beam))}", flush=True)
        if options.kind == "yesno":
            parts, words = cuts(classifier, test, truth, seed)
            print(f"  random cuts  {shown(errors_of(words, classifier.predict(parts)))}", flush=True)


if __name__ == "__main__":
    main()
