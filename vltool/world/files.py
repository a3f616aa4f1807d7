"""Writes the generated world to a folder, in the official layouts and under the official names.

    images/{train2014,val2014,test2015}/COCO_train2014_000000000001.jpg …
    annotations/{captions,instances}_{train2014,val2014}.json
    dataset_coco.json                                                  Karpathy's split
    v2_OpenEnded_mscoco_{train2014,val2014,test2015}_questions.json    VQA v2
    v2_mscoco_{train2014,val2014,test2015}_annotations.json
    v2_mscoco_{train2014,val2014}_complementary_pairs.json
    flickr30k_entities/{Annotations/1.xml …, Sentences/1.txt …, train.txt, val.txt, test.txt, UNRELATED_CAPTIONS}
    README.md, and world.json once all is written

Two things differ from the originals. The answers to the test2015 questions are there (the official ones are kept by
the evaluation server). And Entities pictures are the same pictures as COCO's, under the same numbers: picture 17 of
Entities is COCO image 17. As in the originals, the sets overlap: the VQA validation questions are about pictures that
the retrieval test uses too, and the Entities training list holds some pictures of Karpathy's val and test.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltool.errors import ConfigError, DataError
from vltool.world.captions import Caption, write_captions
from vltool.world.coco_records import captions_file, instances_file, karpathy_file, picture_name
from vltool.world.entities_records import Chains
from vltool.world.picture import draw_scene, save_jpeg
from vltool.world.scene import Scene, generate_scene
from vltool.world.vqa_records import vqa_files

GENERATOR_VERSION = 1  # raise it whenever the same arguments give other bytes
SUBSETS = ("train2014", "val2014", "test2015")
_SPLIT_STREAM = 5  # third word of the random seed
_OVERLAP = 0.05  # share of Karpathy's val and test pictures that Entities trains on
_SWAPPED = 0.1  # share of Entities' val pictures that are Karpathy test pictures, and the other way round
_LEAST = 4  # pictures that a split must have

_README = """# A generated world

Pictures of coloured shapes with captions, instances, questions and phrases, written by `vltool world` in the file
formats of COCO 2014, Karpathy's split, VQA v2 and Flickr30k Entities. `world.json` holds the arguments of its making.

- The answers to the test2015 questions are here; the official ones are kept by the evaluation server.
- Entities pictures are COCO pictures under the same number: `Sentences/17.txt` describes COCO image 17.
- The sets overlap as the real ones do: retrieval test pictures have VQA validation questions, and some of Karpathy's
  val and test pictures are in the Entities training list. `vltool splits audit` finds them.
"""


@dataclass(frozen=True)
class WorldArguments:
    """What a world is made from; the same arguments give the same bytes."""

    num_train: int
    num_val: int
    num_test: int
    seed: int
    questions_per_image: int

    def __post_init__(self) -> None:
        for name in ("num_train", "num_val", "num_test"):
            if getattr(self, name) < _LEAST:
                raise ConfigError(f"world: {name}={getattr(self, name)}, but a split needs at least {_LEAST} pictures")
        if self.seed < 0:
            raise ConfigError(f"world: seed={self.seed} is negative. Choose a seed from 0 up")
        if self.questions_per_image < 1:
            raise ConfigError(
                f"world: questions_per_image={self.questions_per_image}; ask at least 1 question a picture"
            )


@dataclass(frozen=True)
class WorldSplits:
    """Which picture numbers belong where, each list ascending.

    subsets:  the COCO folders, "train2014", "val2014", "test2015": every picture is in one of them.
    karpathy: "train" (all of train2014), and "val", "test", "restval", which divide val2014.
    entities: "train", "val", "test", which divide train2014 and val2014 another way.
    """

    subsets: dict[str, list[int]]
    karpathy: dict[str, list[int]]
    entities: dict[str, list[int]]


def plan_splits(arguments: WorldArguments) -> WorldSplits:
    """The splits of a world, from its arguments alone."""
    num_train, num_val, num_test = arguments.num_train, arguments.num_val, arguments.num_test
    num_restval = max(20, num_test // 4)
    num_val2014 = num_val + num_test + num_restval
    train = list(range(1, num_train + 1))
    val2014 = list(range(num_train + 1, num_train + num_val2014 + 1))
    test2015 = list(range(num_train + num_val2014 + 1, num_train + num_val2014 + num_test + 1))
    rng = np.random.default_rng([arguments.seed, num_val2014, _SPLIT_STREAM])
    shuffled = rng.permutation(val2014).tolist()
    val, test, restval = shuffled[:num_val], shuffled[num_val : num_val + num_test], shuffled[num_val + num_test :]
    shared = [split[: max(1, round(_OVERLAP * len(split)))] for split in (val, test)]
    entities_val, entities_test = val[len(shared[0]) :], test[len(shared[1]) :]
    swapped = round(_SWAPPED * min(len(entities_val), len(entities_test)))
    entities_val[:swapped], entities_test[:swapped] = entities_test[:swapped], entities_val[:swapped]
    return WorldSplits(
        subsets={"train2014": train, "val2014": val2014, "test2015": test2015},
        karpathy={"train": train, "val": sorted(val), "test": sorted(test), "restval": sorted(restval)},
        entities={
            "train": sorted([*train, *restval, *shared[0], *shared[1]]),
            "val": sorted(entities_val),
            "test": sorted(entities_test),
        },
    )


def write_world(
    out: Path | str,
    *,
    num_train: int = 600,
    num_val: int = 150,
    num_test: int = 200,
    seed: int = 0,
    questions_per_image: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes a world below `out` and returns its counts, with "up_to_date" true if it was there already.

    `progress(done, total)` is called after every picture. An interrupted call is taken up where it stopped: each file
    is whole or absent, and world.json comes last.
    Raises ConfigError for arguments that make no world, and DataError if `out` holds another world or other data.
    """
    out = Path(out)
    arguments = WorldArguments(num_train, num_val, num_test, seed, questions_per_image)
    finished = _read_marker(out / "world.json", arguments)
    if finished is not None:
        return {**finished["counts"], "up_to_date": True}
    _claim_folder(out, arguments)
    splits = plan_splits(arguments)
    scenes = {number: generate_scene(seed, number) for subset in SUBSETS for number in splits.subsets[subset]}
    described = [*splits.subsets["train2014"], *splits.subsets["val2014"]]
    captions = {number: write_captions(scenes[number]) for number in described}

    _write_pictures(out / "images", splits, scenes, progress)
    _write_coco(out, splits, scenes, captions)
    num_questions = _write_vqa(out, splits, scenes, arguments)
    num_phrases = _write_entities(out / "flickr30k_entities", splits, scenes, captions)
    _write_text(out / "README.md", _README)
    counts: dict[str, Any] = {
        "pictures": sum(map(len, splits.subsets.values())),
        "objects": sum(len(scenes[number].objects) for number in described),
        "captions": sum(map(len, captions.values())),
        "phrases": num_phrases,
        "questions": sum(num_questions.values()),
        "splits": {
            "pictures": {subset: len(numbers) for subset, numbers in splits.subsets.items()},
            "karpathy": {split: len(numbers) for split, numbers in splits.karpathy.items()},
            "entities": {split: len(numbers) for split, numbers in splits.entities.items()},
            "questions": num_questions,
        },
    }
    _write_json(out / "world.json", {**_marker(arguments), "counts": counts})
    (out / "world.unfinished.json").unlink(missing_ok=True)
    return {**counts, "up_to_date": False}


def _marker(arguments: WorldArguments) -> dict[str, Any]:
    return {"generator": GENERATOR_VERSION, "arguments": asdict(arguments)}


def _read_marker(path: Path, arguments: WorldArguments) -> dict[str, Any] | None:
    """The marker file's content, or None if there is none; DataError if it is of another world."""
    if not path.exists():
        return None
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        made_with = {"generator": marker["generator"], "arguments": marker["arguments"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a marker of a generated world ({error}). Delete it or choose another folder"
        ) from error
    if made_with != _marker(arguments):
        raise DataError(
            f"{path.parent}: holds a generated world made with {made_with}, and {_marker(arguments)} was asked for. "
            "Choose another folder, or delete this one first"
        )
    return dict(marker)


def _claim_folder(out: Path, arguments: WorldArguments) -> None:
    """Marks the folder as a world in the making, unless it holds something else."""
    unfinished = out / "world.unfinished.json"
    if _read_marker(unfinished, arguments) is not None:
        return
    taken = [
        name for name in ("images", "annotations", "dataset_coco.json", "flickr30k_entities") if (out / name).exists()
    ]
    if taken:
        raise DataError(f"{out}: has {', '.join(taken)} that no generated world left there. Choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    _write_json(unfinished, _marker(arguments))


def _write_pictures(
    folder: Path, splits: WorldSplits, scenes: dict[int, Scene], progress: Callable[[int, int], None] | None
) -> None:
    """Draws the pictures that are not there yet, two at a time."""
    jobs = [
        (folder / subset / picture_name(subset, n), scenes[n]) for subset in SUBSETS for n in splits.subsets[subset]
    ]
    for subset in SUBSETS:
        (folder / subset).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=2) as threads:  # numpy and Pillow draw and encode outside the interpreter lock
        for done, _ in enumerate(threads.map(lambda job: _write_picture(*job), jobs), start=1):
            if progress is not None:
                progress(done, len(jobs))


def _write_picture(path: Path, scene: Scene) -> None:
    if not path.exists():
        save_jpeg(draw_scene(scene), path)


def _write_coco(
    out: Path, splits: WorldSplits, scenes: dict[int, Scene], captions: dict[int, tuple[Caption, ...]]
) -> None:
    for subset in ("train2014", "val2014"):
        chosen = [scenes[number] for number in splits.subsets[subset]]
        _write_json(out / "annotations" / f"captions_{subset}.json", captions_file(subset, chosen, captions))
        _write_json(out / "annotations" / f"instances_{subset}.json", instances_file(subset, chosen))
    split_of = {number: split for split, numbers in splits.karpathy.items() for number in numbers}
    pictures = [
        (subset, split_of[number], number) for subset in ("train2014", "val2014") for number in splits.subsets[subset]
    ]
    _write_json(out / "dataset_coco.json", karpathy_file(pictures, captions))


def _write_vqa(out: Path, splits: WorldSplits, scenes: dict[int, Scene], arguments: WorldArguments) -> dict[str, int]:
    """Writes the VQA files; number of questions of each subset."""
    counts = {}
    for subset in SUBSETS:
        questions, annotations, pairs = vqa_files(
            subset,
            [scenes[number] for number in splits.subsets[subset]],
            questions_per_image=arguments.questions_per_image,
            seed=arguments.seed,
        )
        _write_json(out / f"v2_OpenEnded_mscoco_{subset}_questions.json", questions)
        _write_json(out / f"v2_mscoco_{subset}_annotations.json", annotations)
        if subset != "test2015":  # officially there is no such list for the test questions
            _write_json(out / f"v2_mscoco_{subset}_complementary_pairs.json", pairs)
        counts[subset] = len(questions["questions"])
    return counts


def _write_entities(
    folder: Path, splits: WorldSplits, scenes: dict[int, Scene], captions: dict[int, tuple[Caption, ...]]
) -> int:
    """Writes the Entities files; number of phrases."""
    chains = Chains()
    for number, written in captions.items():
        sentences, xml = chains.annotate(scenes[number], written, filename=f"{number}.jpg")
        _write_text(folder / "Sentences" / f"{number}.txt", sentences)
        _write_text(folder / "Annotations" / f"{number}.xml", xml)
    for split, numbers in splits.entities.items():
        _write_text(folder / f"{split}.txt", _lines(numbers))
    # Every caption of this world is about its picture, so the list of the others is empty.
    _write_text(folder / "UNRELATED_CAPTIONS", "# format: <imageID> <sentence number>\n")
    return sum(len(caption.phrases) for written in captions.values() for caption in written)


def _lines(values: Iterable[int]) -> str:
    return "".join(f"{value}\n" for value in values)


def _write_json(path: Path, content: dict[str, Any] | Sequence[Any]) -> None:
    _write_text(path, json.dumps(content))


def _write_text(path: Path, text: str) -> None:
    """Writes a file under a temporary name and renames it when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(path)
