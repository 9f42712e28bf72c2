"""The commands of language models: demo, train, sample, score."""

import os
import pathlib
import sys
import time

from numbarnn.backends.device import DEVICES
from numbarnn.cli.common import HelpFormatter, UserError, as_options, positive
from numbarnn.data.encodings import read_lines
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.io import load
from numbarnn.language import CELLS, CharLM, LanguageModel
from numbarnn.optim import RMSprop
from numbarnn.training.callbacks import Callback

DEMO_SECONDS = 60.0


def add_commands(commands) -> None:
    """Add the commands to the subparsers of `numbarnn.cli.main`."""
    demo = commands.add_parser(
        "demo",
        help="train on a text that every Python carries, show samples, save the model",
        description="Train a character-level LSTM on Python's language reference for about a minute, print samples as they get "
        "better, and save the model.",
    )
    demo.add_argument(
        "--seconds", type=positive(float), default=DEMO_SECONDS, help="training time (default: %(default)g)"
    )
    demo.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("demo.safetensors"), help="default: %(default)s"
    )
    demo.set_defaults(run=_demo)

    train = commands.add_parser(
        "train",
        help="train a language model on a text file",
        description="Train a language model of characters, bytes or words on a text file, with char-rnn's defaults.",
        formatter_class=HelpFormatter,
    )
    train.add_argument("file", type=pathlib.Path, metavar="FILE", help="text file")
    train.add_argument("-o", "--output", type=pathlib.Path, help="model file (default: FILE with .safetensors)")
    train.add_argument("--encoding", default="utf-8", help="of the text file")
    train.add_argument("--unit", choices=list(VOCABULARIES), default="character", help="unit of a token")
    train.add_argument(
        "--max-vocabulary", type=positive(int), metavar="N", help="of words: know the N most frequent (default: all)"
    )
    train.add_argument(
        "--min-count",
        type=positive(int),
        default=1,
        metavar="N",
        help="of words: know those with at least N occurrences",
    )
    train.add_argument(
        "--embedding-size",
        type=positive(int),
        metavar="N",
        help="learn a vector of N values for every token (default: one-hot)",
    )
    train.add_argument("--cell", choices=sorted(CELLS), default="lstm", help="recurrent cell")
    train.add_argument("--hidden-size", type=positive(int), default=128, metavar="N", help="units in each layer")
    train.add_argument("--num-layers", type=positive(int), default=2, metavar="N", help="stacked layers")
    train.add_argument("--dropout", type=float, default=0.0, metavar="P", help="between the layers, in training")
    train.add_argument("--epochs", type=positive(int), default=50, metavar="N", help="passes through the text")
    train.add_argument("--batch-size", type=positive(int), default=50, metavar="N", help="streams read in parallel")
    train.add_argument(
        "--seq-length", type=positive(int), default=50, metavar="N", help="characters, bytes or words in a chunk"
    )
    train.add_argument("--learning-rate", type=positive(float), default=2e-3, metavar="R", help="of RMSprop")
    train.add_argument(
        "--validation", type=float, default=0.05, metavar="F", help="share of the text, at its end, to hold out"
    )
    train.add_argument("--patience", type=positive(int), metavar="N", help="stop after N epochs without improvement")
    train.add_argument(
        "--resume-from", type=pathlib.Path, metavar="MODEL", help="continue from the weights of a saved model"
    )
    train.add_argument(
        "--checkpoint", type=pathlib.Path, metavar="PATH", help="file from which a stopped or killed run resumes"
    )
    train.add_argument("--resume", action="store_true", help="resume from the checkpoint, if there is one")
    train.add_argument("--seed", type=int, default=0, help="of weights and dropout")
    train.add_argument("--threads", type=positive(int), metavar="N", help="default: all processors")
    train.add_argument("--device", choices=DEVICES, default="cpu", help="where to train")
    train.add_argument("--quiet", action="store_true", help="no progress")
    train.set_defaults(run=_train)

    sample = commands.add_parser(
        "sample",
        help="generate text",
        description="Generate text with a saved language model.",
        formatter_class=HelpFormatter,
    )
    sample.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a trained model")
    sample.add_argument(
        "-n", "--length", type=positive(int), default=500, metavar="N", help="characters, bytes or words to generate"
    )
    sample.add_argument("--prime", default="", metavar="TEXT", help="text to continue")
    sample.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="0: the most probable token; 1: as learned; above: more varied",
    )
    sample.add_argument("--top-k", type=positive(int), metavar="K", help="sample from the K most probable tokens")
    sample.add_argument(
        "--top-p", type=float, metavar="P", help="sample from the fewest tokens with probability P together"
    )
    sample.add_argument("--stop", metavar="TEXT", help="end after this text")
    sample.add_argument("--seed", type=int, help="the same seed gives the same text")
    sample.add_argument(
        "--unknown",
        default="error",
        metavar="HOW",
        help="unknown characters or words of --prime: error, skip, or a replacement",
    )
    sample.add_argument("--allow-unknown", action="store_true", help="allow a model of words to generate <unk>")
    sample.set_defaults(run=_sample)

    score = commands.add_parser(
        "score",
        help="evaluate how well a model predicts a text",
        description="Print how well a saved language model predicts a text file, in nats and bits per character, byte or word.",
    )
    score.add_argument("model", type=pathlib.Path, metavar="MODEL")
    score.add_argument("file", type=pathlib.Path, metavar="FILE")
    score.add_argument("--encoding", default="utf-8", help="of the text file (default: %(default)s)")
    score.add_argument(
        "--unknown",
        metavar="HOW",
        help="unknown characters or words: error, skip, or a replacement (default: error; words: <unk>)",
    )
    score.set_defaults(run=_score)


def _demo(options):
    _check_writable(options.output)
    text = python_reference()
    print(
        f"The text: {len(text):,} characters of Python's language reference. The net: one LSTM layer of 192 units.",
        flush=True,
    )
    lm = CharLM("lstm", 192, 1, init="keras")
    show = _Show(lm, options.seconds)
    # Unlimited patience: the time limit ends training, with the weights of the best epoch.
    lm.fit(
        text, 10**6, optimizer=RMSprop(learning_rate=4e-3), seconds=options.seconds, patience=10**6, callbacks=[show],
        verbose=1,
    )  # fmt: skip
    lm.save(options.output)
    lm = _load(options.output)
    print(f"\nThe model was saved to {options.output}; loaded from there, it generates:\n")
    print(_indent("The " + lm.sample(600, prime="The ", temperature=0.6, seed=2)))
    print(f"\nGenerate more:  numbarnn sample {options.output} --prime 'The ' --temperature 0.6")


class _Show(Callback):
    """Prints a sample at the start and whenever a quarter of the time has passed."""

    SAMPLES = 4

    def __init__(self, lm, seconds):
        self.lm, self.seconds = lm, seconds
        self.shown, self.started = 0, None

    def on_batch_end(self, trainer, loss):
        if self.started is None:
            self.show(trainer, loss, 0.0)
            self.started = time.monotonic()  # batch and sample may have compiled kernels
        passed = time.monotonic() - self.started
        if passed >= self.seconds * self.shown / self.SAMPLES:
            self.show(trainer, loss, passed)

    def show(self, trainer, loss, passed):
        self.shown += 1
        sample = "The " + self.lm.sample(160, prime="The ", temperature=0.6, seed=1)
        trainer.say(f"\n[{passed:.0f} s, {trainer.step} steps, loss {loss:.2f}]\n{_indent(sample)}\n")


def _train(options):
    output = options.output or options.file.with_suffix(".safetensors")
    _check_writable(output)
    if options.resume_from:
        lm = _load(options.resume_from, options.device)
        lm.model.n_threads = options.threads
    else:
        sizes = options.cell, options.hidden_size, options.num_layers
        common = {
            "dropout": options.dropout,
            "seed": options.seed,
            "n_threads": options.threads,
            "device": options.device,
        }
        own = {name: getattr(options, name) for name in ("unit", "max_vocabulary", "min_count", "embedding_size")}
        plain = own == {"unit": "character", "max_vocabulary": None, "min_count": 1, "embedding_size": None}
        lm = CharLM(*sizes, **common) if plain else LanguageModel(*sizes, **own, **common)
    text = _read(options.file, options.encoding, lm.unit)
    lm.fit(
        text, options.epochs, batch_size=options.batch_size, seq_length=options.seq_length,
        validation=options.validation, optimizer=RMSprop(learning_rate=options.learning_rate),
        patience=options.patience, checkpoint=options.checkpoint, resume="auto" if options.resume else False,
        verbose=0 if options.quiet else 1,
    )  # fmt: skip
    lm.save(output)
    last = lm.history[-1] if len(lm.history) else None
    loss = (
        f"; loss {last['loss']:.4f}" + (f", held out {last['val_loss']:.4f}" if "val_loss" in last else "")
        if last
        else ""
    )
    print(f"saved {output}{loss} nats per {lm.unit}" if last else f"saved {output}")
    return 130 if lm.history.stopped == "interrupted" else 0


def _sample(options):
    lm = _load(options.model)
    pieces = lm.stream(
        options.length, options.prime, options.temperature, options.top_k, options.top_p, options.stop, options.seed,
        unknown=options.unknown, allow_unknown=options.allow_unknown,
    )  # fmt: skip
    terminal = sys.stdout.isatty()
    out = sys.stdout if terminal else getattr(sys.stdout, "stream", sys.stdout)  # files get the text as it is
    out.write(options.prime)
    for piece in pieces:
        out.write(piece)
        if terminal:
            out.flush()
    out.write("\n")
    out.flush()


def _score(options):
    lm = _load(options.model)
    score = lm.score(_read(options.file, options.encoding, lm.unit), unknown=options.unknown)
    print(
        f"{score.nats:.4f} nats per {lm.unit}, {score.bits:.4f} bits, perplexity {score.perplexity:.3f}, "
        f"over {score.tokens:,} {lm.vocabulary.units}"
    )
    if lm.unit != "character":
        print(f"{score.nats_per_character:.4f} nats per character, {score.bits_per_character:.4f} bits")
    if lm.unit == "word":
        print(f"{score.unknown_share:.2%} of the words are unknown to the model")


def _load(path, device="cpu"):
    model = load(path, device)
    if not isinstance(model, LanguageModel):
        raise UserError(f"{str(path)!r} has a plain model, not a language model")
    return model


def _read(path, encoding, unit):
    """Return a file's text, or its bytes for a model of bytes."""
    try:
        text = path.read_bytes() if unit == "byte" else "".join(read_lines(path, encoding))
    except ValueError as error:
        raise UserError(as_options(error, ["encoding"])) from None
    if not text:
        raise UserError(f"{str(path)!r} is empty")
    return text


def _check_writable(path):
    """Raise before hours of training rather than after them."""
    if path.is_dir():
        raise UserError(f"{str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"the folder {str(path.parent)!r} is not writable")


def _indent(text):
    return "\n".join(f"  | {line}" for line in text.splitlines())
