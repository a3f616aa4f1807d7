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

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vltool.errors import DataError
from vltool.world.captions import Caption, write_captions
from vltool.world.coco_records import captions_file, instances_file, karpathy_file, picture_name
from vltool.world.entities_records import Chains
from vltool.world.output import draw_pictures, read_marker, write_json, write_text
from vltool.world.scene import Scene, generate_scene
from vltool.world.splits import WorldArguments, WorldSplits, plan_splits
from vltool.world.twelve.files import write_twelve
from vltool.world.twelve.splits import check_sizes
from vltool.world.vqa_records import vqa_files

GENERATOR_VERSION = 1  # raise it whenever the same arguments give other bytes
SUBSETS = ("train2014", "val2014", "test2015")

_README = """# A generated world

Pictures of coloured shapes with captions, instances, questions and phrases, written by `vltool world` in the file
formats of COCO 2014, Karpathy's split, VQA v2 and Flickr30k Entities. `world.json` holds the arguments of its making.

- The answers to the test2015 questions are here; the official ones are kept by the evaluation server.
- Entities pictures are COCO pictures under the same number: `Sentences/17.txt` describes COCO image 17.
- The sets overlap as the real ones do: retrieval test pictures have VQA validation questions, and some of Karpathy's
  val and test pictures are in the Entities training list. `vltool splits audit` finds them.
"""


def write_world(
    out: Path | str,
    *,
    num_train: int = 600,
    num_val: int = 150,
    num_test: int = 200,
    seed: int = 0,
    questions_per_image: int = 8,
    twelve: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Writes a world below `out` and returns its counts, with "up_to_date" true if it was there already.

    twelve: writes the further datasets of 12-in-1 too (`twelve/files.py`); the files above stay the same bytes, and a
    world that is there without them gets them. Their counts are under "twelve".
    `progress(done, total)` is called after every picture. An interrupted call is taken up where it stopped: each file
    is whole or absent, and world.json comes last, or twelve.json.
    Raises ConfigError for arguments that make no world, and DataError if `out` holds another world or other data.
    """
    out = Path(out)
    arguments = WorldArguments(num_train, num_val, num_test, seed, questions_per_image)
    if twelve:
        check_sizes(num_train=num_train, num_val=num_val, num_test=num_test)
    finished = read_marker(out / "world.json", _made_with(arguments))
    counts = _write_world(out, arguments, progress) if finished is None else dict(finished["counts"])
    up_to_date = finished is not None
    if twelve:
        further = write_twelve(out, arguments, progress)
        up_to_date = further.pop("up_to_date") and up_to_date
        counts["twelve"] = further
    return {**counts, "up_to_date": up_to_date}


def _write_world(out: Path, arguments: WorldArguments, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    """Writes the files of the world itself; what they hold, counted."""
    _claim_folder(out, arguments)
    splits = plan_splits(arguments)
    numbers = [number for subset in SUBSETS for number in splits.subsets[subset]]
    scenes = {number: generate_scene(arguments.seed, number) for number in numbers}
    described = [*splits.subsets["train2014"], *splits.subsets["val2014"]]
    captions = {number: write_captions(scenes[number]) for number in described}
    pictures = [
        (out / "images" / subset / picture_name(subset, number), scenes[number])
        for subset in SUBSETS
        for number in splits.subsets[subset]
    ]

    draw_pictures(pictures, progress)
    _write_coco(out, splits, scenes, captions)
    num_questions = _write_vqa(out, splits, scenes, arguments)
    num_phrases = _write_entities(out / "flickr30k_entities", splits, scenes, captions)
    write_text(out / "README.md", _README)
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
    write_json(out / "world.json", {**_made_with(arguments), "counts": counts})
    (out / "world.unfinished.json").unlink(missing_ok=True)
    return counts


def _made_with(arguments: WorldArguments) -> dict[str, Any]:
    return {"generator": GENERATOR_VERSION, "arguments": asdict(arguments)}


def _claim_folder(out: Path, arguments: WorldArguments) -> None:
    """Marks the folder as a world in the making, unless it holds something else."""
    unfinished = out / "world.unfinished.json"
    if read_marker(unfinished, _made_with(arguments)) is not None:
        return
    taken = [
        name for name in ("images", "annotations", "dataset_coco.json", "flickr30k_entities") if (out / name).exists()
    ]
    if taken:
        raise DataError(f"{out}: has {', '.join(taken)} that no generated world left there. Choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(unfinished, _made_with(arguments))


def _write_coco(
    out: Path, splits: WorldSplits, scenes: dict[int, Scene], captions: dict[int, tuple[Caption, ...]]
) -> None:
    for subset in ("train2014", "val2014"):
        chosen = [scenes[number] for number in splits.subsets[subset]]
        write_json(out / "annotations" / f"captions_{subset}.json", captions_file(subset, chosen, captions))
        write_json(out / "annotations" / f"instances_{subset}.json", instances_file(subset, chosen))
    split_of = {number: split for split, numbers in splits.karpathy.items() for number in numbers}
    pictures = [
        (subset, split_of[number], number) for subset in ("train2014", "val2014") for number in splits.subsets[subset]
    ]
    write_json(out / "dataset_coco.json", karpathy_file(pictures, captions))


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
        write_json(out / f"v2_OpenEnded_mscoco_{subset}_questions.json", questions)
        write_json(out / f"v2_mscoco_{subset}_annotations.json", annotations)
        if subset != "test2015":  # officially there is no such list for the test questions
            write_json(out / f"v2_mscoco_{subset}_complementary_pairs.json", pairs)
        counts[subset] = len(questions["questions"])
    return counts


def _write_entities(
    folder: Path, splits: WorldSplits, scenes: dict[int, Scene], captions: dict[int, tuple[Caption, ...]]
) -> int:
    """Writes the Entities files; number of phrases."""
    chains = Chains()
    for number, written in captions.items():
        sentences, xml = chains.annotate(scenes[number], written, filename=f"{number}.jpg")
        write_text(folder / "Sentences" / f"{number}.txt", sentences)
        write_text(folder / "Annotations" / f"{number}.xml", xml)
    for split, numbers in splits.entities.items():
        write_text(folder / f"{split}.txt", _lines(numbers))
    # Every caption of this world is about its picture, so the list of the others is empty.
    write_text(folder / "UNRELATED_CAPTIONS", "# format: <imageID> <sentence number>\n")
    return sum(len(caption.phrases) for written in captions.values() for caption in written)


def _lines(values: Iterable[int]) -> str:
    return "".join(f"{value}\n" for value in values)
