"""The commands of language models: demo, train, sample, score."""

import io
import pathlib
import sys
import time

from numbarnn.backends.device import DEVICES
from numbarnn.cli.common import DASH, UserError, check_writable, load_model, raw_output, say, shown, source
from numbarnn.cli.parser import number, positive, text_option
from numbarnn.data.encodings import BOM, check_encoding, not_this_encoding, read_lines
from numbarnn.data.text import python_reference
from numbarnn.data.vocabularies import VOCABULARIES
from numbarnn.data.word_vocabulary import split_words
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
        "--seconds",
        type=positive(float),
        default=DEMO_SECONDS,
        metavar="S",
        help="training time (default: %(default)g)",
    )
    demo.add_argument(
        "-o",
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("demo.safetensors"),
        metavar="MODEL",
        help="model file",
    )
    demo.add_argument("--threads", type=positive(int), metavar="N", help="default: all processors")
    demo.add_argument("--device", choices=DEVICES, default="cpu", help="where to train")
    demo.set_defaults(run=_demo)

    train = commands.add_parser(
        "train",
        help="train a language model on a text file",
        description="Train a language model of characters, bytes or words on a text file, with char-rnn's defaults. Ctrl-C ends "
        "training early and saves what was learned.",
        epilog="""examples:
  numbarnn train book.txt
  numbarnn train book.txt --unit word \\
    --max-vocabulary 5000 \\
    --embedding-size 64 --epochs 10
  cat *.txt | numbarnn train - -o all.st""",
    )
    train.add_argument("file", type=pathlib.Path, metavar="FILE", help="text file; - for standard input")
    train.add_argument(
        "-o", "--output", type=pathlib.Path, metavar="MODEL", help="model file (default: FILE with .safetensors)"
    )
    train.add_argument("--encoding", default="utf-8", metavar="NAME", help="of the text file")
    train.add_argument(
        "--resume-from", type=pathlib.Path, metavar="MODEL", help="continue from the weights of a saved model"
    )
    group = train.add_argument_group("the net")
    group.add_argument("--unit", choices=list(VOCABULARIES), default="character", help="unit of a token")
    group.add_argument(
        "--max-vocabulary", type=positive(int), metavar="N", help="of words: know the N most frequent (default: all)"
    )
    group.add_argument(
        "--min-count",
        type=positive(int),
        default=1,
        metavar="N",
        help="of words: know those with at least N occurrences",
    )
    group.add_argument(
        "--embedding-size",
        type=positive(int),
        metavar="N",
        help="learn a vector of N values for every token (default: one-hot)",
    )
    cells = sorted(CELLS)
    group.add_argument(
        "--cell", choices=cells, default="lstm", metavar="CELL", help=f"recurrent cell: {', '.join(cells)}"
    )
    group.add_argument("--hidden-size", type=positive(int), default=128, metavar="N", help="units in each layer")
    group.add_argument("--num-layers", type=positive(int), default=2, metavar="N", help="stacked layers")
    group.add_argument(
        "--dropout", type=number(float), default=0.0, metavar="P", help="between the layers, in training"
    )
    group = train.add_argument_group("training")
    group.add_argument("--epochs", type=positive(int), default=50, metavar="N", help="passes through the text")
    group.add_argument("--batch-size", type=positive(int), default=50, metavar="N", help="streams read in parallel")
    group.add_argument(
        "--seq-length", type=positive(int), default=50, metavar="N", help="characters, bytes or words in a chunk"
    )
    group.add_argument("--learning-rate", type=positive(float), default=2e-3, metavar="R", help="of RMSprop")
    group.add_argument(
        "--validation", type=number(float), default=0.05, metavar="F", help="share of the text, at its end, to hold out"
    )
    group.add_argument("--patience", type=positive(int), metavar="N", help="stop after N epochs without improvement")
    group.add_argument(
        "--checkpoint", type=pathlib.Path, metavar="PATH", help="file from which a stopped or killed run resumes"
    )
    group.add_argument("--resume", action="store_true", help="resume from the checkpoint, if there is one")
    group.add_argument("--seed", type=number(int), default=0, metavar="N", help="of weights and dropout")
    group.add_argument("--threads", type=positive(int), metavar="N", help="default: all processors")
    group.add_argument("--device", choices=DEVICES, default="cpu", help="where to train")
    group.add_argument("--quiet", action="store_true", help="no progress")
    train.set_defaults(run=_train)

    sample = commands.add_parser(
        "sample",
        help="generate text",
        description="Generate text with a saved language model.",
        epilog="""examples:
  numbarnn sample book.safetensors \\
    --prime "The " --temperature 0.7
  numbarnn sample book.safetensors \\
    --prime-file start.txt -n 2000""",
    )
    sample.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a trained model")
    sample.add_argument(
        "-n", "--length", type=positive(int), default=500, metavar="N", help="characters, bytes or words to generate"
    )
    primes = sample.add_mutually_exclusive_group()
    text_option(primes, "--prime", default="", metavar="TEXT", help="text to continue")
    primes.add_argument(
        "--prime-file", type=pathlib.Path, metavar="FILE",
        help="file of the text to continue, with the line break at its end if it has one; - for standard input",
    )  # fmt: skip
    sample.add_argument("--encoding", default="utf-8", metavar="NAME", help="of the file of --prime-file")
    sample.add_argument(
        "--temperature",
        type=number(float),
        default=1.0,
        metavar="T",
        help="0: the most probable token; 1: as learned; above: more varied",
    )
    sample.add_argument("--top-k", type=positive(int), metavar="K", help="sample from the K most probable tokens")
    sample.add_argument(
        "--top-p", type=number(float), metavar="P", help="sample from the fewest tokens with probability P together"
    )
    text_option(sample, "--stop", metavar="TEXT", help="end after this text")
    sample.add_argument(
        "--seed", type=number(int), metavar="N", help="the same seed gives the same text (default: the model's)"
    )
    text_option(
        sample,
        "--unknown",
        default="error",
        metavar="HOW",
        help="unknown characters or words of --prime: error, skip, or a replacement",
    )
    sample.add_argument("--allow-unknown", action="store_true", help="allow a model of words to generate <unk>")
    sample.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute")
    sample.set_defaults(run=_sample)

    score = commands.add_parser(
        "score",
        help="evaluate how well a model predicts a text",
        description="Print how well a saved language model predicts a text file, in nats and bits per character, byte or word.",
    )
    score.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a trained model")
    score.add_argument("file", type=pathlib.Path, metavar="FILE", help="text file; - for standard input")
    score.add_argument("--encoding", default="utf-8", metavar="NAME", help="of the text file")
    text_option(
        score,
        "--unknown",
        metavar="HOW",
        help="unknown characters or words: error, skip, or a replacement (default: error; words: <unk>)",
    )
    score.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute")
    score.set_defaults(run=_score)


def _demo(options):
    check_writable(options.output)
    text = python_reference()
    print(
        f"The text: {len(text):,} characters of Python's language reference. The net: one LSTM layer of 192 units.",
        flush=True,
    )
    lm = CharLM("lstm", 192, 1, init="keras", n_threads=options.threads, device=options.device)
    show = _Show(lm, options.seconds)
    # Unlimited patience: the time limit ends training, with the weights of the best epoch.
    lm.fit(
        text, 10**6, optimizer=RMSprop(learning_rate=4e-3), seconds=options.seconds, patience=10**6, callbacks=[show],
        verbose=1,
    )  # fmt: skip
    lm.save(options.output)
    if lm.history.stopped == "interrupted":
        print(f"\nsaved {options.output}")
        return 130
    lm = load_language_model(options.output, options.device)
    print(f"\nThe model was saved to {options.output}; loaded from there, it generates:\n")
    print(_indent("The " + lm.sample(600, prime="The ", temperature=0.6, seed=2)))
    print(f"\nGenerate more:  numbarnn sample {options.output} --prime 'The ' --temperature 0.6")
    return 0


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


class _Vocabulary(Callback):
    """Says at the start which words a model knows, and how much of the text the others are."""

    def __init__(self, lm, text):
        self.lm, self.text = lm, text

    def on_train_begin(self, trainer):
        vocabulary, pieces = self.lm.vocabulary, split_words(self.text)
        words, unknown = set(pieces), [piece for piece in pieces if piece not in vocabulary]
        if unknown:
            trainer.say(
                f"{len(words) - len(set(unknown)):,} of {len(words):,} words are known to the model; the others, "
                f"{len(unknown) / len(pieces):.2%} of the text, are <unk>"
            )


def _train(options):
    if options.file == DASH and options.output is None:
        raise UserError("name the model's file with -o MODEL: the text comes from standard input, which has no name")
    output = options.output or options.file.with_suffix(".safetensors")
    if output == options.file:
        raise UserError(f"the model would replace the text {str(output)!r}; name another file with -o")
    for path in (output, options.checkpoint):
        check_writable(path)
    if options.resume and options.checkpoint is None:
        raise UserError("--resume needs --checkpoint, the file to resume from")
    if options.resume_from:
        lm = load_language_model(options.resume_from, options.device)
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
    text = read_text(options.file, options.encoding, lm.unit)
    lm.fit(
        text, options.epochs, batch_size=options.batch_size, seq_length=options.seq_length,
        validation=options.validation, optimizer=RMSprop(learning_rate=options.learning_rate),
        patience=options.patience, checkpoint=options.checkpoint, resume="auto" if options.resume else False,
        verbose=0 if options.quiet else 1, callbacks=[_Vocabulary(lm, text)] if lm.unit == "word" else (),
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
    lm = load_language_model(options.model, options.device)
    prime = options.prime
    if options.prime_file is not None:
        prime = read_text(options.prime_file, options.encoding, "character")
    pieces = lm.stream(
        options.length, prime, options.temperature, options.top_k, options.top_p, options.stop, options.seed,
        unknown=options.unknown, allow_unknown=options.allow_unknown,
    )  # fmt: skip
    _say_unknown(lm, prime, options.unknown, "the prime")
    terminal = sys.stdout.isatty()
    out = sys.stdout if terminal else raw_output()  # files get the text as it is
    out.write(prime)
    for piece in pieces:
        out.write(piece)
        if terminal:
            out.flush()
    out.write("\n")
    out.flush()


def _score(options):
    lm = load_language_model(options.model, options.device)
    print_score(lm, read_text(options.file, options.encoding, lm.unit), options.unknown)


def print_score(lm, text, unknown=None) -> None:
    """Print how well a language model predicts a text."""
    score = lm.score(text, unknown=unknown)
    _say_unknown(lm, text, unknown, "the text")
    print(
        f"{score.nats:.4f} nats per {lm.unit}, {score.bits:.4f} bits, perplexity {score.perplexity:.3f}, "
        f"over {score.tokens:,} {lm.vocabulary.units}"
    )
    if lm.unit != "character":
        print(f"{score.nats_per_character:.4f} nats per character, {score.bits_per_character:.4f} bits")
    if lm.unit == "word":
        print(f"{score.unknown_share:.2%} of the words are unknown to the model")


def _say_unknown(lm, text, unknown, where):
    """Say what of a text is left out, or replaced, since the model does not know it."""
    if unknown in (None, "error") or lm.unit == "byte":
        return
    count = sum(unit not in lm.vocabulary for unit in (split_words(text) if lm.unit == "word" else text))
    if count:
        how = "left out" if unknown == "skip" else f"replaced by {unknown!r}"
        units = lm.vocabulary.units if count > 1 else lm.unit
        say(f"{count:,} {units} of {where} {'are' if count > 1 else 'is'} unknown to the model, and {how}")


KINDS = {
    "Forecaster": "a forecaster: numbarnn predict MODEL FILE forecasts with it",
    "Model": "a plain model: numbarnn predict MODEL FILE predicts with it",
}


def load_language_model(path, device="cpu"):
    """Return the language model of a file; say what else it contains."""
    model = load_model(path, device)
    if not isinstance(model, LanguageModel):
        name = type(model).__name__
        kind = KINDS.get(name, f"a {name}: numbarnn predict MODEL FILE predicts with it")
        raise UserError(f"{str(path)!r} is not a language model, but {kind.replace('MODEL', str(path))}")
    return model


def read_text(path, encoding, unit):
    """Return a file's text, or its bytes for a model of bytes."""
    if path == DASH:
        file = source(path)
        check_encoding(encoding)
        try:
            text = file.read() if unit == "byte" else io.TextIOWrapper(file, encoding).read().removeprefix(BOM)
        except UnicodeError as error:
            raise not_this_encoding(file, encoding, error) from None
    else:
        text = path.read_bytes() if unit == "byte" else "".join(read_lines(path, encoding))
    if not text:
        raise UserError(f"{shown(path)} is empty: there is no text to read")
    return text


def _indent(text):
    return "\n".join(f"  | {line}" for line in text.splitlines())
