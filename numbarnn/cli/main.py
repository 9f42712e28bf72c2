"""The command line: train a language model, generate text, score a text; forecast; look after compiled kernels."""

import argparse
import contextlib
import os
import sys
import warnings

from numbarnn.__about__ import __version__
from numbarnn.cli import forecast, language, machine
from numbarnn.cli.common import AMBIGUOUS, Printed, UserError, message_of, raised_by_name
from numbarnn.errors import DeviceError, TokenError, printable


def main(arguments=None) -> int:
    """Run the command line; return the exit status: 0, 1 (the run failed), 2 (wrong arguments) or 130 (Ctrl-C).

    What the user can correct is one line. An error that no check of the package raised is a fault of the program, and goes on.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters that the encoding lacks, and lone surrogates
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = lambda message, *_, **__: _say(message)
    try:
        with contextlib.redirect_stdout(Printed(sys.stdout)):
            return options.run(options) or 0
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of the output (head, less) has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TokenError as error:
        hint = " (here: --unknown skip)" if hasattr(options, "unknown") else ""
        _say(f"{error}{hint}")
        return 1
    except FileNotFoundError as error:
        _say(f"there is no {error.filename!r}" if error.filename else error)
        return 1
    except (UserError, DeviceError, OSError, MemoryError) as error:
        _say(error)
        return 1
    except AMBIGUOUS as error:
        if not raised_by_name(error):
            raise
        _say(message_of(error))
        return 1


def _say(message):
    print(f"numbarnn: {printable(str(message))}", file=sys.stderr)


def _parser():
    parser = argparse.ArgumentParser(
        prog="numbarnn",
        description="Recurrent nets compiled by Numba: train a language model, generate text, score texts.",
    )
    parser.add_argument("--version", action="version", version=f"numbarnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    language.add_commands(commands)
    forecast.add_commands(commands)
    machine.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
