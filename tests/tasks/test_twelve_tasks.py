"""What is particular to 12-in-1's tasks beside their contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.miniature import NUM_IMAGES, Pictures, image_id
from tests.tasks.test_given_boxes import ManyRegions
from tests.twelve import colour, gqa, make_task, pointing, statements, twelve_model
from vltool.datasets.records import CaptionRecord, GqaQuestion
from vltool.errors import DataError
from vltool.evaluation.evaluate import evaluate
from vltool.structures import Batch, ImageId, JointState, RegionFeatures
from vltool.tasks.caption_retrieval import CaptionRetrieval
from vltool.tasks.near_pictures import nearest_others


@pytest.mark.parametrize("counts", [[1], [100], [36, 3, 71]], ids=["one", "100", "mixed"])
def test_the_second_picture_of_a_statement_is_its_own_whatever_the_first_one_has(counts: list[int]) -> None:
    regions = ManyRegions(counts)
    tasks = {"nlvr2": make_task("nlvr2")}
    model, prepared, batching = twelve_model(tasks=tasks, regions=regions)
    examples = prepared.examples["nlvr2"]["train"]
    batch, _ = batching.batch(tasks["nlvr2"], examples)
    rows = batch.rows.view(len(examples), 2, 2)
    for place, example in enumerate(examples):
        for side, name in enumerate((example.target.image_id, example.target.other_image_id)):
            held = regions.held[name]
            at = rows[place, side, 0]
            assert batch.region_mask[at].sum() == held.num_regions
            np.testing.assert_array_equal(batch.regions[at][: held.num_regions].numpy(), held.features)
        assert rows[place, 0, 1] == rows[place, 1, 1]
    model.eval()
    with torch.no_grad():
        together = model.logits("nlvr2", batch)
        alone = torch.cat([model.logits("nlvr2", batching.batch(tasks["nlvr2"], [e])[0]) for e in examples])
    assert together.shape == (len(examples), 2)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_statement_tells_its_left_picture_from_its_right_one() -> None:
    model, prepared, batching = twelve_model("nlvr2")
    task, example = prepared.tasks["nlvr2"], prepared.examples["nlvr2"]["train"][0]
    turned = replace(example, rows=example.rows[::-1])
    model.eval()
    with torch.no_grad():
        logits = model.logits("nlvr2", batching.batch(task, [example, turned])[0])
    assert not torch.allclose(logits[0], logits[1])


def test_a_submission_of_nlvr2_has_a_line_a_statement() -> None:
    model, prepared, batching = twelve_model("nlvr2")
    found = evaluate(model, prepared.tasks["nlvr2"], prepared.examples["nlvr2"]["test"], batching)
    assert found.submission is not None and found.submission[0] == ".csv"
    lines = [line.split(",") for line in found.submission[1].splitlines()]
    assert lines == [[p["identifier"], p["prediction"]] for p in found.predictions]
    assert {prediction for _, prediction in lines} <= {"True", "False"} and len(lines) == 4


def test_secret_statements_are_predicted_and_not_scored() -> None:
    secret = [replace(record, is_true=None) for record in statements(range(10, 12))]
    tasks = {"nlvr2": make_task("nlvr2", {"train": statements(range(8)), "val": [], "test": secret})}
    model, prepared, batching = twelve_model(tasks=tasks)
    examples = prepared.examples["nlvr2"]
    found = evaluate(model, tasks["nlvr2"], examples["test"], batching)
    assert found.scores == {} and found.items is None and len(found.predictions) == 4
    assert tasks["nlvr2"].ignorance(examples["test"], examples["train"], None) == {}
    with pytest.raises(DataError, match=r"tasks.nlvr2.val: 4 of 4 statements have no label, first dev-10-0-0"):
        make_task("nlvr2", {"val": secret}).examples("val")


def test_hypotheses_without_a_gold_label_are_not_asked() -> None:
    task = make_task("snli_ve")
    assert [example.target.label for example in task.examples("val")] == 2 * ["contradiction", "neutral", "entailment"]


def test_games_without_a_question_or_lost_are_not_asked() -> None:
    records = pointing(range(3))
    records[0] = replace(records[0], text="")
    records[1] = replace(records[1], kind="failure")
    assert len(make_task("guesswhat", {"test": records}).examples("test")) == 5
    assert len(make_task("guesswhat", {"test": records}, games="success").examples("test")) == 4


def test_a_dialogue_is_read_as_it_is_or_marked_as_in_12_in_1() -> None:
    record = replace(pointing(range(1))[0], text="Is it red? No. Is it blue? Yes.")
    record = replace(record, turns=(("Is it red?", "No"), ("Is it blue?", "Yes")))
    (plain,) = make_task("guesswhat", {"test": [record]}).examples("test")
    (marked,) = make_task("guesswhat", {"test": [record]}, dialogue="marked").examples("test")
    assert plain.rows[0][1] == record.text
    assert marked.rows[0][1] == "start Is it red? answer No stop start Is it blue? answer Yes stop"


@pytest.mark.parametrize(("name", "num_classes"), [("nlvr2", 2), ("snli_ve", 3)])
def test_classes_may_be_told_apart_by_a_logistic_loss(name: str, num_classes: int) -> None:
    task = make_task(name, loss="logistic")
    model, prepared, batching = twelve_model(tasks={name: task})
    batch, _ = batching.batch(task, prepared.examples[name]["train"][:4])
    logits = torch.zeros(batch.num_examples, num_classes)
    assert task.loss(logits, batch).item() == pytest.approx(np.log(2))  # a mean over examples and classes
    right = torch.nn.functional.one_hot(batch.targets["label"], num_classes)
    assert task.loss(40.0 * (2 * right - 1), batch).item() < 1e-6
    assert torch.isfinite(model.loss(task, batch))


def test_an_expression_is_found_above_half_an_overlap_of_the_best_detected_region() -> None:
    _, prepared, batching = twelve_model("refcoco")
    task, examples = prepared.tasks["refcoco"], prepared.examples["refcoco"]["test"][:2]
    batch, rows = batching.batch(task, examples)
    metric = task.new_metric()
    logits = torch.zeros(batch.inputs["candidates"].shape)
    logits[:, 1] = 3.0
    metric.update(logits, batch, examples, rows)
    # Given and detected boxes overlap by 7 / 9: region 1 is right for the second expression alone.
    assert metric.compute() == {"accuracy": 50, "upper_bound": 100}
    assert metric.predictions()[1] == {"id": examples[1].example_id, "box": rows[1].regions.boxes[1].tolist()}
    assert batch.targets["overlap"][0].tolist()[:2] == pytest.approx([7 / 9, 0])
    assert task.rules() == {"boxes": "detections", "iou": "> 0.5"}


def test_a_score_that_is_no_number_names_the_expression() -> None:
    _, prepared, batching = twelve_model("refcoco")
    task, examples = prepared.tasks["refcoco"], prepared.examples["refcoco"]["test"][:2]
    batch, rows = batching.batch(task, examples)
    logits = torch.zeros(batch.inputs["candidates"].shape)
    logits[1, 0] = torch.nan
    own = rf"tasks.refcoco: {examples[1].example_id}, about {examples[1].target.image_id}: the score of candidate 0 of"
    with pytest.raises(DataError, match=own):
        task.new_metric().update(logits, batch, examples, rows)


@pytest.mark.parametrize("counts", [[0], [0, 3]], ids=["none", "some"])
def test_expressions_about_a_picture_without_regions_are_asked_and_missed(counts: list[int]) -> None:
    regions = ManyRegions(counts)
    task = make_task("refcoco")
    model, prepared, batching = twelve_model(tasks={"refcoco": task}, regions=regions)
    examples = prepared.examples["refcoco"]["test"]
    found = evaluate(model, task, examples, batching)
    bare = [not regions.held[example.target.image_id].num_regions for example in examples]
    assert len(found.predictions) == len(examples) and any(bare)
    for example, prediction, missed in zip(examples, found.predictions, bare, strict=True):
        assert prediction["id"] == example.example_id and (prediction["box"] == [0, 0, 0, 0]) == missed
    assert found.scores["accuracy"] <= found.scores["upper_bound"] <= 100 * (1 - np.mean(bare))
    assert 0 <= task.ignorance(examples, (), batching.row_of)["accuracy"] <= 100 * (1 - np.mean(bare))
    batch = batching.training_batch(task, prepared.examples["refcoco"]["train"], np.random.default_rng(0))
    assert torch.isfinite(model.loss(task, batch))


def test_soft_targets_below_half_an_overlap_are_none() -> None:
    record = replace(pointing(range(1))[0], boxes=((0.0, 5.0, 8.0, 10.0), (10.0, 5.0, 18.0, 14.9)))
    task = make_task("refcoco", {"train": [record, replace(record, answer=1)]})
    _, prepared, batching = twelve_model(tasks={"refcoco": task})
    batch, _ = batching.batch(task, prepared.examples["refcoco"]["train"])
    assert batch.targets["overlap"].tolist() == [[0.5, 0], [0, pytest.approx(0.99)]]


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_the_loss_of_pointing_is_that_of_the_candidates(loss: str) -> None:
    task = make_task("refcoco", loss=loss)
    overlap = torch.tensor([[0.75, 0.0, 0.0], [0.6, 0.9, 0.0]])
    asked = torch.tensor([[True, True, False], [True, True, True]])
    logits = torch.tensor([[1.0, -1.0, 50.0, 50.0], [0.5, 2.0, -1.0, 50.0]])  # the last ones are padding
    batch = Batch(*[torch.empty(0)] * 6, ("a", "b"), (), {"candidates": asked}, {"overlap": overlap})  # type: ignore[arg-type]
    if loss == "logistic":
        expected = sum(
            -(t * np.log(1 / (1 + np.exp(-x))) + (1 - t) * np.log(1 - 1 / (1 + np.exp(-x))))
            for x, t in ((1, 0.75), (-1, 0), (0.5, 0.6), (2, 0.9), (-1, 0))
        )
    else:
        first, second = np.log(np.exp([1, -1]).sum()), np.log(np.exp([0.5, 2, -1]).sum())
        expected = -((1 - first) + 0.4 * (0.5 - second) + 0.6 * (2 - second))
    assert float(task.loss(logits, batch)) == pytest.approx(expected / 2, rel=1e-5)


def test_an_expression_that_no_candidate_meets_adds_no_softmax_loss() -> None:
    task = make_task("refcoco", loss="softmax")
    asked = torch.ones(1, 2, dtype=torch.bool)
    batch = Batch(*[torch.empty(0)] * 6, ("a",), (), {"candidates": asked}, {"overlap": torch.zeros(1, 2)})  # type: ignore[arg-type]
    assert float(task.loss(torch.tensor([[3.0, 1.0]]), batch)) == 0


def test_gqa_learns_from_balanced_questions_and_answers_all() -> None:
    task = make_task("gqa")
    assert {example.target.is_balanced for example in task.examples("train")} == {True}
    assert {example.target.is_balanced for example in task.examples("test")} == {True, False}
    assert len(make_task("gqa", train_on_all=True).examples("train")) == 16
    model, prepared, batching = twelve_model("gqa")
    found = evaluate(model, prepared.tasks["gqa"], prepared.examples["gqa"]["test"], batching)
    assert {p["questionId"] for p in found.predictions} == {"100", "101", "110", "111"}
    assert "distribution" in found.scores


def test_gqa_answers_are_compared_as_they_stand() -> None:
    records = [GqaQuestion("1", image_id(0), "What is it?", "T-Shirt", structural="query", semantic="obj")]
    task = make_task("gqa", {"train": records, "val": [], "test": records})
    model, prepared, batching = twelve_model(tasks={"gqa": task})
    assert evaluate(model, task, prepared.examples["gqa"]["test"], batching).scores["accuracy"] == 100


def test_secret_gqa_questions_are_for_the_test_alone() -> None:
    secret = [GqaQuestion("1", image_id(0), "What is it?"), GqaQuestion("2", image_id(1), "What is it?")]
    task = make_task("gqa", {"val": secret, "test": secret + gqa(range(1))})
    with pytest.raises(DataError, match=r"tasks.gqa.val: 2 of 2 questions have no answer, first question 1"):
        task.examples("val")
    with pytest.raises(DataError, match=r"tasks.gqa.test: 2 of 4 questions have no answer, first 1: they cannot be"):
        task.check_asked("test", task.examples("test"))
    with pytest.raises(DataError, match=r"1 questions are about pictures without features, first question 2"):
        make_task("gqa", {"test": secret}).check_predictions("test", [{"questionId": "1", "prediction": "x"}])


def test_visual_genome_answers_count_after_normalisation() -> None:
    _model, prepared, batching = twelve_model("visual_genome_qa")
    task = prepared.tasks["visual_genome_qa"]
    assert set(task.pool.answers) == {"red", "green", "blue"}  # type: ignore[attr-defined]
    example = prepared.examples["visual_genome_qa"]["train"][0]
    batch, _ = batching.batch(task, [example])
    place = task.pool.answers.index(colour(0))  # type: ignore[attr-defined]
    assert batch.targets["answer_scores"][0, place] == 1 and batch.targets["answer_scores"].sum() == 1


def test_a_pair_s_hard_caption_is_of_a_near_picture_and_never_true() -> None:
    _model, prepared, batching = twelve_model("coco_retrieval")
    task, examples = prepared.tasks["coco_retrieval"], prepared.examples["coco_retrieval"]["train"]
    means = np.stack([Pictures().get(image_id(n)).features.mean(0, dtype=np.float32) for n in range(8)])
    near = {n: set(np.argsort(np.square(means - means[n]).sum(1), kind="stable")[1:4].tolist()) for n in range(8)}
    captions = {}
    for example in examples:
        captions.setdefault(int(example.rows[0][0][5:]), set()).add(example.rows[0][1])
    for seed in range(10):
        batch = batching.training_batch(task, examples, np.random.default_rng(seed))
        rows = batch.rows.view(len(examples), 4, 2)  # the true pair, another caption, another picture, a hard caption
        sentences = dict(enumerate(dict.fromkeys(example.rows[0][1] for example in examples)))
        for example, own in zip(examples, rows.tolist(), strict=True):
            number, hard = int(example.rows[0][0][5:]), sentences[own[3][1]]
            assert own[0][0] == own[1][0] == own[3][0] != own[2][0] and own[2][1] == own[0][1]
            assert hard not in captions[number]
            assert any(hard in captions[other] for other in near[number])
    assert batch.targets["relevance"].tolist() == [[1, 0, 0, 0]] * len(examples)


def test_pictures_that_are_kept_out_of_training_lend_no_caption() -> None:
    records = [CaptionRecord(str(k), image_id(k), f"words {k}") for k in range(NUM_IMAGES)]
    task = CaptionRetrieval("r", {"train": records}, options={"near_pictures": 2})
    kept = task.examples("train")[:3]
    task.prepare_training(kept, Pictures())
    generator = np.random.default_rng(0)
    drawn = {row[0][1] for _ in range(50) for row in task.further_rows(kept, generator)}
    assert drawn == {"words 0", "words 1", "words 2"}


@pytest.mark.filterwarnings("error")
def test_a_picture_without_regions_is_near_to_those_that_are_nearly_nothing() -> None:
    regions = Pictures()
    for number in range(4):
        held = regions.held[image_id(number)]
        features = np.full((int(number > 0), held.features.shape[1]), (0, 0.4, 1, 9)[number], held.features.dtype)
        boxes = held.boxes[: len(features)]
        regions.held[image_id(number)] = replace(held, features=features, boxes=boxes)
    task = CaptionRetrieval(
        "r",
        {"train": [CaptionRecord(str(k), image_id(k), f"words {k}") for k in range(4)]},
        options={"near_pictures": 1},
    )
    examples = task.examples("train")
    task.prepare_training(examples, regions)
    rows = task.further_rows(examples, np.random.default_rng(0))
    assert [row[0][1] for row in rows] == ["words 1", "words 0", "words 1", "words 2"]


@pytest.mark.parametrize("count", [1, 5, 40])
def test_nearest_others_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("vltool.tasks.near_pictures._AT_ONCE", 7)
    points = np.random.default_rng(0).normal(0, 1, (41, 6)).astype(np.float32)
    distances = np.square(points[:, None] - points[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(nearest_others(points, count), distances.argsort(axis=1)[:, :count])


def test_one_decoder_reads_one_row_or_several() -> None:
    model, _prepared, _ = twelve_model("nlvr2", "snli_ve")
    state = JointState(torch.randn(6, 4, 16), torch.randn(6, 5, 16), torch.ones(6, 4).bool(), torch.ones(6, 5).bool())
    two, one = model.decoders["nlvr2"].eval(), model.decoders["snli_ve"].eval()
    assert two(state, {}).shape == (3, 2) and one(state, {}).shape == (6, 3)
    over_regions, over_words = two.attention(state)
    assert over_regions.shape == (3, 5) and over_words.shape == (3, 4)
    torch.testing.assert_close(over_regions, two.summary.attention(state)[0][::2])


def test_features_of_given_boxes_take_the_number_format_of_the_others() -> None:
    from tests.twelve import Given

    def precise(regions: RegionFeatures) -> RegionFeatures:
        return replace(regions, features=regions.features.astype(np.float32))

    _, prepared, batching = twelve_model("visual7w", given=Given(precise))
    batch, _ = batching.batch(prepared.tasks["visual7w"], prepared.examples["visual7w"]["test"])
    assert batch.regions.dtype == torch.float16


def test_given_boxes_without_a_store_of_them_are_refused() -> None:
    _, prepared, batching = twelve_model("visual7w")
    batching.given = None
    with pytest.raises(DataError, match=r"image 'file:10' comes with boxes of its dataset.*features.given_store"):
        batching.batch(prepared.tasks["visual7w"], prepared.examples["visual7w"]["test"])
    assert ImageId("file:10") == prepared.examples["visual7w"]["test"][0].rows[0][0]
