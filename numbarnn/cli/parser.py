"""The parser of the command line: one line for every mistake, with the word that was probably meant."""

import argparse
import difflib
import re
import shutil
import sys

from numbarnn.errors import printable

# Words of other programs, and those that are used here.
COMMANDS = {
    "eval": "score", "evaluate": "score", "fit": "train", "generate": "sample", "help": "--help", "perplexity": "score",
    "infer": "predict", "show": "info", "summary": "info", "compile": "warmup", "check": "doctor", "version": "--version",
}  # fmt: skip
OPTIONS = {
    "--batch": "--batch-size", "--cuda": "--device", "--date": "--time", "--date-format": "--time-format",
    "--delimiter": "--sep", "--embedding": "--embedding-size", "--gpu": "--device", "--group": "--id", "--hidden": "--hidden-size",
    "--hidden-units": "--hidden-size", "--interval": "--level", "--jobs": "--threads", "--layers": "--num-layers",
    "--lr": "--learning-rate", "--max-epochs": "--epochs", "--model": "--cell", "--n-epochs": "--epochs",
    "--num-epochs": "--epochs", "--num-threads": "--threads", "--out": "--output", "--prefix": "--prime", "--prompt": "--prime",
    "--random-state": "--seed", "--separator": "--sep", "--series": "--id", "--silent": "--quiet", "--temp": "--temperature",
    "--units": "--hidden-size", "--val-split": "--validation", "--validation-split": "--validation", "--window": "--lookback",
    "--y": "--target",
}  # fmt: skip


class HelpFormatter(argparse.HelpFormatter):
    """Help with the default of every option that has one and does not mention it, and examples as they are written."""

    def __init__(self, prog):
        width = shutil.get_terminal_size().columns - 2
        super().__init__(prog, max_help_position=24 if width > 60 else 6, width=max(width, 30))

    def _get_help_string(self, action):
        said = "(default" in action.help or not (action.default or type(action.default) in (int, float))
        hidden = said or action.default is argparse.SUPPRESS
        return action.help if hidden else f"{action.help} (default: %(default)s)"

    def _fill_text(self, text, width, indent):
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Parser without abbreviations, whose errors are one line.

    Options of text take the next argument also where that begins with a dash, unless it is an option itself.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": HelpFormatter} | options)

    def error(self, message):
        """Print one line, and exit with status 2."""
        named = re.match(r"argument (?:.*/)?(--[\w-]+): expected one argument", message)
        if named and getattr(self._option_string_actions.get(named[1]), "text", False):
            message += f"; where it begins with a dash, write {named[1]}=-..."
        print(printable(f"{self.prog}: error: {message} ({self.prog} --help)"), file=sys.stderr)
        sys.exit(2)

    def format_help(self):
        """Return the help, with a usage of one line where there are many options."""
        positional = self._get_positional_actions()
        nested = any(isinstance(action, argparse._SubParsersAction) for action in positional)
        if self.usage is None and not nested and len(self._actions) - len(positional) > 1:
            shown = (f"[{a.metavar}]" if a.nargs == "?" else str(a.metavar) for a in positional)
            self.usage = " ".join(["%(prog)s [OPTIONS]", *shown])
        return super().format_help()

    def parse_args(self, arguments=None, namespace=None):
        """Return the options; an unknown one ends the program with the one that is most like it."""
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        names = next((action for action in self._actions if isinstance(action, argparse._SubParsersAction)), None)
        at = next((index for index, text in enumerate(arguments) if not text.startswith("-")), None)
        command = self
        if names is not None and at is not None and arguments[at] in names.choices:
            command = names.choices[arguments[at]]
            arguments[at + 1 :] = command._whole(arguments[at + 1 :])
        elif names is not None:
            self._whole(arguments if at is None else arguments[:at])
        options, left = super().parse_known_args(arguments, namespace)
        if left:
            command._unknown(left)
        return options

    def _whole(self, arguments):
        """Return the arguments of this command, those of options of text joined to them; refuse unknown options."""
        found, index = [], 0
        while index < len(arguments):
            text = arguments[index]
            index += 1
            if text == "--":
                return [*found, text, *arguments[index:]]
            name = text.partition("=")[0]
            action = self._option_string_actions.get(name)
            if action is None and name.startswith("--"):
                self._unknown([name])
            more = arguments[index] if index < len(arguments) else ""
            known = more == "--" or more.partition("=")[0] in self._option_string_actions
            if text == name and getattr(action, "text", False) and more.startswith("-") and not known:
                text = f"{name}={more}"
                index += 1
            found.append(text)
        return found

    def _unknown(self, left):
        names = [text for text in left if text.startswith("-") and text != "-"]
        if not names:
            self.error(f"one argument too many: {' '.join(map(_shown, left))}")
        name = names[0].partition("=")[0]
        self.error(f"there is no option {name}{self._meant(name)}")

    def _meant(self, name):
        known = [option for option in self._option_string_actions if option.startswith("--")]
        meant = OPTIONS.get(name)
        near = [meant] if meant in known else difflib.get_close_matches(name, known, 1, 0.6)
        near = near or [option for option in known if option.startswith(name) and len(name) > 3][:1]
        return f"; did you mean {near[0]}?" if near else ""

    def _check_value(self, action, value):
        if action.choices is None or value in action.choices:
            return
        known = list(map(str, action.choices))
        near = difflib.get_close_matches(str(value).lower(), known, 1) if len(known) > 3 else []
        if isinstance(action, argparse._SubParsersAction):
            near = [COMMANDS[value.lower()]] if value.lower() in COMMANDS else near
            hint = f"; did you mean {near[0]}?" if near else f"; there is {', '.join(known)}"
            self.error(f"there is no command {_shown(value)}{hint}")
        hint = f"did you mean {near[0]}? " if near else ""
        raise argparse.ArgumentError(action, f"{hint}must be one of {', '.join(known)}, got {_shown(value)}")


def text_option(parser, *names, **options):
    """Add an option of text, which may begin with a dash."""
    parser.add_argument(*names, **options).text = True


def positive(kind):
    """Return a type of arguments: a positive int or float."""

    def convert(text):
        value = number(kind)(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    return convert


def number(kind):
    """Return a type of arguments: an int or a float."""

    def convert(text):
        try:
            return kind(text)
        except ValueError:
            what = "a number, such as 0.5" if kind is float else "an integer"
            raise argparse.ArgumentTypeError(f"must be {what}, got {_shown(text)}") from None

    return convert


def names(text):
    """Return the names in a text, separated by commas."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"must be names with commas between them, such as a,b, got {_shown(text)}")
    return found


def _shown(text):
    text = repr(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
