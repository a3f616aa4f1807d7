"""What a training, a search or an evaluation reads: the run's tasks, words and features, checked together."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltool.config import RunConfig, from_dict
from vltool.errors import ConfigError, DataError, StoreError
from vltool.evaluation.evaluate import Evaluation, evaluate
from vltool.features.header import region_source
from vltool.features.store import RegionStore
from vltool.models.joint_model import JointModel
from vltool.tasks.batching import Batching
from vltool.tasks.corpus import Corpus, load_corpus
from vltool.tasks.network import build_network, sentence_frames
from vltool.tasks.prepare import PreparedTasks, image_ids_of, prepare_tasks, with_features
from vltool.tasks.wanted_boxes import wanted_boxes
from vltool.training.memory import explaining_memory, is_out_of_memory

STATISTICS_PICTURES = 5000


@dataclass(frozen=True)
class RunInputs:
    """What a training reads: its tasks' examples (only of pictures with features), words and features.

    given: features of the boxes that datasets give.
    """

    config: RunConfig
    prepared: PreparedTasks
    corpus: Corpus
    store: RegionStore
    given: RegionStore | None = None

    @property
    def feature_dim(self) -> int:
        return int(self.store.header["feature_dim"])

    @property
    def may_lack_val(self) -> bool:
        """Whether the split protocol takes val sets away (training (ii) of the paper trains on one)."""
        return self.config.splits.protocol == "paper-ii"

    def batching(self) -> Batching:
        frames = sentence_frames(self.config, self.corpus.words)
        return Batching(self.store, self.corpus.tokens, self.corpus.token_ids, frames=frames, given=self.given)

    def rules(self, name: str) -> dict[str, Any]:
        """The rules of a task's scores; where it chooses among regions, whose regions they are too."""
        task = self.prepared.tasks[name]
        if not task.chooses_regions:
            return task.rules()
        return {**task.rules(), "regions": region_source(self.store.header)}

    def model(
        self,
        levels: Mapping[str, int],
        *,
        seed: int,
        new: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> JointModel:
        """The network of some tasks; new: about to be trained, so its encoder learns the features' statistics and
        takes the weights that it is to start from."""
        tasks = {name: self.prepared.tasks[name] for name in levels}
        for task in tasks.values():
            task.learn_features(self.store.header)
        model = build_network(
            self.config.encoder,
            tasks,
            levels,
            vectors=self.corpus.vectors,
            feature_dim=self.feature_dim,
            seed=seed,
            decoders=self.config.decoders,
        )
        if new and model.encoder.wants_first_weights:
            say(model.encoder.take_first_weights(dict(model.decoders.items())))
        if new and model.encoder.wants_feature_statistics:
            model.encoder.take_feature_statistics(*self.feature_statistics())
        return model

    def feature_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (D,) of each feature over the regions of the run's training pictures.

        Of more than 5,000 pictures an evenly spaced 5,000 is read.
        """
        training = [example for splits in self.prepared.examples.values() for example in splits["train"]]
        image_ids = sorted(image_ids_of(training))
        chosen = image_ids[:: max(1, len(image_ids) // STATISTICS_PICTURES)]
        total, squares, count = np.zeros(self.feature_dim), np.zeros(self.feature_dim), 0
        for image_id in chosen:
            features = self.store.get(image_id).features.astype(np.float64)
            total, squares, count = total + features.sum(0), squares + (features**2).sum(0), count + len(features)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def evaluate(self, model: JointModel, name: str, split: str, **options: Any) -> Evaluation:
        """Scores of `model` on one split of one task."""
        with explaining_memory(
            f"while {name} is scored", f"Lower evaluation.batch_size (now {self.config.evaluation.batch_size})"
        ):
            return evaluate(
                model,
                self.prepared.tasks[name],
                self.prepared.examples[name][split],
                self.batching(),
                batch_size=self.config.evaluation.batch_size,
                precision=self.config.training.precision,
                device=pick_device(self.config.training.device),
                **options,
            )


def pick_device(name: str) -> torch.device:
    """The device of a configuration; auto: a GPU if there is one. Raises ConfigError for one that is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        if is_out_of_memory(error):
            raise
        first = str(error).splitlines()[0]
        raise ConfigError(f"training.device: {name!r} cannot be used here ({first}). Set cpu, or auto") from error
    return device


def text_folder(config: RunConfig) -> Path:
    """Where `embed-text` leaves the words of a run; training (ii) of protocol `paper` has its own."""
    return config.out_dir / ("text-ii" if config.splits.protocol == "paper-ii" else "text")


def load_inputs(config: RunConfig) -> RunInputs:
    """Everything a training reads. Raises DataError or StoreError naming the command that makes what is missing."""
    corpus = load_corpus(text_folder(config))
    store = RegionStore.open(config.features.store)
    prepared = prepare_tasks(config)
    unknown = [
        sentence
        for splits in prepared.examples.values()
        for examples in splits.values()
        for example in examples
        for _, sentence in example.rows
        if sentence not in corpus.tokens
    ]
    if unknown:
        raise DataError(
            f"{text_folder(config)}: {len(unknown)} sentences of the run are not in the embedded text, first "
            f"{unknown[0][:80]!r}. The data or the splits have changed: run vltool embed-text again"
        )
    prepared = with_features(prepared, config, lambda image_id: image_id in store, where=config.features.store)
    given = open_given(config, prepared, store)
    for name, task in prepared.tasks.items():
        for split in ("val", "test"):  # what cannot be scored is said before a day of training
            task.check_asked(split, prepared.examples[name][split])
    corpus.teach(prepared)
    return RunInputs(config, prepared, corpus, store, given)


def open_given(config: RunConfig, prepared: PreparedTasks, store: RegionStore) -> RegionStore | None:
    """The store of given boxes, None where no task wants any. Raises DataError or StoreError where it does not do."""
    wanted = {image_id: name for name, image_id, _ in wanted_boxes(prepared)}
    if not wanted:
        return None
    task = next(iter(wanted.values()))
    if not config.features.given_store:
        raise DataError(
            f"tasks.{task} wants features of boxes that its dataset gives. Set features.given_store, where the stage "
            "extract-features puts them"
        )
    given = RegionStore.open(config.features.given_store)
    for name in ("fingerprint", "feature_dim"):
        if given.header.get(name) != store.header.get(name):
            raise StoreError(
                f"{config.features.given_store}: its features have {name} {given.header.get(name)!r}, those in "
                f"{config.features.store} {store.header.get(name)!r}. Extract both with one detector"
            )
    absent = [image_id for image_id in wanted if image_id not in given]
    if absent:
        raise DataError(
            f"tasks.{wanted[absent[0]]}: {len(absent):,} of {len(wanted):,} pictures have no features of given boxes "
            f"in {config.features.given_store}, first {absent[0]!r}. Run: vltool extract-features, with the boxes of "
            "vltool features boxes"
        )
    return given


@functools.lru_cache(maxsize=1)
def load_inputs_once(config: str) -> RunInputs:
    """The same of a configuration as JSON; read once by a process, however many trainings it runs."""
    return load_inputs(from_dict(json.loads(config)))
