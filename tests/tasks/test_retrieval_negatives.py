"""Negatives of caption retrieval: which are drawn, and which the network chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.miniature import miniature_model
from vltool.models.joint_model import JointModel
from vltool.models.precision import compute_in
from vltool.structures import Batch
from vltool.tasks.caption_retrieval import CaptionRetrieval, draw_several, first_of_each, wrong_pairs
from vltool.training.rates import Optimizer, Rates, RateSchedule
from vltool.training.update import Updater

NAME = "caption_retrieval"


def make(**options: object) -> tuple[JointModel, CaptionRetrieval, Batch]:
    """A model, the task with these options, and a training batch of eight captions of six pictures."""
    model, prepared, batching = miniature_model()
    task = CaptionRetrieval(NAME, {}, options={"negatives_kind": "hard", "negatives": 1, "pool": 3} | options)
    chosen = [prepared.examples[NAME]["train"][k] for k in (0, 1, 2, 3, 4, 6, 8, 10)]
    batch = batching.training_batch(task, chosen, np.random.default_rng(0))
    return model.train(), task, batch


def chosen_rows(model: JointModel, task: CaptionRetrieval, batch: Batch, precision: str = "float32") -> Tensor:
    """The rows (B, 1 + negatives of both kinds, 2) that the model's loss is of."""
    seen = []

    class Watched(CaptionRetrieval):
        def loss(self, logits: Tensor, batch: Batch) -> Tensor:
            seen.append(batch.rows)
            return super().loss(logits, batch)

    with compute_in(precision, "cpu"):
        model.loss(Watched(NAME, {}, options=vars(task.options)), batch).backward()
    return seen[0].view(batch.num_examples, -1, 2)


def test_candidates_are_pool_of_each_kind_and_none_twice() -> None:
    _, _, batch = make()
    rows = batch.rows.view(8, 7, 2)
    assert (rows[:, 1::2, 0] == rows[:, :1, 0]).all() and (rows[:, 2::2, 1] == rows[:, :1, 1]).all()
    for captions, pictures in zip(rows[:, 1::2, 1].tolist(), rows[:, 2::2, 0].tolist(), strict=True):
        assert len(set(captions)) == len(set(pictures)) == 3


@pytest.mark.parametrize("kind", ["random", "hard"])
def test_a_sentence_that_two_pictures_share_is_wrong_for_neither(kind: str) -> None:
    images, sentences = np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3])
    true = {(0, 0), (0, 1), (1, 1), (2, 2), (3, 3)}
    task = CaptionRetrieval(NAME, {}, options={"negatives_kind": kind, "negatives": 2, "pool": 8})
    for seed in range(30):
        rows = task.pair_rows(images, sentences, np.random.default_rng(seed))
        assert rows.shape == (5, 5, 2)
        assert not true & {tuple(pair) for pair in rows[:, 1:].reshape(-1, 2).tolist()}
    assert not wrong_pairs(images, sentences)[2, 1] and wrong_pairs(images, sentences)[2, 0]


def test_a_batch_in_which_someone_has_no_rival_has_no_negatives() -> None:
    task = CaptionRetrieval(NAME, {}, options={"negatives_kind": "hard"})
    for images, sentences in (([0, 0], [0, 1]), ([0, 1], [0, 0])):
        assert task.pair_rows(np.array(images), np.array(sentences), np.random.default_rng(0)).shape == (2, 1, 2)


def test_several_are_drawn_without_repetition_and_equally_likely() -> None:
    allowed = np.array([[False, True, True, True, True]] * 5)
    generator = np.random.default_rng(0)
    drawn = np.concatenate([draw_several(allowed, 2, generator) for _ in range(2000)])
    assert (drawn[:, 0] != drawn[:, 1]).all() and (drawn > 0).all()
    np.testing.assert_allclose(np.bincount(drawn.ravel())[1:] / drawn.size, 0.25, atol=0.02)
    assert first_of_each(np.array([4, 4, 1, 4, 1])).tolist() == [True, False, True, False, False]


def test_level_0_runs_once_whatever_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    model, task, batch = make()
    calls = {"embed_images": 0, "embed_sentences": 0}
    for name in calls:
        inner = getattr(model.encoder, name)

        def counted(*given: Tensor, name: str = name, inner: object = inner) -> Tensor:
            calls[name] += len(given[0])
            return inner(*given)  # type: ignore[operator]

        monkeypatch.setattr(model.encoder, name, counted)
    model.loss(task, batch)
    assert calls == {"embed_images": len(batch.regions), "embed_sentences": len(batch.tokens)}


def test_the_hardest_are_the_best_scored_wrong_ones() -> None:
    model, task, batch = make(negatives=2)
    model.encoder.read_sentences.lstm.dropout.probability = model.encoder.read_sentences.dropout.probability = 0.0
    rows = chosen_rows(model, task, batch)
    assert model.training
    with torch.no_grad():
        scores = model.eval().logits(NAME, batch).view(8, 7)
    candidates = batch.rows.view(8, 7, 2)
    for example in range(8):
        assert rows[example, 0].tolist() == candidates[example, 0].tolist()
        for kind in (1, 2):
            best = scores[example, kind::2].argsort(descending=True)[:2]
            assert rows[example, kind::2].tolist() == candidates[example, kind::2][best].tolist()


def test_only_the_chosen_rows_are_learned_from() -> None:
    model, task, batch = make()
    rows = chosen_rows(model, task, batch)
    assert rows.shape == (8, 3, 2)
    model.eval()  # without dropout
    relevance = batch.targets["relevance"][:, :3]
    plain = replace(batch, rows=rows.flatten(0, 1), targets={"relevance": relevance})
    random = CaptionRetrieval(NAME, {}, options={"negatives": 1})
    torch.testing.assert_close(
        model.loss(task, replace(batch, rows=batch.rows)), model.loss(random, plain), rtol=1e-5, atol=1e-6
    )


def test_weights_that_scoring_casts_still_get_their_gradient() -> None:
    model, task, batch = make()
    chosen_rows(model, task, batch, precision="bfloat16")
    reached = list(model.decoders[NAME].parameters()) + list(model.encoder.levels[0].parameters())
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in reached)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_update_with_hard_negatives_gives_the_same_bits_again(precision: str) -> None:
    weights = []
    for _ in range(2):
        model, task, batch = make()
        optimizer = Optimizer(model, rates=Rates(1e-3), schedule=RateSchedule(step_size=10))
        updater = Updater(model, optimizer, precision=precision, seed=3)
        for _ in range(3):
            updater.update(task, batch)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*weights)
