"""The tables: for a terminal of 100 columns, and as Markdown for the documentation."""

import re
import textwrap
from typing import NamedTuple

from comparison import cases
from comparison.analysis import Row, analysed
from comparison.engines import AGAIN, ENGINES, OWN
from comparison.statistics import Interval, geometric_mean_interval

SIGNS = {"ahead": "+", "behind": "-", "even": "=", "": "*"}
SHORT = {"onnxruntime": "onnxrt"}
UNITS = {"stream": (1e6, "us"), "startup": (1, "s"), "target": (1, "s")}
SAID = {"bptt": "Forward + BPTT", "forward": "Forward", "stream": "One step of a stream"}  # in the README
WIDTH = 100
LEGEND = (
    "Medians of rounds. Ratios: a peer's time over numbarnn's, round by round; + ahead, - behind: the bootstrap 95 % interval "
    "excludes 1; = even; * disturbed: too few rounds near the machine's full speed, in no mean. A/A: a second process of "
    "numbarnn, whose interval must contain 1. Limit: the part of the multiply-adds in registers at which numbarnn's products run."
)


class Table(NamedTuple):
    """A table with its title and the names of its columns."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """Return it for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.columns))]
        shown = (
            "  ".join(
                f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )
        return "\n".join([self.title, *(line.rstrip() for line in shown)])

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join([f"{self.title}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def ratio(interval: Interval, full: bool) -> str:
    """Return a ratio with its sign, and if `full` with its interval."""
    if not interval.middle > 0:
        return ""
    bounds = f" ({interval.low:.2f}-{interval.high:.2f})" if full and interval.verdict else ""
    return f"{interval.middle:.2f}{bounds}{SIGNS[interval.verdict]}"


def tables(rows, full: bool) -> list[Table]:
    """Return the tables of all scenarios; `full`: with all intervals, which 100 columns cannot hold."""
    rows = analysed(rows)
    found = [summary(rows)] if rows else []
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case.scenario, row.case.cell, row.case.threads), []).append(row)
    special = {"startup": startup, "target": target, "stream": streams}
    sizes = [*cases.SIZES, *cases.STREAMS]
    for (scenario, cell, threads), group in groups.items():
        title = f"{cell}, {cases.SCENARIOS[scenario]}, {threads} thread{'s' * (threads > 1)}"
        # Rows that were measured again come last in a file.
        group.sort(key=lambda row: sizes.index(row.case.size) if row.case.size in sizes else len(sizes))
        if scenario == "stream":
            title = f"{cell}, {cases.SCENARIOS[scenario]}"
        found.append(special.get(scenario, passes)(title, group, full))
    return found


def _labels(group):
    """Return the labels of the peers of some rows, in the order of the engines."""
    names = {label for row in group for label in row.peers}
    return sorted(names, key=lambda label: (list(ENGINES).index(label.split()[0]), label))


def _short(label):
    return SHORT.get(label, label)


def passes(title: str, group: list[Row], full: bool) -> Table:
    """Return the table of batches, one row a size."""
    peers, scenario = _labels(group), group[0].case.scenario
    memory = scenario == "epoch"
    columns = ["C, H, N, T", "ms", "limit", "A/A", *map(_short, peers), "fastest"]
    columns = columns[:2] + ["MB"] + columns[2:] if memory else columns
    lines = []
    for row in group:
        fastest = row.fastest
        best = ratio(row.interval(fastest), full=True) if fastest else ""
        cells = [
            ", ".join(map(str, row.case.size)),
            f"{row.median() * 1e3:.3g}",
            f"{row.share:.0%}",
            ratio(row.interval(AGAIN), full),
            *(ratio(row.interval(label), full) for label in peers),
            best,
        ]
        lines.append(cells[:2] + [_memories(row, peers)] + cells[2:] if memory else cells)
    return Table(title, columns, lines)


def _memories(row, peers):
    """Return the peak memory of numbarnn's process and, after a slash, those of its peers."""
    engines = row.raw["engines"]
    return " / ".join(f"{engines[label]['memory']:.0f}" for label in (OWN, *peers) if label in engines)


def streams(title: str, group: list[Row], full: bool) -> Table:
    """Return the table of single steps: medians and 99th percentiles, and ratios of both."""
    peers = [AGAIN, *_labels(group)]
    columns = ["C, H", "p50, p99 us", *("A/A" if label == AGAIN else _short(label) for label in peers)]
    lines = []
    for row in group:
        found = [", ".join(ratio(row.interval(label, what), full) for what in ("seconds", "p99")) for label in peers]
        own = ", ".join(f"{row.median(OWN, what) * 1e6:.3g}" for what in ("seconds", "p99"))
        lines.append([", ".join(map(str, row.case.size[:2])), own, *found])
    return Table(f"{title}: medians and 99th percentiles", columns, lines)


def startup(title: str, group: list[Row], full: bool) -> Table:
    """Return the table of new processes, one row an engine: seconds, memory, sizes of the file and of the installation."""
    (row,) = group[-1:]
    installed = row.raw.get("installed", {})
    lines = []
    for label, about in row.raw["engines"].items():
        size = f"{installed[label] / 1e6:.0f}" if label in installed else ""
        shown = "" if label == OWN else ratio(row.interval(label), full=True)
        lines.append(
            [label, f"{row.median(label):.2f}", shown, f"{about['memory']:.0f}", f"{about['bytes'] / 1e3:.0f}", size]
        )
    return Table(title, ["engine", "s", "ratio", "peak MB", "model file, kB", "installed with all it needs, MB"], lines)


def target(title: str, group: list[Row], full: bool) -> Table:
    """Return the table of training to a validation loss, one row an engine."""
    (row,) = group[-1:]
    lines = []
    for label, about in row.raw["engines"].items():
        shown = "" if label == OWN else ratio(row.interval(label), full=True)
        lines.append(
            [
                label,
                f"{row.median(label):.2f}",
                shown,
                f"{about['epochs']}",
                f"{about['reached']:.3f}",
                f"{about['memory']:.0f}",
            ]
        )
    title = f"{title} ({cases.TARGET_LOSS})"
    return Table(title, ["engine", "s", "ratio", "epochs", "validation loss", "peak MB"], lines)


# Means


def means(rows: list[Row]) -> list[tuple]:
    """Return (scenario, cell, threads, peer, geometric mean, verdicts of its rows, least ratio) of every table with sizes."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if not row.disturbed:
            groups.setdefault((row.case.scenario, row.case.cell, row.case.threads), []).append(row)
    found = []
    for key, group in groups.items():
        named = [(label, [(row, label) for row in group if label in row.peers]) for label in _labels(group)]
        if len(named) > 1:
            named.append(("fastest peer", [(row, row.fastest) for row in group if row.fastest]))
        for label, pairs in [*named, ("A/A", [(row, AGAIN) for row in group if AGAIN in row.raw["engines"]])]:
            intervals = [row.interval(one) for row, one in pairs]
            verdicts = [interval.verdict for interval in intervals]
            mean = geometric_mean_interval([row.ratios(one) for row, one in pairs])
            least = min((interval.middle for interval in intervals), default=float("nan"))
            found.append((*key, label, mean, verdicts, least))
    return found


def summary(rows: list[Row]) -> Table:
    """Return the table of geometric means."""
    lines = []
    for scenario, cell, threads, label, mean, verdicts, least in means(rows):
        if mean.verdict:
            counts = " / ".join(str(verdicts.count(name)) for name in ("ahead", "even", "behind"))
            shown = f"{mean.middle:.2f} ({mean.low:.2f} to {mean.high:.2f})"
            verdict = mean.verdict
            if label == "A/A":
                verdict = "contains 1" if verdict == "even" else "excludes 1"
            lines.append([f"{scenario}, {cell}, {threads}", _short(label), shown, verdict, counts, f"{least:.2f}"])
    columns = ["what, cell, threads", "peer", "geometric mean (95 %)", "", "ahead / even / behind", "least"]
    return Table("Geometric means of the sizes", columns, lines)


def machine(about: dict) -> str:
    """Return what figures were measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{processor(about)}, {about['memory_gb']} GB, {' '.join(about['vectors'])}; numbarnn {about['numbarnn']} (sources "
        f"{about['sources']}) compiled for {about['numba_cpu']}, vectors of {about['numba_vector_bits']} bits; {versions}"
    )


def processor(about: dict) -> str:
    """Return the processor, its cores and its clock."""
    clock = f", {about['clock_mhz'] / 1000:.1f} GHz" if about["clock_mhz"] else ""
    return f"{about['cpu']}, {about['cores']} core{'s' * (about['cores'] > 1)}{clock}"


def text(about: dict, rows) -> str:
    """Return all tables for a terminal."""
    paragraphs = (textwrap.fill(paragraph, WIDTH) for paragraph in (machine(about), LEGEND, *failures(rows)))
    return "\n\n".join([*paragraphs, *(table.text() for table in tables(rows, full=False))])


def markdown(about: dict, rows) -> str:
    """Return all tables as Markdown."""
    parts = [f"### {processor(about)}", f"{machine(about)}.", LEGEND, *failures(rows)]
    return "\n\n".join([*parts, *(table.markdown() for table in tables(rows, full=True))])


def sentence(about: dict, rows) -> str:
    """Return the geometric means as an item of a list, for the README: each against the fastest peer of its sizes."""
    best = {}
    for scenario, cell, threads, label, mean, verdicts, _ in means(analysed(rows)):
        if scenario in SAID and label != "A/A" and mean.verdict:
            best[scenario, threads, cell] = mean, verdicts  # the fastest peer comes after each of them
    found: dict[tuple, list[str]] = {}
    for (scenario, threads, cell), (mean, verdicts) in best.items():
        behind = f"; {verdicts.count('behind')} of {len(verdicts)} sizes behind" if "behind" in verdicts else ""
        text = f"{cell} {mean.middle:.2f} ({mean.low:.2f} to {mean.high:.2f}{behind})"
        found.setdefault((scenario, threads), []).append(text)
    if not found:
        return "- **Speed**: `numbarnn compare` measures your machine; [tables](docs/speed.md)."
    parts = (
        f"{SAID[scenario]}, {threads} thread{'s' * (threads > 1)}: {', '.join(cells)}"
        for (scenario, threads), cells in found.items()
    )
    return (
        f"- **Speed** on {processor(about)}, vectors of {about['numba_vector_bits']} bits: times of the fastest peer at each "
        f"size over numbarnn's, geometric means with 95 % intervals. {'. '.join(parts)}. [Tables](docs/speed.md); "
        "`numbarnn compare` measures your machine."
    )


def failures(rows) -> list[str]:
    """Return a sentence for every participant that was left out."""
    return [f"{row['key']}: {label} left out: {what}" for row in rows for label, what in row["failed"].items()]


def replace(page: str, name: str, content: str) -> str:
    """Return a page with what stands between ``<!-- name -->`` and ``<!-- end -->`` replaced; the page itself without marks."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", page)


def line(raw: dict) -> str:
    """Return a row that has just been measured as one line: numbarnn's time, the A/A row and the fastest peer."""
    (row,) = analysed([raw])
    factor, unit = UNITS.get(row.case.scenario, (1e3, "ms"))
    shown = f"{raw['key']:<28} {row.median() * factor:8.3g} {unit}  A/A {ratio(row.interval(AGAIN), full=False)}"
    if row.fastest:
        shown += f"  {row.fastest} {ratio(row.interval(row.fastest), full=True)}"
    return shown + "".join(f"  {label} LEFT OUT: {what}" for label, what in raw["failed"].items())
