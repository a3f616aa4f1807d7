"""Tasks may share a decoder of the same kind, shapes, outputs and level, with one answer pool; else it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.twelve import make_task, twelve_model
from vltool.config import EncoderConfig, TextConfig, dump, from_dict
from vltool.datasets.records import QuestionRecord
from vltool.errors import ConfigError, DataError
from vltool.registry import TASKS, resolve
from vltool.structures import ImageId
from vltool.tasks.corpus import build_corpus
from vltool.tasks.network import build_network
from vltool.tasks.prepare import PreparedTasks
from vltool.tasks.shared_decoders import answer_pools
from vltool.tasks.snli_ve import SnliVe
from vltool.tasks.task import Task
from vltool.text.vocabulary import AnswerPool

REFERRING = dict.fromkeys(("refcoco", "visual7w"), "referring")


def test_sharers_have_one_set_of_parameters_and_their_own_drawing_of_it() -> None:
    model, *_ = twelve_model("refcoco", "visual7w", "nlvr2", decoders=REFERRING)
    assert set(model.decoders) == {"referring", "nlvr2"}
    assert model.decoder("refcoco") is model.decoder("visual7w") is model.decoders["referring"]
    alone, *_ = twelve_model("visual7w")  # a task begins with the same weights, alone or with others
    pairs = zip(model.decoder("visual7w").parameters(), alone.decoder("visual7w").parameters(), strict=True)
    assert all(torch.equal(shared, own) for shared, own in pairs)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("refcoco", "nlvr2"), "one is a PointingDecoder, the other a VerificationDecoder"),
        (("nlvr2", "snli_ve"), r"classify.*of their VerificationDecoder is \(.*\) and \("),
    ],
)
def test_decoders_of_another_kind_or_shape_are_refused(names: tuple[str, str], message: str) -> None:
    first, second = names
    with pytest.raises(
        ConfigError, match=rf"tasks.{first} and tasks.{second} cannot share the decoder 'one': {message}"
    ):
        twelve_model(*names, decoders=dict.fromkeys(names, "one"))


def test_options_that_change_a_shape_are_refused() -> None:
    tasks = {"refcoco": make_task("refcoco"), "visual7w": make_task("visual7w", num_score_maps=2)}
    with pytest.raises(
        ConfigError, match=r"summarize_words.scores.weight of their PointingDecoder is \(4, .* and \(2, "
    ):
        twelve_model(tasks=tasks, decoders=REFERRING)


def test_outputs_that_stand_for_other_things_are_refused() -> None:
    class Reversed(SnliVe):
        classes = SnliVe.classes[::-1]

    tasks = {"snli_ve": make_task("snli_ve"), "other": Reversed("other", {"train": [], "val": [], "test": []})}
    with pytest.raises(ConfigError, match=f"output 0 stands for '{SnliVe.classes[0]}' and for '{SnliVe.classes[-1]}'"):
        twelve_model(tasks=tasks, decoders=dict.fromkeys(tasks, "one"))


def test_different_levels_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'referring' is shared by tasks that read different levels: .*visual7w level 1"
    ):
        twelve_model("refcoco", "visual7w", decoders=REFERRING, levels={"refcoco": 2, "visual7w": 1})


def test_a_name_that_torch_keeps_to_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="'keys' is no name for a decoder"):
        twelve_model("refcoco", "visual7w", decoders=dict.fromkeys(REFERRING, "keys"))


def questions(*answers: str) -> list[QuestionRecord]:
    return [QuestionRecord(k, ImageId(f"file:{k}"), f"which {k} ?", (answer,)) for k, answer in enumerate(answers)]


def vqa_and_visual_genome(**options: bool) -> dict[str, Task]:
    return {
        "vqa": make_task("vqa", {"train": questions("red", "red", "dog")}),
        "visual_genome_qa": make_task("visual_genome_qa", {"train": questions("Red.", "A cat.", "cat")}, **options),
    }


def pools_of(tasks: dict[str, Task], *, shared: bool) -> dict[str, tuple[str, ...]]:
    training = {name: task.examples("train") for name, task in tasks.items()}
    decoders = dict.fromkeys(tasks, "answers") if shared else {}
    return {name: pool.answers for name, pool in answer_pools(tasks, training, decoders, threshold=0).items()}


def test_sharers_have_one_pool_of_the_answers_of_all() -> None:
    tasks = vqa_and_visual_genome()
    assert pools_of(tasks, shared=False) == {"vqa": ("red", "dog"), "visual_genome_qa": ("cat", "red")}
    assert pools_of(tasks, shared=True) == dict.fromkeys(tasks, ("red", "cat", "dog"))


def test_a_task_may_take_the_answers_of_those_it_shares_with() -> None:
    tasks = vqa_and_visual_genome(adds_answers=False)
    assert pools_of(tasks, shared=True) == dict.fromkeys(tasks, ("red", "dog"))
    training = {name: task.examples("train") for name, task in tasks.items()}
    pool = answer_pools(tasks, training, dict.fromkeys(tasks, "answers"), threshold=0)["visual_genome_qa"]
    assert pool.place("Red.") == 0 and pool.place("A cat.") is None  # its own spellings are known
    own = answer_pools(tasks, training, {}, threshold=0)["visual_genome_qa"]
    with pytest.raises(DataError, match=r"tasks.visual_genome_qa: has no answers: it adds none to the pool"):
        tasks["visual_genome_qa"].learn_answers(own)


def test_the_text_of_a_run_has_the_shared_pool() -> None:
    tasks = vqa_and_visual_genome()
    examples = {
        name: {split: task.examples(split) for split in ("train", "val", "test")} for name, task in tasks.items()
    }
    corpus = build_corpus(
        PreparedTasks(tasks, examples, ()), TextConfig(answer_threshold=0), decoders=dict.fromkeys(tasks, "answers")
    )
    assert {pool.answers for pool in corpus.answers.values()} == {("red", "cat", "dog")}


def test_answers_that_are_compared_by_different_rules_have_no_pool_together() -> None:
    tasks = {"vqa": make_task("vqa", {"train": questions("red")}), "gqa": make_task("gqa")}
    with pytest.raises(ConfigError, match=r"tasks.vqa and tasks.gqa cannot share a decoder: they compare answers"):
        pools_of(tasks, shared=True)


def run_of(**tasks: dict[str, str]) -> dict:
    source = {"reader": "referring", "files": {}}
    return {
        "name": "run",
        "out": "nowhere",
        "tasks": {name: {"train": [source], "val": [source], **more} for name, more in tasks.items()},
    }


def test_a_configuration_names_decoders_and_one_without_is_written_down_as_before() -> None:
    config = from_dict(run_of(refcoco={"decoder": "referring"}, refcocog={"decoder": "referring"}, nlvr2={}))
    assert config.decoders == {"refcoco": "referring", "refcocog": "referring", "nlvr2": "nlvr2"}
    assert config.shared_decoders == {"referring": ["refcoco", "refcocog"]}
    plain = dump(config)
    assert plain["tasks"]["refcoco"]["decoder"] == "referring" and "decoder" not in plain["tasks"]["nlvr2"]
    assert from_dict(plain) == config


@pytest.mark.parametrize(
    ("tasks", "rates", "message"),
    [
        ({"refcoco": {"decoder": "a.b"}}, {}, "tasks.refcoco.decoder is 'a.b': a name has letters"),
        (
            {"refcoco": {"decoder": "refcocog"}, "refcocog": {"decoder": "nlvr2"}, "nlvr2": {}},
            {},
            "tasks.refcoco.decoder is refcocog, a task whose own decoder is nlvr2",
        ),
        (
            {"refcoco": {"decoder": "one"}},
            {"decoders.refcoco": 0.1},
            "decoders.refcoco: the run has no such decoder; it has one",
        ),
    ],
)
def test_names_that_cannot_be_are_refused(tasks: dict, rates: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict({**run_of(**tasks), "training": {"part_rates": rates}})


KINDS = {
    "answers": ("vqa", "visual_genome_qa"),
    "retrieval": ("coco_retrieval", "flickr30k_retrieval"),
    "pointing": ("refcoco", "refcoco_plus", "refcocog", "visual7w", "guesswhat"),
    "gqa": ("gqa",),
    "nlvr2": ("nlvr2",),
    "snli_ve": ("snli_ve",),
}
"""The heads of 12-in-1 and whose they are."""


@pytest.mark.parametrize("shared", [False, True])
def test_the_full_network_has_as_many_parameters_as_the_page_says(shared: bool) -> None:
    uses = {name: decoder for decoder, names in KINDS.items() for name in names}
    tasks: dict[str, Task] = {name: resolve(TASKS, name, kind="task")(name, {}) for name in uses}
    for name, size in {"vqa": 3129, "visual_genome_qa": 3129, "gqa": 1533}.items():
        tasks[name].learn_answers(AnswerPool(map(str, range(size)), forms={}))
    with torch.device("meta"):
        model = build_network(
            EncoderConfig("vilbert"),
            tasks,
            dict.fromkeys(tasks, 6),
            vectors=np.zeros((30522, 0), np.float32),
            feature_dim=2048,
            seed=0,
            decoders=uses if shared else {},
        )
    page = (Path(__file__).parents[2] / "docs" / "vilbert.md").read_text()
    for part in (model, model.decoders):
        assert f"| {sum(parameter.numel() for parameter in part.parameters()):,} |" in page
    of_the_authors = 268_028_859  # VILBertForVLTasks
    masked = (768 * 768 + 768 + 2 * 768 + 30522) + (1024 * 1024 + 1024 + 2 * 1024 + 1024 * 1601 + 1601) + 2 * 1025 + 769
    assert not shared or sum(p.numel() for p in model.parameters()) == of_the_authors - 11_020_800 - masked
