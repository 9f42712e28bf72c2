"""What the commands share: errors, standard input and output, and what is said of them."""

import dis
import errno
import io
import os
import pathlib
import re
import sys

import numbarnn.io
from numbarnn.errors import ModelFileError, printable


class UserError(Exception):
    """An error that the user can correct; shown without a traceback."""


def raised_by_name(error: BaseException) -> bool:
    """Return whether an error comes from a ``raise`` of this package, as those of all checks of input do.

    What an expression raises, such as a missing key, or another package on what it was given, is a fault of the program, and its
    traceback is needed.
    """
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    own = frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]
    raised = dis.opname[frame.f_code.co_code[traceback.tb_lasti]] == "RAISE_VARARGS"
    return own and raised and not isinstance(error, AssertionError)


def message_of(error: BaseException) -> str:
    """Return the message of an error in one form: the text of a KeyError is the repr of its, an OSError's begins with a number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        if isinstance(error, FileNotFoundError):
            return f"there is no {os.fspath(error.filename)!r}"
        if isinstance(error, IsADirectoryError):
            return f"{os.fspath(error.filename)!r} is a folder, not a file"
        advice = "; check who owns it (ls -l)" if isinstance(error, PermissionError) else ""
        return f"{os.fspath(error.filename)!r}: {error.strerror}{advice}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.strerror} (standard output, or the disk of a file that is written)"
    if isinstance(error, MemoryError):
        return f"there is too little memory; try a smaller --batch-size or net ({error or 'MemoryError'})"
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    return re.sub("^(path|source): ", "", text)  # the argument of Python's function


def say(message) -> None:
    """Print a line for the user beside the output."""
    print(f"numbarnn: {printable(str(message))}", file=sys.stderr, flush=True)


class Printed:
    """Standard output of the commands: names and texts of files cannot command the terminal.

    Attributes
    ----------
    stream : text stream
        What is written to, without escapes.
    """

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, its control characters escaped."""
        return self.stream.write(printable(text))

    def __getattr__(self, name):
        return getattr(self.stream, name)


def raw_output():
    """Return standard output without escapes, for texts as they are."""
    return getattr(sys.stdout, "stream", sys.stdout)


# Files

DASH = pathlib.Path("-")


class StandardInput(io.BytesIO):
    """All of standard input, which can be read from its beginning again."""

    name = "standard input"


def source(path):
    """Return a path, or standard input for ``-``."""
    if path != DASH:
        return path
    if sys.stdin is None:
        raise UserError("standard input is closed; name a file, or pipe one in")
    if sys.stdin.isatty():
        say("reading from standard input until Ctrl-D")
    return StandardInput(sys.stdin.buffer.read())


def load_model(path, device="cpu"):
    """Return what `numbarnn.load` makes of a file; errors name the file."""
    try:
        return numbarnn.io.load(path, device)
    except ModelFileError as error:
        name = repr(os.fspath(path))
        raise UserError(f"{error}" if name in str(error) else f"{name}: {error}") from None


def shown(path) -> str:
    """Return how messages name a file."""
    return "standard input" if path == DASH or isinstance(path, StandardInput) else repr(os.fspath(path))


def check_writable(path) -> None:
    """Raise before hours of work rather than after them."""
    if path is None or path == DASH:
        return
    if path.is_dir():
        raise UserError(f"{str(path)!r} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"the folder {str(path.parent)!r} is not writable; choose another")
    if path.exists() and not path.is_file() and not os.access(path, os.W_OK):
        raise UserError(f"{str(path)!r} cannot be written to")


# Words of the command line


def as_options(error, names, renamed=None) -> str:
    """Return a message with options of the command, such as --missing 'ffill', in place of Python's arguments, missing='ffill'.

    An argument that is a word like others is one where a message begins with it: "dropout must be", "LSTM: dropout must be", "give
    difference or relative".

    names : iterable of str
        Arguments that are options of the command.
    renamed : dict, optional
        Options of another name than the argument.
    """
    options = {name: name for name in names} | (renamed or {})
    text = error if isinstance(error, str) else message_of(error)
    if "number_rows" in options:
        advice = r"Make the times regular \(data.asfreq, data.resample\) and treat what is then missing"
        text = re.sub(advice, "Add rows for the times that lack, their values empty, and pass --missing", text)
        text = re.sub(r"(number the rows): data\.reset_index\(drop=True\)", r"\1: --number-rows", text)
    if "lookback" in options:
        text = text.replace("or lookback, delay or horizon smaller", "or --lookback, --delay or --horizon smaller")
    if not options:
        return text

    def dashed(name):
        return f"--{options[name].replace('_', '-')}"

    def option(found):
        name, values = dashed(found[1]), found[2]
        several = re.findall(r"'[^']*'", values) if values.startswith("[") else [values]
        return " ".join(f"{name} {value}".rstrip() for value in several)

    known = "|".join(options)
    text = re.sub(rf"\b({known})=(\[[^\]]*\]|'[^']*'|\"[^\"]*\"|<\w+>|[\w.]*)", option, text)
    ends = r"(?:\[\d+\])?(?= must | is \d|, not both|, [^;]* needs )"
    begin = rf"^(?:\w+: )?((?:give )?)((?:(?:{known})(?: and | or |, ))*(?:{known})){ends}"
    if first := re.match(begin, text):
        rest = text[first.end() :].replace(", or None,", ",")  # an option is left out
        text = first[1] + re.sub(rf"\b({known})\b", lambda found: dashed(found[1]), first[2]) + rest
    several = [name for name in options if "_" in name]  # names that are not words of a sentence
    found = rf"(?<![-\w'])({'|'.join(several)})(?![\w'(])"
    return re.sub(found, lambda name: dashed(name[1]), text) if several else text
