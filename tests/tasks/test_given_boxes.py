"""Given boxes beside detected ones: where they stand, whose features they have, in whose frame; with any numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.miniature import FEATURE_DIM, NUM_IMAGES, Pictures, image_id
from tests.twelve import Given, given_boxes, given_features, make_task, pointing, twelve_model
from vltool.datasets.records import PointingRecord
from vltool.errors import DataError
from vltool.evaluation.evaluate import evaluate
from vltool.models.vilbert.embeddings import with_mean_region
from vltool.structures import RegionFeatures
from vltool.tasks.given_boxes import GivenBoxes, boxes_to_pool, with_given
from vltool.tasks.task import Task


class ManyRegions(Pictures):
    """The miniature's pictures, each with a number of detected regions of its own."""

    def __init__(self, counts: list[int]) -> None:
        super().__init__()
        for number in range(NUM_IMAGES):
            own, count = self.held[image_id(number)], counts[number % len(counts)]
            corner = np.random.default_rng(number).uniform(0, 20, (count, 2)).astype(np.float32)
            boxes = np.concatenate([corner, corner + 15], axis=1)
            features = np.resize(own.features, (count, FEATURE_DIM))
            self.held[image_id(number)] = replace(own, features=features, boxes=boxes)


def with_objects(counts: list[int]) -> tuple[list[PointingRecord], Given]:
    """A question a picture with as many given boxes as `counts` says, the last one meant; and their features."""
    boxes = {
        number: tuple((float(k % 40), float(k // 40), float(k % 40) + 9, float(k // 40) + 9) for k in range(count))
        for number, count in ((n, counts[n % len(counts)]) for n in range(NUM_IMAGES))
    }
    records = [
        replace(
            record,
            boxes=boxes[n],
            box_ids=tuple(range(100, 100 + len(boxes[n]))),
            candidates=tuple(range(len(boxes[n]))),
            answer=len(boxes[n]) - 1,
        )
        for n in range(NUM_IMAGES)
        for record in pointing(range(n, n + 1))[:1]
    ]

    def pooled(regions: RegionFeatures) -> RegionFeatures:
        own = boxes[int(regions.image_id.partition(":")[2])]
        features = np.arange(len(own) * FEATURE_DIM, dtype=np.float16).reshape(len(own), FEATURE_DIM)
        return replace(regions, boxes=np.array(own, np.float32), features=features)

    return records, Given(pooled)


@pytest.mark.parametrize("name", ["visual7w", "guesswhat"])
@pytest.mark.parametrize("num_detected", [[1], [101], [36, 7, 100]], ids=["one", "101", "mixed"])
@pytest.mark.parametrize("num_given", [[1, 2], [250], [4, 21, 205]], ids=["few", "250", "mixed"])
def test_pointing_works_with_any_number_of_regions(name: str, num_detected: list[int], num_given: list[int]) -> None:
    records, given = with_objects(num_given)
    tasks = {name: make_task(name, dict.fromkeys(("train", "val", "test"), records))}
    regions = ManyRegions(num_detected)
    model, prepared, batching = twelve_model(tasks=tasks, regions=regions, given=given)
    batch, rows = batching.batch(tasks[name], prepared.examples[name]["test"])
    overlap, asked = batch.targets["overlap"], batch.inputs["candidates"]
    for place, (record, row) in enumerate(zip(records, rows, strict=True)):
        first = regions.held[record.image_id].num_regions
        assert row.num_detected == first and row.num_given == len(record.boxes)
        assert torch.nonzero(asked[place]).flatten().tolist() == list(range(first, first + len(record.boxes)))
        assert overlap[place, first + record.answer] == 1 and overlap[place, ~asked[place]].sum() == 0
        assert overlap[place].max() == 1 and (overlap[place][overlap[place] > 0] >= 0.5).all()
        # The feature of the k-th given box is the one that was pooled at it, whatever was detected.
        k = record.answer
        expected = given.get(record.image_id).features[k]
        np.testing.assert_array_equal(batch.regions[batch.rows[place, 0], first + k].numpy(), expected)
    found = evaluate(model, tasks[name], prepared.examples[name]["test"], batching)
    if num_given == [1, 2]:
        assert found.scores["accuracy"] >= 50  # a picture with one box has one answer
    assert torch.isfinite(model.loss(tasks[name], batch))


def test_the_mean_region_of_vilbert_is_over_the_detected_and_the_given_regions() -> None:
    records, given = with_objects([2, 5])
    tasks = {"guesswhat": make_task("guesswhat", dict.fromkeys(("train", "val", "test"), records))}
    regions = ManyRegions([3, 4])
    _model, prepared, batching = twelve_model(tasks=tasks, regions=regions, given=given)
    batch, _ = batching.batch(tasks["guesswhat"], prepared.examples["guesswhat"]["test"][:2])
    means = with_mean_region(batch.regions.float(), batch.region_mask, batch.boxes)[0][:, 0]
    for place, picture in enumerate(batch.image_ids):
        both = [regions.held[picture].features, given.get(picture).features]
        np.testing.assert_allclose(means[place], np.concatenate(both).astype(np.float32).mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize("name", ["visual7w", "guesswhat"])
def test_whatever_scores_best_among_the_detected_regions_is_no_answer(name: str) -> None:
    _model, prepared, batching = twelve_model(name)
    task, examples = prepared.tasks[name], prepared.examples[name]["test"]
    batch, rows = batching.batch(task, examples)
    metric = task.new_metric()
    logits = torch.full(batch.inputs["candidates"].shape, 5.0)
    for place, (example, row) in enumerate(zip(examples, rows, strict=True)):
        logits[place, row.regions.num_regions :] = 9.0  # padding
        logits[place, row.num_detected : row.regions.num_regions] = torch.tensor([1.0, 2.0])
        assert example.target.box_ids == (7, 9)
    metric.update(logits, batch, examples, rows)
    assert metric.compute()["accuracy"] == 50  # box 9, right for every second question
    chosen = {"visual7w": lambda p: p["candidates"][0]["answer"], "guesswhat": lambda p: p["object_id"]}[name]
    assert {chosen(prediction) for prediction in metric.predictions()} == {9}


@pytest.mark.parametrize("num_detected", [[3], [100], [36, 7, 250]], ids=["3", "100", "mixed"])
def test_ground_truth_boxes_are_kept_in_training_behind_any_number_of_detections(num_detected: list[int]) -> None:
    regions = ManyRegions(num_detected)
    tasks: dict[str, Task] = {
        name: make_task(name, train_on_given=name == "refcoco_plus", candidates="detections")
        for name in ("refcoco", "refcoco_plus")
    }
    _, prepared, batching = twelve_model(tasks=tasks, regions=regions)
    examples = prepared.examples["refcoco_plus"]["train"]
    batch = batching.training_batch(tasks["refcoco_plus"], examples, np.random.default_rng(0))
    for place, example in enumerate(examples):
        first, k = regions.held[example.target.image_id].num_regions, example.target.answer
        overlap = batch.targets["overlap"][place]
        assert overlap[first + k] == 1 and batch.inputs["candidates"][place].sum() == first + 2
        number = int(example.target.image_id.partition(":")[2])
        held = batch.regions[batch.rows[place, 0]]
        np.testing.assert_array_equal(held[first : first + 2].numpy(), given_features(number))
    plain = batching.training_batch(tasks["refcoco"], examples, np.random.default_rng(0))
    assert plain.regions.shape[1] == max(num_detected)
    evaluated, rows = batching.batch(tasks["refcoco_plus"], examples)  # scores are of detections alone
    assert evaluated.regions.shape[1] == max(num_detected) and all(row.num_given == 0 for row in rows)


def test_a_batch_keeps_two_tasks_pictures_apart_from_their_given_boxes() -> None:
    _, prepared, batching = twelve_model("visual7w")
    examples = prepared.examples["visual7w"]["train"]
    other = replace(
        examples[1], target=replace(examples[1].target, boxes=given_boxes(0)[:1], candidates=(0,), answer=0)
    )
    batch, rows = batching.batch(prepared.tasks["visual7w"], [examples[0], other])
    assert len(batch.regions) == 2 and batch.image_ids[0] == batch.image_ids[1]
    assert [row.num_given for row in rows] == [2, 1]


def test_boxes_follow_the_frame_of_the_stored_picture() -> None:
    given = GivenBoxes(
        ((-4.0, 10.0, 20.0, 30.0), (5.0, 5.0, 5.0, 5.0), (90.0, 70.0, 120.0, 90.0)), height=80, width=100
    )
    np.testing.assert_array_equal(
        given.within(40, 50), [[0, 5, 10, 15], [2.5, 2.5, 3.5, 3.5], [45, 35, 50, 40]]
    )  # inside, and at least a pixel wide
    np.testing.assert_array_equal(given.scaled(40, 50)[0], [-2, 5, 10, 15])
    np.testing.assert_array_equal(GivenBoxes(given.boxes).scaled(40, 50)[0], given.boxes[0])


def test_pooled_boxes_are_those_of_all_tasks_each_once() -> None:
    large = GivenBoxes(((0.0, 0.0, 20.0, 20.0), (40.0, 40.0, 60.0, 60.0)), height=80, width=100)
    small = GivenBoxes(((0.0, 0.0, 10.0, 10.0), (1.0, 2.0, 3.0, 4.0)), height=40, width=50)
    wanted = [("a", image_id(0), large), ("b", image_id(0), small), ("b", image_id(1), small)]
    pooled = boxes_to_pool(wanted, {image_id(0): (40, 50)}.get)
    assert {name: boxes.tolist() for name, boxes in pooled.items()} == {
        image_id(0): [[0, 0, 10, 10], [1, 2, 3, 4], [20, 20, 30, 30]]
    }


def test_boxes_without_features_and_frames_that_differ_are_named() -> None:
    detected, pooled = Pictures().get(image_id(0)), Given().get(image_id(0))
    wanted = GivenBoxes(given_boxes(0), 40, 60)
    assert with_given(detected, pooled, wanted).num_regions == detected.num_regions + 2
    with pytest.raises(DataError, match=r"image 'file:00': 1 of its 1 given boxes have no features, first \[1.0, 1.0"):
        with_given(detected, pooled, GivenBoxes(((1.0, 1.0, 8.0, 8.0),)))
    with pytest.raises(DataError, match="pooled in a picture of 60 x 41, its regions detected in one of 60 x 40"):
        with_given(detected, replace(pooled, height=41), wanted)
