"""What the commands share: their help, types of arguments, and errors."""

import argparse
import re

from numbarnn.errors import printable


class UserError(Exception):
    """An error that the user can correct; shown without a traceback."""


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

    message = str(error.args[0] if isinstance(error, KeyError) else error)
    return re.sub(rf"\b({'|'.join(options)})=(\[[^\]]*\]|'[^']*'|[\w.]*)", option, message)
