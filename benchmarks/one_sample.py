"""One sample, or few, through wide layers by several threads: numbarnn beside its peers, as `compare.py` measures.

Run it as ``python benchmarks/one_sample.py``; ``--help`` has the options. Without disturbance it takes two minutes.
"""

import argparse
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from compare import compare  # noqa: E402
from comparison import machine, plan  # noqa: E402
from comparison.cases import Case  # noqa: E402
from comparison.engines import ENGINES, OWN, Participant, installed, participants  # noqa: E402
from comparison.rows import Engines, Settings  # noqa: E402
from comparison.store import Store  # noqa: E402
from comparison.worker import Process  # noqa: E402

INPUTS = 64
RESERVE = 0.85  # of the minutes, as in `compare`


def todo(options) -> list[tuple[Case, list[Participant]]]:
    """Return the rows, forward and with BPTT, and who takes part in each."""
    engines = [name for name in installed() if not options.engines or name in options.engines]
    found = []
    for cell in options.cells:
        for hidden in options.hidden:
            for scenario in ("forward", "bptt"):
                size = INPUTS, hidden, options.samples, options.steps
                found.append((Case(scenario, cell, size, options.threads), participants(scenario, engines)))
    return found


def main(arguments=None):
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["LSTM"])
    parser.add_argument("--hidden", nargs="+", type=int, default=[128, 256, 512, 1024])
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), help="default: all that are installed")
    options = parser.parse_args(arguments)
    rows, started = todo(options), time.perf_counter()
    processes = Engines(lambda participant: Process(participant.engine, participant.variant))
    try:
        limit = processes.of("limit", Participant(OWN)).ask(do="limit", threads=1, seconds=0.1)
        settings = plan.fitted(rows, Settings(), limit["gflops"] / limit["share"], RESERVE * 60 * options.minutes)
        about = machine.fingerprint(
            sorted({name for each in installed() for name in ENGINES[each].distributions} - {OWN})
        )
        with tempfile.TemporaryDirectory() as folder:
            store = Store(
                pathlib.Path(folder) / "rows.jsonl", about, {"rounds": settings.rounds, "seed": settings.seed}
            )
            compare(rows, store, processes, settings, repeats=0)
    finally:
        processes.close()
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
