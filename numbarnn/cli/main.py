"""The command line: train a language model, generate text, score a text; forecast; predict; look after compiled kernels."""

import contextlib
import os
import signal
import sys
import threading
import warnings

from numbarnn.__about__ import __version__
from numbarnn.cli import compare, convert, forecast, freeze, language, machine, predict
from numbarnn.cli.common import Printed, UserError, as_options, raised_by_name, say
from numbarnn.cli.parser import Parser
from numbarnn.errors import DeviceError

# Arguments of Python's functions that are options of another name; a command may have more, as `renamed`.
RENAMED = {"format": "time_format", "n_threads": "threads"}

EXAMPLES = """examples:
  numbarnn demo
  numbarnn train book.txt
  numbarnn sample book.safetensors
  numbarnn forecast load.csv
  numbarnn predict load.st new.csv

numbarnn COMMAND --help says more."""


class Termination:
    """Context manager that lets SIGTERM and SIGHUP do what Ctrl-C does, where they would have ended the process.

    Attributes
    ----------
    status : int
        Exit status of what was interrupted.
    """

    def __init__(self):
        self.number, self.before = None, {}

    @property
    def status(self) -> int:
        """128 and the number of the signal, as shells say it."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():  # no other may set handlers
            return self
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                self.before[number] = signal.signal(number, self._end)
        # A shell has its background jobs ignore Ctrl-C; what ends them must reach those who put Ctrl-C off all the same.
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            self.before[signal.SIGINT] = signal.signal(signal.SIGINT, self._ignore)
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _end(self, number, frame):
        self.number = number
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)

    def _ignore(self, number, frame):
        if self.number is not None:
            raise KeyboardInterrupt


def main(arguments=None) -> int:
    """Run the command line; return the exit status.

    0: done, also where the reader of the output (head, less) has closed it. 1: the run failed. 2: wrong arguments, which end in
    SystemExit as those of `argparse` do. 130: Ctrl-C; 143: SIGTERM.

    What the user can correct is one line. An error that no check of the package raised is a fault of the program, and goes on.
    """
    streams = sys.stdout, sys.stderr
    for stream in streams:
        if hasattr(stream, "reconfigure"):  # characters that the encoding lacks, and lone surrogates
            stream.reconfigure(errors="backslashreplace")
    out = sys.stdout if sys.stdout is not None else open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    with Termination() as termination, warnings.catch_warnings():
        options = None
        try:
            try:
                parser = _parser()
                options = parser.parse_args(arguments)
                if options.command is None:
                    parser.print_help()
                    return 2
                warnings.filterwarnings("default", category=UserWarning)
                warnings.showwarning = lambda message, *_, **__: say(_as_options(str(message), options))
                with contextlib.redirect_stdout(Printed(out)):
                    status = options.run(options) or 0
                return termination.status if status == 130 else status
            finally:
                out.flush()
        except KeyboardInterrupt:
            say("interrupted" if termination.number is None else "terminated")
            return termination.status
        except BrokenPipeError:
            _discard_output()
            return 0
        except SystemExit:
            raise
        except Exception as error:
            known = isinstance(error, (UserError, DeviceError, OSError, MemoryError))
            if isinstance(error, ImportError) and error.name is not None:
                known = not error.name.startswith("numbarnn")
                error.msg = f"{error}; numbarnn doctor says what is missing"
            if not known and not raised_by_name(error):
                raise
            if isinstance(error, OSError) and error.errno is not None and error.filename is None:
                _discard_output()  # a full disk, which would be told of once more at the end
            say(_as_options(error, options))
            return 1


def _as_options(error, options):
    """Return a message with the options of the command."""
    given = {} if options is None else vars(options)
    names = [name for name in given if name not in ("command", "run", "renamed", "model", "file")]
    return as_options(error, names, RENAMED | given.get("renamed", {}))


def _discard_output():
    """Let what is left of the output go nowhere: it would be written at the end of the process, and fail again."""
    # A stream that is closed, or not one of the system: nothing is left of it to be written.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser():
    parser = Parser(
        prog="numbarnn",
        description="Recurrent nets compiled by Numba: language models of texts, forecasts of time series, and predictions by "
        "saved models.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"numbarnn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    language.add_commands(commands)
    forecast.add_command(commands)
    predict.add_command(commands)
    convert.add_command(commands)
    freeze.add_command(commands)
    machine.add_commands(commands)
    compare.add_command(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
