"""Writes the further datasets of 12-in-1 beside a generated world, in the official layouts, under the official names.

    visual_genome/{image_data,question_answers}.json, {train,val,test}.txt, VG_100K/2301201.jpg …
    visual7w/dataset_v7w_pointing.json
    gqa/{train,val,testdev}_balanced_questions.json, {val,testdev}_all_questions.json, {val,testdev}_choices.json,
        train_all_questions/train_all_questions_0.json, {train,val}_sceneGraphs.json, images/n1391.jpg …
    refcoco/{refs(unc).p, instances.json}   refcoco+/{refs(unc).p, instances.json}   refcocog/{refs(umd).p, …}
    guesswhat/guesswhat.{train,valid,test}.jsonl.gz
    nlvr2/{train,dev,test1}.json, images/{train/0,dev,test1}/…-img0.png
    snli_ve/snli_ve_{train,dev,test}.jsonl   flickr30k/results_20130124.token
    conceptual_captions/{Train_GCC-training,Validation_GCC-1.1.0-Validation}.tsv, {training,validation}/000000000.jpg …
    TWELVE.md, and twelve.json once all is written

Which pictures are whose: `splits.py`. Visual Genome has no official split of its questions; the three lists are one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vltool.world.captions import Caption, write_captions
from vltool.world.coco_records import instances_file
from vltool.world.output import draw_pictures, read_marker, write_bytes, write_json, write_json_lines, write_text
from vltool.world.scene import Scene, generate_scene
from vltool.world.splits import WorldArguments, plan_splits
from vltool.world.twelve import (
    conceptual_captions,
    gqa_records,
    guesswhat_records,
    nlvr2_records,
    refcoco_records,
    snli_ve_records,
    visual7w_records,
    visual_genome_records,
)
from vltool.world.twelve.splits import TwelveSplits, plan_twelve_splits
from vltool.world.twelve.visual_genome_records import visual_genome_id

GENERATOR_VERSION = 1  # raise it whenever the same arguments give other bytes
GQA_A_PICTURE = 8
VISUAL_GENOME_A_PICTURE = 6
VISUAL7W_A_PICTURE = 6
GAMES_A_PICTURE = 5
SENTENCES_AN_NLVR2_SET = 16
HYPOTHESES_A_PICTURE = 9

_README = """# The further datasets of 12-in-1

Written by `vltool world --twelve` in the file formats of Visual Genome, Visual7W (pointing), GQA, RefCOCO, RefCOCO+,
RefCOCOg, GuessWhat?!, NLVR2, SNLI-VE, Flickr30k and Conceptual Captions. All is true of the pictures.

- COCO pictures are `images/`; a part of Visual Genome's are the same pictures (`coco_id` in image_data.json).
- Flickr30k pictures are COCO pictures under the same number, as for Entities: read them under coco:{number}.
- GQA's testdev, NLVR2, Conceptual Captions and the rest of Visual Genome have pictures of their own.
- What one dataset evaluates others train on: a clean training removes it.
"""
_Progress = Callable[[int, int], None] | None


def write_twelve(out: Path, arguments: WorldArguments, progress: _Progress = None) -> dict[str, Any]:
    """Writes the datasets beside the world in `out` and returns how many examples each split of each has.

    "up_to_date" is true if they were there already. Raises ConfigError for a world that is too small, and DataError
    if `out` holds those of another world.
    """
    made_with = {"generator": GENERATOR_VERSION, "arguments": asdict(arguments)}
    finished = read_marker(out / "twelve.json", made_with)
    if finished is not None:
        return {**finished["counts"], "up_to_date": True}
    writer = _Writer(out, arguments)
    writer.draw(progress)
    counts = {
        "pictures": writer.num_own,
        "visual_genome_qa": writer.visual_genome(),
        "visual7w": writer.visual7w(),
        "gqa": writer.gqa(),
        "refcoco": writer.refcoco("refcoco", "unc", writer.splits.refcoco),
        "refcoco+": writer.refcoco("refcoco+", "unc", writer.splits.refcoco),
        "refcocog": writer.refcoco("refcocog", "umd", writer.splits.refcocog),
        "guesswhat": writer.guesswhat(),
        "nlvr2": writer.nlvr2(),
        "snli_ve": writer.snli_ve(),
        "conceptual_captions": writer.conceptual_captions(),
    }
    write_text(out / "TWELVE.md", _README)
    write_json(out / "twelve.json", {**made_with, "counts": counts})
    return {**counts, "up_to_date": False}


class _Writer:
    """The scenes of all pictures, and a method for every dataset; each returns its number of examples by split."""

    def __init__(self, out: Path, arguments: WorldArguments) -> None:
        self.out = out
        self.seed = arguments.seed
        self.world = plan_splits(arguments)
        subsets = self.world.subsets
        self.splits: TwelveSplits = plan_twelve_splits(
            train2014=subsets["train2014"],
            val2014=subsets["val2014"],
            first_free=subsets["test2015"][-1] + 1,
            num_val=arguments.num_val,
            num_test=arguments.num_test,
            seed=arguments.seed,
        )
        self.subset_of = {number: name for name in ("train2014", "val2014") for number in subsets[name]}
        paired = [number for sets in self.splits.nlvr2.values() for pairs in sets for pair in pairs for number in pair]
        own = [number for numbers in self.splits.own.values() for number in numbers]
        self.scenes = {number: generate_scene(self.seed, number) for number in [*self.subset_of, *own, *paired]}
        self.captions: dict[int, tuple[Caption, ...]] = {
            number: write_captions(self.scenes[number]) for number in self.subset_of
        }
        self.num_own = len(own) + len(paired)

    def draw(self, progress: _Progress) -> None:
        """Draws the pictures that COCO does not have."""
        jobs: list[tuple[Path, Scene]] = []
        for number in self.splits.own["visual_genome"]:
            path = self.out / "visual_genome" / "VG_100K" / f"{visual_genome_id(number)}.jpg"
            jobs.append((path, self.scenes[number]))
        jobs += [
            (self.out / "gqa" / "images" / f"n{number}.jpg", self.scenes[number]) for number in self.splits.own["gqa"]
        ]
        for split, numbers in self.splits.conceptual_captions.items():
            folder = self.out / "conceptual_captions" / split
            jobs += [
                (folder / conceptual_captions.picture_name(row), self.scenes[number])
                for row, number in enumerate(numbers)
            ]
        for split, sets in self.splits.nlvr2.items():
            jobs += [
                (
                    self.out / "nlvr2" / "images" / nlvr2_records.picture_path(split, group, pair, side),
                    self.scenes[number],
                )
                for group, pairs in enumerate(sets)
                for pair, numbers in enumerate(pairs)
                for side, number in enumerate(numbers)
            ]
        draw_pictures(jobs, progress)

    def visual_genome(self) -> dict[str, int]:
        folder = self.out / "visual_genome"
        scenes = self._of(self.splits.visual_genome)
        write_json(folder / "image_data.json", visual_genome_records.image_data(scenes, coco=self.subset_of))
        pictures, counts = [], {}
        for split, numbers in self.splits.visual_genome_qa.items():
            found = visual_genome_records.question_answers(
                self._of(numbers), per_picture=VISUAL_GENOME_A_PICTURE, seed=self.seed
            )
            write_text(folder / f"{split}.txt", "".join(f"{picture['id']}\n" for picture in found))
            pictures += found
            counts[split] = sum(len(picture["qas"]) for picture in found)
        write_json(folder / "question_answers.json", sorted(pictures, key=lambda picture: picture["id"]))
        return counts

    def visual7w(self) -> dict[str, int]:
        content = visual7w_records.pointing_file(self.splits.visual7w, self.scenes, per_picture=VISUAL7W_A_PICTURE)
        write_json(self.out / "visual7w" / "dataset_v7w_pointing.json", content)
        counts = dict.fromkeys(("train", "val", "test"), 0)
        for image in content["images"]:
            counts[image["split"]] += len(image["qa_pairs"])
        return counts

    def gqa(self) -> dict[str, int]:
        folder = self.out / "gqa"
        counts = {}
        for split, numbers in self.splits.gqa.items():
            names = [f"n{number}" if split == "testdev" else str(visual_genome_id(number)) for number in numbers]
            pictures = list(zip(names, self._of(numbers), strict=True))
            balanced, every, choices = gqa_records.question_files(pictures, per_picture=GQA_A_PICTURE, seed=self.seed)
            counts[split] = len(balanced)
            write_json(folder / f"{split}_balanced_questions.json", balanced)
            if split == "train":  # officially a folder of ten parts
                write_json(folder / "train_all_questions" / "train_all_questions_0.json", every)
            else:
                write_json(folder / f"{split}_all_questions.json", every)
                write_json(folder / f"{split}_choices.json", choices)
            if split != "testdev":
                write_json(folder / f"{split}_sceneGraphs.json", gqa_records.scene_graphs(pictures))
        return counts

    def refcoco(self, dataset: str, split_by: str, splits: Mapping[str, Sequence[int]]) -> dict[str, int]:
        records = refcoco_records.refs(dataset, splits, self.scenes)
        numbers = sorted({record["image_id"] for record in records})
        write_bytes(self.out / dataset / f"refs({split_by}).p", refcoco_records.pickled(records))
        write_json(self.out / dataset / "instances.json", instances_file("train2014", self._of(numbers)))
        counts = dict.fromkeys(splits, 0)
        for record in records:
            counts[record["split"]] += len(record["sentences"])
        return counts

    def guesswhat(self) -> dict[str, int]:
        counts = {}
        for split, numbers in self.splits.guesswhat.items():
            games = guesswhat_records.games(numbers, self.scenes, self.subset_of, per_picture=GAMES_A_PICTURE)
            write_bytes(self.out / "guesswhat" / f"guesswhat.{split}.jsonl.gz", guesswhat_records.packed(games))
            counts[split] = len(games)
        return counts

    def nlvr2(self) -> dict[str, int]:
        counts = {}
        for split, sets in self.splits.nlvr2.items():
            pairs = [[(self.scenes[left], self.scenes[right]) for left, right in pairs] for pairs in sets]
            records = nlvr2_records.records(split, pairs, per_set=SENTENCES_AN_NLVR2_SET, seed=self.seed)
            write_json_lines(self.out / "nlvr2" / f"{split}.json", records)
            counts[split] = len(records)
        return counts

    def snli_ve(self) -> dict[str, int]:
        lines = (
            f"{number}.jpg#{row}\t{' '.join(caption.words)}\n"
            for number in sorted(self.captions)
            for row, caption in enumerate(self.captions[number])
        )
        write_text(self.out / "flickr30k" / "results_20130124.token", "".join(lines))
        counts = {}
        for split, listed in (("train", "train"), ("dev", "val"), ("test", "test")):
            scenes = self._of(self.world.entities[listed])
            records = snli_ve_records.records(scenes, self.captions, per_picture=HYPOTHESES_A_PICTURE, seed=self.seed)
            write_json_lines(self.out / "snli_ve" / f"snli_ve_{split}.jsonl", records)
            counts[split] = len(records)
        return counts

    def conceptual_captions(self) -> dict[str, int]:
        names = {"training": conceptual_captions.TRAINING, "validation": conceptual_captions.VALIDATION}
        for split, numbers in self.splits.conceptual_captions.items():
            captions = [write_captions(scene)[0] for scene in self._of(numbers)]
            write_text(self.out / "conceptual_captions" / names[split], conceptual_captions.captions_file(captions))
        return {split: len(numbers) for split, numbers in self.splits.conceptual_captions.items()}

    def _of(self, numbers: Iterable[int]) -> list[Scene]:
        return [self.scenes[number] for number in numbers]
