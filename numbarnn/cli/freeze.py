"""The command that writes models as machine code or C source."""

import pathlib

import numbarnn
from numbarnn.cli.common import UserError, check_writable
from numbarnn.cli.convert import read
from numbarnn.errors import FreezeError
from numbarnn.kernels.levels import LEVELS


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
        "--levels", metavar="LIST", help=f"processors that a library has code for, of {','.join(LEVELS)} (default: all)"
    )
    parser.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    path = pathlib.Path(options.output)
    if path.suffix in (".so", ".c"):
        check_writable(path)
    levels = None if options.levels is None else [level.strip() for level in options.levels.split(",")]
    try:
        written = numbarnn.freeze(read(options.model), options.output, levels=levels, name=options.name)
    except FreezeError as error:
        raise UserError(error) from None
    header = f" and {written.with_suffix('.h')}" if written.suffix in (".so", ".c") else ""
    print(f"Wrote {written}{header}.")
    return 0
