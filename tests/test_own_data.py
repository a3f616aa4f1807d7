"""docs/data.md, followed line by line: official files and imported features, no pictures, no detector."""

from __future__ import annotations

import base64
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from vltool.cli.app import app

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
COLOURS = ("red", "green", "blue")
TRAIN, VAL, TEST, RESTVAL = range(1, 9), range(11, 15), range(15, 19), range(19, 21)
FLICKR = {"train": range(101, 109), "val": range(109, 111), "test": range(111, 113)}
FEATURE_DIM = 12
VAL_FILES = [
    f"data/coco/{name}.json" for name in ("v2_OpenEnded_mscoco_val2014_questions", "v2_mscoco_val2014_annotations")
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[list[str]]:
    return [
        shlex.split(line)[1:] for block in blocks("bash") for line in block.splitlines() if line.startswith("vltool")
    ]


def colour(number: int) -> str:
    return COLOURS[number % 3]


def write_features(path: Path, name: str, numbers: list[int]) -> None:
    lines = []
    for number in numbers:
        features = np.random.default_rng(number).normal(0, 0.1, (4, FEATURE_DIM)).astype("<f4")
        features[:, number % 3] += 1
        boxes = np.array([[10 * k, 5, 10 * k + 8, 25] for k in range(4)], "<f4")
        arrays = (base64.b64encode(array.tobytes()).decode() for array in (boxes, features))
        lines.append("\t".join([name.format(number), "60", "40", "4", *arrays]) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


def write_coco(folder: Path) -> None:
    folder.mkdir(parents=True)
    splits = {"train": TRAIN, "val": VAL, "test": TEST, "restval": RESTVAL}
    images = [
        {
            "filename": f"COCO_val2014_{n:012}.jpg",
            "cocoid": n,
            "imgid": n,
            "split": split,
            "sentids": [10 * n, 10 * n + 1],
            "sentences": [{"raw": f"A {colour(n)} box, number {k}.", "sentid": 10 * n + k} for k in range(2)],
        }
        for split, numbers in splits.items()
        for n in numbers
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    for split, numbers in {"train2014": TRAIN, "val2014": [*VAL, *TEST, *RESTVAL]}.items():
        questions: list[dict[str, Any]] = []
        annotations = []
        for n in numbers:
            for k, word in enumerate(COLOURS):
                answer = "yes" if word == colour(n) else "no"
                questions.append({"image_id": n, "question": f"Is the box {word}?", "question_id": 10 * n + k})
                answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": a} for a in range(1, 11)]
                types = {"question_type": "is the", "answer_type": "yes/no", "multiple_choice_answer": answer}
                annotations.append({"question_id": 10 * n + k, "image_id": n, "answers": answers, **types})
        (folder / f"v2_OpenEnded_mscoco_{split}_questions.json").write_text(json.dumps({"questions": questions}))
        (folder / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": annotations}))


def write_entities(folder: Path) -> None:
    for part in ("Annotations", "Sentences"):
        (folder / part).mkdir(parents=True)
    for split, numbers in FLICKR.items():
        (folder / f"{split}.txt").write_text("".join(f"{n}\n" for n in numbers))
        for n in numbers:
            (folder / "Sentences" / f"{n}.txt").write_text(f"[/EN#{n}/other A {colour(n)} box] stands there .\n")
            (folder / "Annotations" / f"{n}.xml").write_text(
                f"<annotation><filename>{n}.jpg</filename><size><width>60</width><height>40</height></size><object>"
                f"<name>{n}</name><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>19</xmax><ymax>26</ymax></bndbox></object>"
                "</annotation>"
            )


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of section 1, and the page's configuration with a tiny network and a few updates."""
    monkeypatch.chdir(tmp_path)
    write_coco(tmp_path / "data" / "coco")
    write_entities(tmp_path / "data" / "flickr30k")
    write_features(
        tmp_path / "data" / "features" / "coco_36.tsv", "COCO_val2014_{:012}", [*TRAIN, *VAL, *TEST, *RESTVAL]
    )
    write_features(tmp_path / "data" / "features" / "flickr30k_36.tsv", "{}", list(range(101, 113)))
    (tmp_path / "data" / "glove").mkdir()
    draw = np.random.default_rng(0)
    lines = [
        f"{w} {' '.join(f'{v:.4f}' for v in draw.normal(0, 1, 300))}\n" for w in ("a", "box", "is", "the", *COLOURS)
    ]
    (tmp_path / "data" / "glove" / "glove.6B.300d.txt").write_text("".join(lines))
    raw = yaml.safe_load(blocks("yaml")[0])
    raw["encoder"]["options"] = {"width": 16, "num_levels": 1, "lstm_width": 5, "num_maps": 2}
    raw["search"]["grid"] = {"level": [1], "batch_size": [4]}
    raw["search"]["tasks"] = {name: {"num_updates": [6], "step_size": [6]} for name in raw["tasks"]}
    raw["search"]["jobs"] = 1
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path


def vltool(*arguments: str, code: int = 0) -> Any:
    """What a command gives as JSON."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, (arguments, result.output, result.exception)
    return json.loads(result.stdout)


def test_the_page_leads_from_official_files_to_scores(own_data: Path) -> None:
    found = {" ".join(command[:2]): vltool(*command) for command in commands()}
    assert found["features info"]["images"] == 30
    assert found["splits audit"]["clean"]
    # Pictures 11 to 20 have validation questions; only the restval ones of them would train retrieval.
    assert found["splits build"]["removed"] == {"caption_retrieval": 4, "vqa": 0, "grounding": 0}
    stages = found["run run.yaml"]["stages"]
    assert {"caption_retrieval", "vqa", "grounding"} <= set(stages["eval"]["test"])
    assert Path(stages["report"]["report"]).exists()
    for stage in ("embed-text", "search-layers"):
        assert f"{stage}: up to date" in CliRunner().invoke(app, [stage, "run.yaml"]).stderr
    scores = found["eval runs/own/training/joint/checkpoint"]
    assert scores["vqa"] == stages["eval"]["test"]["vqa"]["joint"] and scores["contamination"] == {"images": 0}

    both = vltool("train-joint", "run.yaml", "--protocol", "paper")
    first, second = both["checkpoints"]["paper-i"], both["checkpoints"]["paper-ii"]
    assert Path(first).parent.name == "joint-i" and Path(second).parent.name == "joint-ii"
    assert set(vltool("eval", first)) >= {"caption_retrieval", "grounding"} and "vqa" not in vltool("eval", first)
    refused = CliRunner().invoke(app, ["eval", first, "--task", "vqa"])
    assert "training i of the paper is not to be scored on vqa/test" in str(refused.exception)
    assert "accuracy" in vltool("eval", second)["vqa"]
    refused = CliRunner().invoke(app, ["eval", second, "--task", "grounding"])
    assert "training ii of the paper is not to be scored on grounding/test" in str(refused.exception)
    refused = CliRunner().invoke(app, ["eval", second, "--task", "vqa", "--split", "val"])
    assert "not to be scored on vqa/val" in str(refused.exception)


def test_contaminated_scores_are_refused_or_marked_everywhere(own_data: Path) -> None:
    for command in commands()[:2]:
        vltool(*command)
    off = [
        "--set",
        "splits.protocol=off",
        "--set",
        "tasks.vqa.train.0.files={questions: " + VAL_FILES[0] + ", annotations: " + VAL_FILES[1] + "}",
    ]
    audit = vltool("splits", "audit", "run.yaml", *off, code=2)
    assert (
        not audit["clean"] and {"train": "vqa", "evaluated": "vqa/test", "images": 2, "examples": 6} in audit["pairs"]
    )
    plan = {"task": "vqa", "level": 1, "num_updates": 3, "batch_size": 4, "step_size": 3, "first_stage": 0}
    Path("runs/own/plan.json").write_text(json.dumps({"tasks": [plan]}))
    vltool("embed-text", "run.yaml", *off)
    checkpoint = vltool("train-joint", "run.yaml", "--tasks", "vqa", *off)["checkpoint"]
    refused = CliRunner().invoke(app, ["eval", checkpoint])
    assert "2 pictures of vqa/test trained this checkpoint" in str(refused.exception)
    marked = {"images": 2, "tasks": {"vqa": 2}}
    assert vltool("eval", checkpoint, "--allow-contaminated")["contamination"] == marked
    assert json.loads((Path(checkpoint).parent / "eval-test.json").read_text())["contamination"] == marked
    assert "CONTAMINATED" in CliRunner().invoke(app, ["eval", checkpoint, "--allow-contaminated"]).stdout

    # A training that starts from those weights inherits what trained them, and says so before it begins.
    tuned = [
        "--set",
        f"training.init_from={checkpoint}",
        "--set",
        "out=runs/tuned",
        "--set",
        "features.store=runs/own/features.lmdb",
        "--set",
        "training.plan=runs/own/plan.json",
    ]
    vltool("embed-text", "run.yaml", *tuned)
    refused = CliRunner().invoke(app, ["train-joint", "run.yaml", "--tasks", "vqa", *tuned])
    assert "was trained on" in str(refused.exception) and "training.init_from" in str(refused.exception)
    kept = vltool("train-joint", "run.yaml", "--tasks", "vqa", "--protocol", "off", *tuned)["checkpoint"]
    assert "trained this checkpoint" in str(CliRunner().invoke(app, ["eval", kept]).exception)


@pytest.mark.slow
def test_a_whole_run_by_the_papers_protocol(own_data: Path) -> None:
    for command in commands()[:2]:
        vltool(*command)
    paper = ["--set", "splits.protocol=paper"]
    stages = vltool("run", "run.yaml", *paper)["stages"]
    assert set(stages["eval"]["test"]) == {"caption_retrieval", "vqa", "grounding"}
    record = json.loads(Path("runs/own/eval/joint-test.json").read_text())
    assert {name: Path(path).parent.name for name, path in record["checkpoints"].items()} == {
        "caption_retrieval": "joint-i",
        "grounding": "joint-i",
        "vqa": "joint-ii",
    }
    assert all(stage["up_to_date"] for stage in vltool("run", "run.yaml", *paper)["stages"].values())
    assert list(vltool("splits", "build", "run.yaml", *paper)["trainings"]) == ["paper-i", "paper-ii"]
    # The restval pictures of the page's retrieval training are VQA's val pictures: the paper trains on train alone.
    assert not vltool("splits", "audit", "run.yaml", *paper, code=2)["clean"]
    paper += ["--set", "tasks.caption_retrieval.train.0.split=train"]
    assert vltool("splits", "audit", "run.yaml", *paper)["clean"]
