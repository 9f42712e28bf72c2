"""Next-word prediction: learn the words of a text, say which words come next and how sure that is, and write on.

    python examples/next_word.py [FILE] [--epochs N]

Without a file it reads the first part of Python's language reference, which every CPython carries.

Prints the history of training, the perplexity of the last tenth of the text beside that of counting words, the likeliest next
words at six positions of it, and generated text. Takes about a minute.
"""

import argparse
import collections
import math
import pathlib

import numbarnn


def guesses(model, text, count=4):
    """Return the likeliest words after a text, with their probabilities."""
    vocabulary = model.vocabulary
    tokens = vocabulary.encode(text, "<unk>")
    probabilities = model.model.predict_proba(tokens[None])[0, -1]
    best = probabilities.argsort()[::-1][:count]
    return ", ".join(f"{vocabulary.decode([token])!r} {probabilities[token]:.0%}" for token in best)


def main():
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=2000, help="words that are known")
    parser.add_argument("--characters", type=int, default=300_000, help="of the text that are used")
    options = parser.parse_args()
    text = (options.file.read_text("utf-8") if options.file else numbarnn.data.python_reference())[: options.characters]

    model = numbarnn.LanguageModel(
        "lstm", 128, 1, unit="word", max_vocabulary=options.vocabulary, embedding_size=64, init="keras", seed=1
    )
    training, held_out = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    optimizer = numbarnn.optim.Adam(learning_rate=4e-3)
    model.fit(training, options.epochs, batch_size=20, seq_length=30, patience=2, optimizer=optimizer)
    print(model.history.to_frame().to_string(float_format="{:.4g}".format))

    # What counting the words alone would give.
    counts = collections.Counter(model.vocabulary.encode(training, "<unk>").tolist())
    tokens = model.vocabulary.encode(held_out, "<unk>")[1:].tolist()
    total = sum(counts.values()) + len(model.vocabulary)
    alone = -sum(math.log((counts[token] + 1) / total) for token in tokens) / len(tokens)
    score = model.score(held_out)
    print(f"\nThe last tenth, {score.tokens:,} words of which {score.unknown_share:.1%} are unknown to the model:")
    print(f"  perplexity {score.perplexity:.1f} (from the words' frequencies alone: {math.exp(alone):.1f})")
    print(f"  {score.nats:.3f} nats per word, {score.nats_per_character:.3f} nats per character")

    words = numbarnn.data.split_words(held_out)
    print("\nWhat comes next?")
    for i in range(200, len(words), max(1, len(words) // 6)):
        before = "".join(words[:i])
        print(f"  ...{before[-45:]!r} -> {guesses(model, before)}; it is {words[i]!r}")

    print("\nGenerated text:")
    print(model.sample(80, prime="".join(words[:100]), temperature=0.7, unknown="<unk>", seed=4))


if __name__ == "__main__":
    main()
