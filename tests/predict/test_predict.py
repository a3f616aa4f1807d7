"""One's own pictures, asked of a checkpoint: the numbers that the run's own features give; a word for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vltool
from tests.cli.test_commands import says, small_run
from tests.cli.test_commands import vltool as run_vltool
from vltool.config import load as load_config
from vltool.errors import CheckpointError, ConfigError, DataError
from vltool.pipeline import run_pipeline
from vltool.predict.predictor import Predictor
from vltool.predict.requests import Request, check_request, read_captions
from vltool.training.checkpoint import load as load_checkpoint
from vltool.training.inputs import load_inputs
from vltool.training.scoring import load_network
from vltool.world.files import write_world


class Quiet:
    def say(self, text: str) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None: ...


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve training pictures with all three tasks; its training is two updates long."""
    folder = tmp_path_factory.mktemp("predict")
    world = folder / "world"
    write_world(world, num_train=12, num_val=4, num_test=4, questions_per_image=6)
    stages = ["extract-features", "embed-text", "search-layers", "train-joint"]
    path = small_run(folder, world, stages=stages)
    run_pipeline(load_config(path), Quiet())
    return path


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Path:
    return run.parent / "run" / "training" / "joint" / "checkpoint"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Predictor:
    return vltool.load(checkpoint, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def photo(run: Path) -> Path:
    return sorted((run.parent / "world" / "images").rglob("*.jpg"))[0]


def test_answers_come_best_first_with_their_probabilities(model: Predictor, photo: Path) -> None:
    found = model.answer(photo, "what colour is the circle ?", top=3)
    assert len(found) == 3
    assert all(0 < answer.probability < 1 and answer.answer for answer in found)
    assert [a.probability for a in found] == sorted((a.probability for a in found), reverse=True)


def test_a_described_picture_gives_the_logits_of_the_runs_own_features(
    run: Path, checkpoint: Path, model: Predictor
) -> None:
    inputs = load_inputs(load_config(run))
    network = load_network(inputs, load_checkpoint(checkpoint)).eval()
    example = inputs.prepared.examples["vqa"]["val"][0]
    batch, _ = inputs.batching().batch(inputs.prepared.tasks["vqa"], [example])
    expected = network.logits("vqa", batch)[0].sigmoid()
    image_id, question = example.rows[0]
    folder = run.parent / "world" / "images"
    (path,) = folder.rglob(f"*{int(image_id.split(':')[1]):012}.jpg")
    pool = inputs.corpus.answers["vqa"].answers
    found = {answer.answer: answer.probability for answer in model.answer(path, question, top=len(pool))}
    np.testing.assert_allclose([found[answer] for answer in pool], expected.detach().numpy(), atol=1e-4)


def test_pictures_and_captions_are_matched_all_with_all(model: Predictor, photo: Path) -> None:
    other = np.full((60, 90, 3), 200, np.uint8)
    scores = model.match([photo, other], ["a red circle", "a square", "a star on the left"])
    assert scores.shape == (2, 3) and ((scores > 0) & (scores < 1)).all()
    np.testing.assert_allclose(model.match([other], ["a square"])[0, 0], scores[1, 1], atol=1e-5)


def test_every_phrase_gets_a_region_within_the_picture(model: Predictor, photo: Path) -> None:
    found = model.ground(photo, "[a red circle] above [the square]")
    width, height = Image.open(photo).size
    assert [item.phrase for item in found] == ["a red circle", "the square"]
    assert [item.span for item in found] == [(0, 3), (4, 6)]
    for item in found:
        x1, y1, x2, y2 = item.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and 0 < item.probability < 1


def test_what_cannot_be_asked_says_why(model: Predictor, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no phrase to look for"):
        model.ground(photo, "no brackets here")
    with pytest.raises(DataError, match="expected words"):
        model.answer(photo, " ")
    for silence in ("?", "... !"):
        with pytest.raises(DataError, match="expected words"):
            model.answer(photo, silence)
        with pytest.raises(DataError, match="expected words"):
            model.match([photo], [silence])
    with pytest.raises(DataError, match="at least one picture"):
        model.match([], ["a"])
    with pytest.raises(DataError, match="no such file"):
        model.answer(tmp_path / "none.jpg", "what ?")
    partial = Predictor(model.model, {}, model.words, model.pictures, device=model.device)
    with pytest.raises(ConfigError, match="no task that answers questions"):
        partial.answer(photo, "what ?")


def test_what_is_given_in_the_wrong_kind_says_what_to_give(model: Predictor, photo: Path) -> None:
    for top in (0, -1, 1.5, True, "3", None):
        with pytest.raises(DataError, match=r"top=.*: expected how many answers are wanted, a whole number from 1"):
            model.answer(photo, "what ?", top=top)  # type: ignore[arg-type]
    for text in (5, None, ["what ?"]):
        for ask in (model.answer, model.ground, lambda image, text: model.match([image], [text])):
            with pytest.raises(DataError, match="expected words, as text"):
                ask(photo, text)  # type: ignore[operator]
    image = np.full((60, 90, 3), 200, np.uint8)
    for images, captions, name in ((str(photo), ["a"], "images"), (image, ["a"], "images"), ([photo], "a", "captions")):
        with pytest.raises(DataError, match=f"match: {name} is a list, also of a single one"):
            model.match(images, captions)  # type: ignore[arg-type]
    for picture in (None, 5, image[0], image.astype(np.float32), image[:0], image[:, :, :1]):
        with pytest.raises(DataError, match=r"\(H, W, 3\) uint8 RGB"):
            model.answer(picture, "what ?")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="None: expected the folder of a checkpoint"):
        vltool.load(None)


def test_words_of_no_training_text_are_known(model: Predictor) -> None:
    assert model.unknown_words("is [the circle] zymurgy or a Zymurgy qwop ?") == ["zymurgy", "qwop"]
    assert model.unknown_words("is the circle red ?") == []


def test_requests_are_checked_before_anything_is_loaded(photo: Path, tmp_path: Path) -> None:
    empty = tmp_path / "captions.txt"
    empty.write_text("\n \n")
    for request, reason in (
        (Request(question="what ?"), "needs a picture"),
        (Request(image=photo, pictures=photo.parent, question="what ?"), "give one of the two"),
        (Request(image=photo), "needs words"),
        (Request(pictures=photo.parent, question="what ?"), "is about one picture"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check_request(request)
    with pytest.raises(DataError, match="holds no caption"):
        check_request(Request(image=photo, captions=empty))
    empty.write_text("\ufeffa b\n\na b\nc\n", encoding="utf-8")
    assert read_captions(empty) == ["a b", "c"]


def test_features_of_another_detector_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "c")
    run = json.loads((tmp_path / "c" / "run.json").read_text())
    run["store_header"]["fingerprint"] = "0" * 32
    (tmp_path / "c" / "run.json").write_text(json.dumps(run))
    with pytest.raises(CheckpointError, match="was trained on features of the detector 0000"):
        vltool.load(tmp_path / "c")
    run["store_header"]["backend"] = "imported"
    (tmp_path / "c" / "run.json").write_text(json.dumps(run))
    with pytest.raises(CheckpointError, match="Name its files with --config-file and --weights"):
        vltool.load(tmp_path / "c")


def test_the_command_answers_ranks_grounds_and_draws(checkpoint: Path, photo: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a red circle\na blue square\n")
    words = (
        "--question",
        "what is it ?",
        "--text",
        "[a circle]",
        "--captions",
        captions,
        "--figure",
        tmp_path / "f.png",
    )
    result = run_vltool("predict", checkpoint, "--image", photo, *words, "--top", "2", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["answers"]) == 2 and found["phrases"][0]["phrase"] == "a circle"
    assert {item["name"] for item in found["captions_of_picture"][0]["ranked"]} == {"a red circle", "a blue square"}
    assert Image.open(tmp_path / "f.png").size[0] > 600
    ranking = run_vltool("predict", checkpoint, "--pictures", photo.parent, "--text", "a red circle", "--json")
    scores = [item["score"] for item in json.loads(ranking.stdout)["pictures_of_caption"][0]["ranked"]]
    assert len(scores) == 4 or (len(scores) == 5 and scores == sorted(scores, reverse=True))
    says(
        run_vltool("predict", checkpoint, "--image", photo, "--question", "what ?", "--figure", tmp_path / "f.xyz"),
        ".png",
    )
    says(run_vltool("predict", checkpoint, "--image", photo), "needs words")
    both = run_vltool("predict", checkpoint, "--image", photo, "--pictures", photo.parent, "--text", "a circle")
    says(both, "--image asks about one picture")
    strange = run_vltool("predict", checkpoint, "--image", photo, "--question", "is the zymurgy red ?")
    assert strange.returncode == 0 and "read as one unknown word: zymurgy" in strange.stderr


def test_pictures_that_cannot_be_read_are_left_out_of_the_ranking(
    checkpoint: Path, photo: Path, tmp_path: Path
) -> None:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    alone = run_vltool("predict", checkpoint, "--pictures", tmp_path, "--text", "a red circle")
    says(alone, "c.png: not an image")
    (tmp_path / "b.jpg").write_bytes(photo.read_bytes())
    result = run_vltool("predict", checkpoint, "--pictures", tmp_path, "--text", "a red circle", "--json")
    assert result.returncode == 3 and "left out of the ranking: 2" in result.stderr
    found = json.loads(result.stdout)
    assert [item["name"] for item in found["pictures_of_caption"][0]["ranked"]] == [str(tmp_path / "b.jpg")]
    assert [Path(failure["path"]).name for failure in found["failures"]] == ["a.png", "c.png"]


def test_the_examples_of_the_documentation_run(
    checkpoint: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import re
    import shutil

    text = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    shutil.copy(photo, tmp_path / "photo.jpg")
    shutil.copy(photo, tmp_path / "other.jpg")
    shutil.copytree(checkpoint, tmp_path / "runs/mine/training/joint/checkpoint")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/predict.md", "exec"), {})
    assert "anyone (" in capsys.readouterr().out
