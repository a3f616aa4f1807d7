"""Every task of the registry keeps the same contract; and what is particular to each."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.miniature import COLOURS, colour_of, miniature_model, miniature_tasks, picture
from tests.twelve import every_task, twelve_model
from vltool.datasets.records import CaptionRecord, QuestionRecord
from vltool.errors import ConfigError, DataError
from vltool.evaluation.evaluate import evaluate
from vltool.metrics.item_scores import ItemScores
from vltool.registry import TASKS
from vltool.structures import ImageId
from vltool.tasks.caption_retrieval import CaptionRetrieval, draw_others, wrong_pairs
from vltool.tasks.grounding import VisualGrounding
from vltool.tasks.vqa import VisualQuestionAnswering
from vltool.text.vocabulary import AnswerPool
from vltool.training.parts import part_of


def test_the_miniature_has_every_task() -> None:
    assert set(every_task()) == set(TASKS)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_gives_a_finite_loss_that_reaches_its_decoder(name: str) -> None:
    model, prepared, batching = twelve_model(name)
    task = prepared.tasks[name]
    batch = batching.training_batch(task, prepared.examples[name]["train"][:5], np.random.default_rng(0))
    assert len(batch.rows) % batch.num_examples == 0
    assert all(len(tensor) == batch.num_examples for tensor in (*batch.inputs.values(), *batch.targets.values()))
    loss = model.loss(task, batch)
    assert loss.ndim == 0 and torch.isfinite(loss)
    loss.backward()
    assert all(p.grad is not None for p in model.decoders[name].parameters() if p.requires_grad)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_batch_holds_each_picture_and_sentence_once(name: str) -> None:
    _, prepared, batching = twelve_model(name)
    examples = prepared.examples[name]["train"]
    batch = batching.training_batch(prepared.tasks[name], examples, np.random.default_rng(0))
    assert len(batch.regions) == len({image_id for example in examples for image_id, _ in example.rows})
    assert len(batch.tokens) == len({sentence for example in examples for _, sentence in example.rows})
    assert batch.regions.dtype == torch.float16
    assert batch.rows[:, 0].max() < len(batch.regions) and batch.rows[:, 1].max() < len(batch.tokens)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_unknown_options_are_refused_with_the_known_ones(name: str) -> None:
    task_class = type(every_task()[name])
    with pytest.raises(ConfigError, match=rf"tasks.{name}.options.*negativs.*known options"):
        task_class(name, {}, options={"negativs": 1})


@pytest.mark.parametrize("name", ["caption_retrieval", "vqa"])
def test_score_maps_and_hidden_widths_are_options(name: str) -> None:
    model, prepared, _ = miniature_model()
    task = prepared.tasks[name]
    assert task.build_decoder(model.encoder, dropout=0).summary.summarize_words.scores.weight.shape == (4, 16)
    chosen = type(task)(name, {}, options={"num_score_maps": 2, "summary_hidden_width": 5})
    chosen.pool = getattr(task, "pool", None)  # type: ignore[attr-defined]
    assert chosen.build_decoder(model.encoder, dropout=0).summary.summarize_words.scores.weight.shape == (2, 5)
    with pytest.raises(ConfigError, match="num_score_maps"):
        type(task)(name, {}, options={"num_score_maps": 0})


@pytest.mark.parametrize("name", sorted(TASKS))
def test_ignorance_is_in_percent(name: str) -> None:
    _, prepared, batching = twelve_model(name)
    splits = prepared.examples[name]
    found = prepared.tasks[name].ignorance(splits["test"], splits["train"], batching.row_of)
    assert found
    assert all(0 <= value <= (600 if metric == "rsum" else 100) for metric, value in found.items())


def test_negatives_never_share_the_picture_of_the_positive() -> None:
    records = [CaptionRecord(str(k), ImageId(f"file:{k // 3}"), f"words {k}") for k in range(12)]
    task = CaptionRetrieval("caption_retrieval", {"train": records}, options={"negatives": 3})
    images, sentences = np.arange(12) // 3, np.arange(12)
    rows = task.pair_rows(images, sentences, np.random.default_rng(1))
    assert rows.shape == (12, 7, 2)
    assert (rows[:, 0] == np.stack([images, sentences], -1)).all()
    assert (rows[:, 1:, 0] != rows[:, 1:, 1] // 3).all()  # the picture of a sentence is its number // 3
    assert (rows[:, 1::2, 0] == images[:, None]).all()
    assert (rows[:, 2::2, 1] == sentences[:, None]).all()


def test_others_are_equally_likely() -> None:
    images = np.array([0, 0, 1, 2])
    wrong = wrong_pairs(images, np.arange(4))
    generator = np.random.default_rng(0)
    drawn = np.stack([draw_others(wrong, generator) for _ in range(4000)])
    shares = np.stack([(drawn == other).mean(axis=0) for other in range(4)])  # (other, own)
    expected = np.array(
        [[0, 0, 1 / 3, 1 / 3], [0, 0, 1 / 3, 1 / 3], [1 / 2, 1 / 2, 0, 1 / 3], [1 / 2, 1 / 2, 1 / 3, 0]]
    )
    np.testing.assert_allclose(shares, expected, atol=0.04)


def test_a_batch_of_one_picture_has_no_negatives() -> None:
    task = miniature_tasks()["caption_retrieval"]
    rows = task.pair_rows(np.array([0, 0]), np.array([0, 1]), np.random.default_rng(0))
    assert rows.shape == (2, 1, 2)


def test_answers_get_the_soft_scores_of_ten_annotators() -> None:
    task = miniature_tasks()["vqa"]
    _, prepared, batching = miniature_model()
    task = prepared.tasks["vqa"]
    example = prepared.examples["vqa"]["train"][0]
    batch, _ = batching.batch(task, [example])
    yes = task.pool.answers.index("yes")  # type: ignore[attr-defined]
    assert batch.targets["answer_scores"][0, yes] == float(COLOURS[0] in {COLOURS[colour_of(0, r)] for r in range(2)})


def test_grounding_asks_only_phrases_with_boxes_and_marks_their_regions() -> None:
    _, prepared, batching = miniature_model()
    batch, _ = batching.batch(prepared.tasks["grounding"], prepared.examples["grounding"]["train"][:3])
    assert batch.inputs["phrase_mask"].sum() == 6
    assert batch.inputs["phrase_spans"][0].tolist() == [[0, 3], [4, 7]]
    assert batch.targets["correct"].shape == (3, 2, max(picture(n).num_regions for n in range(3)))
    correct = batch.targets["correct"][0]
    assert correct[0].argmax() == 0 and correct[1].argmax() == 1 and correct.sum() == 2


def test_a_span_follows_words_that_the_tokenizer_splits() -> None:
    spans = VisualGrounding.align(("the", "dog's", "red", "ball"))
    assert spans.tokens == ("the", "dog", "'s", "red", "ball")
    assert spans.span(1, 1) == (1, 3)
    assert spans.span(2, 2) == (3, 5)


def secret_test() -> VisualQuestionAnswering:
    """Three questions without answers, and a pool of yes and no."""
    records = [QuestionRecord(k, ImageId(f"coco:{k}"), "Is it?") for k in (1, 2, 3)]
    task = VisualQuestionAnswering("vqa", {"test": records})
    task.learn_answers(AnswerPool(["yes", "no"], forms={}))
    return task


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({1: "yes", 2: "no", 3: "yes"}, ""),
        ({1: "yes", 2: "no"}, "1 questions have no answer, first 3"),
        ({1: "yes", 2: "no", 3: "no", 4: "no"}, "1 questions are not asked, first 4"),
        (
            {1: "yes", 2: "maybe", 3: "no"},
            "1 answers are none of the 2 of the answer pool, first 'maybe' to question 2",
        ),
    ],
)
def test_a_submission_answers_every_question_once_from_the_pool(answers: dict[int, str], message: str) -> None:
    predictions = [{"question_id": number, "answer": answer} for number, answer in answers.items()]
    if not message:
        return secret_test().check_predictions("test", predictions)
    with pytest.raises(DataError, match=message):
        secret_test().check_predictions("test", predictions)


def test_a_submission_answers_no_question_twice() -> None:
    with pytest.raises(DataError, match=r"tasks.vqa.test: 1 questions are answered twice"):
        secret_test().check_predictions("test", [{"question_id": k, "answer": "no"} for k in (1, 2, 3, 3)])


def test_secret_questions_that_are_left_out_or_mixed_are_refused_before_the_work() -> None:
    task = secret_test()
    with pytest.raises(DataError, match=r"1 questions are about pictures without features, first question 3"):
        task.check_asked("test", task.examples("test")[:2])
    known = task.example(QuestionRecord(4, ImageId("coco:4"), "Is it?", ("yes",) * 10))
    with pytest.raises(DataError, match=r"3 of 4 questions have no answers, first 1: they cannot be scored together"):
        task.check_asked("test", (*task.examples("test"), known))


def test_many_pictures_are_scored_in_folds_and_as_a_whole() -> None:
    records = [CaptionRecord(str(k), ImageId(f"file:{k // 2}"), f"words {k}") for k in range(8)]
    task = CaptionRetrieval("caption_retrieval", {"test": records}, options={"fold_images": 2})
    rows, ids = np.arange(8) // 2, [f"file:{k}" for k in range(4)]
    scores = np.full((4, 8), -1.0)
    scores[rows, np.arange(8)] = 0.0
    scores[3, 0] = 1.0  # a rival from another fold
    found = task.pair_items(scores, rows, ids).scores()
    assert found["text_to_image.recall@1"] == 100.0 and found["whole.text_to_image.recall@1"] == 87.5
    ignorance = task.ignorance(task.examples("test"), (), rows=None)
    assert ignorance["text_to_image.recall@1"] == 50.0 and ignorance["whole.text_to_image.recall@1"] == 25.0
    with pytest.raises(DataError, match=r"fold_images: 3 pictures do not fall into folds of 2"):
        task.check_asked("test", task.examples("test")[:6])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_items_give_the_scores(name: str) -> None:
    model, prepared, batching = twelve_model(name)
    found = evaluate(model, prepared.tasks[name], prepared.examples[name]["test"], batching)
    assert found.items is not None
    scores = found.items.scores()
    assert prepared.tasks[name].main_metric in scores
    assert scores == pytest.approx({metric: found.scores[metric] for metric in scores}, abs=0.01)
    assert ItemScores.from_json(json.loads(json.dumps(found.items.to_json()))).scores() == pytest.approx(scores)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_scores_do_not_depend_on_the_size_of_batches_or_the_number_of_processes(name: str) -> None:
    model, prepared, batching = twelve_model(name)
    task, examples = prepared.tasks[name], prepared.examples[name]["test"]
    whole = evaluate(model, task, examples, batching)
    single = evaluate(model, task, examples, batching, batch_size=1)
    assert single.scores == whole.scores and single.predictions == whole.predictions
    assert single.submission == whole.submission
    if task.scoring == "per_example":
        first, second = task.new_metric(), task.new_metric()
        for metric, part in ((first, examples[:1]), (second, examples[1:])):
            batch, rows = batching.batch(task, part)
            with torch.inference_mode():
                metric.update(model.logits(name, batch), batch, part, rows)
        first.extend(second)
        assert first.compute() == whole.scores and first.predictions() == whole.predictions


@pytest.mark.parametrize("name", sorted(TASKS))
def test_parts_of_a_batch_give_its_gradient(name: str) -> None:
    model, prepared, batching = twelve_model(name)
    task, model = prepared.tasks[name], model.eval()
    batch = batching.training_batch(task, prepared.examples[name]["train"][:6], np.random.default_rng(0))
    gradients = []
    for num_parts in (1, 3):
        model.zero_grad()
        parts = [part_of(batch, k, num_parts) for k in range(num_parts)]
        total = sum(task.loss_terms(part) for part in parts if part)
        for part in parts:
            assert part is not None
            (model.loss(task, part) * task.loss_terms(part) / total).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
