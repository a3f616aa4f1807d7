"""Visual question answering: one logistic output per answer of the pool (section 3.3.2, equation 8).

The pool and the soft targets come from training data only; scores are the official VQA accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vltool.datasets import vqa_v2
from vltool.datasets.records import QuestionRecord
from vltool.errors import DataError
from vltool.metrics.ignorance import question_only_answers
from vltool.metrics.item_scores import ItemScores
from vltool.metrics.vqa_accuracy import VqaAccuracy, accuracy_items, vqa_accuracy
from vltool.structures import Example
from vltool.tasks.answering import Answering, AnswerMetric
from vltool.tasks.task import Metric, Scores


class VisualQuestionAnswering(Answering[QuestionRecord]):
    def example(self, record: QuestionRecord) -> Example:
        return Example(str(record.question_id), ((record.image_id, record.question),), record)

    def examples(self, split: str) -> tuple[Example, ...]:
        """Raises DataError for questions without answers that are to be learned from or validated on."""
        found = super().examples(split)
        bare = [example.example_id for example in found if not example.target.answers]
        if bare and split != "test":  # the official test answers are secret
            raise DataError(
                f"tasks.{self.name}.{split}: {len(bare):,} of {len(found):,} questions have no answers, first question "
                f"{bare[0]}. Name their annotations beside the questions (files: annotations)"
            )
        return found

    def rules(self) -> dict[str, Any]:
        return {"accuracy": "official"}

    def check_asked(self, split: str, examples: Sequence[Example]) -> None:
        """Raises DataError for questions with and without answers together, and for questions of a test without
        answers that are left out: a submission answers all of them."""
        bare = [example.target.question_id for example in examples if not example.target.answers]
        if not bare:
            return
        if len(bare) < len(examples):
            raise DataError(
                f"tasks.{self.name}.{split}: {len(bare):,} of {len(examples):,} questions have no answers, first "
                f"{bare[0]}: they cannot be scored together. Name sources with answers, or sources without"
            )
        left_out = self._question_ids(split) - set(bare)
        if left_out:
            raise DataError(
                f"tasks.{self.name}.{split}: {len(left_out):,} questions are about pictures without features, first "
                f"question {min(left_out)}; a submission answers every question. Run: vltool extract-features"
            )

    def check_predictions(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> None:
        if any(example.target.answers for example in self.examples(split)):
            return
        where = f"predictions of tasks.{self.name}.{split}"
        answers = {int(record["question_id"]): str(record["answer"]) for record in predictions}
        if len(answers) < len(predictions):
            raise DataError(f"{where}: {len(predictions) - len(answers):,} questions are answered twice")
        vqa_v2.check_results(answers, self._question_ids(split), where=where, known=set(self.known_pool().answers))

    def _question_ids(self, split: str) -> set[int]:
        return {example.target.question_id for example in self.examples(split)}

    def answers(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        return [example.target.answers for example in examples]

    def correct_answers(self, examples: Sequence[Example]) -> list[str] | None:
        found = [example.target.correct_answer for example in examples]
        return found if all(found) else None

    def targets(self, example: Example) -> dict[int, float]:
        return self.known_pool().soft_targets(example.target.answers)

    def new_metric(self) -> Metric:
        return AccuracyMetric(self.known_pool())

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        train = [(example.target.question, example.target.answers) for example in train_examples]
        questions = [example.target.question for example in split_examples]
        guesses = question_only_answers(train, questions)
        majority = question_only_answers(train, [""])[0]
        scores = _named(_accuracy(list(zip(split_examples, guesses, strict=True))))
        most_common = _named(_accuracy([(example, majority) for example in split_examples]))
        return {
            **{f"question_only.{name}": value for name, value in scores.items()},
            **{f"majority.{name}": value for name, value in most_common.items()},
        }


class AccuracyMetric(AnswerMetric):
    """The official VQA accuracy of the best-scored answer of each question."""

    _accuracy: VqaAccuracy | None = None
    _of = -1  # how many answers it is of

    def compute(self) -> Scores:
        return _named(self._scored())

    def items(self) -> ItemScores | None:
        found = self._scored()
        if found is None:
            return None
        records = [example.target for example, _ in self.answered]
        types = {"accuracy/": [record.answer_type for record in records]}
        return accuracy_items(found.shares, [record.question_id for record in records], types=types)

    def _scored(self) -> VqaAccuracy | None:
        if self._of != len(self.answered):
            self._accuracy, self._of = _accuracy(self.answered), len(self.answered)
        return self._accuracy

    def predictions(self) -> list[dict[str, Any]]:
        return [{"question_id": example.target.question_id, "answer": answer} for example, answer in self.answered]


def _accuracy(answered: Sequence[tuple[Example, str]]) -> VqaAccuracy | None:
    """The official scores; none where no question has answers, as in the official test sets."""
    records = [example.target for example, _ in answered]
    if not any(record.answers for record in records):
        return None
    return vqa_accuracy(
        predictions=[answer for _, answer in answered],
        answers=[record.answers for record in records],
        question_types=[record.question_type for record in records],
        answer_types=[record.answer_type for record in records],
    )


def _named(found: VqaAccuracy | None) -> Scores:
    if found is None:
        return {}
    return {"accuracy": found.overall, **{f"accuracy/{name}": value for name, value in found.per_answer_type.items()}}
