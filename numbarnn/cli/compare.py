"""The command that compares engines: its options, and where the programs are that it runs, in `benchmarks/` of a clone."""

import argparse
import importlib.util
import pathlib
from typing import Any

import numbarnn
from numbarnn.cli.common import UserError
from numbarnn.cli.parser import positive

PROGRAM = pathlib.Path(numbarnn.__file__).resolve().parent.parent / "benchmarks" / "compare.py"
LEAST_ROUNDS = 6  # of fewer values there is no 95 % interval of the median


def add_command(commands: Any) -> None:
    """Add the command to the subparsers of `numbarnn.cli.main`."""
    parser = commands.add_parser(
        "compare",
        help="measure this machine's engines side by side",
        description="Measure numbarnn beside torch, ONNX Runtime, OpenVINO, Keras and JAX, those that are installed: outputs are "
        "compared first, then all take turns. Ratios above 1: numbarnn is faster. Needs a clone of numbarnn.",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD",
        help="scenarios (bptt, forward, stream, ragged, epoch, target, startup), engines, cells (LSTM, GRU, RNN) or sizes "
        "(C,H,N,T) (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--threads",
        type=positive(int),
        nargs="+",
        default=[2, 1],
        metavar="N",
        help="of every engine (default: 2, then 1)",
    )
    parser.add_argument(
        "--minutes", type=positive(float), metavar="M", help="what the run may take (default: as it needs)"
    )
    parser.add_argument("--rounds", type=_rounds, default=11, metavar="N", help="of every row")
    parser.add_argument("--estimate", action="store_true", help="say how long it would take, and measure nothing")
    parser.add_argument("--resume", action="store_true", help="go on with a run of today that was ended")
    parser.add_argument(
        "--output", type=pathlib.Path, metavar="FILE",
        help="of the raw samples (default: one for each machine, day and state of the sources in benchmarks/results/)",
    )  # fmt: skip
    parser.add_argument(
        "--report", type=pathlib.Path, nargs="+", metavar="FILE", help="show the tables of samples, and measure nothing"
    )
    parser.add_argument(
        "--markdown", type=pathlib.Path, nargs="*", metavar="PAGE",
        help="tables for the documentation, with all intervals; in PAGE between <!-- compare --> and <!-- end -->, "
        "means between <!-- compare means --> and <!-- end -->",
    )  # fmt: skip
    parser.set_defaults(run=_compare)


def _rounds(text):
    count = positive(int)(text)
    if count < LEAST_ROUNDS:
        raise argparse.ArgumentTypeError(f"must be at least {LEAST_ROUNDS}, for 95 % intervals, got {text}")
    return count


def _compare(options):
    if not (PROGRAM.is_file() and (PROGRAM.parent / "comparison").is_dir()):
        raise UserError(
            f"there is no {str(PROGRAM)!r}: comparing needs a clone of numbarnn; clone it, run pip install -e '.[bench]' "
            "torch keras jax in it, and numbarnn compare"
        )
    spec = importlib.util.spec_from_file_location("compare", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program.run(options)
