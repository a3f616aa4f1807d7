"""A checkpoint's pair scores as work that can be broken off and shared out: tiles kept on disk, processes that score.

<folder>/pairs.npz    the pictures and sentences that are paired, for the processes; beside it the tiles that are done
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vltool.config import RunConfig
from vltool.engines.engine import Engine
from vltool.engines.local import LocalEngine
from vltool.evaluation.evaluate import ScorePairs
from vltool.evaluation.kept_tiles import KeptTiles
from vltool.evaluation.pair_inputs import PairInputs
from vltool.evaluation.pair_scorer import PairScorer
from vltool.evaluation.pair_scores import Elsewhere, score_tiles
from vltool.features.store import RegionStore
from vltool.json_files import whole_file
from vltool.structures import Example, ImageId
from vltool.tasks.batching import Batching
from vltool.training import checkpoint as checkpoints
from vltool.training.inputs import RunInputs, pick_device
from vltool.training.saved_network import network_of


@dataclass(frozen=True)
class SavedPairs:
    """Where a process finds what it scores; called, it gives the scorer, the same one each time."""

    checkpoint: str
    task: str
    store: str
    pairs: str
    device: str
    precision: str

    def __call__(self) -> PairScorer:
        return _opened(self)


@functools.lru_cache(maxsize=1)
def _opened(saved: SavedPairs) -> PairScorer:
    with np.load(saved.pairs, allow_pickle=False) as file:
        image_ids = [ImageId(str(image_id)) for image_id in file["images"]]
        tokens, token_mask = torch.from_numpy(file["tokens"]), torch.from_numpy(file["token_mask"])
    batching = Batching(RegionStore.open(saved.store), {}, {})
    inputs = PairInputs(
        num_regions=np.empty(len(image_ids), np.int64),  # the tiles are made already
        num_words=token_mask.sum(dim=1).numpy(),
        images=lambda chosen: batching.images([image_ids[k] for k in chosen]),
        sentences=lambda chosen: (tokens[torch.from_numpy(chosen)], token_mask[torch.from_numpy(chosen)]),
    )
    device = pick_device(saved.device)
    model = network_of(checkpoints.load(saved.checkpoint))[0].to(device)
    return PairScorer(model, saved.task, inputs, device=device, precision=saved.precision)


@dataclass(frozen=True)
class PairWork:
    """How the pairs of a checkpoint's task are scored.

    examples: one row each, as they are evaluated. folder: keeps what is done, until `forget`.
    """

    inputs: RunInputs
    checkpoint: Path
    task: str
    examples: Sequence[Example]
    folder: Path

    def score(self, scorer: PairScorer, *, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """As `score_tiles`."""
        kept, engine = KeptTiles.open(self.folder, scorer), pair_engine(self.inputs.config)
        elsewhere = None if engine is None else Elsewhere(engine, self._save_pairs())
        return score_tiles(scorer, kept=kept, elsewhere=elsewhere, progress=progress)

    def _save_pairs(self) -> SavedPairs:
        settings, path = self.inputs.config.training, self.folder / "pairs.npz"
        rows = [example.rows[0] for example in self.examples]
        tokens, token_mask = self.inputs.batching().sentences([sentence for _, sentence in rows], task=self.task)
        image_ids = np.array(list(dict.fromkeys(image_id for image_id, _ in rows)))
        with whole_file(path) as file:
            np.savez(file, images=image_ids, tokens=tokens.numpy(), token_mask=token_mask.numpy())
        return SavedPairs(
            checkpoint=str(self.checkpoint),
            task=self.task,
            store=self.inputs.config.features.store,
            pairs=str(path),
            device=settings.device,
            precision=settings.precision,
        )


def score_share(folder: Path) -> ScorePairs:
    """A `score_tiles` for one of several processes, which keeps its own tiles in `folder`."""
    return lambda scorer, progress=None: score_tiles(scorer, kept=KeptTiles.open(folder, scorer), progress=progress)


def pair_engine(config: RunConfig) -> Engine | None:
    """The processes that score pairs: `evaluation.jobs`, or one a GPU; None where this one does it alone."""
    on_gpu = pick_device(config.training.device).type == "cuda"
    num_gpus = torch.cuda.device_count() if on_gpu else 0
    jobs = config.evaluation.jobs or max(1, num_gpus)
    return LocalEngine(jobs, num_gpus=num_gpus) if jobs > 1 else None
