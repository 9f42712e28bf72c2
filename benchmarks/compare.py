"""Compare numbarnn with the engines that are installed: what `numbarnn compare` runs; `numbarnn compare --help` has the options.

A run checks that every engine computes the same from the same weights, measures in rounds (every engine once, in an order drawn for
each round, each in a process of its own, the others stopped), and reports ratios taken within rounds, because the speed of a shared
machine changes from minute to minute and a ratio taken within a second or two does not.
"""

import datetime
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from comparison import machine, plan, report  # noqa: E402
from comparison.analysis import SLOW, analysed  # noqa: E402
from comparison.engines import ENGINES, INSTALL, OWN, Participant, installed  # noqa: E402
from comparison.rows import Engines, Settings, measure  # noqa: E402
from comparison.store import Store, last_rows  # noqa: E402
from comparison.worker import EngineError, Process  # noqa: E402

from numbarnn.cli.common import UserError  # noqa: E402

RESULTS = HERE / "results"
REPEATS = 2  # of rows that were disturbed, after all others
RESERVE = 0.85  # of the minutes go into the plan, the rest is for what was estimated too low and for repeats


def run(options) -> int:
    """Run the command with its options; return the exit status, 1 if an engine computed something else."""
    if options.report is not None:
        found = [last_rows(path) for path in options.report]
        for path, (_, rows) in zip(options.report, found, strict=True):
            if not rows:
                raise UserError(f"{str(path)!r} has no rows; name a file that numbarnn compare has written")
        _show(options, found)
        return 0
    engines = installed()
    missing = [name for name in ENGINES if name not in engines]
    if missing:
        print(f"not installed: {', '.join(missing)}; all of them: {INSTALL}")
    todo = plan.rows(plan.select(options.only), engines, tuple(dict.fromkeys(options.threads)))
    if not todo:
        raise UserError(f"--only {' '.join(options.only)}: nothing to measure with {', '.join(engines)}; {INSTALL}")
    settings = Settings(rounds=options.rounds)
    about = machine.fingerprint(sorted({name for engine in engines for name in ENGINES[engine].distributions} - {OWN}))
    path = (
        options.output or RESULTS / f"compare-{machine.label(about)}-{datetime.date.today()}-{about['sources']}.jsonl"
    )
    store = Store(path, about, {"rounds": settings.rounds, "seed": settings.seed})
    processes = Engines(lambda participant: Process(participant.engine, participant.variant))
    try:
        rows = compare(todo, store, processes, settings, options.minutes, options.resume, options.estimate)
    except EngineError as error:  # of numbarnn itself; what fails in others is left out and named
        raise UserError(str(error)) from error
    finally:
        processes.close()
    if options.estimate:
        return 0
    print(f"samples are in {path}")
    _show(options, [(about, rows)])
    return 1 if any(row["failed"] for row in rows) else 0


def compare(
    todo, store, processes, settings, minutes=None, resume=False, estimate=False, say=print, repeats=REPEATS
) -> list[dict]:
    """Measure rows, writing each to the disk; return all rows of this run, and with `resume` those of the runs that it continues.

    Parameters
    ----------
    todo : list of (Case, list of Participant)
    store : Store
    processes : Engines
    settings : Settings
    minutes : float, optional
        What the run may take. It chooses how long one participant is measured in one round; rows that begin later are left out.
    resume : bool
        Whether to leave out what is on the disk, by the same machine, software and settings.
    estimate : bool
        Whether to end after the estimate.
    say : callable
        Takes a line.
    repeats : int
        How many times disturbed rows are measured again, after all others.
    """
    started = time.perf_counter()
    done = {row.case.key: row.raw for row in analysed(store.measured().values()) if not row.disturbed} if resume else {}
    pending = [(case, some) for case, some in todo if not _has(done.get(case.key), some)]
    limit = processes.of("limit", Participant(OWN)).ask(do="limit", threads=1, seconds=0.1)
    if limit["share"] < SLOW:
        say(
            f"other processes leave this one only {limit['share']:.0%} of a processor: end them, or rows will be marked"
        )
    gflops = limit["gflops"] / limit["share"]
    if minutes is not None:
        settings = plan.fitted(pending, settings, gflops, RESERVE * 60 * minutes)
    expected = plan.seconds(pending, settings, gflops)
    kept = f", {len(todo) - len(pending)} kept from before" if len(pending) < len(todo) else ""
    say(
        f"{len(pending)} rows to measure{kept}: about {expected / 60:.1f} minutes "
        f"({settings.rounds} rounds, {settings.seconds:.2f} s for each engine in each)"
    )
    if estimate:
        return list(done.values())
    clock = _Clock(started, expected, None if minutes is None else 60 * minutes)
    for attempt in range(1 + repeats):
        for number, (case, some) in enumerate(pending):
            cost = plan.seconds_of_row(case, some, settings, gflops)
            if clock.over(cost):
                say(f"the time is over: {len(pending) - number} rows are left; --resume goes on with them")
                pending, repeats = pending[:number], attempt
                break
            row = measure(case, some, processes, settings)
            if case.scenario == "startup":
                row["installed"] = {label: machine.installed_bytes(label.split()[0]) for label in row["engines"]}
            store.add(row)
            done[case.key] = row
            clock.passed(cost)
            say(f"{report.line(row)}  {clock.left()}")
        wanted = {case.key for case, _ in pending}
        disturbed = {row.case.key for row in analysed(done.values()) if row.disturbed} & wanted
        pending = [(case, some) for case, some in pending if case.key in disturbed]
        if not pending:
            break
        say(
            f"{len(pending)} rows were disturbed by something else on this machine, and are "
            f"{'measured again' if attempt < repeats else 'marked'}"
        )
        if attempt >= repeats:
            break
    order = {case.key: number for number, (case, _) in enumerate(todo)}
    return sorted(done.values(), key=lambda row: order.get(row["key"], len(order)))


def _has(row, participants):
    """Return whether a row has measured, or left out, all of some participants."""
    return row is not None and {one.label for one in participants} <= {*row["engines"], *row["failed"]}


class _Clock:
    """How long a run has taken, and will take by what its estimate was worth so far."""

    def __init__(self, started, expected, limit):
        self.started, self.expected, self.limit = started, expected, limit
        self.planned = 0.0

    @property
    def spent(self):
        """Seconds since the beginning."""
        return time.perf_counter() - self.started

    @property
    def worth(self):
        """Seconds for one that was planned; a minute that went as planned is assumed before the first row."""
        return (self.spent + 60) / (self.planned + 60)

    def passed(self, cost):
        """Take note of a row that was planned to take `cost`."""
        self.planned += cost

    def over(self, cost):
        """Return whether a row that was planned to take `cost` would end after the limit."""
        return self.limit is not None and self.spent + cost * max(self.worth, 1.0) > self.limit

    def left(self):
        """Return how long the run has taken and how long the rest will."""
        rest = max(self.expected - self.planned, 0.0) * self.worth
        return f"[{self.spent / 60:.1f} min, {rest / 60:.1f} left]"


def _show(options, found):
    """Print tables, or write those of all machines into pages, where these have marks for them."""
    if options.markdown is None:
        for about, rows in found:
            print(f"\n{report.text(about, rows)}")
        return
    content = {
        "compare": "\n\n".join(report.markdown(about, rows) for about, rows in found),
        "compare means": "\n".join(report.sentence(about, rows) for about, rows in found),
    }
    if not options.markdown:
        print(content["compare"])
    for path in options.markdown:
        page = path.read_text("utf-8")
        marked = [name for name in content if f"<!-- {name} -->\n" in page]
        if not marked:
            raise UserError(f"{str(path)!r} has no line <!-- compare --> or <!-- compare means --> to write after")
        for name in marked:
            page = report.replace(page, name, content[name])
        path.write_text(page, "utf-8")


if __name__ == "__main__":
    from numbarnn.cli.main import main

    sys.exit(main(["compare", *sys.argv[1:]]))
