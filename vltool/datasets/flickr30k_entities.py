"""Flickr30k Entities: captions whose noun phrases are tied to boxes.

    Sentences/1000092795.txt     [/EN#1/people Two friends] enjoy [/EN#10/other time] spent together .
    Annotations/1000092795.xml   <object><name>1</name><bndbox><xmin>159</xmin>…
    train.txt, val.txt, test.txt one picture a line
    UNRELATED_CAPTIONS           129602216 5      (picture, sentence from 1)

Rules: flickr30k_entities_utils.py of BryanPlummer/flickr30k_entities at 68b3d6f1: boxes less 1, so that pixels count
from 0; an object may carry several chains; chain 0 is `notvisual` and has no boxes. Unlike there, a phrase that is
not closed is an error. One line is read in `entities_sentence.py`, one XML file in `entities_annotation.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from vltool.datasets.checks import Place, shown
from vltool.datasets.entities_annotation import EntityBoxes, parse_annotation
from vltool.datasets.entities_sentence import parse_sentence
from vltool.datasets.id_lists import read_names
from vltool.datasets.image_ids import ImageNamer, stem_of
from vltool.datasets.records import GroundedCaption, Phrase
from vltool.datasets.sources import Folder, check_files, decode, pick, read_text, require
from vltool.errors import DataError

_SENTENCES = {str(number) for number in range(1, 100)}
DEFAULT_IMAGE_ID = "flickr30k:{stem}"
FILES = ("sentences", "annotations", "ids", "split", "unrelated")


def read(
    *, files: Mapping[str, Path], split: str = "", image_id: str = "", only: Collection[str] | None = None
) -> list[GroundedCaption]:
    """The grounded captions of the listed pictures, picture by picture.

    files: `sentences` and `annotations`, each a folder or archive; optionally `ids` (or `split`), the split's list,
    or one list a split (`train_ids`, `val_ids`), and `unrelated`, the list of captions to mark as such. Without a list
    every annotated picture is read; without `annotations` no phrase has boxes and height and width are 0.
    image_id: pattern of the pictures' ids (default: flickr30k:{stem}). only: stems; no other picture is read.
    Raises DataError.
    """
    check_files(files, split, known=FILES)
    namer = ImageNamer(image_id or DEFAULT_IMAGE_ID)
    sentences = Folder(require(files, "sentences", split), ".txt")
    boxes_at = pick(files, "annotations", split)
    annotations = None if boxes_at is None else Folder(boxes_at, ".xml")
    unrelated_at = pick(files, "unrelated", split)
    unrelated = frozenset() if unrelated_at is None else read_unrelated(unrelated_at)
    try:
        return [
            caption
            for stem in _stems(files, split, sentences, annotations)
            if only is None or stem in only
            for caption in _read_picture(stem, sentences, annotations, namer, unrelated)
        ]
    finally:
        sentences.close()
        if annotations is not None:
            annotations.close()


def read_unrelated(path: Path | str) -> frozenset[tuple[str, int]]:
    """(picture, sentence) of the captions that do not belong to their picture; sentences count from 0."""
    found = set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in _SENTENCES:
            raise DataError(
                f"{path}: line {number}: expected a picture and the number of a sentence, as in 129602216 5, found "
                f"{shown(line)}"
            )
        found.add((words[0], int(words[1]) - 1))
    return frozenset(found)


def _stems(files: Mapping[str, Path], split: str, sentences: Folder, annotations: Folder | None) -> list[str]:
    path = pick(files, "ids", split) or files.get("split")
    if path is None:
        return list((annotations or sentences).stems)
    stems = [stem_of(str(name)) for name in read_names(path)]
    for folder in (sentences, annotations):
        missing = [stem for stem in stems if folder is not None and stem not in folder]
        if folder is not None and missing:
            raise DataError(
                f"{path}: {len(missing)} of its {len(stems)} pictures have no file in {folder.path}, first "
                f"{folder.file_of(missing[0]).name}"
            )
    return stems


def _read_picture(
    stem: str,
    sentences: Folder,
    annotations: Folder | None,
    namer: ImageNamer,
    unrelated: frozenset[tuple[str, int]],
) -> Iterator[GroundedCaption]:
    picture = EntityBoxes(height=0, width=0)
    if annotations is not None:
        picture = parse_annotation(annotations.read(stem), annotations.file_of(stem))
    path = sentences.file_of(stem)
    lines = [line for line in decode(sentences.read(stem), path).split("\n") if line]
    if not lines:
        raise DataError(f"{path}: expected a sentence on every line, found none")
    for index, line in enumerate(lines):
        tokens, phrases = parse_sentence(line, Place(path, "sentence", index))
        grounded = tuple(
            Phrase(
                first_word=phrase.first_word,
                num_words=phrase.num_words,
                chain_id=phrase.chain_id,
                types=phrase.types,
                boxes=tuple(picture.boxes.get(phrase.chain_id, ())),
                is_scene=phrase.chain_id in picture.scene,
                has_no_box=phrase.chain_id in picture.no_box,
            )
            for phrase in phrases
        )
        yield GroundedCaption(
            namer(stem, path),
            index,
            tokens,
            grounded,
            picture.height,
            picture.width,
            is_unrelated=(stem, index) in unrelated,
        )
