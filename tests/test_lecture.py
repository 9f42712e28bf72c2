"""The lecture's scripts show what they say, and the page that walks through them states what they print."""

import importlib.util
import json
import math
import os
import pathlib
import re
import runpy
import subprocess
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
        return capsys.readouterr().out

    yield run
    sys.modules.pop("shared", None)


def numbers(text, pattern):
    """Return the numbers that the groups of a pattern find, all of them."""
    found = [
        float(number)
        for groups in re.findall(pattern, text)
        for number in ([groups] if isinstance(groups, str) else groups)
    ]
    assert found, f"{pattern} is not in:\n{text[:3000]}"
    return found


def stated(pattern):
    """Return the numbers that the page states, by a pattern with one group for each."""
    text = re.sub(r"(?m)^> ?", "", PAGE.read_text())
    return numbers(re.sub(r"\s+", " ", text), pattern)


def test_l00_why_recurrent(shown):
    text = shown("l00_why_recurrent")
    pairs = numbers(text, r"(?m)(?:word|words|words, up to \d+|recurrent) +([\d.]+)% +([\d.]+)% ")
    last, four, bag, every, recurrent = pairs[::2]
    assert max(last, four) < 36
    assert bag == pytest.approx(50, abs=6)
    assert min(every, recurrent) > 97
    assert pairs[7] < 40 < 95 < pairs[9]  # in longer sentences
    said = stated(r"\| (?:1/4|1/4 to 1/3|1/2|1) \| (\d+) % \| (\d+) % \|")
    assert said == pytest.approx(pairs, abs=8)
    weights = numbers(text.replace(",", ""), r"(?m)(?:words up to \d+|recurrent) .* (\d+)$")
    assert (
        numbers(PAGE.read_text().replace(",", ""), r"it has (\d+)\s+of them where the recurrent net has (\d+)")
        == weights
    )


def test_l01_sequence_classification(shown):
    text = shown("l01_sequence_classification")
    assert "x (500, 20, 5) (samples, time steps, features) -> one row of logits a sequence (500, 4)" in text
    assert numbers(text, r"new sequences: ([\d.]+)%")[0] > 95


def test_l02_segment_classification(shown):
    one, both = numbers(shown("l02_segment_classification"), r"accuracy ([\d.]+)%")
    assert one == pytest.approx(75, abs=2.5)
    assert both > 95
    assert stated(r"it reaches ([\d.]+) %\); one that reads in both directions reaches ([\d.]+) %") == pytest.approx(
        [one, both], abs=2
    )


def test_l03_temporal_classification(shown):
    text = shown("l03_temporal_classification")
    assert "B(-a-bb) = ab" in text
    assert "35 of them lead to 'ab'" in text
    assert numbers(text, r"sum to ([\d.]+)") == [pytest.approx(1, abs=1e-11)]
    loss, exact = numbers(text, r"step by step: ([\d.]+), -log p = ([\d.]+)")
    assert loss == pytest.approx(exact, abs=1e-11)
    assert "of length 0 to 5: [1, 2, 4, 8, 8, 2]" in text
    assert "ababa in 5 steps: p = 0.0" in text
    assert text.count("refused, it has no path (0 of 243)") == 2
    ends = numbers(text, r"end at steps (\d+), (\d+), (\d+)")
    before, after = numbers(text, r"\| x\) = (\S+),")
    assert before < 1e-3 < 0.5 < after
    found = numbers(text, r"labels at steps ([\d.]+), ([\d.]+), ([\d.]+)")[3:]
    assert found == pytest.approx(ends, abs=2)
    assert stated(r"the labels are at steps ([\d.]+), ([\d.]+) and ([\d.]+) on average") == pytest.approx(found, abs=1)
    share = numbers(text, r"(\d+)% of \|\|dy")[0]
    assert share > 60
    assert stated(r"sequential Jacobian\), (\d+) % lie on") == pytest.approx([share], abs=15)
    first, last = numbers(text, r"\|dE/dlogits\|, \w+ training: at most ([\d.]+)")
    assert last < 0.1 < first


def test_l03b_one_task_three_ways(shown):
    text = shown("l03b_one_task_three_ways")
    one, two = numbers(text, r"all steps: ([\d.]+), -log softmax\(mean logits\)\[1\]: ([\d.]+)")
    assert one == pytest.approx(two, abs=1e-11)
    path, every = numbers(text, r"p\(path \| x\) = ([\d.]+), .* p\(ab \| x\) = ([\d.]+)")
    assert path < every
    losses = numbers(text, r"temporal classification: ([\d.]+), ([\d.]+), ([\d.]+)")
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-11)
    right = numbers(text, r"([\d.]+)%(?: of the label sequences)? right")
    assert len(right) == 6
    assert min(right) > stated(r"All six are right in more than (\d+) %")[0]


def test_l04_unfolding(shown):
    text = shown("l04_unfolding")
    assert max(numbers(text, r"off by (\S+)\n")) < 1e-14
    assert re.search(r"\nb = \[.*\]\n", text)
    assert re.search(r"\nc = \[.*\]\n", text)
    assert "o_t = softmax(V s_t), E_t = -log o_t[y_t], over 4 steps; no biases" in text
    assert "unless a state is given: True" in text
    assert stated(r"V and c are the same at every step, (\d+) parameters") == numbers(
        text, r"every step: (\d+) parameters"
    )
    terms, training = numbers(text, r"E = sum of E_t = (\S+), the loss of training (\S+)")
    assert terms == training
    assert stated(r"untrained, is E = (\d\.\d+)") == [pytest.approx(terms, abs=1e-4)]
    product, last = numbers(text, r"-sum y_3 log y\^_3 = (\S+) is E_3 = (\S+)")
    assert product == last
    wrong, right = numbers(text, r"log y\^_3 = (-?\d\.\d{4})(?: |$)")
    assert wrong == -right < 0
    assert stated(r"y_3 log y\^_3 = (-\d\.\d+) would be .* E_3 = -y_3 log y\^_3 = (\d\.\d+)") == [wrong, right]
    assert numbers(text, r"within (\S+) of the largest")[0] < 1e-12


def test_l04b_what_training_raises(shown):
    text = shown("l04b_what_training_raises")
    green, red = numbers(text, r"gradients: green from \S+ to (\S+), red from (\S+) to")
    assert green < 0 < red
    margins = numbers(text, r"on average: (\S+), after one step (\S+), after 200 (\S+)")
    assert margins == sorted(margins)
    losses = numbers(text, r"E = (\S+) before, (\S+) after one step, (\S+) after 199")
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.3
    lowest, highest = numbers(text, r"green logits from (\S+), red logits up to (\S+);")
    assert highest < lowest
    said = stated(r"green minus red, on average: (\S+) before, (\S+) after one step, (\S+) after 200")
    assert said == pytest.approx(margins, abs=0.02)


def test_l05_character_model(shown):
    text = shown("l05_character_model")
    first, last = numbers(text, r"first epoch ([\d.]+), in the last ([\d.]+)")
    assert last < 0.3 < 1 < first
    assert stated(r"costs ln 19 = ([\d.]+) nats with 19") == numbers(text, r"costs ln 19 = ([\d.]+) nats")
    assert stated(r"ln 48 / 24\.5 = ([\d.]+), ") == [pytest.approx(math.log(48) / 24.5, abs=1e-3)]
    surprise = {index: float(value) for index, (_, value) in enumerate(re.findall(r"  '(.)' +([\d.]+)", text))}
    assert len(surprise) == 24
    assert surprise[2] > 1 > 100 * surprise[4]  # the first letter of a word, and its third
    assert numbers(text, r"o_t sums to (\S+);")[0] == pytest.approx(1, abs=1e-5)
    animals, places, again = re.findall(r"  after '.*': (.*)\n", text)
    letters = [set(re.findall(r"'(.)'", line)) for line in (animals, places, again)]
    assert letters == [set("cdrf"), set("mlbh"), set("cdrf")]  # after the same four letters
    words = re.search(r"'the cat sat on the' -> (.*?)   \((\d+) words, sum ([\d.]+)\)", text)
    assert set(re.findall(r"' (\w+)'", words[1])) == {"mat", "log", "bog", "hill"}
    assert float(words[3]) == pytest.approx(1, abs=1e-3)
    assert stated(r"a sentence of it has ([\d.]+) letters") == numbers(text, r"a sentence has ([\d.]+)0 letters")


def test_l06_bptt_terms(shown):
    text = shown("l06_bptt_terms")
    assert max(numbers(text, r"within (\d\S*?)\.?\n")) < 1e-12
    terms = numbers(text, r"dE_3/dW: norms of the terms k = 0..3: (\S+), (\S+), (\S+), (\S+)\n")
    assert terms[0] == 0
    assert terms[1:] == sorted(terms[1:])
    assert stated(r"\(norms 0, ([\d.]+), ([\d.]+), ([\d.]+):") == pytest.approx(terms[1:], abs=1e-3)
    assert max(numbers(text, r"factors, off by (\S+)")) < 1e-13
    assert numbers(text, r"s_\{k-1\} constant: off by (\S+)")[0] < 1e-12
    whole = numbers(text, r"the whole derivative: off by (\S+)")
    front, end = zip(
        *re.findall(r"of each, off by (\S+) with W\^\d in front, by (\S+) with it at the end", text), strict=True
    )
    front, end = [float(value) for value in front], [float(value) for value in end]
    assert min(front) > 0.1 < end[0]
    assert end[2] == 0  # one factor
    slope = numbers(text, r"slope: off by (\S+)")
    argument = numbers(text, r"without U x_3 and b: off by (\S+)")
    assert min(whole + slope + argument) > 0.1
    literal = numbers(text, r"All of it, .* off by (\S+)")
    said = stated(
        r"off by (\d+) % with the W's in front and by (\d+) % with them at the end .* for k = 1 by (\d+) % and (\d+) %.*"
        r"whole derivative the sum is off by (\d+) %.* ds_3/ds_2 is then off by (\d+) %.* off by (\d+) %.* "
        r"as it stands, is off by (\d+) %"
    )
    expected = [front[0], end[0], front[1], end[1], *whole, *slope, *argument, *literal]
    assert said == pytest.approx([100 * value for value in expected], abs=1)


def test_l07_vanishing_and_exploding(shown):
    text = shown("l07_vanishing_and_exploding")
    pairs = numbers(text, r"W: +(\S+) +\[ *(\S+)\]")
    for norm, bound in zip(pairs[::2], pairs[1::2], strict=True):
        assert norm <= bound * 1.05  # two digits are printed
    assert pairs[0] < 1e-14
    assert pairs[-2] > 100
    table = re.findall(r"\n\| [\d.]+ \| (\S+) \| (\S+) \|(?=\n)", PAGE.read_text())
    assert [float(value) for row in table for value in row] == pytest.approx(pairs, rel=0.1)
    ones, third, rotation, mixed, half = (
        numbers(text, rf"{name} +(\S+) +(\S+) +(\S+) +(\S+) +(\S+) +(\S+)\n")
        for name in ("all ones, 3 x 3", "divided by 3", "a rotation", "5 beside", "0.5 everywhere, 3 x 3")
    )
    assert ones[0] == 3
    assert ones[4] == pytest.approx(3.0**50, rel=0.05)
    for row in (third, rotation):
        assert row == pytest.approx([1] * 6, abs=1e-6)
    assert mixed[0] == pytest.approx(0.9)
    assert mixed[3] > 10 > 1 > 1e-3 > mixed[5]  # grows first, and vanishes
    assert half[4] == pytest.approx(1.5**50, rel=0.05)
    one = numbers(text, r"input 0.5, 50 steps: (\S+)\n")
    assert one[0] < 1e-10
    said = stated(r"3\^50 = (\S+) in 50 steps.* the norm is (\d+) after 10 steps.* w = 1 decays, to (\S+) in 50")
    assert said == pytest.approx([ones[4], mixed[3], one[0]], rel=0.1)
    rnn, lstm, gru = numbers(text, r": ([-+][\d.]+) decades per step")
    assert rnn < gru < lstm < 0
    rates = stated(r"is right: (\S+) decades a step against (\S+) of the plain net, untrained")
    assert rates == pytest.approx([lstm, rnn], abs=0.01)
    said = stated(r"99 % of it lies within (\d+), (\d+) and (\d+) steps")
    assert said == pytest.approx(numbers(text, r"gradient within (\d+) steps"), abs=1)
    high = numbers(text, r"draws from \S+ to (\S+) decades per step\nLSTM")[0]
    assert stated(r"plain net can be far off \((\S+) decades a step, (\S+) on the average\)") == [
        high,
        pytest.approx(rnn, abs=0.01),
    ]


def test_l08_lstm_gates(shown):
    text = shown("l08_lstm_gates")
    f, before, i, g, c = numbers(text, r"f c' \+ i g = (\S+) \* (\S+) \+ (\S+) \* (\S+) = (\S+)\n")
    assert f * before + i * g == pytest.approx(c, abs=1e-3)
    assert numbers(text, r"b_f\) within (\S+),")[0] < 1e-14
    assert numbers(text, r"f_30: off by (\S+)")[0] < 1e-13
    extra = numbers(text, r"too many: off by (\S+)")
    assert extra[0] > 0.05
    assert stated(r"one factor too many \(here off by (\d+) %\)") == pytest.approx([100 * extra[0]], abs=5)
    paths = numbers(text, r"dc_100/dc_0 = (\S+),")
    assert paths == pytest.approx([0.5**100, 0.9**100, 0.99**100], rel=0.05)
    assert stated(r"0\.5, 0\.9 and 0\.99 leave (\S+), (\S+) and (\S+) after") == pytest.approx(paths, rel=0.05)
    low, high = numbers(text, r"units from (\S+) to (\S+), median")
    assert low < 1e-3 < 0.3 < high < 1
    said = stated(r"over ten steps go from (\S+) to (\d\.\d+)\.")
    assert math.log10(said[0]) == pytest.approx(math.log10(low), abs=1.5)
    assert said[1] == pytest.approx(high, abs=0.1)
    path, added = numbers(text, r"cell state c, norm (\S+); the paths through the gates add a matrix of norm (\S+),")
    assert stated(r"add a matrix of norm (\S+) to one of norm (\d\.\d+)\.") == pytest.approx([added, path], abs=0.2)
    assert numbers(text, r"by hand is off by (\S+)\n")[0] < 1e-14
    assert 1 < numbers(text, r"within (\d+) of 41")[0] < 41


def test_l09_gate_questions(shown):
    text = shown("l09_gate_questions")
    assert max(numbers(text, r"within (\d\.\de[-+]\d+)")) < 1e-14
    errors = numbers(text, r"mean squared error ([\d.]+)")
    free, kept, lost, plain, _ = errors
    assert max(free, kept) < lost < plain < 0.167
    said = stated(
        r"free gates \| \| (\S+) \| .* not need \| (\S+) \| .* but through h \| (\S+) \| .* outer tanh \| (\S+) \| "
        r"\| plain net \| \| (\S+) \|"
    )
    assert [math.log10(value) for value in said] == pytest.approx([math.log10(value) for value in errors], abs=0.6)


def test_l10_gru(shown):
    text = shown("l10_gru")
    one, zero = numbers(text, r"\|\|dh_35/dh_5\|\| = (\S+?),")
    assert one == 1
    assert zero < 1e-10
    rnn, gru, lstm = (int(count.replace(",", "")) for count in re.findall(r"one bias: +([\d,]+) parameters", text))
    assert (gru, lstm) == (3 * rnn, 4 * rnn)


def test_l11_windows(shown):
    text = shown("l11_windows")
    univariate = ["[10 20 30] -> 50", "[20 30 40] -> 60", "[30 40 50] -> 70", "[40 50 60] -> 80", "[50 60 70] -> 90"]
    assert re.findall(r"(\[\d+ \d+ \d+\] -> \d+)\n  (?=\[|shape)", text) == univariate
    assert "shape of x (5, 3, 1)" in text
    assert "996 samples, the last [9960 9970 9980] -> 10000" in text
    targets = [int(y) for y in re.findall(r"\), \(\d+, 0\.\d\), \(\d+, 0\.\d\) -> (\d+)", text)]
    assert targets == [50, 60, 70, 80, 90]
    assert "(10, 0.1), (20, 0.2), (30, 0.3) -> 50" in text
    assert "shape of x (5, 3, 2), of y (5,)" in text
    assert "shape of x (9, 6, 3), of y (9,)" in text
    assert "rows until 01:00 predict 01:30, which is -7.91 degC" in text


def test_scripts_draw_into_a_folder(shown, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    for name in ("l03_temporal_classification", "l04_unfolding", "l04b_what_training_raises"):
        shown(name, tmp_path / "new")
    drawn = {path.name for path in (tmp_path / "new").iterdir()}
    assert drawn == {"ctc_before.png", "ctc_after.png", "unfolded.png", "training_raises.png"}
    pyplot.close("all")


def test_the_page_names_every_script_and_has_its_pictures():
    page = PAGE.read_text()
    for script in LECTURE.glob("l*.py"):
        assert f"examples/lecture/{script.name}" in page
        assert f"def test_{script.stem}(" in pathlib.Path(__file__).read_text()
        head = script.read_text().split('"""')[1]
        assert all(f"\n{word}: " in head for word in ("Shows", "Prints", "Takes")), script.name
    pictures = re.findall(r"\]\((pictures/\S+\.png)\)", page)
    assert len(pictures) >= 6
    for picture in pictures:
        data = (PAGE.parent / picture).read_bytes()
        assert 1000 < len(data) < 200_000
        assert int.from_bytes(data[16:20], "big") > 800  # pixels wide: 150 dpi


def test_the_pages_tables_of_experiments_are_those_of_their_results():
    benchmarks = LECTURE.parent.parent / "benchmarks"
    classical = runpy.run_path(str(benchmarks / "classical.py"))
    results = classical["read"](benchmarks / "results" / "classical.jsonl")
    assert len(results) == sum(task.trials for task in classical["TASKS"].values()) * len(classical["NETS"])
    assert len({(r["task"], r["net"], r["trial"]) for r in results}) == len(results)
    page = PAGE.read_text()
    assert classical["table"](results) in page
    assert (benchmarks / "results" / "jacobian_norms.md").read_text() in page


def test_every_slide_is_in_the_table_of_the_source():
    page = PAGE.read_text().partition("## The source, point by point")[2].partition("\n## ")[0]
    rows = [row.strip("| \n").split(" | ") for row in page.splitlines() if re.match(r"\| [^-]", row)][1:]
    assert len(rows) > 45
    for slide, idea, where, verdict in rows:
        assert slide
        assert idea
        assert where
        assert verdict.startswith(("right", "slip", "idea")), verdict
        for script in re.findall(r"`(l\d\d\w?)`", where):
            assert list(LECTURE.glob(f"{script}_*.py")), script
    above = PAGE.read_text().partition("## The source, point by point")[0]
    figures = {figure for row in rows for figure in re.findall(r"-?\d+ %|-?\d+\.\d{2,}|\d\.\de[+-]?\d+", row[3])}
    assert len(figures) > 10
    assert figures <= set(re.findall(r"-?\d+ %|-?\d+\.\d{2,}|\d\.\de[+-]?\d+", above)), (
        "a figure that the page does not state above"
    )
    titles = re.findall(r"(?m)^## (.*)$", PAGE.read_text())
    headings = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= headings


# Notebooks


def needs_notebooks():
    for name in ("jupytext", "nbclient", "ipykernel", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: the extra 'lecture'")


def build(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(LECTURE.parent.parent)}
    command = [sys.executable, str(LECTURE / "notebooks.py"), str(folder), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    return done, {path.stem: json.loads(path.read_text()) for path in folder.glob("*.ipynb")}


@pytest.mark.slow
def test_notebooks_run_and_the_solutions_of_their_exercises_are_right(tmp_path):
    needs_notebooks()
    done, books = build(tmp_path, "--execute", "--solutions")
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(books) == {script.stem for script in LECTURE.glob("l*.py")}
    drawn = 0
    for name, book in books.items():
        outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
        text = "".join("".join(output.get("text", "")) for output in outputs)
        drawn += sum("image/png" in output.get("data", {}) for output in outputs)
        exercises = [c for c in book["cells"] if c["metadata"].get("title", "").startswith("Exercise")]
        assert len(exercises) >= 1, name
        assert text.count(": right.") == len(exercises), name
        assert "not answered yet" not in text
    assert drawn >= 10


def test_a_wrong_answer_is_not_right(monkeypatch):
    monkeypatch.syspath_prepend(str(LECTURE))
    check = runpy.run_path(str(LECTURE / "shared.py"))["check"]
    check("open", ..., 1.0)
    check("right", 1.0, 1.0)
    with pytest.raises(AssertionError, match="not right yet"):
        check("wrong", 1.1, 1.0)
    with pytest.raises(AssertionError, match="has shape"):
        check("wrong", [1.0, 1.0], 1.0)


def test_every_exercise_has_one_solution_and_every_solution_an_exercise():
    def titles(path):
        return re.findall(r"(?m)^# %% (Exercise: .*)$", path.read_text())

    asked = [title for script in LECTURE.glob("l*.py") for title in titles(script)]
    assert len(set(asked)) == len(asked)
    assert sorted(asked) == sorted(titles(LECTURE / "solutions.py"))
