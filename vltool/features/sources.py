"""Which image files are meant, and what each picture is called."""

from __future__ import annotations

import filecmp
import os
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vltool.errors import ConfigError, DataError
from vltool.features.folder import expanded
from vltool.features.images import IMAGE_SUFFIXES, ImagePath, as_text
from vltool.remote_files import RemoteFile, bring, is_url, list_files, with_slashes
from vltool.structures import ImageId

PLACEHOLDERS = {
    "stem": "the file's name without its suffix",
    "name": "the file's name",
    "number": "the last digits in it, without leading zeros",
    "parent": "the name of the file's folder",
}


@dataclass(frozen=True)
class Picture:
    """An image file and the id of its picture; None where the pattern does not fit the file's name."""

    path: ImagePath
    image_id: str | None


def find_images(sources: Iterable[str | ImagePath]) -> list[ImagePath]:
    """The image files of files, folders (searched through, sorted) and `@list.txt` (one path a line), each once.

    Each of them, and each line of a list, may be a URL (`s3://bucket/photos`).
    Relative paths in a list start from the working directory, or else from the list's folder. Raises DataError for
    a source that is not there or holds no pictures; a line of a list that names no file becomes a failed picture.
    """
    found: dict[object, ImagePath] = {}
    for source in sources:
        for path in [source] if isinstance(source, RemoteFile) else paths_of(source):
            found.setdefault(path if isinstance(path, RemoteFile) else path.absolute(), path)
    return list(found.values())


def find_local_images(sources: Iterable[str | Path]) -> list[Path]:
    """The same of files on this machine. Raises DataError for a URL."""
    images = find_images(sources)
    remote = [image for image in images if isinstance(image, RemoteFile)]
    if remote:
        raise DataError(f"{remote[0]}: pictures are read from a URL by extract-features alone. Copy them to a disk")
    return [image for image in images if isinstance(image, Path)]


def paths_of(source: str | Path) -> Iterator[ImagePath]:
    text = str(source)
    if text.startswith("@"):
        name = text[1:]
        yield from paths_in_list(bring(with_slashes(name)) if is_url(name) else expanded(name), name)
        return
    if is_url(source):
        yield from remote_images(with_slashes(source))
        return
    path = expanded(source)
    if path.is_dir():
        images = sorted(images_below(path))
        if not images:
            raise DataError(f"{path}: no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
        yield from images
    elif path.exists():
        yield path
    else:
        raise DataError(f"{path}: no such file or folder. A list of files is written @{path}")


def images_below(folder: Path) -> Iterator[Path]:
    """Files with an image suffix in a folder and its folders, each folder once; hidden ones are left out.

    Raises DataError for a folder that cannot be read: its pictures would be missed in silence.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot read this folder: {error.strerror}") from error

    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        visible = [name for name in folders if not name.startswith(".")]
        folders[:] = []
        for name in sorted(visible, key=lambda name: (os.path.islink(os.path.join(place, name)), name)):
            # Links may lead round in circles, and come after the folders themselves.
            real = os.path.realpath(os.path.join(place, name))
            if real not in seen:
                seen.add(real)
                folders.append(name)
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(place, name)


def remote_images(url: str) -> list[RemoteFile]:
    """The file of a URL, or the images below the folder. Raises DataError as `paths_of` does."""
    files = list_files(url)
    if [file.url.rstrip("/") for file in files] == [url.rstrip("/")]:
        return files
    images = [
        file for file in files if Path(file.name).suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]
    if not images:
        raise DataError(f"{url}: no images in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def paths_in_list(file: Path, called: str = "") -> Iterator[ImagePath]:
    """The paths in a list. called: how it was named, for messages."""
    called = called or str(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"@{called}: cannot read the list of images: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"@{called}: not a text file of one path a line: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"@{called}: the list of images is empty")
    for name in names:
        if "://" in name:
            yield RemoteFile(name)
            continue
        path = expanded(name)
        beside = file.parent / path
        yield beside if not path.exists() and beside.exists() else path


def check_pattern(pattern: str) -> None:
    """Raises ConfigError unless an image-id pattern tells pictures apart and uses known placeholders."""
    try:
        fields = [field for field in string.Formatter().parse(pattern) if field[1] is not None]
    except ValueError as error:
        raise ConfigError(f"--image-id {pattern!r}: {error}") from error
    names = [str(name) for _, name, _, _ in fields]
    unknown = [name for name in names if name not in PLACEHOLDERS]
    if any(width or conversion for _, _, width, conversion in fields):
        raise ConfigError(f"--image-id {pattern!r}: placeholders stand alone, as in coco:{{number}}, without : or !")
    if unknown or not names:
        known = "; ".join(f"{{{name}}} is {what}" for name, what in PLACEHOLDERS.items())
        wrong = f"{{{unknown[0]}}} is unknown" if unknown else "every picture would get the same id"
        raise ConfigError(f"--image-id {pattern!r}: {wrong}. {known}; for example coco:{{number}}")


def image_id_of(path: ImagePath, pattern: str) -> str | None:
    """The id of a picture by a pattern as in `coco:{number}`; None if {number} is asked for and there are no digits."""
    if isinstance(path, RemoteFile):
        parent = path.folder_name
    else:
        path = Path(as_text(str(path)))
        parent = path.absolute().parent.name
    digits = re.findall(r"[0-9]+", path.stem)
    if "{number}" in pattern and not digits:
        return None
    number = (digits[-1].lstrip("0") or "0") if digits else ""
    return pattern.format(stem=path.stem, name=path.name, number=number, parent=parent)


def name_pictures(
    paths: Sequence[ImagePath], pattern: str, aliases: Mapping[ImageId, ImageId] | None = None
) -> list[Picture]:
    """The pictures of files, with their ids. A copy of a file under the same id is left out.

    aliases: ids under which pictures are known better (vg: → coco:).

    Raises DataError naming both files where two different ones would get the same id.
    """
    check_pattern(pattern)
    pictures: list[Picture] = []
    by_id: dict[str, ImagePath] = {}
    for path in paths:
        image_id = image_id_of(path, pattern)
        if image_id is not None and aliases:
            image_id = aliases.get(ImageId(image_id), image_id)
        other = by_id.get(image_id) if image_id is not None else None
        if other is not None:
            if are_same(path, other):
                continue
            raise DataError(
                f"{other} and {path} are different files, and both would be image {image_id!r}. "
                f"Choose an --image-id that tells them apart (now {pattern!r}; {{name}} is the file's name with its "
                "suffix, {parent} its folder's), or extract them into stores of their own"
            )
        if image_id is not None:
            by_id[image_id] = path
        pictures.append(Picture(path, image_id))
    return pictures


def are_same(path: ImagePath, other: ImagePath) -> bool:
    if isinstance(path, RemoteFile) or isinstance(other, RemoteFile):
        return path.read_bytes() == other.read_bytes()
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8): every eighth picture. 0/8 to 7/8 and 1/8 to 8/8 both cover all pictures once."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or int(match[2]) < 1 or int(match[1]) > int(match[2]):
        raise ConfigError(f"--shard {text!r}: expected i/n as in 1/4, with i from 1 to n")
    return int(match[1]), int(match[2])


def shard_of(pictures: Sequence[Picture], shard: tuple[int, int]) -> list[Picture]:
    """Part i of n of the pictures, every n-th one."""
    number, count = shard
    return [picture for index, picture in enumerate(pictures) if index % count == number % count]
