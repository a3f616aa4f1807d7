"""Reads synthetic files of the full datasets' sizes; builds and audits splits: python -m tests.benchmarks.data_scale

COCO's 123,287, Flickr30k's 31,783 and Visual Genome's 108,077 pictures; VQA v2's 1,105,904 questions, 658,111 of them
answered ten times; 771,000 captions; 244,000 boxes of Entities. Bars: read in 180 s and 4 GB, splits built and
audited in 30 s, near-duplicates and all, on two processor cores.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, from_dict
from vltool.datasets import coco_captions
from vltool.splits.identity import visual_genome_aliases
from vltool.tasks.prepare import prepare_tasks
from vltool.tasks.split_proof import all_pictures, audit_trainings, build_splits

TRAIN, VAL, TEST = range(1, 82_784), range(100_001, 140_505), range(200_001, 281_435)
QUESTIONS = {"train": (443_757, TRAIN), "val": (214_354, VAL), "test": (447_793, TEST)}
FLICKR = range(1_000_000, 1_031_783)
WORDS = "a the man woman dog red white two with in on under street table plate large small green cat".split()  # noqa: SIM905


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        with ProcessPoolExecutor(1) as other:  # so that this process's memory is what reading takes
            config = other.submit(write_files, folder, scale).result()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"wrote {size / 1e9:.2f} GB in {time.perf_counter() - started:.0f} s")
        measure(folder, config)


def measure(folder: Path, config: RunConfig) -> None:
    """Prints seconds and memory of each step."""
    started = time.perf_counter()
    captions = coco_captions.read(files={"captions": folder / "captions_train.json"})
    aliases = visual_genome_aliases(folder / "image_data.json")
    read_more = time.perf_counter() - started
    prepared = prepare_tasks(config)
    reading = time.perf_counter() - started
    read = {f"{row['task']}/{row['split']}": row["read"] for row in prepared.counts}
    print(
        f"read {read}, {len(captions):,} captions of COCO's own file and {len(aliases):,} aliases ({read_more:.1f} s)"
    )
    print(f"reading: {reading:.1f} s (bar 180), {memory():.2f} GB (bar 4)")
    started = time.perf_counter()
    build_splits(prepared, folder / "splits", protocol="clean")
    built = time.perf_counter() - started
    everything = sorted(all_pictures({"clean": prepared}))
    bits = random.Random(1)
    looks: Any = {image_id: [f"{bits.getrandbits(64):016x}" for _ in range(8)] for image_id in everything}
    files: Any = {image_id: f"{bits.getrandbits(256):064x}" for image_id in everything}
    started = time.perf_counter()
    found = audit_trainings({"clean": prepared}, config, hashes=(files, looks))
    audited = time.perf_counter() - started
    print(f"{len(everything):,} pictures, clean: {found['clean']}, {len(found['near_duplicates'])} near-duplicates")
    print(f"splits: built in {built:.1f} s, audited in {audited:.1f} s (bar 30 for both); {memory():.2f} GB at most")


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def write_files(folder: Path, scale: float) -> RunConfig:
    """The official files in `folder`, and a run over them."""
    draw = random.Random(0)
    coco = {"train": TRAIN, "val": VAL}
    karpathy = {"train": TRAIN, "val": VAL[:5000], "test": VAL[5000:10_000], "restval": VAL[10_000:]}
    for split, (count, pictures) in QUESTIONS.items():
        write_questions(folder, split, int(count * scale), pictures, draw)
    write_coco_captions(folder / "captions_train.json", coco["train"][: int(82_783 * scale)], draw)
    images = [
        karpathy_image(number, split, draw)
        for split, numbers in karpathy.items()
        for number in numbers[: max(1, int(len(numbers) * scale))]
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    (folder / "image_data.json").write_text(
        json.dumps([{"image_id": n, "coco_id": n % 100_000 + 1 if n % 2 else None} for n in range(1, 108_078)])
    )
    write_entities(folder / "entities", int(31_783 * scale), draw)
    return from_dict({"name": "scale", "out": str(folder / "run"), "tasks": tasks(folder)})


def tasks(folder: Path) -> dict[str, Any]:
    def questions(split: str) -> list[dict[str, Any]]:
        files = {"questions": str(folder / f"questions_{split}.json")}
        if split != "test":
            files["annotations"] = str(folder / f"annotations_{split}.json")
        return [{"reader": "vqa_v2", "files": files}]

    def captions(split: str) -> list[dict[str, Any]]:
        return [{"reader": "karpathy", "files": {"dataset": str(folder / "dataset_coco.json")}, "split": split}]

    def phrases(split: str) -> list[dict[str, Any]]:
        place = folder / "entities"
        files = {
            "sentences": f"{place}/Sentences",
            "annotations": f"{place}/Annotations",
            "ids": f"{place}/{split}.txt",
        }
        return [{"reader": "flickr30k_entities", "files": files}]

    splits = ("train", "val", "test")
    return {
        "vqa": {split: questions(split) for split in splits},
        "caption_retrieval": {split: captions("train+restval" if split == "train" else split) for split in splits},
        "grounding": {split: phrases(split) for split in splits},
    }


def sentence(draw: random.Random, length: int = 11) -> str:
    return " ".join(draw.choices(WORDS, k=length))


def write_questions(folder: Path, split: str, count: int, pictures: range, draw: random.Random) -> None:
    questions, annotations = [], []
    for k in range(count):
        picture = pictures[k % len(pictures)]
        number = picture * 1000 + k // len(pictures)
        questions.append({"image_id": picture, "question": sentence(draw, 7) + f" {k}?", "question_id": number})
        if split != "test":
            words = [draw.choice(WORDS) for _ in range(10)]
            annotations.append(
                {
                    "question_type": "what is the",
                    "multiple_choice_answer": words[0],
                    "answers": [
                        {"answer": word, "answer_confidence": "yes", "answer_id": a} for a, word in enumerate(words, 1)
                    ],
                    "image_id": picture,
                    "answer_type": "other",
                    "question_id": number,
                }
            )
    (folder / f"questions_{split}.json").write_text(json.dumps({"questions": questions}))
    if annotations:
        (folder / f"annotations_{split}.json").write_text(json.dumps({"annotations": annotations}))


def write_coco_captions(path: Path, pictures: range, draw: random.Random) -> None:
    images = [{"id": n, "file_name": f"COCO_train2014_{n:012}.jpg", "height": 480, "width": 640} for n in pictures]
    captions = [
        {"image_id": n, "id": 5 * place + k, "caption": sentence(draw)}
        for place, n in enumerate(pictures)
        for k in range(5)
    ]
    path.write_text(json.dumps({"images": images, "annotations": captions}))


def karpathy_image(number: int, split: str, draw: random.Random) -> dict[str, Any]:
    sentences = []
    for k in range(5):
        raw = sentence(draw)
        sentences.append({"raw": raw, "tokens": raw.split(), "imgid": number, "sentid": 5 * number + k})
    return {
        "filename": f"COCO_val2014_{number:012}.jpg",
        "filepath": "val2014",
        "cocoid": number,
        "imgid": number,
        "split": split,
        "sentids": [found["sentid"] for found in sentences],
        "sentences": sentences,
    }


def write_entities(folder: Path, count: int, draw: random.Random) -> None:
    """5 captions and about 7.7 boxes a picture, as in Entities: 244,000 boxes."""
    for part in ("Sentences", "Annotations"):
        (folder / part).mkdir(parents=True)
    pictures = FLICKR[:count]
    chain = 0
    for number in pictures:
        chains = [chain := chain + 1 for _ in range(7 + (number % 3 > 0))]
        lines = []
        for k in range(5):
            phrases = " ".join(f"[/EN#{c}/people A {draw.choice(WORDS)}] beside" for c in (chains[k], chains[k + 2]))
            lines.append(f"{phrases} {sentence(draw, 5)} .\n")
        boxes = "".join(
            f"<object><name>{c}</name><bndbox><xmin>{5 + c % 90}</xmin><ymin>7</ymin><xmax>{150 + c % 90}</xmax>"
            "<ymax>190</ymax></bndbox></object>"
            for c in chains
        )
        (folder / "Sentences" / f"{number}.txt").write_text("".join(lines))
        (folder / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename><size><width>333</width><height>500</height><depth>3</depth>"
            f"</size>{boxes}</annotation>"
        )
    held = max(1, count // 32)
    lists = {"test": pictures[:held], "val": pictures[held : 2 * held], "train": pictures[2 * held :]}
    for split, numbers in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{number}\n" for number in numbers))


if __name__ == "__main__":
    main()
