"""Readers of labelled sequences, and samples of different lengths in one array."""

import gzip

import numpy as np
import pytest
from conftest import assert_same_bits
from data_files import data_file

from numbarnn import RNN, Dense, Model, SequenceRegressor
from numbarnn.core import ragged
from numbarnn.data import Ragged, SequenceScaler, from_channels_first, read_conll, read_ts
from numbarnn.data.ragged import RaggedSource
from numbarnn.errors import ShapeError

TS = """# a comment
@problemName Two
@timeStamps false
@dimensions 2
@classLabel true a b
@data
1,2,3:4,5,6:a

-1e3,?:0.5,7: b
"""

CONLLU = """# sent_id = 1
# text = don't go
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\t_\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\t_\t_\t1\tx\t_\t_
2.1\tempty\t_\t_\t_\t_\t_\t_\t_\t_
3\t#\t#\tSYM\t_\t_\t1\tx\t_\t_

# sent_id = 2
1\tGo\tgo\tVERB\t_\t_\t0\troot\t_\t_
"""


def written(tmp_path, text, name="data.txt"):
    path = tmp_path / name
    if name.endswith(".gz"):
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["two.ts", "two.ts.gz"])
def test_ts(tmp_path, name):
    x, y = read_ts(written(tmp_path, TS, name))
    assert x[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert x[1].shape == (2, 2)
    assert x[1][0].tolist() == [-1000, 0.5]
    assert np.isnan(x[1][1, 0])
    assert y.tolist() == ["a", "b"]
    assert all(sample.flags.c_contiguous and sample.flags.writeable for sample in x)


def test_ts_with_numbers_and_without_labels(tmp_path):
    numbers = read_ts(written(tmp_path, "@targetLabel true\n@data\n1,2:0.5\n3:1.5\n"))
    assert numbers[1].tolist() == [0.5, 1.5]
    assert [sample.shape for sample in numbers[0]] == [(2, 1), (1, 1)]
    bare = read_ts(written(tmp_path, "@classLabel false\n@dimensions 2\n@data\n1,2:3,4\n"))
    assert bare[0][0].tolist() == [[1, 3], [2, 4]]
    assert bare[1] is None


def test_conllu(tmp_path):
    words, tags = read_conll(written(tmp_path, CONLLU), ("form", "upos"))
    assert words == [["do", "n't", "#"], ["Go"]]
    assert tags == [["AUX", "PART", "SYM"], ["VERB"]]
    assert read_conll(written(tmp_path, CONLLU), (3,)) == (tags,)


def test_other_columns(tmp_path):
    text = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\n# NN O\n"
    words, names = read_conll(written(tmp_path, text), (0, -1), separator=None)
    assert words == [["-DOCSTART-"], ["EU", "rejects"], ["#"]]
    assert names == [["O"], ["B-ORG", "O"], ["O"]]
    two = "#\tSYM\nthe cat\tX\n\n# a comment\nb\tY\n"
    assert read_conll(written(tmp_path, "a\tX\n" + two)) == ([["a", "#", "the cat"], ["b"]], [["X", "SYM", "X"], ["Y"]])


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_ts, "1,2:a\n", "line 1 of .* comes before @data"),
        (read_ts, "@problemName x\n", "has no @data"),
        (read_ts, "@timeStamps true\n@data\n", "has time stamps"),
        (
            read_ts,
            "@classLabel true a\n@dimensions 2\n@data\n1,2:3:a\n",
            r"line 4 .* 2 channels .* 2 of lengths \[1, 2\]",
        ),
        (read_ts, "@classLabel true a\n@dimensions 2\n@data\n1,2:a\n", r"must have 2 channels of one length, it has 1"),
        (read_ts, "@classLabel true a\n@data\n1,2\n", "line 3 of .* has no label"),
        (
            read_ts,
            "@classLabel true a b\n@data\n1,2:b\n1,2: A\n",
            "line 4 of .* has the label 'A', which the header's @classLabel does not declare: it has 'a', 'b'",
        ),
        (read_ts, "@classLabel true a\n@data\n", "has a header and no samples"),
        (
            read_ts,
            "@equalLength true\n@classLabel true a\n@data\n1,2:a\n1:a\n",
            "line 5 of .* has 1 time steps, the first sample has 2, and the header says @equalLength true",
        ),
        (
            lambda path: read_ts(path, encoding="ascii"),
            "@problemName é",
            r"is not ascii text \(.*\); pass encoding=",
        ),
        (lambda path: read_conll(path, encoding="cow"), "a\tb\n", "there is no encoding 'cow'"),
        (read_ts, "@classLabel true a\n@data\n1,x:a\n", "line 3 .* has values that are not numeric: .*'x'"),
        (read_conll, "a\tb\nc\n", "line 2 of .* has 1 columns, the first has 2"),
        (read_conll, "\n\n", "has no sentences"),
        (read_conll, "a\n", "1 is out of range for 1"),
        (lambda path: read_conll(path, ("form",)), "a\tb\n", "columns by name are those of CoNLL-U"),
    ],
)
def test_refused(tmp_path, read, text, message):
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, text))


def test_no_file(tmp_path):
    for read in (read_ts, read_conll):
        with pytest.raises(FileNotFoundError, match=r"^path: there is no file '.*none'$"):
            read(tmp_path / "none")


def test_real_files():
    x, y = read_ts(data_file("japanese_vowels", "JapaneseVowels_TRAIN.ts.gz"))
    assert len(x) == len(y) == 270
    assert {sample.shape[1] for sample in x} == {12}
    assert (min(map(len, x)), max(map(len, x)), len(set(y))) == (7, 26, 9)
    words, tags = read_conll(data_file("ud_english_ewt", "test.tsv.gz"))
    assert (len(words), sum(map(len, words)), sum(map(len, tags))) == (2077, 25094, 25094)
    assert len({tag for sentence in tags for tag in sentence}) == 17


# Ragged


def test_ragged():
    data = Ragged([1, 2, 3, 4, 5], [0, 2, 2, 5])
    assert len(data) == 3
    assert [sample.tolist() for sample in data] == [[1, 2], [], [3, 4, 5]]
    assert data[-1].tolist() == [3, 4, 5]
    assert data.padded([2, 0], 9).tolist() == [[3, 4, 5], [1, 2, 9]]
    assert data.padded([-1, 1], 9).tolist() == [[3, 4, 5], [9, 9, 9]]
    assert data.padded([1]).tolist() == [[0]]
    assert np.shares_memory(data.padded([2]), data.values)
    assert [sample.tolist() for sample in data.take(np.array([2, 1]))] == [[3, 4, 5], []]
    assert Ragged.of(np.zeros((4, 2)), [1, 3]).padded([0, 1]).shape == (2, 3, 2)
    with pytest.raises(IndexError, match="no sample 3 among 3"):
        data[3]
    with pytest.raises(ShapeError, match="offsets must have shape"):
        Ragged([1], 0)


def test_groups_of_like_lengths(monkeypatch):
    monkeypatch.setattr(ragged, "MOST_STEPS", 12)
    lengths = np.array([3, 50, 1, 4, 4, 2, 5])
    assert [group.tolist() for group in ragged.length_groups(lengths)] == [[2, 5, 0], [3, 4], [6], [1]]
    assert [group.tolist() for group in ragged.length_groups(lengths, 2)] == [[2, 5], [0, 3], [4, 6], [1]]
    x = Ragged.of(np.arange(69.0)[:, None], lengths)
    part = RaggedSource(x, np.arange(7)).part([1, 2, 5, 6], False)
    batches = list(part.batches(np.random.default_rng(0)))
    assert [batch.y.tolist() for batch in batches] == [[2, 5], [6], [1]]
    assert [batch.x.shape[1] for batch in batches] == [2, 5, 50]


def test_batches_are_as_long_as_their_longest_sample():
    lengths = np.arange(1, 11)
    x = Ragged.of(np.arange(55.0)[:, None], lengths)
    source = RaggedSource(x, Ragged.of(np.arange(55), lengths), batch_size=3)
    batches = list(source.batches(np.random.default_rng(0)))
    assert len(batches) == len(source) == 4
    for batch in batches:
        assert batch.x.shape[1] == batch.lengths.max()
        for values, labels, length in zip(batch.x, batch.y, batch.lengths, strict=True):
            assert_same_bits(values[:length, 0].astype(np.int64), labels[:length])
            assert not values[length:].any()
    seen = np.concatenate([batch.y[batch.y >= 0] for batch in batches])
    assert sorted(seen.tolist()) == list(range(55))
    again = list(source.batches(np.random.default_rng(0)))
    assert all(np.array_equal(a.x, b.x) for a, b in zip(batches, again, strict=True))
    with pytest.raises(ValueError, match="batch_size must be an integer >= 1, got 0"):
        RaggedSource(x, lengths, batch_size=0)
    assert source.fingerprint() != source.part(np.arange(9), True).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: "%# as in UnitTest_TRAIN.ts\n" + text,
        lambda text: text.replace(" ", "\t").replace("\t\n", "\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("@classLabel true", "@CLASSLABEL  TRUE").replace("@data", "@DATA"),
    ],
    ids=["BOM", "percent", "tabs", "Windows", "capitals"],
)
def test_ts_as_it_is_written_elsewhere(tmp_path, change):
    path = tmp_path / "a.ts"
    path.write_bytes(change(TS).encode())
    x, y = read_ts(path)
    assert [len(sample) for sample in x] == [3, 2]
    assert y.tolist() == ["a", "b"]


def test_a_mark_of_byte_order_is_no_word(tmp_path):
    path = tmp_path / "a.tsv"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text("é\tX\n", encoding=encoding)
        assert read_conll(path, encoding=encoding.removesuffix("-sig")) == ([["é"]], [["X"]])


def test_channels_first():
    x = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(from_channels_first(x), x.transpose(0, 2, 1))
    found = from_channels_first([x[0], x[1][:, :2]])
    assert [sample.shape for sample in found] == [(4, 3), (2, 3)]
    assert np.array_equal(found[1], x[1][:, :2].T)
    with pytest.raises(ShapeError, match=r"X must have shape \(samples, channels, time steps\), .* got \(2, 3\)"):
        from_channels_first(np.zeros((2, 3)))
    hint = r"if its last axes are \(channels, time steps\), pass numbarnn.data.from_channels_first"
    net = Model([RNN(2), Dense(1)], input_size=3)
    fitted = SequenceRegressor("rnn", 2, epochs=0).fit(np.zeros((2, 4, 3)), [0, 1])
    scaler = SequenceScaler().fit(np.zeros((2, 4, 3)))
    for call in (net.forward, fitted.predict, scaler.transform):
        with pytest.raises(ShapeError if call != fitted.predict else ValueError, match=hint):
            call(x)
    for call in (lambda data: SequenceRegressor().fit(data, [0, 1]), SequenceScaler().fit):
        with pytest.raises(ValueError, match=hint):
            call([np.zeros((3, 5)), np.zeros((3, 4))])
