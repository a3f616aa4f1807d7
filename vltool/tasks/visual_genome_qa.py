"""Visual Genome's questions: one answer each, right where it is the same after VQA's normalisation ("Green." is green).

There is no official evaluator. Accuracy is that of all questions, whether or not their answer is in the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vltool.datasets.records import QuestionRecord
from vltool.metrics.answering import exact_items
from vltool.metrics.ignorance import question_only_answers
from vltool.metrics.item_scores import ItemScores
from vltool.structures import Example
from vltool.tasks.answering import Answering, AnswerMetric
from vltool.tasks.task import Metric, Scores


class VisualGenomeQA(Answering[QuestionRecord]):
    def example(self, record: QuestionRecord) -> Example:
        return Example(str(record.question_id), ((record.image_id, record.question),), record)

    def answers(self, examples: Sequence[Example]) -> list[tuple[str, ...]]:
        return [example.target.answers for example in examples]

    def targets(self, example: Example) -> dict[int, float]:
        place = self.known_pool().place(example.target.answers[0])
        return {} if place is None else {place: 1.0}

    def new_metric(self) -> Metric:
        return _Accuracy(self.known_pool())

    def rules(self) -> dict[str, Any]:
        return {"accuracy": "exact after VQA's normalisation"}

    def ignorance(self, split_examples: Sequence[Example], train_examples: Sequence[Example], rows: Any) -> Scores:
        train = [(example.target.question, example.target.answers) for example in train_examples]
        guesses = question_only_answers(train, [example.target.question for example in split_examples])
        majority = question_only_answers(train, [""])[0]
        return {
            f"{name}.{metric}": value
            for name, given in (("question_only", guesses), ("majority", [majority] * len(split_examples)))
            for metric, value in _items(list(zip(split_examples, given, strict=True))).scores().items()
        }


class _Accuracy(AnswerMetric):
    def items(self) -> ItemScores:
        return _items(self.answered)

    def predictions(self) -> list[dict[str, Any]]:
        return [{"question_id": example.target.question_id, "answer": answer} for example, answer in self.answered]


def _items(answered: Sequence[tuple[Example, str]]) -> ItemScores:
    records = [example.target for example, _ in answered]
    return exact_items(
        [answer for _, answer in answered],
        [record.answers[0] for record in records],
        [str(record.question_id) for record in records],
        [record.question_type for record in records],
    )
