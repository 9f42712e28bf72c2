"""The commands that look after files and machines: info, warmup, doctor."""

import json
import pathlib
import shutil
import sys
import time

from numbarnn.cli import convert, saved_forecaster
from numbarnn.cli.common import UserError, load_model
from numbarnn.cli.parser import names
from numbarnn.kernels import cache, prebuilt
from numbarnn.kernels.inventory import take_inventory
from numbarnn.kernels.levels import LEVELS
from numbarnn.language import LanguageModel


def add_commands(commands) -> None:
    """Add the commands to the subparsers of `numbarnn.cli.main`."""
    info = commands.add_parser(
        "info", help="describe a model file", description="Describe a model file, one of ONNX or Keras too."
    )
    info.add_argument("model", type=pathlib.Path, metavar="MODEL", help="file of a model")
    info.set_defaults(run=_info)

    warmup = commands.add_parser(
        "warmup",
        help="compile kernels ahead, for a fast first start",
        description="Compile kernels and store them on the disk, so that later processes start fast: all of the package, or what "
        "one saved model needs to predict, sample and score. With --level and --output for machines that compile nothing.",
    )
    warmup.add_argument(
        "model", type=pathlib.Path, nargs="?", metavar="MODEL", help="file of a model (default: everything)"
    )
    warmup.add_argument("--dtype", choices=("float32", "float64"), help="without MODEL (default: float32)")
    warmup.add_argument(
        "--level",
        action="append",
        choices=tuple(LEVELS),
        help="with --output: compile for all processors of a level instead of this one; may be given several times",
    )
    warmup.add_argument(
        "--output", type=pathlib.Path, metavar="FOLDER", help="with --level: what NUMBARNN_PREBUILT is set to elsewhere"
    )
    warmup.add_argument(
        "--only", type=names, metavar="STEP,...", help="without MODEL: only these of the steps, as they are printed"
    )
    warmup.set_defaults(run=_warmup)

    doctor = commands.add_parser(
        "doctor",
        help="look for what is wrong with this machine or installation",
        description="Print processor, threads, caches of compiled kernels and versions, and for every problem what to do. The exit "
        "status is 1 if something will not work.",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=_doctor)


def _info(options):
    model = convert.read(options.model)
    if isinstance(model, saved_forecaster.Forecaster):
        model = saved_forecaster.describe(model)
    if isinstance(model, LanguageModel):
        print(
            f"{model.unit} model ({model.cell}), {len(model.vocabulary):,} {model.vocabulary.units}{_shown(model.vocabulary)}"
        )
        model = model.model
    if hasattr(model, "get_params"):  # an estimator
        labels = getattr(model, "classes_", ())
        shown = (
            ", ".join(map(repr, labels[:10].tolist())) + (", ..." if len(labels) > 10 else "") if len(labels) else ""
        )
        print(f"{model}{f', {len(labels):,} labels: {shown}' if shown else ''}")
        model = model.model_
    print(model.summary())


def _warmup(options):
    from numbarnn.cli import prebuild

    if options.model is not None and options.dtype is not None:
        raise UserError("--dtype cannot be combined with MODEL: a saved model has its own")
    if options.model is not None and options.only is not None:
        raise UserError("--only cannot be combined with MODEL, of which all is compiled")
    if (options.level is None) != (options.output is None):
        raise UserError("--level and --output go together: kernels of a level go to a folder of their own")
    if options.level is not None:
        prebuild.fill(options.output, options.level, options.model, options.dtype, options.only)
        return
    if cache.writable_directory() is None:
        raise UserError("there is no folder for compiled kernels; set NUMBA_CACHE_DIR to a writable one")
    level, everything = prebuilt.chosen().level, options.model is None and options.only is None
    if everything and level is not None:
        prebuild.add_native(level, options.dtype)
        return
    compile_all(options.model, options.dtype, options.only)
    if everything:
        prebuilt.mark_native(cache.writable_directory())


def compile_all(model, dtype, only) -> None:
    """Compile or load all kernels, those of some steps, or those of a saved model, and say so.

    Parameters
    ----------
    model : path, optional
    dtype : str, optional
    only : list of str, optional
        Names of steps.
    """
    from numbarnn.cli import warmup

    everything = model is None
    steps = warmup.warm_everything(dtype or "float32", only) if everything else warmup.warm_model(load_model(model))
    before = sum(take_inventory(path).kernels for path in cache.cache_directories())
    progress = Compiling(warmup.KERNELS if everything and not (only or before) else None)
    with progress:
        for step in steps:
            progress.step(step)
    print(f"{progress.compiled} kernels compiled in {progress.seconds:.1f} s")
    for path in cache.cache_directories():
        if kept := take_inventory(path).kernels:
            print(f"{kept} kernels for this processor are stored in {path}")


class Compiling:
    """Context manager that shows how many kernels are compiled: a line for each step, and on a terminal one that counts.

    Parameters
    ----------
    total : int, optional
        About how many there are to compile.
    """

    def __init__(self, total=None):
        self.total, self.compiled, self.shown = total, 0, False
        self.started = time.perf_counter()
        self.live = sys.stderr is not None and sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.perf_counter() - self.started

    def __enter__(self):
        cache.on_compile.append(self._count)
        return self

    def __exit__(self, *error):
        cache.on_compile.remove(self._count)
        self._clear()

    def _count(self, folder):
        self.compiled += 1
        if self.live:
            columns = shutil.get_terminal_size().columns
            print(
                f"\r{f'compiling {self.counted()}':<{columns - 1}.{columns - 1}}", end="", file=sys.stderr, flush=True
            )
            self.shown = True

    def _clear(self):
        if self.shown:
            print(f"\r{'':<{shutil.get_terminal_size().columns - 1}}\r", end="", file=sys.stderr, flush=True)
            self.shown = False

    def counted(self) -> str:
        """Return how many kernels are compiled, of how many, and how long that took and will take."""
        if self.total is None or self.compiled > self.total:
            return f"kernel {self.compiled}, {self.seconds:.0f} s"
        left = self.seconds / max(self.compiled, 1) * (self.total - self.compiled)
        return f"kernel {self.compiled} of about {self.total}, {self.seconds:.0f} s, {left:.0f} s left"

    def step(self, step) -> None:
        """Show a step that has ended."""
        self._clear()
        wide = shutil.get_terminal_size().columns
        line = f"{step.name:<{min(32, wide - 24)}} {step.compiled:>3} compiled {step.seconds:>7.2f} s"
        if wide >= 78 and self.compiled and self.total is not None:
            line += f"   {min(self.compiled, self.total)} of about {self.total}"
        elif wide >= 78:
            line += f"   step {step.number} of {step.steps}"
        print(line, flush=True)


def _doctor(options):
    from numbarnn.cli import doctor

    report = doctor.examine()
    print(json.dumps(report, indent=2) if options.json else doctor.text(report))
    return 0 if doctor.works(report) else 1


def _shown(vocabulary):
    """Return the text of `info` on a vocabulary."""
    if vocabulary.unit == "word":
        return f" including the unknown ones, first {', '.join(map(repr, vocabulary.words[:12]))}"
    return f": {vocabulary.characters!r}" if vocabulary.unit == "character" else ""
