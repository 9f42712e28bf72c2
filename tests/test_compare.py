"""The comparison of engines, with engines that compute nothing: intervals, checked outputs, disturbed rows, samples, tables."""

import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import compare_fakes
import numpy as np
import pytest
from compare_fakes import ABOUT, CASES, SETTINGS, World, run
from comparison import cases, machine, plan, report
from comparison.analysis import Row, analysed
from comparison.engines import AGAIN, ENGINES, OWN, Participant, participants
from comparison.rows import difference
from comparison.statistics import LEAST, Interval, geometric_mean_interval, median_interval, medians
from comparison.store import last_rows, rows_of
from comparison.worker import EngineError, Process

from numbarnn.cli import compare as command
from numbarnn.cli.common import UserError
from numbarnn.cli.main import main

TESTS = pathlib.Path(__file__).resolve().parent


# Statistics


def bootstrap_cdf(n):
    """Return P(median of n draws with replacement <= k-th smallest of n values) for k = 1 ... n, n odd: a binomial sum."""

    def at_least_half(p):
        return sum(math.comb(n, m) * p**m * (1 - p) ** (n - m) for m in range((n + 1) // 2, n + 1))

    return np.array([at_least_half(k / n) for k in range(1, n + 1)])


@pytest.mark.parametrize("n", [7, 11, 21])
def test_bootstrap_medians_have_their_closed_form(n):
    values = np.sort(np.random.default_rng(n).lognormal(size=n))
    drawn = medians(values, draws=20_000)
    found = np.array([(drawn <= value).mean() for value in values])
    np.testing.assert_allclose(found, bootstrap_cdf(n), atol=5 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("n", [7, 11, 13])
def test_the_interval_is_that_of_the_closed_form(n):
    values = np.sort(np.random.default_rng(n).lognormal(size=n))
    cdf = bootstrap_cdf(n)
    assert np.abs(cdf - 0.025).min() > 0.008  # so that 4000 draws decide for the same value
    low, high = values[np.searchsorted(cdf, 0.025)], values[np.searchsorted(cdf, 0.975)]
    assert median_interval(values) == pytest.approx((np.median(values), low, high))


def test_geometric_means():
    assert geometric_mean_interval([[2.0] * 7, [8.0] * 7]) == pytest.approx((4, 4, 4))
    values = np.random.default_rng(0).lognormal(size=11)
    assert geometric_mean_interval([values]) == pytest.approx(median_interval(values), rel=1e-12)
    many = geometric_mean_interval([np.random.default_rng(seed).lognormal(0, 0.1, 11) for seed in range(16)])
    one = median_interval(np.random.default_rng(0).lognormal(0, 0.1, 11))
    assert math.log(many.high / many.low) < 0.5 * math.log(one.high / one.low)
    assert geometric_mean_interval([[1.0] * (LEAST - 1)]).verdict == ""


def test_only_intervals_that_exclude_1_decide():
    assert [Interval(*values).verdict for values in ((1.1, 1.01, 1.2), (0.9, 0.8, 0.99), (1.1, 0.99, 1.2))] == [
        "ahead", "behind", "even",
    ]  # fmt: skip
    assert median_interval([1.0] * (LEAST - 1)).verdict == ""


def test_intervals_of_equal_engines_contain_1():
    rng = np.random.default_rng(0)
    ratios = np.exp(0.1 * (rng.standard_normal((400, 11)) - rng.standard_normal((400, 11))))
    inside = np.mean([median_interval(row).verdict == "even" for row in ratios])
    assert 0.91 < inside < 0.99


# Rows


def test_rounds_measure_everybody_once_in_changing_order(tmp_path):
    world = World()
    rows, _ = run(tmp_path / "samples", world, CASES[:1])
    assert rows[0]["key"] == "bptt LSTM 8,16,32,60 2"
    turns = np.array(world.asked).reshape(-1, 3)
    assert len(turns) == SETTINGS.rounds
    assert {tuple(sorted(turn)) for turn in turns} == {tuple(sorted((OWN, AGAIN, "torch")))}
    assert len({tuple(turn) for turn in turns}) > 3
    assert all(len(engine["seconds"]) == SETTINGS.rounds for engine in rows[0]["engines"].values())


def test_the_a_a_row_contains_1_and_a_slower_peer_is_behind_us(tmp_path):
    rows, _ = run(tmp_path / "samples", World({"torch": 1.5}))
    found = {label: (mean, verdicts) for _, _, _, label, mean, verdicts, _ in report.means(analysed(rows))}
    mean, verdicts = found["A/A"]
    assert mean.low < 1 < mean.high
    assert verdicts.count("even") >= len(CASES) - 1
    mean, verdicts = found["torch"]
    assert mean.low < 1.5 < mean.high
    assert set(verdicts) == {"ahead"}


def test_an_engine_with_other_outputs_is_not_timed(tmp_path):
    world = World(outputs={"torch": np.array([0.0, 1.0, 2.0, 3.01])})
    rows, lines = run(tmp_path / "samples", world, CASES[:1])
    assert "torch" not in world.asked
    assert set(rows[0]["engines"]) == {OWN, AGAIN}
    assert "other outputs than numbarnn: they differ by 0.0033" in rows[0]["failed"]["torch"]
    assert "torch LEFT OUT: other outputs" in lines[1]
    assert "torch left out: other outputs" in report.text(ABOUT, rows)
    rows, _ = run(tmp_path / "samples", World(outputs={"torch": np.arange(4) * (1 + 1e-6)}), CASES[:1])
    assert rows[0]["engines"]["torch"]["difference"] == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"y": [1.0, 2.0]}, 0.0), ({"y": [1.0, 1.0]}, 0.5), ({"y": [1.0, np.nan]}, np.inf), ({"y": [1.0]}, np.inf),
        ({"z": [1.0, 2.0]}, np.inf), ({"y": [1.0, 2.0], "z": 0.0}, np.inf), ({}, np.inf), ({"y": [1.0, 2.0], "bytes": 3}, 0.0),
    ],
)  # fmt: skip
def test_differences(found, expected):
    assert difference(found, {"y": [1.0, 2.0], "bytes": 4}) == expected


def test_an_engine_that_fails_is_left_out(tmp_path, monkeypatch):
    def fail(fake, seconds):
        if fake.label == "torch":
            raise EngineError("out of memory")
        return {"seconds": 1.0, "calls": 1}

    monkeypatch.setattr(compare_fakes.Fake, "time", fail)
    rows, _ = run(tmp_path / "samples", World(), CASES[:1])
    assert rows[0]["failed"] == {"torch": "out of memory"}
    assert set(rows[0]["engines"]) == {OWN, AGAIN}
    assert len(rows[0]["limits"]) == SETTINGS.rounds


# Disturbed rows


def test_rows_of_a_slow_machine_are_measured_again(tmp_path):
    world = World(limit=lambda number: 70.0 if number == 2 else 100.0)
    rows, lines = run(tmp_path / "samples", world)
    assert len(world.opened) == len(CASES) + 1
    assert world.opened[-1] == world.opened[1]
    assert "1 rows were disturbed by something else on this machine, and are measured again" in lines
    assert not any(row.disturbed for row in analysed(rows))


def test_rows_that_stay_slow_are_marked_and_in_no_mean(tmp_path):
    second = CASES[1][0].size
    world = World()
    world.limit = lambda number: 70.0 if world.opened and world.opened[-1][:4] == second else 100.0
    rows, lines = run(tmp_path / "samples", world, repeats=2)
    assert len(world.opened) == len(CASES) + 2
    assert lines[-1].endswith("and are marked")
    assert [row.case.size for row in analysed(rows) if row.disturbed] == [second]
    assert all(len(verdicts) == len(CASES) - 1 for *_, verdicts, _ in report.means(analysed(rows)))
    shown = [line for line in report.text(ABOUT, rows).splitlines() if line.startswith(", ".join(map(str, second)))]
    assert "*" in shown[0]
    assert "+" not in shown[0]


def test_slow_rounds_count_for_nobody():
    about = {"key": "k", "scenario": "bptt", "cell": "LSTM", "size": [8, 16, 32, 60], "threads": 2, "failed": {}}
    raw = about | {"limits": [100.0] * 9 + [79.0] * 2, "shares": [1.0] * 11}
    times = [1.0] * 9 + [50.0] * 2
    row = Row(raw | {"engines": {OWN: {"seconds": [1.0] * 11}, "torch": {"seconds": times}}}, {2: 100.0})
    assert not row.disturbed
    assert row.interval("torch") == (1.0, 1.0, 1.0)
    assert Row(row.raw, {2: 126.0}).disturbed  # a better limit was seen later


def test_other_processes_mark_rows_though_no_better_limit_is_known(tmp_path):
    world = World()
    world.share = 0.5
    rows, lines = run(tmp_path / "samples", world, CASES[:2])
    assert lines[0] == "other processes leave this one only 50% of a processor: end them, or rows will be marked"
    assert all(row.disturbed for row in analysed(rows))
    assert report.means(analysed(rows)) == []


def test_the_limit_and_its_share():
    import fma

    found = [fma.limit(threads, 0.005) for threads in (1, 2)]
    assert all(one.gflops > 0.1 and 0 < one.share < 1.3 for one in found)


# Samples on disk


def killed(path):
    """Run a process that is killed while it measures its third row."""
    environment = os.environ | {"TMPDIR": str(path.parent)}  # what is killed leaves files behind
    process = subprocess.Popen([sys.executable, str(TESTS / "compare_fakes.py"), str(path)], env=environment)
    try:
        until = time.monotonic() + 60
        while len(rows_of(path)) < 2 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL


def test_a_killed_run_goes_on(tmp_path):
    path = tmp_path / "samples"
    killed(path)
    before = [row for _, row in rows_of(path)]
    assert len(before) == 2
    with open(path, "a") as file:
        file.write('{"key": "bptt LS')  # a line that was cut off
    world = World()
    rows, lines = run(path, world, resume=True)
    assert lines[0].startswith("4 rows to measure, 2 kept from before: ")
    assert [size[:4] for size in world.opened] == [case.size for case, _ in CASES[2:]]
    assert rows[:2] == before
    assert [row["key"] for row in rows] == [case.key for case, _ in CASES]
    assert last_rows(path) == (ABOUT, rows)


def test_other_software_or_settings_do_not_continue(tmp_path, monkeypatch):
    path = tmp_path / "samples"
    run(path, World(), CASES[:2])
    world = World()
    run(path, world, CASES[:2], resume=True)
    assert world.opened == []
    monkeypatch.setitem(ABOUT, "clock_mhz", 2000)  # may change from minute to minute
    run(path, world, CASES[:2], resume=True)
    assert world.opened == []
    monkeypatch.setitem(ABOUT, "sources", "1")
    run(path, world, CASES[:2], resume=True)
    assert len(world.opened) == 2
    run(path, world, CASES[:2])
    assert len(world.opened) == 4
    about, rows = last_rows(path)
    assert (about["sources"], len(rows), len(rows_of(path))) == ("1", 2, 6)


def test_rows_without_an_engine_do_not_continue(tmp_path):
    path = tmp_path / "samples"
    run(path, World(), [(case, participants(case.scenario, ["jax"])) for case, _ in CASES[:2]])
    world = World()
    rows, _ = run(path, world, CASES[:2], resume=True)
    assert len(world.opened) == 2
    assert all("torch" in row["engines"] for row in rows)


def test_disturbed_rows_are_measured_again_by_the_run_that_goes_on(tmp_path):
    path = tmp_path / "samples"
    run(path, World(limit=lambda number: 70.0 if number == 1 else 100.0), CASES[:2], repeats=0)
    world = World()
    rows, _ = run(path, world, CASES[:2], resume=True)
    assert len(world.opened) == 1
    assert not any(row.disturbed for row in analysed(rows))


# The plan


def test_a_digit_of_another_script_is_refused():
    with pytest.raises(UserError, match="--only ²: must be a scenario"):
        plan.select(["²"])


def test_selection():
    assert plan.select([]) == ((), (), (), ())
    assert plan.select(["bptt,forward", "lstm", "torch", "8,16,32,60"]) == (
        ("bptt", "forward"), ("torch",), ("LSTM",), ((8, 16, 32, 60),),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"--only trcoh: must be a scenario \(bptt"):
        plan.select(["trcoh"])
    with pytest.raises(UserError, match="--only 8,16,32,61: must be"):
        plan.select(["8,16,32,61"])
    todo = plan.rows(plan.select(["stream", "GRU"]), [OWN, "torch", "keras"], (2,))
    assert [case.size for case, _ in todo] == list(cases.STREAMS)
    assert [participant.label for participant in todo[0][1]] == [OWN, AGAIN, "torch"]
    assert plan.rows(plan.select(["bptt"]), [OWN, "openvino"], (2,)) == []


def test_ragged_batches_are_padded_and_packed():
    labels = [participant.label for participant in participants("ragged", [OWN, "torch"])]
    assert labels == [OWN, AGAIN, "torch padded", "torch packed"]


def test_all_rows_have_keys_of_their_own():
    keys = [case.key for case in cases.cases((2, 1))]
    assert len(keys) == len(set(keys))
    for cell in cases.GATES:
        for threads in (2, 1):
            for scenario in ("bptt", "forward"):
                assert sum(key.startswith(f"{scenario} {cell} ") and key.endswith(f" {threads}") for key in keys) == 8


def test_minutes_choose_the_time_of_a_round():
    todo = plan.rows(plan.select([]), list(ENGINES), (2, 1))
    long, short = (plan.fitted(todo, SETTINGS, 100.0, 60 * minutes) for minutes in (40, 25))
    assert plan.SHORTEST < short.seconds < long.seconds < plan.LONGEST
    assert plan.seconds(todo, long, 100.0) == pytest.approx(2400, rel=0.02)


def test_a_run_ends_in_time_and_goes_on_later(tmp_path):
    path = tmp_path / "samples"
    rows, lines = run(path, World(), minutes=1e-4)
    assert rows == []
    assert lines[1] == "the time is over: 6 rows are left; --resume goes on with them"
    rows, lines = run(path, World(), resume=True, minutes=10)
    assert len(rows) == len(CASES)


def test_an_estimate_measures_nothing(tmp_path):
    world = World()
    rows, lines = run(tmp_path / "samples", world, estimate=True)
    assert (rows, world.opened, len(lines)) == ([], [], 1)
    assert not (tmp_path / "samples").exists()


# Tables


@pytest.fixture(scope="module")
def everything():
    """Return rows of all cases and engines."""
    rng = np.random.default_rng(0)
    rows = []
    for case in cases.cases((2, 1)):
        engines = {}
        for participant in participants(case.scenario, ENGINES):
            seconds = (100 * np.exp(rng.normal(0, 0.01, 11))).tolist()
            engines[participant.label] = {
                "seconds": seconds, "p99": seconds, "memory": 1234.5, "epochs": 12, "reached": 0.119, "bytes": 12345,
            }  # fmt: skip
        about = {"scenario": case.scenario, "cell": case.cell, "size": list(case.size), "threads": case.threads}
        installed = dict.fromkeys(engines, 9e8)
        limits = {"limits": [100.0] * 11, "shares": [1.0] * 11}
        rows.append({"key": case.key, **about, "engines": engines, **limits, "failed": {}, "installed": installed})
    return rows


def test_tables_fit_a_terminal(everything):
    lines = report.text(ABOUT, everything).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("8, 16, 32, 60 ") for line in lines) == 13
    assert max(len(report.line(row)) for row in everything) <= 90


def test_rows_are_in_the_order_of_sizes_though_some_were_measured_again(everything):
    first = [row for row in everything if (row["scenario"], row["cell"], row["threads"]) == ("bptt", "LSTM", 2)]
    shown = report.text(ABOUT, [*first[2:], *first[:2]])
    found = re.findall(r"^(\d+, \d+, \d+, \d+) ", shown, re.MULTILINE)
    assert found == [", ".join(map(str, row["size"])) for row in first]


def test_a_run_without_means_says_no_speed():
    rows = [
        {
            "key": "",
            "scenario": "startup",
            "cell": "LSTM",
            "size": [16, 64, 1, 50],
            "threads": 1,
            "engines": {},
            "failed": {},
        }
    ]
    rows[0] |= {"limits": [1.0], "shares": [1.0], "installed": {}}
    assert (
        report.sentence(ABOUT, rows)
        == "- **Speed**: `numbarnn compare` measures your machine; [tables](docs/speed.md)."
    )


def test_markdown_has_whole_intervals_and_goes_into_pages(everything, tmp_path):
    path, page = tmp_path / "samples.jsonl", tmp_path / "page.md"
    lines = [{"run": ABOUT, "settings": {}}, *everything[:30]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page.write_text("a\n<!-- compare -->\nold\n<!-- end -->\nb\n<!-- compare means -->\nold\n<!-- end -->\nc\n")
    assert main(["compare", "--report", str(path), str(path), "--markdown", str(page)]) == 0
    first, *rest = page.read_text().split("<!-- end -->\n")
    assert "old" not in page.read_text()
    assert first.startswith("a\n<!-- compare -->\n### Fake 9000, 2 cores, 3.0 GHz\n")
    assert first.count("### Fake 9000") == 2
    assert "| 8, 16, 32, 60 | 1e+05 |" in first
    assert first.count(" (1.00-1.01)") + first.count(" (0.99-1.01)") > 10
    assert rest[0].startswith("b\n<!-- compare means -->\n- **Speed** on Fake 9000")
    assert "Forward + BPTT, 2 threads: LSTM " in rest[0]
    assert rest[1] == "c\n"


def test_pages_without_marks_are_told(everything, tmp_path, capsys):
    path, page = tmp_path / "samples.jsonl", tmp_path / "page.md"
    path.write_text(json.dumps({"run": ABOUT, "settings": {}}) + "\n" + json.dumps(everything[0]) + "\n")
    page.write_text("nothing")
    assert main(["compare", "--report", str(path), "--markdown", str(page)]) == 1
    assert "has no line <!-- compare -->" in capsys.readouterr().err
    assert main(["compare", "--report", str(page)]) == 1
    assert "has no rows" in capsys.readouterr().err


# Machine and processes


def test_fingerprint():
    about = machine.fingerprint(["numpy"])
    assert json.loads(json.dumps(about)) == about
    assert {"cpu", "cores", "clock_mhz", "vectors", "memory_gb", "numba_cpu", "versions", "sources"} <= set(about)
    assert machine.same(about, about | {"clock_mhz": 1})
    assert not machine.same(about, about | {"numba_cpu": "other"})
    assert (
        machine.label({"cpu": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 4, "numba_vector_bits": 256})
        == "intel-xeon-4x256"
    )


def test_hash_of_sources(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    before = machine.source_hash(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert machine.source_hash(tmp_path) != before


def test_size_of_an_installation(tmp_path, monkeypatch):
    for name, needs, size in (
        ("fake-one", "fake_two>=1\nRequires-Dist: fake-three; extra == 'x'", 1000),
        ("fake-two", "", 500),
    ):
        package = name.replace("-", "_")
        folder = tmp_path / f"{package}-1.dist-info"
        folder.mkdir()
        (tmp_path / f"{package}.py").write_bytes(b"#" * size)
        requires = f"Requires-Dist: {needs}\n" if needs else ""
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{requires}")
        (folder / "RECORD").write_text(f"{package}.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert machine.installed_with("fake_one") == {"fake-one", "fake-two"}
    assert machine.installed_bytes("fake-one") == 1500


def test_a_process_says_what_failed():
    process = Process("no_such_engine")
    try:
        case = {"scenario": "forward", "cell": "LSTM", "size": [1, 1, 1, 1], "threads": 1}
        with pytest.raises(EngineError, match="no_such_engine: ModuleNotFoundError"):
            process.ask(do="open", case=case, outputs="nowhere")
        process.process.kill()
        with pytest.raises(EngineError, match="ended with status -9"):
            process.ask(do="limit", threads=1, seconds=0.01)
    finally:
        process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end children with their parent")
def test_a_stopped_engine_ends_with_its_parent(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {compare_fakes.BENCHMARKS!r})\n"
        "from comparison.worker import EngineError, Process\n"
        "process = Process('no_such_engine')\n"
        "try:\n    process.ask(do='nothing')\n"
        "except EngineError:\n    print(process.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        child = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.communicate()
    until = time.monotonic() + 20
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(number):
    try:
        os.kill(number, 0)
        state = pathlib.Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


# The command


def test_without_a_clone(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "PROGRAM", tmp_path / "benchmarks" / "compare.py")
    assert main(["compare"]) == 1
    assert "comparing needs a clone of numbarnn" in capsys.readouterr().err


def test_too_few_rounds(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--rounds", "3"])
    assert "must be at least 6, for 95 % intervals, got 3" in capsys.readouterr().err


def test_nothing_to_measure(capsys):
    assert main(["compare", "--only", "stream", "keras"]) == 1
    err = capsys.readouterr().err
    assert "--only stream keras: nothing to measure" in err
    assert "pip install" in err


def test_participants_are_told_apart():
    assert Participant(OWN) != Participant(OWN, again=True)
    assert Participant("torch", "packed").label == "torch packed"
