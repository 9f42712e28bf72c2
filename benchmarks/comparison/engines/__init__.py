"""The engines: what each takes part in. A module of this folder has a function for each of its scenarios.

A function takes a `Case` and returns `Prepared`: `call` is what is timed, public calls of the engine alone; `outputs` turns what a
call returned into arrays that are compared between engines before anything is timed, {name: array} in torch's names, shapes and
order of gates, outputs as (samples, time steps, features). A participant is an engine in one variant, in a process of its own.
"""

import dataclasses
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

OWN = "numbarnn"
AGAIN = "numbarnn again"


class Prepared(NamedTuple):
    """What is timed, and what makes its results comparable.

    `once`: a call is a whole measurement and returns its time in seconds, its result, and the peak memory in MB of a process of its
    own, if it has one. `each`: calls are steps of a stream, of which the 99th percentile is reported, too.
    """

    call: Callable[[], Any]
    outputs: Callable[[Any], dict[str, Any]]
    once: bool = False
    each: bool = False


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine: its distributions, of which the first gives the version, and its variants by scenario."""

    distributions: tuple[str, ...]
    scenarios: dict[str, tuple[str, ...]]
    packages: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether all that it needs can be imported."""
        names = self.packages or self.distributions
        return all(importlib.util.find_spec(name) is not None for name in names)


def walk(step: Callable[[Any], Any], xs) -> Callable[[], Any]:
    """Return a call that takes the next step of a stream, its inputs repeated."""
    inputs = itertools.cycle(list(xs))
    return lambda: step(next(inputs))


def _plain(*scenarios):
    return dict.fromkeys(scenarios, ("",))


ENGINES = {
    OWN: Engine(("numbarnn",), _plain("bptt", "forward", "stream", "ragged", "epoch", "target", "startup")),
    "torch": Engine(
        ("torch",),
        _plain("bptt", "forward", "stream", "epoch", "target", "startup") | {"ragged": ("padded", "packed")},
    ),
    "onnxruntime": Engine(("onnxruntime", "onnx"), _plain("forward", "stream", "startup")),
    "openvino": Engine(("openvino", "onnx"), _plain("forward", "stream", "startup")),
    "keras": Engine(("keras",), _plain("forward", "epoch", "target")),
    "jax": Engine(("jax",), _plain("bptt", "forward", "stream")),
}
INSTALL = "pip install torch onnx onnxruntime openvino keras jax"


class Participant(NamedTuple):
    """An engine of a row in one variant; `again` tells the second process of numbarnn from the first."""

    engine: str
    variant: str = ""
    again: bool = False

    @property
    def label(self) -> str:
        """How tables and samples name it."""
        return AGAIN if self.again else f"{self.engine} {self.variant}".rstrip()


def participants(scenario: str, engines) -> list[Participant]:
    """Return who takes part in a scenario: numbarnn, numbarnn again (the A/A row), and peers."""
    found = [Participant(OWN), Participant(OWN, again=True)]
    for name in engines:
        if name != OWN:
            found += [Participant(name, variant) for variant in ENGINES[name].scenarios.get(scenario, ())]
    return found


def installed() -> list[str]:
    """Return the engines of this machine; Keras needs a backend that is not TensorFlow, torch or JAX."""
    found = [name for name, engine in ENGINES.items() if engine.installed]
    if not {"torch", "jax"} & set(found):
        found = [name for name in found if name != "keras"]
    return found
