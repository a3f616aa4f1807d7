"""Names that a configuration may use, and the code behind each: name → "module:attribute".

Beside vltool's own names stand those that installed packages give as entry points, each registry in a group of its own:

    [project.entry-points."vltool.tasks"]       # pyproject.toml of another package
    counting = "counting_task:Counting"

Nothing is imported until a name is asked for, so that the command line answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache, reduce
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from vltool.errors import ConfigError


class Registry(Mapping[str, str]):
    """vltool's own names and those of the entry points in `group`.

    A name that two packages give, or one and vltool, is a ConfigError as soon as the registry is read.
    """

    def __init__(self, group: str, own: Mapping[str, str]):
        self.group = group
        self.own = dict(own)

    def givers(self) -> dict[str, str]:
        """The package, with its version, behind each name that is not vltool's own."""
        return {name: giver for name, (_, giver) in _foreign(self.group, _places()).items()}

    def _all(self) -> dict[str, str]:
        foreign = _foreign(self.group, _places())
        for name in self.own.keys() & foreign.keys():
            raise ConfigError(_clash(self.group, name, "vltool itself", foreign[name][1]))
        return self.own | {name: place for name, (place, _) in foreign.items()}

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _places() -> tuple[tuple[str, float], ...]:
    """Where packages are looked for, and when something was last installed there."""
    return tuple((path, os.stat(path).st_mtime) for path in sys.path if path and os.path.isdir(path))


@lru_cache(maxsize=8)
def _foreign(group: str, places: tuple[tuple[str, float], ...]) -> dict[str, tuple[str, str]]:
    """name → (place, package) of the entry points in `group`; looked up again when `places` have changed."""
    found: dict[str, tuple[str, str]] = {}
    for point in entry_points(group=group):
        giver = f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
        if point.name in found:
            raise ConfigError(_clash(group, point.name, found[point.name][1], giver))
        found[point.name] = f"{point.module}:{point.attr}", giver
    return found


def _clash(group: str, name: str, first: str, second: str) -> str:
    package = second.split(" ")[0]
    return (
        f"{name!r} of {group} is given by {first} and by the entry point of {second}. "
        f"Rename it in the pyproject.toml of {package}, or take that package away: pip uninstall {package}"
    )


TASKS = Registry(
    "vltool.tasks",
    {
        "caption_retrieval": "vltool.tasks.caption_retrieval:CaptionRetrieval",
        "vqa": "vltool.tasks.vqa:VisualQuestionAnswering",
        "grounding": "vltool.tasks.grounding:VisualGrounding",
        "masked_words": "vltool.tasks.masked_modelling:MaskedWords",
        "masked_regions": "vltool.tasks.masked_modelling:MaskedRegions",
        "alignment": "vltool.tasks.alignment:Alignment",
        "visual_genome_qa": "vltool.tasks.visual_genome_qa:VisualGenomeQA",
        "gqa": "vltool.tasks.gqa:Gqa",
        "coco_retrieval": "vltool.tasks.caption_retrieval:CaptionRetrieval",
        "flickr30k_retrieval": "vltool.tasks.caption_retrieval:CaptionRetrieval",
        "refcoco": "vltool.tasks.referring_expressions:ReferringExpressions",
        "refcoco_plus": "vltool.tasks.referring_expressions:ReferringExpressions",
        "refcocog": "vltool.tasks.referring_expressions:ReferringExpressions",
        "visual7w": "vltool.tasks.visual7w:Visual7W",
        "guesswhat": "vltool.tasks.guesswhat:GuessWhat",
        "nlvr2": "vltool.tasks.nlvr2:Nlvr2",
        "snli_ve": "vltool.tasks.snli_ve:SnliVe",
    },
)
ENCODERS = Registry(
    "vltool.encoders",
    {
        "dense_coattention": "vltool.models.dense_coattention:DenseCoattentionEncoder",
        "vilbert": "vltool.models.vilbert.encoder:VilbertEncoder",
    },
)
READERS = Registry(
    "vltool.readers",
    {
        "coco_captions": "vltool.datasets.coco_captions:read",
        "flickr30k_captions": "vltool.datasets.flickr30k_captions:read",
        "karpathy": "vltool.datasets.karpathy:read",
        "vqa_v2": "vltool.datasets.vqa_v2:read",
        "flickr30k_entities": "vltool.datasets.flickr30k_entities:read",
        "visual_genome_qa": "vltool.datasets.visual_genome_qa:read",
        "gqa": "vltool.datasets.gqa:read",
        "referring": "vltool.datasets.referring:read",
        "visual7w": "vltool.datasets.visual7w:read",
        "guesswhat": "vltool.datasets.guesswhat:read",
        "nlvr2": "vltool.datasets.nlvr2:read",
        "snli_ve": "vltool.datasets.snli_ve:read",
        "conceptual_captions": "vltool.datasets.conceptual_captions:read",
    },
)
DETECTORS = Registry(
    "vltool.detectors",
    {
        "builtin": "vltool.detectors.faster_rcnn.detector:load_builtin",
        "detectron2": "vltool.detectors.detectron2:load_detectron2",
    },
)


def resolve(registry: Mapping[str, str], name: str, *, kind: str) -> Any:
    """The object behind `name`.

    Raises ConfigError with the known names if there is none, and naming the package whose entry point does not load.
    """
    if name not in registry:
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(sorted(registry))}")
    module, attribute = registry[name].split(":")
    giver = registry.givers().get(name) if isinstance(registry, Registry) else None
    if giver is None:
        return getattr(import_module(module), attribute)
    try:
        return reduce(getattr, attribute.split("."), import_module(module))
    except Exception as error:  # another package's code runs: a slip of its author is as likely as a lack
        what = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{kind} {name!r} is {registry[name]} of {giver}, which does not load: {what}. "
            "Mend or reinstall that package"
        ) from error
