"""A label for every step, and for given segments: the parts of speech of words that no dictionary has.

Sentences of a made-up language: little words are few; nouns, verbs and adjectives are endless, known by their endings and
positions, and one ending means two things. A tagger sees each word, its beginning and its ending, and reads the sentence in both
directions. Or real sentences: ``--train FILE --test FILE``, columns of words and tags (CoNLL-U: ``--columns form upos``).

Prints the share of right tags beside that of each word's most frequent tag, precision and recall by tag, one sentence with its
tags, and the accuracy on given segments (pairs of words). Takes about half a minute.
"""

import argparse

import numpy as np

from numbarnn import SegmentClassifier
from numbarnn.data import WordFeatures, read_conll
from numbarnn.metrics import accuracy, f1

SYLLABLES = ["ba", "ko", "mi", "tu", "le", "ra", "so", "ni", "vu", "pe", "da", "go"]
# "-an" ends nouns and verbs; only the position tells.
ENDINGS = {"NOUN": ["or", "is", "an"], "VERB": ["et", "ut", "an"], "ADJ": ["ic", "ous"]}
PATTERNS = [
    "DET NOUN VERB", "DET ADJ NOUN VERB DET NOUN", "PRON VERB DET ADJ NOUN", "DET NOUN VERB ADP DET NOUN",
    "PRON VERB ADP DET ADJ ADJ NOUN",
]  # fmt: skip
LITTLE = {"DET": ["el", "um"], "PRON": ["ja", "tu", "nos"], "ADP": ["in", "ad", "sub"]}


def sentences(count, seed):
    """Return words and tags."""
    generator = np.random.default_rng(seed)
    words, tags = [], []
    for pattern in generator.choice(PATTERNS, count):
        tags.append(pattern.split())
        words.append([])
        for tag in tags[-1]:
            if tag in LITTLE:
                words[-1].append(str(generator.choice(LITTLE[tag])))
            else:
                stem = "".join(generator.choice(SYLLABLES, generator.integers(2, 4)))
                words[-1].append(stem + str(generator.choice(ENDINGS[tag])))
    return words, tags


def most_frequent(words, tags):
    """Return a function that gives words their most frequent tag, as anybody could."""
    counts = {}
    for word, tag in zip((w for s in words for w in s), (t for s in tags for t in s), strict=True):
        counts.setdefault(word, {}).setdefault(tag, 0)
        counts[word][tag] += 1
    best = {word: max(found, key=found.get) for word, found in counts.items()}
    flat = [tag for sentence in tags for tag in sentence]
    usual = max(sorted(set(flat)), key=flat.count)
    return lambda sentences: [[best.get(word, usual) for word in sentence] for sentence in sentences]


def main():
    """Tag words, then label pairs of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", metavar="FILE")
    parser.add_argument("--test", metavar="FILE")
    parser.add_argument("--columns", nargs=2, default=[0, 1], help="of words and tags")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    if options.train:
        columns = [int(c) if str(c).lstrip("-").isdigit() else c for c in options.columns]
        (x, y), (new, truth) = (read_conll(path, columns) for path in (options.train, options.test or options.train))
    else:
        (x, y), (new, truth) = sentences(1500, seed=0), sentences(300, seed=1)
    known = {word for sentence in x for word in sentence}
    unknown = [word not in known for sentence in new for word in sentence]
    print(
        f"{len(x)} sentences of {min(map(len, x))} to {max(map(len, x))} words; "
        f"{100 * np.mean(unknown):.0f} % of the new words are unknown"
    )

    tagger = SegmentClassifier(
        "lstm",
        64,
        bidirectional=True,
        dropout=0.4,
        input_dropout=0.2,
        tokens=WordFeatures(prefix=2, suffix=3, shape=True, min_count=2),
        embedding_size=64,
        learning_rate=3e-3,
        epochs=options.epochs,
        random_state=0,
    ).fit(x, y)
    found = tagger.predict(new)
    print(f"\nright: {100 * accuracy(truth, found):.1f} % (the most frequent tag of each word: "
          f"{100 * accuracy(truth, most_frequent(x, y)(new)):.1f} %)")  # fmt: skip
    print(f1(truth, found).round(3))
    print()
    for word, tag, p in zip(new[0], found[0], tagger.predict_proba(new[:1])[0].max(axis=1), strict=True):
        print(f"{word:>16}  {tag:<6} {p:.3f}")

    # Segments with known boundaries have one label each. Here: is a pair of words "article, adjective or noun"?
    pairs = [[(t, t + 2) for t in range(0, len(sentence) - 1, 2)] for sentence in x]
    begins = [
        [tags[a] == "DET" and tags[a + 1] in ("ADJ", "NOUN") for a, _ in own]
        for own, tags in zip(pairs, y, strict=True)
    ]
    segments = SegmentClassifier("gru", 32, bidirectional=True, tokens=WordFeatures(suffix=3), epochs=3, random_state=0)
    segments.fit(x, begins, segments=pairs)
    new_pairs = [[(t, t + 2) for t in range(0, len(sentence) - 1, 2)] for sentence in new]
    new_begins = [
        [t[a] == "DET" and t[a + 1] in ("ADJ", "NOUN") for a, _ in own] for own, t in zip(new_pairs, truth, strict=True)
    ]
    print(f"\npairs of words, right: {100 * segments.score(new, new_begins, segments=new_pairs):.1f} %")


if __name__ == "__main__":
    main()
