"""What pre-training hides: shares, what goes with it, and that a score does not depend on the batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.miniature import COLOURS, Pictures, miniature_corpus, miniature_model, miniature_prepared, picture
from tests.training.test_contract import SMALL
from tests.twelve import twelve_model
from vltool.config import EncoderConfig
from vltool.errors import ConfigError, DataError
from vltool.evaluation.evaluate import evaluate
from vltool.models.decoders.masked import MaskedWordsDecoder
from vltool.structures import Batch
from vltool.tasks.alignment import Alignment
from vltool.tasks.batching import Batching
from vltool.tasks.masked_modelling import MaskedRegions, MaskedWords
from vltool.tasks.masking import at_least_one, choose_regions, choose_words, disguise_words, places_of
from vltool.text.vocabulary import PADDING, UNKNOWN, Vocabulary

WORDS = Vocabulary([f"w{k}" for k in range(50)])


def test_each_word_is_chosen_with_its_share_and_at_least_one() -> None:
    draw = np.random.default_rng(0)
    chosen = np.stack([at_least_one(np.ones(40, bool), draw, share=0.15) for _ in range(2000)])
    assert chosen.mean() == pytest.approx(0.15, abs=0.003)
    short = np.stack([at_least_one(np.ones(2, bool), draw, share=0.15) for _ in range(2000)])
    assert short.any(axis=1).all()
    np.testing.assert_allclose(short.mean(axis=0), (1 - 0.85**2 + 0.15**2) / 2 + 0.85**2 / 2, atol=0.03)
    assert not at_least_one(np.zeros(3, bool), draw, share=0.5).any()


def test_of_the_chosen_words_most_are_masked_some_are_others_and_some_stay() -> None:
    tokens = np.full(20000, 7)
    changed = disguise_words(tokens, np.arange(20000) < 15000, WORDS, np.random.default_rng(1))
    assert (changed[15000:] == 7).all()
    chosen = changed[:15000]
    assert (chosen == WORDS.mask_row).mean() == pytest.approx(0.8, abs=0.01)
    assert (chosen == 7).mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.01)
    others = chosen[(chosen != 7) & (chosen != WORDS.mask_row)]
    assert set(others) == set(range(2, 52)) - {7}


def test_unknown_words_are_asked_only_where_there_are_no_others() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        assert not choose_words(np.array([UNKNOWN, 5, UNKNOWN]), WORDS, draw, share=0.9)[[0, 2]].any()
        assert choose_words(np.array([UNKNOWN]), WORDS, draw, share=0.1).tolist() == [True]
        assert not choose_words(np.array([PADDING, 5, len(WORDS)]), WORDS, draw, share=0.9)[[0, 2]].any()


def test_regions_that_overlap_a_hidden_one_are_hidden_too() -> None:
    """IoU of neighbours: 0 and 1: 6/14 = 0.43; 1 and 2: 5/15 = 0.33; 3 apart."""
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [9, 0, 19, 1], [50, 0, 60, 1]], float)
    draw, asked_alone = np.random.default_rng(0), 0
    for _ in range(300):
        asked, zeroed = choose_regions(boxes, draw, share=0.15)
        assert asked.any() and asked.tolist() != [False] * 4
        if asked.tolist() == [True, False, False, False]:
            assert zeroed.tolist() in ([True, True, False, False], [False] * 4)  # 1 in 10 stays as it is
            asked_alone += zeroed[0]
        if asked.tolist() == [False, False, True, False]:
            assert zeroed.tolist() in ([False, False, True, False], [False] * 4)
    assert asked_alone > 20


def test_places_are_padded_to_the_most() -> None:
    places, real = places_of([np.array([False, True, True]), np.array([True, False, False])])
    assert places.tolist() == [[1, 2], [0, 0]] and real.tolist() == [[True, True], [True, False]]


def batch_of(name: str, count: int = 6, **options: Any) -> tuple[Batch, Batch]:
    """A training batch, and the same before anything was hidden."""
    prepared = miniature_prepared()
    corpus = miniature_corpus(prepared)
    task = prepared.tasks[name]
    task.options = replace(task.options, **options)
    batching = Batching(Pictures(), corpus.tokens, corpus.token_ids)
    examples = prepared.examples[name]["train"][:count]
    changed = batching.training_batch(task, examples, np.random.default_rng(3))
    task.disguise = lambda batch, generator: batch  # type: ignore[method-assign, assignment]
    whole = batching.training_batch(task, examples, np.random.default_rng(3))
    return changed, whole


def test_hidden_words_are_asked_at_their_places_with_what_stood_there() -> None:
    changed, whole = batch_of("masked_words", word_share=0.5, region_share=0.0)
    sentences = whole.tokens[whole.rows[:, 1]]
    shown = changed.tokens[changed.rows[:, 1]]
    asked, places = changed.inputs["asked"], changed.inputs["word_places"]
    assert torch.equal(sentences.gather(1, places)[asked], changed.targets["content"][asked])
    assert (changed.targets["content"][~asked] == -1).all()
    elsewhere = torch.ones_like(shown, dtype=torch.bool)
    for row in range(len(places)):
        elsewhere[row, places[row][asked[row]]] = False
    assert torch.equal(shown[elsewhere], sentences[elsewhere])
    assert (shown == WORDS.mask_row).any()
    assert torch.equal(changed.regions, whole.regions)


def test_hidden_regions_are_asked_for_their_classes() -> None:
    changed, whole = batch_of("masked_regions", word_share=0.0, region_share=0.5)
    assert torch.equal(changed.tokens, whole.tokens)
    asked, places = changed.inputs["asked"], changed.inputs["region_places"]
    for row, (image, _) in enumerate(changed.rows.tolist()):
        regions = picture(int(changed.image_ids[image][-2:]))
        own = places[row][asked[row]]
        assert changed.targets["content"][row][asked[row]].tolist() == regions.classes[own].tolist()  # type: ignore[index]
    zeroed = (changed.regions == 0).all(dim=-1) & whole.region_mask
    assert zeroed.any() and torch.equal(changed.regions[~zeroed], whole.regions[~zeroed])


def test_alignment_pairs_each_picture_with_its_caption_and_one_of_another() -> None:
    changed, whole = batch_of("alignment")
    rows = changed.rows.view(6, 2, 2)
    assert (rows[:, 0, 0] == rows[:, 1, 0]).all()
    picture_of = dict(whole.rows.view(6, 2, 2)[:, 0].flip(-1).tolist())
    assert all(picture_of[sentence] != image for image, sentence in rows[:, 1].tolist())
    assert changed.targets["relevance"].tolist() == [[1, 0]] * 6
    assert not torch.equal(changed.tokens, whole.tokens) and not torch.equal(changed.regions, whole.regions)
    prepared = miniature_prepared()
    corpus = miniature_corpus(prepared)
    scored, _ = Batching(Pictures(), corpus.tokens, corpus.token_ids).batch(
        prepared.tasks["alignment"], prepared.examples["alignment"]["val"]
    )
    assert len(scored.rows) == scored.num_examples  # nothing is hidden and nothing drawn where it is scored


@pytest.mark.parametrize("name", ["masked_words", "masked_regions"])
def test_scores_do_not_depend_on_the_batches(name: str) -> None:
    model, prepared, batching = miniature_model()
    examples = prepared.examples[name]["train"]
    found = [evaluate(model, prepared.tasks[name], examples, batching, batch_size=size) for size in (3, 16)]
    assert found[0].scores == found[1].scores
    assert found[0].items is not None and found[0].items.unit == "image"


def test_word_vectors_stay_the_encoders() -> None:
    vectors = torch.nn.Embedding(9, 4)
    decoder = MaskedWordsDecoder(6, vectors)
    assert not any("vectors" in name for name in decoder.state_dict())
    from vltool.structures import JointState

    state = JointState(torch.randn(2, 5, 6), torch.randn(2, 3, 6), torch.ones(2, 5) > 0, torch.ones(2, 3) > 0)
    logits = decoder(state, {"word_places": torch.tensor([[0, 4], [2, 0]])})
    assert logits.shape == (2, 2, 9)
    logits.sum().backward()
    assert vectors.weight.grad is not None


def test_what_is_missing_is_said_with_the_next_step() -> None:
    model, _, batching = miniature_model()
    task = MaskedRegions("masked_regions", {})
    task.learn_features({"class_names": []})
    with pytest.raises(ConfigError, match=r"Set tasks\.masked_regions\.options\.num_classes to how many"):
        task.build_decoder(model.encoder, dropout=0)
    told = MaskedRegions("masked_regions", {}, options={"num_classes": 2})
    told.learn_features({"class_names": COLOURS})
    assert told.num_classes == 2
    prepared = miniature_prepared()
    examples = prepared.examples["masked_regions"]["train"][:4]
    with pytest.raises(DataError, match=r"has a region of class 2, of 2\. Set"):
        batching.batch(told, examples)
    source = Pictures()
    source.held = {key: replace(held, classes=None) for key, held in source.held.items()}
    bare = Batching(source, batching.tokens, batching.token_ids)
    with pytest.raises(DataError, match=r"features of image 'file:00' come without the detector's classes"):
        bare.batch(prepared.tasks["masked_regions"], examples)
    for kind in (MaskedWords, Alignment):
        with pytest.raises(DataError, match="the vocabulary is not built yet"):
            batching.training_batch(kind(kind.__name__, {}), examples, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="word_share"):
        MaskedWords("masked_words", {}, options={"word_share": 1.5})


@torch.no_grad()
@pytest.mark.parametrize(
    ("encoder", "options", "alike"),
    [("dense_coattention", {}, True), ("dense_coattention", {"region_positions": True}, False), ("vilbert", {}, False)],
)
def test_hidden_regions_differ_by_where_they_are_alone(encoder: str, options: dict[str, bool], alike: bool) -> None:
    chosen = EncoderConfig(encoder, {**SMALL[encoder], **options})
    model, prepared, batching = twelve_model("masked_regions", encoder=chosen)
    batch, _ = batching.batch(prepared.tasks["masked_regions"], prepared.examples["masked_regions"]["train"][:4])
    regions = batch.regions.clone()
    regions[:, :2] = 0
    places = torch.tensor([[0, 1]]).expand(batch.num_examples, 2)
    logits = model.eval().logits("masked_regions", replace(batch, regions=regions, inputs={"region_places": places}))
    assert torch.allclose(logits[:, 0], logits[:, 1], atol=1e-6) is alike
