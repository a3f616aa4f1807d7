"""The pipelines that come with vltool: each can be read, is legal, is told of, and has the paper's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from vltool.config import RunConfig, load, sources_of
from vltool.search.plan import load_plan
from vltool.search.preset import LEVELS
from vltool.search.task_search import list_trials
from vltool.tasks.network import encoder_options
from vltool.training.schedule import JointPlan

ROOT = Path(__file__).parents[1]
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))
PAPER = [path for path in PIPELINES if path.name.startswith("paper_")]
TWELVE = [path for path in PIPELINES if path.name.startswith("twelve_") and "world" not in path.name]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # plans are named from there


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_pipeline_loads_and_its_trainings_are_legal(path: Path) -> None:
    config = load(path)
    encoder_options(config.encoder)
    if "search-layers" in config.stages:
        plans = tuple(trials[0].cell.plan for trials in list_trials(config, list(config.tasks)).values())
    else:
        plans = load_plan(config.training.plan, list(config.tasks))
    JointPlan(plans, config.training.cycle_updates)
    assert f"`{path.name}`" in (ROOT / "pipelines" / "README.md").read_text()


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_pipelines_of_the_paper_have_its_settings(path: Path) -> None:
    config = load(path)
    options = config.encoder.options
    assert (options["width"], options["num_levels"], options["dropout"], options["lstm_dropout"]) == (1024, 5, 0.3, 0.1)
    training = config.training
    assert (training.learning_rate, training.betas, training.decay) == (0.001, (0.9, 0.99), 0.5)
    assert config.text.answer_threshold == 8
    assert expected(config, "vqa") == {"train": 443757, "val": 214354} | (
        {"test": 447793} if "table4" in path.name else {}
    )
    assert expected(config, "grounding") == {"train": 29783, "val": 1000, "test": 1000}
    by_flickr30k = load_plan("pipelines/plans/paper_flickr30k.yaml", ["vqa"]) and training.plan.endswith(
        "flickr30k.yaml"
    )
    train = 29783 if by_flickr30k else 82783
    assert expected(config, "caption_retrieval") == {"train": train, "val": 1000, "test": 1000}
    assert config.splits.protocol == ("paper-ii" if "table4" in path.name else "paper-i")
    assert all(source.missing_features == "error" for _, source in sources_of(config))


def expected(config: RunConfig, task: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, source in sources_of(config):
        _, name, split, _ = place.split(".")
        if name == task:
            found[split] = found.get(split, 0) + sum(source.expect.values())
    return found


def test_plans_of_the_paper_have_its_levels() -> None:
    for path in (ROOT / "pipelines" / "plans").glob("paper_*.yaml"):
        assert {plan.task: plan.level for plan in load_plan(path, list(LEVELS))} == LEVELS


def test_every_paper_table_has_a_pipeline_that_the_page_names() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text()
    names = [path.name for path in PAPER]
    assert {f"paper_table{number}.yaml" for number in range(1, 6)} < set(names)
    assert all(name in page for name in names)
    for config in map(load, PAPER):
        files = {path for _, source in sources_of(config) for path in source.files.values()}
        for path in (*files, config.text.glove, config.features.config_file, config.features.weights):
            assert Path(path).name in page, path


@pytest.mark.parametrize("path", TWELVE, ids=lambda path: path.stem)
def test_pipelines_of_12_in_1_have_its_settings(path: Path) -> None:
    config = load(path)
    options = encoder_options(config.encoder)
    assert (options.text_layers, options.image_layers, options.num_levels) == (12, 6, 6)
    assert (options.text_width, options.image_width, options.dropout) == (768, 1024, 0.1)
    training = config.training
    assert (training.optimizer, training.weight_decay, training.schedule, training.warmup, training.sampling) == (
        *("adamw", 0.01, "linear", 0.1, "round-robin"),
    )
    assert config.splits.protocol == "clean"
    plans = {plan.task: plan for plan in load_plan(training.plan, list(config.tasks), num_levels=options.num_levels)}
    assert {plan.level for plan in plans.values()} == {6}
    if path.stem == "twelve_pretraining":
        assert set(plans) == {"masked_words", "masked_regions", "alignment"} and training.learning_rate == 1e-4
        return
    sizes = {256: "visual7w refcoco refcoco_plus refcocog snli_ve", 64: "nlvr2 guesswhat"}
    for name, plan in plans.items():
        assert plan.batch_size == next((size for size, names in sizes.items() if name in names.split()), 128)
    assert training.learning_rate == 2e-5 and set(training.part_rates.values()) == {1e-4}
    doubled = {name for name, task in config.tasks.items() if task.loss_weight == 2}
    assert doubled == {"vqa", "visual_genome_qa", "gqa"}  # 4e-5 over 2e-5
    assert config.shared_decoders == {
        "answers": ["vqa", "visual_genome_qa"],
        "retrieval": ["coco_retrieval", "flickr30k_retrieval"],
        "pointing": ["refcoco", "refcoco_plus", "refcocog", "visual7w", "guesswhat"],
    }
    assert (training.stop_and_go is not None) == (path.stem == "twelve_joint")
    expectations = {"refcoco": 120624, "nlvr2": 86373, "visual7w": 93813}
    assert {name: expected(config, name)["train"] for name in expectations} == expectations


def test_every_file_of_12_in_1_is_on_the_page() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text()
    for path in TWELVE:
        config = load(path)
        assert path.name in page
        files = {file for _, source in sources_of(config) for file in source.files.values()}
        for file in (*files, config.text.wordpiece_vocab, config.features.config_file, config.features.weights):
            assert Path(file).name in page, file
