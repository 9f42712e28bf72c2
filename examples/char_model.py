"""A character-level language model of a text file: train it, compare samples, save it, load it, generate text.

    python examples/char_model.py [FILE] [--epochs N]

Without a file it reads the first part of Python's language reference, which every CPython carries.

Prints the history of training, text generated at three temperatures, and the score of the last 5,000 characters
(training holds out the last twentieth of a text). Takes about a minute.
"""

import argparse
import pathlib
import tempfile

import numbarnn


def main():
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--characters", type=int, default=150_000, help="of the text that are used")
    options = parser.parse_args()
    text = (options.file.read_text("utf-8") if options.file else numbarnn.data.python_reference())[: options.characters]

    model = numbarnn.CharLM("gru", options.hidden_size, 1, init="keras", seed=3)
    model.fit(text, options.epochs, batch_size=25, optimizer=numbarnn.optim.Adam(learning_rate=4e-3))
    print(model.history.to_frame().to_string(float_format="{:.4g}".format))

    prime = text[:20]
    print(f"\nGoing on from {prime!r} at different temperatures:")
    for temperature in (0, 0.5, 1):
        print(f"  {temperature:3}: {model.sample(70, prime=prime, temperature=temperature)!r}")

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.safetensors"
        model.save(path)
        again = numbarnn.load(path)
    print(f"\nSaved and loaded, it generates the same: {again.sample(50, seed=5) == model.sample(50, seed=5)}")
    score = again.score(text[-5000:])
    print(f"The last 5,000 characters: {score.nats:.3f} nats or {score.bits:.3f} bits per character.")


if __name__ == "__main__":
    main()
