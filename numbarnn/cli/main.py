"""The command line: train a language model, generate text, score a text; manage compiled kernels."""

import argparse
import json
import os
import pathlib
import sys
import time
import warnings

from numbarnn.__about__ import __version__
from numbarnn.backends.device import DEVICES
from numbarnn.cli import forecast as forecast_command
from numbarnn.cli.help_format import HelpFormatter
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.errors import DeviceError, TokenError
from numbarnn.io import load
from numbarnn.kernels import cache
from numbarnn.kernels.inventory import take_inventory
from numbarnn.language.model import CELLS, CharLM, LanguageModel
from numbarnn.optim import RMSprop
from numbarnn.training.callbacks import Callback

DEMO_SECONDS = 60.0


class _UserError(Exception):
    """An error that the user can correct; shown without a traceback."""


def main(arguments=None) -> int:
    """Run the command line; return the exit status: 0, 1 (the run failed), 2 (wrong arguments) or 130 (Ctrl-C)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    warnings.showwarning = lambda message, *_, **__: print(f"numbarnn: {message}", file=sys.stderr)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("numbarnn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output (head, less) has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TokenError as error:
        hint = " (here: --unknown skip)" if hasattr(options, "unknown") else ""
        print(f"numbarnn: {error}{hint}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"numbarnn: {f'there is no {error.filename!r}' if error.filename else error}", file=sys.stderr)
        return 1
    except (_UserError, DeviceError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        print(f"numbarnn: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="numbarnn",
        description="Recurrent nets compiled by Numba: train a language model, generate text, score texts.",
    )
    parser.add_argument("--version", action="version", version=f"numbarnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train on a text that every Python carries, show samples, save the model",
        description="Train a character-level LSTM on Python's language reference for about a minute, print samples as they get "
        "better, and save the model.",
    )
    demo.add_argument(
        "--seconds", type=_positive(float), default=DEMO_SECONDS, help="training time (default: %(default)g)"
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
        "--max-vocabulary", type=_positive(int), metavar="N", help="of words: know the N most frequent (default: all)"
    )
    train.add_argument(
        "--min-count",
        type=_positive(int),
        default=1,
        metavar="N",
        help="of words: know those with at least N occurrences",
    )
    train.add_argument(
        "--embedding-size",
        type=_positive(int),
        metavar="N",
        help="learn a vector of N values for every token (default: one-hot)",
    )
    train.add_argument("--cell", choices=sorted(CELLS), default="lstm", help="recurrent cell")
    train.add_argument("--hidden-size", type=_positive(int), default=128, metavar="N", help="units in each layer")
    train.add_argument("--num-layers", type=_positive(int), default=2, metavar="N", help="stacked layers")
    train.add_argument("--dropout", type=float, default=0.0, metavar="P", help="between the layers, in training")
    train.add_argument("--epochs", type=_positive(int), default=50, metavar="N", help="passes through the text")
    train.add_argument("--batch-size", type=_positive(int), default=50, metavar="N", help="streams read in parallel")
    train.add_argument(
        "--seq-length", type=_positive(int), default=50, metavar="N", help="characters, bytes or words in a chunk"
    )
    train.add_argument("--learning-rate", type=_positive(float), default=2e-3, metavar="R", help="of RMSprop")
    train.add_argument(
        "--validation", type=float, default=0.05, metavar="F", help="share of the text, at its end, to hold out"
    )
    train.add_argument("--patience", type=_positive(int), metavar="N", help="stop after N epochs without improvement")
    train.add_argument(
        "--resume-from", type=pathlib.Path, metavar="MODEL", help="continue from the weights of a saved model"
    )
    train.add_argument(
        "--checkpoint", type=pathlib.Path, metavar="PATH", help="file from which a stopped or killed run resumes"
    )
    train.add_argument("--resume", action="store_true", help="resume from the checkpoint, if there is one")
    train.add_argument("--seed", type=int, default=0, help="of weights and dropout")
    train.add_argument("--threads", type=_positive(int), metavar="N", help="default: all processors")
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
        "-n", "--length", type=_positive(int), default=500, metavar="N", help="characters, bytes or words to generate"
    )
    sample.add_argument("--prime", default="", metavar="TEXT", help="text to continue")
    sample.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="0: the most probable token; 1: as learned; above: more varied",
    )
    sample.add_argument("--top-k", type=_positive(int), metavar="K", help="sample from the K most probable tokens")
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

    forecast_command.add_command(commands)

    info = commands.add_parser("info", help="describe a model file", description="Describe a model file.")
    info.add_argument("model", type=pathlib.Path, metavar="MODEL")
    info.set_defaults(run=_info)

    warmup = commands.add_parser(
        "warmup",
        help="compile kernels ahead, for a fast first start",
        description="Compile kernels and keep them on the disk, so that later processes start fast: all of the package, or what "
        "one saved model needs to predict, sample and score.",
    )
    warmup.add_argument(
        "model", type=pathlib.Path, nargs="?", metavar="MODEL", help="file of a model (default: everything)"
    )
    warmup.add_argument("--dtype", choices=("float32", "float64"), help="without MODEL (default: float32)")
    warmup.set_defaults(run=_warmup)

    doctor = commands.add_parser(
        "doctor",
        help="look for what is wrong with this machine or installation",
        description="Print processor, threads, caches of compiled kernels and versions, and for every problem what to do. The exit "
        "status is 1 if something will not work.",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=_doctor)
    return parser


def _positive(kind):
    def convert(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    convert.__name__ = "number" if kind is float else "integer"
    return convert


# Commands


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
    sys.stdout.write(options.prime)
    for piece in pieces:
        sys.stdout.write(piece)
        if sys.stdout.isatty():
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


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


def _info(options):
    model = load(options.model)
    if isinstance(model, forecast_command.Forecaster):
        model = forecast_command.describe(model)
    if isinstance(model, LanguageModel):
        print(
            f"{model.unit} model ({model.cell}), {len(model.vocabulary):,} {model.vocabulary.units}{_shown(model.vocabulary)}"
        )
        model = model.model
    if hasattr(model, "get_params"):  # an estimator
        labels = getattr(model, "classes_", ())
        shown = (
            ", ".join(map(repr, labels[:10].tolist())) + (", ..." if len(labels) > 10 else "") if len(labels) else ""
        )
        print(f"{model}{f', {len(labels):,} labels: {shown}' if shown else ''}")
        model = model.model_
    print(model.summary())


def _warmup(options):
    from numbarnn.cli import warmup

    if options.model is not None and options.dtype is not None:
        raise _UserError("--dtype cannot be combined with MODEL: a saved model has its own")
    if cache.writable_directory() is None:
        raise _UserError("there is no folder for compiled kernels; set NUMBA_CACHE_DIR to a writable one")
    started, compiled = time.perf_counter(), 0
    model = None if options.model is None else load(options.model)
    steps = warmup.warm_everything(options.dtype or "float32") if model is None else warmup.warm_model(model)
    for step in steps:
        compiled += step.compiled
        print(f"{step.name:<32} {step.compiled:>3} compiled {step.seconds:>7.2f} s", flush=True)
    print(f"{compiled} kernels compiled in {time.perf_counter() - started:.1f} s")
    for path in cache.cache_directories():
        if kept := take_inventory(path).kernels:
            print(f"{kept} kernels for this processor are kept in {path}")


def _doctor(options):
    from numbarnn.cli import doctor

    report = doctor.examine()
    print(json.dumps(report, indent=2) if options.json else doctor.text(report))
    return 0 if doctor.works(report) else 1


def _shown(vocabulary):
    """Return the text of `info` on a vocabulary."""
    if vocabulary.unit == "word":
        return f" including the unknown ones, first {', '.join(map(repr, vocabulary.words[:12]))}"
    return f": {vocabulary.characters!r}" if vocabulary.unit == "character" else ""


# Helpers


def _load(path, device="cpu"):
    model = load(path, device)
    if not isinstance(model, LanguageModel):
        raise _UserError(f"{str(path)!r} has a plain model, not a language model")
    return model


def _read(path, encoding, unit):
    """Return a file's text, or its bytes for a model of bytes."""
    try:
        text = path.read_bytes() if unit == "byte" else path.read_text(encoding)
    except UnicodeDecodeError as error:
        raise _UserError(
            f"{str(path)!r} is not {encoding} text ({error.reason} at byte {error.start}); see --encoding"
        ) from None
    except LookupError:
        raise _UserError(f"there is no encoding {encoding!r}") from None
    if not text:
        raise _UserError(f"{str(path)!r} is empty")
    return text


def _check_writable(path):
    """Raise before hours of training rather than after them."""
    if path.is_dir():
        raise _UserError(f"{str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise _UserError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
    if not os.access(path.parent, os.W_OK):
        raise _UserError(f"the folder {str(path.parent)!r} is not writable")


def _indent(text):
    return "\n".join(f"  | {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
