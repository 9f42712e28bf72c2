"""The command that writes models as machine code or C source."""

import pathlib

import numbarnn
from numbarnn.cli.common import UserError, check_writable
from numbarnn.cli.convert import net_of, read, say_left_out
from numbarnn.cli.parser import names
from numbarnn.errors import FreezeError
from numbarnn.kernels.levels import LEVELS
from numbarnn.words import did_you_mean


def add_command(commands) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "freeze",
        help="write a model as code that needs no Python: a library, C source, or a package of NumPy alone",
        description="Write a model as code that runs without numbarnn. The ending of the name says as what: .so: a shared library "
        "with its header, .c: C99 source with its header, any other: a folder that pip installs, which needs NumPy alone. The "
        "model may be a file of numbarnn, ONNX or Keras.",
    )
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a model")
    parser.add_argument("-o", "--output", metavar="PATH", required=True, help="file or folder to write")
    parser.add_argument("--name", default="model", help="what functions' names begin with, and name of the package")
    parser.add_argument(
        "--levels",
        type=names,
        metavar="LEVEL,...",
        help=f"processors that a library has code for, of {','.join(LEVELS)} (default: all)",
    )
    parser.set_defaults(run=run, renamed={"path": "output"})


def run(options) -> int:
    """Run the command."""
    path = pathlib.Path(options.output)
    if path.suffix in (".so", ".c"):
        check_writable(path)
    if options.levels is not None:
        _check_levels(options.levels, path)
    loaded = read(options.model)
    try:
        written = numbarnn.freeze(net_of(loaded), options.output, levels=options.levels, name=options.name)
    except FreezeError as error:
        raise UserError(error) from None
    say_left_out(loaded, options.model, "frozen")
    header = f" and {written.with_suffix('.h')}" if written.suffix in (".so", ".c") else ""
    print(f"Wrote {written}{header}.")
    return 0


def _check_levels(levels, path):
    """Raise before the model is read."""
    from numbarnn.frozen.library import check_levels

    if path.suffix == ".c":
        raise UserError("--levels goes with libraries: C source is compiled for a processor by its own compiler")
    known = check_levels(None)
    for level in levels:
        if level not in known:
            raise UserError(f"--levels must be some of {','.join(known)}, got {level!r}{did_you_mean(level, known)}")
