"""The lecture's scripts show what they say, and the page that walks through them names them all."""

import pathlib
import re
import runpy
import sys

import pytest

LECTURE = pathlib.Path(__file__).resolve().parent.parent / "examples" / "lecture"
PAGE = LECTURE.parent.parent / "docs" / "lecture.md"


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that runs a script and gives what it prints."""
    monkeypatch.syspath_prepend(str(LECTURE))

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(LECTURE / f"{name}.py"), run_name="__main__")
        sys.modules.pop("l04_unfolding", None)
        return capsys.readouterr().out

    return run


def numbers(text, pattern):
    """Return the numbers that the groups of a pattern find, all of them."""
    found = [
        float(number)
        for groups in re.findall(pattern, text)
        for number in ([groups] if isinstance(groups, str) else groups)
    ]
    assert found, f"{pattern} is not in:\n{text}"
    return found


def test_l01_sequence_classification(shown):
    text = shown("l01_sequence_classification")
    assert "x (500, 20, 5) -> one row of logits a sequence (500, 4)" in text
    assert numbers(text, r"new sequences: ([\d.]+)%")[0] > 95


def test_l02_segment_classification(shown):
    one, both = numbers(shown("l02_segment_classification"), r"accuracy ([\d.]+)%")
    assert one == pytest.approx(75, abs=2.5)
    assert both > 95


def test_l03_temporal_classification(shown):
    text = shown("l03_temporal_classification")
    assert "B(-a-bb) = ab" in text
    assert "35 of them lead to 'ab'" in text
    assert numbers(text, r"sum to ([\d.]+)") == [pytest.approx(1, abs=1e-11)]
    loss, exact = numbers(text, r"step by step: ([\d.]+), -log p = ([\d.]+)")
    assert loss == pytest.approx(exact, abs=1e-11)
    ends = numbers(text, r"end at steps (\d+), (\d+), (\d+)")
    before, after = numbers(text, r"\| x\) = (\S+),")
    assert before < 1e-3 < 0.5 < after
    found = numbers(text, r"labels at steps ([\d.]+), ([\d.]+), ([\d.]+)")[3:]
    assert found == pytest.approx(ends, abs=2)
    assert numbers(text, r"(\d+)% of \|\|dy")[0] > 60


def test_l04_unfolding(shown):
    text = shown("l04_unfolding")
    assert numbers(text, r"off by (\S+)\.\n")[0] < 1e-14
    wrong, right = numbers(text, r"log y\^_3 = (-?[\d.]+)")
    assert wrong == -right < 0
    assert numbers(text, r"within (\S+) of the largest")[0] < 1e-12


def test_l05_character_model(shown):
    text = shown("l05_character_model")
    first, last = numbers(text, r"first epoch ([\d.]+), in the last ([\d.]+)")
    assert last < 0.3 < 1 < first
    surprise = {place: float(value) for place, (_, value) in enumerate(re.findall(r"  '(.)' +([\d.]+)", text))}
    assert len(surprise) == 24
    assert surprise[2] > 1 > 100 * surprise[4]  # the first letter of a word, and its third


def test_l06_bptt_terms(shown):
    text = shown("l06_bptt_terms")
    terms = numbers(text, r"dE_3/dW: norms of the terms k = 0..3: (\S+), (\S+), (\S+), (\S+)\n")
    assert terms[0] == 0
    assert terms[1:] == sorted(terms[1:])
    assert numbers(text, r"training within (\S+)\.\n")[0] < 1e-12
    assert max(numbers(text, r"factors, off by (\S+)")) < 1e-13
    assert min(numbers(text, r"(?:k = 0|slope|U x_3): off by ([\d.]+)")) > 0.1


def test_l07_vanishing_and_exploding(shown):
    text = shown("l07_vanishing_and_exploding")
    pairs = numbers(text, r"W: +(\S+) +\[ *(\S+)\]")
    for norm, bound in zip(pairs[::2], pairs[1::2], strict=True):
        assert norm <= bound * 1.05  # two digits are printed
    assert pairs[0] < 1e-14
    assert pairs[-2] > 100
    rnn, lstm, gru = numbers(text, r": ([-+][\d.]+) decades per step")
    assert rnn < gru < lstm < 0


def test_l08_lstm_gates(shown):
    text = shown("l08_lstm_gates")
    f, before, i, g, c = numbers(text, r"f c' \+ i g = (\S+) \* (\S+) \+ (\S+) \* (\S+) = (\S+)\n")
    assert f * before + i * g == pytest.approx(c, abs=1e-3)
    assert numbers(text, r"f_30: off by (\S+)")[0] < 1e-13
    assert numbers(text, r"too many: off by (\S+)")[0] > 0.05
    assert 1 < numbers(text, r"within (\d+) of 41")[0] < 41


def test_l09_gate_questions(shown):
    text = shown("l09_gate_questions")
    assert max(numbers(text, r"within (\d\.\de[-+]\d+)")) < 1e-14
    free, kept, lost, plain, _ = numbers(text, r"mean squared error ([\d.]+)")
    assert max(free, kept) < lost < plain < 0.167


def test_l10_gru(shown):
    text = shown("l10_gru")
    one, zero = numbers(text, r"\|\|dh_35/dh_5\|\| = (\S+?),")
    assert one == 1
    assert zero < 1e-10
    rnn, gru, lstm = (int(count.replace(",", "")) for count in re.findall(r"one bias: +([\d,]+) parameters", text))
    assert (gru, lstm) == (3 * rnn, 4 * rnn)


def test_l11_windows(shown):
    text = shown("l11_windows")
    assert "[10 20 30] -> 50" in text
    assert "[50 60 70] -> 90" in text
    assert "shape of x (5, 3, 1)" in text
    assert "shape of x (5, 3, 2), of y (5, 2)" in text


def test_scripts_draw_into_a_folder(shown, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    for name in ("l03_temporal_classification", "l04_unfolding", "l07_vanishing_and_exploding"):
        shown(name, tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    ctc = {"ctc_before.png", "ctc_after.png"}
    assert drawn == ctc | {"unfolded.png", "gradient_flow.png", "singular_values.png", "contributions.png"}
    pyplot.close("all")


def test_the_page_names_every_script_and_has_its_pictures():
    page = PAGE.read_text()
    for script in LECTURE.glob("l*.py"):
        assert f"examples/lecture/{script.name}" in page
        assert f"def test_{script.stem}(" in pathlib.Path(__file__).read_text()
    pictures = re.findall(r"\]\((pictures/\S+\.png)\)", page)
    assert len(pictures) >= 6
    for picture in pictures:
        assert 1000 < (PAGE.parent / picture).stat().st_size < 100_000


def test_the_pages_table_of_experiments_is_that_of_their_results():
    benchmarks = LECTURE.parent.parent / "benchmarks"
    classical = runpy.run_path(str(benchmarks / "classical.py"))
    results = classical["read"](benchmarks / "results" / "classical.jsonl")
    assert len(results) == sum(task.trials for task in classical["TASKS"].values()) * len(classical["NETS"])
    assert len({(r["task"], r["net"], r["trial"]) for r in results}) == len(results)
    assert classical["table"](results) in PAGE.read_text()
