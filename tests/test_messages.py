"""What public callables say of wrong arguments: one line of this package that names the wrong one before any other."""

import importlib.util
import pathlib
import re
import traceback

import calls
import pytest

import numbarnn
from numbarnn.errors import DivergedError

HOME = str(pathlib.Path(numbarnn.__file__).parent)
SHARE = 0.97  # of the refusals; which of two arguments that contradict each other is the wrong one is not always known
# What has no arguments, what is returned, what registers, and bases of the user's own classes.
APART = {
    "Batch", "Diagnosis", "DistributionLoss", "GradientCheck", "GradientFlow", "Jacobian", "LabelErrors", "Loss",
    "MeanAbsoluteError", "MeanSquaredError", "Optimizer", "PointwiseLoss", "PosteriorAlignment", "Schedule", "StepRecord", "Trace",
    "Unfolded", "Verdict", "loss", "optimizer", "optimizer_with", "python_reference", "schedule", "step",
    "step_many",
}  # fmt: skip
if importlib.util.find_spec("pyarrow") is None:
    APART |= {"ParquetSource"}


@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments_are_named(tmp_path):
    refused, others = 0, []
    for call in calls.every(tmp_path):
        call.function(**call.arguments)
        names = re.compile(rf"(?<![\w.])({'|'.join(call.arguments)})(?!\w)")
        for name in call.arguments:
            for what, value in calls.BAD.items():
                try:
                    call.function(**call.arguments | {name: value})
                    continue
                except DivergedError:
                    continue  # of a learning rate of 2**70, which is right
                except Exception as error:
                    *_, last = traceback.extract_tb(error.__traceback__)
                    text = str(error)
                    said = f"{call.name}({name}={what}): {type(error).__name__}: {text} ({last.filename}:{last.lineno})"
                assert last.filename.startswith(HOME), f"not an error of this package: {said}"
                assert "\n" not in text, f"more than a line: {said}"
                refused += 1
                found = names.search(text)
                if found is None or found[1] != name:
                    others.append(said)
    assert refused > 15_000
    assert len(others) <= (1 - SHARE) * refused, "\n".join(others)


def test_all_public_callables_are_in_the_table(tmp_path):
    modules = (numbarnn, *(getattr(numbarnn, name) for name in ("data", "diagnostics", "losses", "metrics", "optim")))
    public = {name for module in modules for name in module.__all__ if callable(getattr(module, name))}
    assert public - APART == {call.name.partition(".")[0] for call in calls.every(tmp_path)} & public
