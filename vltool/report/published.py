"""The published results of Nguyen and Okatani (CVPR 2019), for the tables that have their layout.

They were reached on COCO, Flickr30k, Flickr30k Entities and VQA 2.0; beside results on other data they are a
reminder of the layout, nothing to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "Nguyen and Okatani, CVPR 2019"
DATA = "COCO, Flickr30k, Flickr30k Entities and VQA 2.0: not comparable with other data"
Column = tuple[str, str, str]
"""(task's name in the registry, metric, heading)."""

RECALLS = ("recall@1", "recall@5", "recall@10")
DIRECTIONS = {"image_to_text": "image → text", "text_to_image": "text → image"}


@dataclass(frozen=True)
class PublishedTable:
    """One table of the paper. rows: name → a number or None for each column; every row says on which data."""

    key: str
    title: str
    split: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    decimals: int


TABLES = (
    PublishedTable(
        key="table-1",
        title="Which tasks learn together, validation data (layout of the paper's Tables 1 and 2)",
        split="val",
        columns=(
            ("vqa", "accuracy", "VQA accuracy"),
            ("caption_retrieval", "image_to_text.recall@1", "Retrieval R@1 image → text"),
            ("caption_retrieval", "text_to_image.recall@1", "Retrieval R@1 text → image"),
            ("grounding", "recall@1", "Grounding R@1"),
        ),
        rows=(
            ("single tasks", (65.50, 69.05, 56.47, 58.09)),
            ("VQA + retrieval", (66.24, 69.52, 56.74, None)),
            ("VQA + grounding", (65.85, None, None, 58.07)),
            ("retrieval + grounding", (None, 69.23, 57.40, 58.28)),
            ("all three", (66.35, 70.43, 57.50, 58.26)),
            ("single task, retrieval on Flickr30k (Table 2)", (None, 67.16, 53.17, None)),
            ("all three, retrieval on Flickr30k (Table 2)", (66.09, 72.07, 56.42, 58.03)),
        ),
        decimals=2,
    ),
    PublishedTable(
        key="table-3",
        title="Caption retrieval, test data (layout of the paper's Table 3)",
        split="test",
        columns=tuple(
            ("caption_retrieval", f"{way}.{recall}", f"R@{recall[7:]} {arrow}")
            for way, arrow in DIRECTIONS.items()
            for recall in RECALLS
        ),
        rows=(
            ("Flickr30k, all tasks", (71.6, 84.6, 90.8, 56.1, 82.9, 89.4)),
            ("COCO 1K, all tasks", (70.2, 91.5, 95.9, 57.4, 88.4, 95.6)),
        ),
        decimals=1,
    ),
    PublishedTable(
        key="table-4",
        title="Visual question answering, test data (layout of the paper's Table 4)",
        split="test",
        columns=(
            ("vqa", "accuracy", "Overall"),
            ("vqa", "accuracy/other", "Other"),
            ("vqa", "accuracy/number", "Number"),
            ("vqa", "accuracy/yes/no", "Yes/no"),
        ),
        rows=(
            ("VQA 2.0 test-dev, all tasks", (69.28, 59.17, 51.54, 85.80)),
            ("VQA 2.0 test-standard, all tasks", (69.57, 59.27, 51.46, 86.17)),
        ),
        decimals=2,
    ),
    PublishedTable(
        key="table-5",
        title="Visual grounding, test data (layout of the paper's Table 5)",
        split="test",
        columns=tuple(("grounding", recall, f"R@{recall[7:]}") for recall in RECALLS),
        rows=(("Flickr30k Entities, all tasks", (57.39, 69.37, 71.03)),),
        decimals=2,
    ),
)
