"""The command that converts model files from and to those of other packages."""

import pathlib
from typing import Any

from numbarnn import interop
from numbarnn.cli.common import UserError, check_writable, load_model, say
from numbarnn.cli.parser import number
from numbarnn.errors import InteropError
from numbarnn.interop.onnx.save import OPSETS
from numbarnn.interop.refusal import PICKLES
from numbarnn.model import Model

FOREIGN = {".onnx": interop.from_onnx, ".keras": interop.from_keras}


def add_command(commands) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "convert",
        help="convert a model file from or to ONNX or Keras",
        description="Convert a model file: the endings of the names say from and to what. .onnx: ONNX, .keras: Keras 3, all "
        "others: numbarnn. A conversion is exact or it is refused, and nothing in a file is run. Models of torch are converted in "
        "Python (numbarnn.interop.from_torch, to_torch).",
    )
    parser.add_argument("model", type=pathlib.Path, metavar="IN", help="file of a model")
    parser.add_argument("file", type=pathlib.Path, metavar="OUT", help="file to write")
    parser.add_argument(
        "--opset", type=number(int), default=OPSETS[0], metavar="N", help="of ONNX: version of the operators"
    )
    parser.add_argument("--no-states", action="store_true", help="of ONNX: no states as inputs and outputs")
    parser.add_argument("--no-lengths", action="store_true", help="of ONNX: no input of lengths")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Run the command."""
    check_writable(options.file)
    kind = options.file.suffix.lower()
    if kind in (*PICKLES, ".h5", ".hdf5"):
        raise UserError(
            f"{options.file.name!r}: such files are not written; in Python, numbarnn.interop.to_torch and to_keras return modules "
            "and models that their packages save"
        )
    if kind != ".onnx" and (options.no_states or options.no_lengths or options.opset != OPSETS[0]):
        raise UserError("--opset, --no-states and --no-lengths are of ONNX: OUT must end in .onnx")
    loaded = read(options.model)
    model = net_of(loaded)
    try:
        if kind == ".onnx":
            states, lengths = not options.no_states, not options.no_lengths
            interop.to_onnx(model, options.file, opset=options.opset, states=states, lengths=lengths)
        elif kind == ".keras":
            interop.to_keras(model, options.file)
        else:
            model.save(options.file)
    except InteropError as error:
        raise _in_a_line(error) from None
    say_left_out(loaded, options.model, "converted")
    print(model.summary())
    print(f"\nWrote {options.file}.")
    return 0


def is_foreign(path: pathlib.Path) -> bool:
    """Return whether the name of a file says that it is another package's."""
    return path.suffix.lower() in (*FOREIGN, *PICKLES, ".h5", ".hdf5")


def read(path: pathlib.Path) -> Any:
    """Return the model of a file of any package; of one of numbarnn what `numbarnn.load` returns."""
    kind = path.suffix.lower()
    if kind in PICKLES:
        raise UserError(
            f"{path.name!r} is a pickle, which may run code when it is read; in Python, where you trust it: "
            "numbarnn.interop.from_torch(torch.load(path, weights_only=True), layers=[...])"
        )
    if kind in (".h5", ".hdf5"):
        raise UserError(
            f"{path.name!r} has weights and no description; in Python: numbarnn.interop.from_keras(path, layers=[...])"
        )
    if kind in FOREIGN:
        try:
            return FOREIGN[kind](path)
        except InteropError as error:
            raise _in_a_line(error) from None
    return load_model(path)


def net_of(loaded: Any) -> Model:
    """Return the net of what `read` returned."""
    return loaded if isinstance(loaded, Model) else getattr(loaded, "model_", None) or loaded.model


def say_left_out(loaded: Any, path: pathlib.Path, done: str) -> None:
    """Say what is not in the file that was written; after it, for nothing was done where a command ends with an error."""
    if not isinstance(loaded, Model):
        say(f"the net alone is {done}: vocabulary, labels, scales and settings stay in {path.name!r}")


def _in_a_line(error):
    """Return the error of a conversion with its reasons side by side."""
    if len(error.reasons) < 2:
        return UserError(error)
    return UserError(f"{str(error).splitlines()[0]} {'; '.join(error.reasons)}")
