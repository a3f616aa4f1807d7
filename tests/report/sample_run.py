"""A small run on disk, its numbers written by hand: what the report's tests read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vltool.config import RunConfig, from_dict
from vltool.structures import TaskPlan

TASKS = ("caption_retrieval", "vqa", "grounding")
SINGLE = {
    "caption_retrieval": {"image_to_text.recall@1": 40.0, "image_to_text.median_rank": 3.0, "rsum": 350.0},
    "vqa": {"accuracy": 60.04, "accuracy/yes/no": 80.0},
    "grounding": {"recall@1": 55.0, "recall@5": 80.0, "upper_bound": 90.0, "recall@1/scene": 20.0},
}
JOINT = {
    "caption_retrieval": {"image_to_text.recall@1": 42.5, "image_to_text.median_rank": 2.0, "rsum": 361.0},
    "vqa": {"accuracy": 60.0, "accuracy/yes/no": 81.0},
    "grounding": {"recall@1": 54.0, "recall@5": 82.0, "upper_bound": 90.0, "recall@1/scene": 25.0},
}
IGNORANCE = {
    "caption_retrieval": {"image_to_text.recall@1": 1.0, "rsum": 32.0},
    "vqa": {"question_only.accuracy": 45.0, "majority.accuracy": 31.0, "question_only.accuracy/yes/no": 81.04},
    "grounding": {"recall@1": 12.0, "recall@5": 40.0},
}


def sample_config(out: Path, tasks: tuple[str, ...] = TASKS, **changes: Any) -> RunConfig:
    source = {"reader": "vqa_v2", "files": {}}
    return from_dict(
        {
            "name": "by hand",
            "out": str(out),
            "tasks": {task: {"train": [source], "val": [source]} for task in tasks},
            "encoder": {"name": "dense_coattention", "options": {"width": 16, "num_levels": 3}},
            "training": {"cycle_updates": 3},
            **changes,
        }
    )


def write_sample_run(out: Path) -> RunConfig:
    """Everything but features, words and checkpoints."""
    config = sample_config(out)
    for level, score in ((1, 50.0), (2, 61.0), (3, 60.5)):
        write_training(out / "search" / "vqa" / f"l{level}-b8-u6-s4", {"vqa": level}, {"vqa": {"accuracy": score}})
    write_training(out / "search" / "vqa" / "l2-b4-u6-s4", {"vqa": 2}, {"vqa": {"accuracy": 60.9}}, batch_size=4)
    write_training(out / "training" / "joint", {"caption_retrieval": 1, "vqa": 2, "grounding": 1}, JOINT)
    write_training(
        out / "training" / "vqa+grounding", {"vqa": 2, "grounding": 1}, {k: JOINT[k] for k in ("vqa", "grounding")}
    )
    write(
        out / "plan.json",
        {
            "tasks": [plan("vqa", 2)],
            "chosen": {
                "vqa": {
                    "metric": "accuracy",
                    "score": 61.0,
                    "runner_up": 60.9,
                    "folder": "/moved/away/search/vqa/l2-b8-u6-s4",
                }
            },
        },
    )
    for model, scores in (("single", SINGLE), ("joint", JOINT)):
        record = {"model": model, "split": "test", "protocol": "clean", "contamination": {"images": 0}}
        write(
            out / "eval" / f"{model}-test.json", {**record, "checkpoints": {}, "tasks": scores, "ignorance": IGNORANCE}
        )
    write(out / "eval" / "joint-test-vqa-predictions.json", [{"question_id": 1, "answer": "yes"}])
    rows = [
        {"task": t, "split": s, "read": 10, "not_asked": 1, "contaminated": 2, "used": 7}
        for t in TASKS
        for s in ("train", "test")
    ]
    pairs = [{"train": "vqa", "evaluated": "caption_retrieval/test", "images": 2, "examples": 2}]
    write(out / "counts.json", {"examples": rows, "contamination": pairs})
    write(out / "text" / "coverage.json", {"words": 100, "found": 97, "missing": ["<script>", "b", "c"]})
    write(out / "stages" / "search-layers.json", {"key": "", "counts": {}, "seconds": 12.5})
    (out / "search" / "trials.csv").write_text(
        "task,level,num_updates,batch_size,step_size,first_stage,seed,state,trained_updates,metric,score,seconds,"
        "error,folder\n"
        "vqa,1,6,8,4,0,0,finished,6,accuracy,50.0,10,,l1\n"
        "vqa,2,6,4,4,0,0,finished,6,accuracy,60.9,10,,l2\n"
        "vqa,2,6,8,4,0,0,chosen,6,accuracy,61.0,10,,l2\n"
        "vqa,3,6,4,4,0,0,failed,0,,,0,the loss is not finite,l3\n"
        "vqa,3,6,8,4,0,0,finished,6,accuracy,60.5,10,,l3\n",
        encoding="utf-8",
    )
    return config


def plan(task: str, level: int, batch_size: int = 8) -> dict[str, Any]:
    return vars(TaskPlan(task, level, 6, batch_size, 4))


def write_training(folder: Path, levels: dict[str, int], val: dict[str, Any], *, batch_size: int = 8) -> None:
    identity = {"plan": [plan(task, level, batch_size) for task, level in levels.items()], "cycle_updates": 3}
    result = {"val": val, "num_updates": 6 * len(levels), "seconds": 10.0, "seconds_waiting": 1.0}
    write(folder / "result.json", {"identity": identity, "result": result})
    lines = []
    for cycle in range(2 * len(levels)):
        for task in levels:
            line = {"kind": "loss", "update": 3 * (cycle + 1), "cycle": cycle, "task": task, "loss": 3.0 - cycle / 4}
            lines.append({**line, "learning_rate": 0.001})
    for task, scores in val.items():
        last = {"kind": "scores", "update": 6 * len(levels), "cycle": 2 * len(levels) - 1, "split": "val"}
        lines.append({**last, "task": task, "scores": scores})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
