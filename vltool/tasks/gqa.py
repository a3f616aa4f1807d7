"""GQA: questions from scene graphs, answered from the pool of training answers, by the official scores.

Training is on balanced questions (12-in-1 trains on these); scores are of balanced questions, while all questions of a
split are answered, for consistency and for the submission: [{"questionId": "202218649", "prediction": "picture"}].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vltool.datasets.records import GqaQuestion
from vltool.errors import DataError
from vltool.metrics import gqa
from vltool.metrics.ignorance import question_only_answers
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Example
from vltool.tasks.answering import Answering, AnswerMetric
from vltool.tasks.task import Metric, Scores


class Gqa(Answering[GqaQuestion]):
    @dataclass(frozen=True)
    class Options(Answering.Options):
        """train_on_all: on questions that are not balanced too. Widths: as of every answering task."""

        train_on_all: bool = False

    def example(self, record: GqaQuestion) -> Example:
        return Example(record.question_id, ((record.image_id, record.question),), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        """Raises DataError for questions without answers that are to be learned from or validated on."""
        found = super().examples(split)
        bare = [example.example_id for example in found if not example.target.answer]
        if bare and split != "test":  # those of the test and challenge sets are secret
            raise DataError(
                f"tasks.{self.name}.{split}: {len(bare):,} of {len(found):,} questions have no answer, first question "
                f"{bare[0]}. Name them under test"
            )
        if split == "train" and not self.options.train_on_all:
            found = tuple(example for example in found if example.target.is_balanced)
        return found

    def check_asked(self, split: str, examples: Sequence[Example]) -> None:
        """Raises DataError for questions with and without answers together, and where nothing can be scored."""
        bare = [example.example_id for example in examples if not example.target.answer]
        if bare and len(bare) < len(examples):
            raise DataError(
                f"tasks.{self.name}.{split}: {len(bare):,} of {len(examples):,} questions have no answer, first "
                f"{bare[0]}: they cannot be scored together. Name sources with answers, or sources without"
            )
        if examples and not any(example.target.is_balanced for example in examples):
            raise DataError(f"tasks.{self.name}.{split}: none of {len(examples):,} questions is balanced")

    def check_predictions(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> None:
        asked = {example.example_id for example in self.examples(split)}
        left_out = asked - {record["questionId"] for record in predictions}
        if left_out and not all(example.target.answer for example in self.examples(split)):
            raise DataError(
                f"predictions of tasks.{self.name}.{split}: {len(left_out):,} questions are about pictures without "
                f"features, first question {min(left_out)}; a submission answers every question"
            )

    def normalize_answer(self, text: str) -> str:
        return text  # the official scores compare as it stands

    def answers(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        return [(example.target.answer,) if example.target.answer else () for example in examples]

    def targets(self, example: Example) -> dict[int, float]:
        place = self.known_pool().place(example.target.answer)
        return {} if place is None else {place: 1.0}

    def new_metric(self) -> Metric:
        return _Scores(self.known_pool())

    def rules(self) -> dict[str, Any]:
        return {"accuracy": "official, balanced questions"}

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        train = [(example.target.question, (example.target.answer,)) for example in train_examples]
        questions = [example.target.question for example in split_examples]
        guesses = question_only_answers(train, questions, normalize=self.normalize_answer)
        majority = question_only_answers(train, [""], normalize=self.normalize_answer)[0]
        return {
            f"{name}.{metric}": value
            for name, given in (("question_only", guesses), ("majority", [majority] * len(questions)))
            for metric, value in _scores(list(zip(split_examples, given, strict=True))).items()
        }


class _Scores(AnswerMetric):
    def compute(self) -> Scores:
        return _scores(self.answered)

    def items(self) -> ItemScores | None:
        return None if _are_secret(self.answered) else gqa.gqa_items(*_as_scored(self.answered))

    def predictions(self) -> list[dict[str, Any]]:
        return [{"questionId": example.example_id, "prediction": answer} for example, answer in self.answered]


def _scores(answered: Sequence[tuple[Example, str]]) -> Scores:
    """Every score of the items, and the distribution where it is known; nothing where the answers are secret."""
    if _are_secret(answered):
        return {}
    questions, predictions = _as_scored(answered)
    distribution = gqa.distribution(questions, predictions)
    scores = gqa.gqa_items(questions, predictions).scores()
    return scores if distribution is None else {**scores, "distribution": distribution}


def _are_secret(answered: Sequence[tuple[Example, str]]) -> bool:
    return not any(example.target.answer for example, _ in answered)


def _as_scored(answered: Sequence[tuple[Example, str]]) -> tuple[list[GqaQuestion], dict[str, str]]:
    return [example.target for example, _ in answered], {example.example_id: answer for example, answer in answered}
