"""What the commands share: their help, types of arguments, and errors."""

import argparse
import dis
import re

from numbarnn.errors import printable


class UserError(Exception):
    """An error that the user can correct; shown without a traceback."""


# What the package's checks raise, and what faults of a program raise too.
AMBIGUOUS = (ArithmeticError, KeyError, TypeError, ValueError)


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
    return own and dis.opname[frame.f_code.co_code[traceback.tb_lasti]] == "RAISE_VARARGS"


def message_of(error: BaseException) -> str:
    """Return the message of an error; the text of a KeyError is the repr of its."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


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


class HelpFormatter(argparse.HelpFormatter):
    """Appends the default to the help of every option that has one and does not mention it."""

    def _get_help_string(self, action):
        said = "(default" in action.help or not (action.default or type(action.default) in (int, float))
        hidden = said or action.default is argparse.SUPPRESS
        return action.help if hidden else f"{action.help} (default: %(default)s)"


def positive(kind):
    """Return a type of arguments: a positive int or float."""

    def convert(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    convert.__name__ = "number" if kind is float else "integer"
    return convert


def as_options(error, names, renamed=None) -> str:
    """Return a message with options of the command, such as --missing 'ffill', in place of Python's arguments, missing='ffill'.

    names : iterable of str
        Arguments that are options of the command.
    renamed : dict, optional
        Options of another name than the argument.
    """
    options = {name: name for name in names} | (renamed or {})

    def option(found):
        name, values = f"--{options[found[1]].replace('_', '-')}", found[2]
        several = re.findall(r"'[^']*'", values) if values.startswith("[") else [values]
        return " ".join(f"{name} {value}".rstrip() for value in several)

    return re.sub(rf"\b({'|'.join(options)})=(\[[^\]]*\]|'[^']*'|[\w.]*)", option, message_of(error))
