"""Word vectors: the official files, their odd relatives, and files that are none."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltool.errors import DataError
from vltool.text.glove import content_key, load_vectors, width_of
from vltool.text.vocabulary import Vocabulary

WORDS = Vocabulary(["the", "of", ". . .", "naïve", "absent"])
LINES = """the 1 2 3
of 0.5 -1e-2 7
. . . 4 5 6
. 9 9 9
naïve 0 0 1
other 8 8 8
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "vectors.txt").write_text(LINES, encoding="utf-8")
    return tmp_path / "vectors.txt"


def test_rows_follow_the_vocabulary(path: Path) -> None:
    matrix, coverage = load_vectors(path, WORDS)
    assert matrix.shape == (7, 3) and matrix.dtype == np.float32
    np.testing.assert_allclose(matrix[[0, 2, 3, 4, 5]], [[0, 0, 0], [1, 2, 3], [0.5, -0.01, 7], [4, 5, 6], [0, 0, 1]])
    assert coverage["missing"] == ["absent"]
    assert (coverage["words"], coverage["found"], coverage["lines"], coverage["dim"]) == (5, 4, 6, 3)
    assert (coverage["duplicates"], coverage["num_bad_lines"]) == (0, 0)


def test_missing_words_are_drawn_and_stay_the_same(path: Path) -> None:
    matrix, coverage = load_vectors(path, WORDS)
    again, _ = load_vectors(path, Vocabulary(["new", "absent", "the", "of", ". . .", "naïve"]))
    np.testing.assert_array_equal(matrix[6], again[3])
    assert np.any(matrix[1]) and np.any(matrix[1] != matrix[6])
    assert not np.array_equal(load_vectors(path, WORDS, seed=1)[0][6], matrix[6])
    found = matrix[[2, 3, 4, 5]]
    assert coverage["std"] == pytest.approx(found.std())


def test_drawn_rows_spread_like_the_file(shared_data: Path) -> None:
    words = ["the", "cat", "dog", *(f"qz{k}" for k in range(200))]
    matrix, coverage = load_vectors(shared_data / "glove" / "glove.6B.50d.txt", words)
    assert len(coverage["missing"]) == 200
    assert matrix[3:].std() == pytest.approx(coverage["std"], rel=0.05)


def test_a_header_line_is_skipped_and_trailing_spaces_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec"
    path.write_bytes(b"3 2\nthe 1 2 \nof 3 4 \r\n2 5 6\n")
    matrix, coverage = load_vectors(path, ["the", "of", "2", "3"])
    np.testing.assert_allclose(matrix[:3], [[1, 2], [3, 4], [5, 6]])
    assert coverage["missing"] == ["3"] and coverage["num_bad_lines"] == 0


def test_the_first_of_two_lines_counts(path: Path) -> None:
    path.write_text(LINES + "the 7 7 7\nother 1 1 1\n", encoding="utf-8")
    matrix, coverage = load_vectors(path, WORDS)
    assert matrix[2].tolist() == [1, 2, 3] and coverage["duplicates"] == 1


def test_bad_lines_are_reported(path: Path) -> None:
    path.write_text("absent 1 2\n" + LINES + "absent x 2 3\nabsent nan 1 2\n\nabsent 1 2 3\n", encoding="utf-8")
    matrix, coverage = load_vectors(path, WORDS)
    assert coverage["bad_lines"] == [[1, "fewer than 3 numbers"], [8, "not all numbers"], [9, "not 3 finite numbers"]]
    assert matrix[6].tolist() == [1, 2, 3] and coverage["missing"] == []


def test_archives(path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "vectors.3d.txt")
    plain, _ = load_vectors(path, WORDS)
    np.testing.assert_array_equal(load_vectors(tmp_path / "one.zip", WORDS)[0], plain)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        archive.write(path, "vectors.3d.txt")
        archive.writestr("vectors.2d.txt", "the 1 2\n")
    np.testing.assert_array_equal(load_vectors(tmp_path / "many.zip", WORDS, dim=3)[0], plain)
    np.testing.assert_array_equal(load_vectors(tmp_path / "many.zip" / "vectors.3d.txt", WORDS)[0], plain)
    with pytest.raises(DataError, match=r"name one member .*vectors\.3d\.txt, vectors\.2d\.txt"):
        load_vectors(tmp_path / "many.zip", WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "not word vectors"),
        (b"{}", "not word vectors"),
        (b"bird 1 2\n", "none of the 5 words"),
        (b"\x80\x04\x95 pickle", "none of the 5 words"),
    ],
)
def test_files_that_hold_no_vectors(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"vectors.txt: {message}"):
        load_vectors(path, WORDS)


def test_files_that_cannot_be_read(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file of word vectors"):
        load_vectors(tmp_path / "absent.txt", WORDS)
    with pytest.raises(DataError, match="have 3 numbers, expected 300"):
        load_vectors(path, WORDS, dim=300)
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        load_vectors(tmp_path / "bad.zip", WORDS)


@pytest.mark.parametrize(
    ("name", "dim", "lines"), [("6B.50d", 50, 10361), ("6B.100d.sample", 100, 100), ("6B.300d.sample", 300, 100)]
)
def test_official_files(shared_data: Path, name: str, dim: int, lines: int) -> None:
    path = shared_data / "glove" / f"glove.{name}.txt"
    words = [line.split(" ", 1)[0] for line in path.read_text(encoding="utf-8").split("\n")[:60:7]]
    matrix, coverage = load_vectors(path, words)
    assert (coverage["lines"], coverage["dim"], coverage["num_bad_lines"]) == (lines, dim, 0)
    assert coverage["found"] == len(words) and matrix.shape == (len(words), dim)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"the 1 2 3", b"of 1 2", b"naive 1 2 3", b"the \xff 1 2", b"3 3"]),
        max_size=8,
    )
)
def test_any_bytes_give_rows_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(b"\n".join(lines))
    try:
        matrix, coverage = load_vectors(path, WORDS)
    except DataError:
        return
    assert np.isfinite(matrix).all() and coverage["found"] + len(coverage["missing"]) == 5


def test_gzip_byte_order_mark_and_windows_lines(path: Path) -> None:
    packed = path.with_name("vectors.vec.gz")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode()))
    np.testing.assert_array_equal(load_vectors(packed, WORDS)[0], load_vectors(path, WORDS)[0])
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"vectors.vec.gz: cannot be read"):
        load_vectors(packed, WORDS)


def test_the_key_follows_content_and_words_not_names(path: Path) -> None:
    key = content_key(path, WORDS)
    assert key == content_key(path.rename(path.with_name("other.txt")), WORDS)
    assert key != content_key(path.with_name("other.txt"), Vocabulary(["the"]))
    path.with_name("other.txt").write_text(LINES + "more 1 2 3\n", encoding="utf-8")
    assert key != content_key(path.with_name("other.txt"), WORDS)
    with pytest.raises(DataError, match=r"none.txt: no such file of word vectors"):
        content_key(path.with_name("none.txt"), WORDS)


def test_the_width_is_told_by_the_first_lines_and_compared_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "glove.6B.3d.txt").write_text("the 1 2 3\na 4 5 6\n")
    assert width_of(tmp_path / "glove.6B.3d.txt") == 3
    (tmp_path / "glove.6B.50d.txt").write_text("the 1 2 3\n")
    with pytest.raises(DataError, match="3 numbers, and its name says 50"):
        width_of(tmp_path / "glove.6B.50d.txt")
    (tmp_path / "words.txt").write_text("no numbers\n")
    with pytest.raises(DataError, match="something else than numbers"):
        width_of(tmp_path / "words.txt")


def test_words_without_a_vector_get_finite_ones_however_large_the_others_are(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("a 1e30 -2e30\ncat 3e38 1\n")
    vectors, coverage = load_vectors(path, ["a", "cat", "dog"])
    assert np.isfinite(vectors).all() and coverage["missing"] == ["dog"]
