"""Opens what a training, a search or an evaluation reads: the run's tasks, words and features, checked together."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from vltool.config import RunConfig, from_dict
from vltool.errors import DataError
from vltool.features.store import RegionStore
from vltool.tasks.corpus import load_corpus
from vltool.tasks.prepare import prepare_tasks, with_features
from vltool.training.run import RunInputs


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
    for name, task in prepared.tasks.items():
        for split in ("val", "test"):  # what cannot be scored is said before a day of training
            task.check_asked(split, prepared.examples[name][split])
    corpus.teach(prepared)
    return RunInputs(config, prepared, corpus, store)


@functools.lru_cache(maxsize=1)
def load_inputs_once(config: str) -> RunInputs:
    """The same of a configuration as JSON; read once by a process, however many trainings it runs."""
    return load_inputs(from_dict(json.loads(config)))
