"""The generated world as Conceptual Captions writes it: a caption and an address a line, small letters, no file name.

    two red circles and a striped star on the sand .<TAB>https://world.invalid/000000017.jpg

The pictures have no ids: a line's number, from 0, names its picture, here as by most who have downloaded them.
"""

from collections.abc import Sequence

from vltool.world.captions import Caption

TRAINING, VALIDATION = "Train_GCC-training.tsv", "Validation_GCC-1.1.0-Validation.tsv"


def picture_name(row: int) -> str:
    """The picture of a line: "000000017.jpg" of line 17, counted from 0."""
    return f"{row:09d}.jpg"


def captions_file(captions: Sequence[Caption]) -> str:
    """The content of a file, of one caption a picture."""
    lines = (" ".join(caption.words).lower() for caption in captions)
    return "".join(f"{line}\thttps://world.invalid/{picture_name(row)}\n" for row, line in enumerate(lines))
