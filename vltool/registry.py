"""Names that a configuration may use, and the code behind each: name → "module:attribute".

Nothing is imported until a name is asked for, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vltool.errors import ConfigError

TASKS = {
    "caption_retrieval": "vltool.tasks.caption_retrieval:CaptionRetrieval",
    "vqa": "vltool.tasks.vqa:VisualQuestionAnswering",
    "grounding": "vltool.tasks.grounding:VisualGrounding",
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
}
ENCODERS = {
    "dense_coattention": "vltool.models.dense_coattention:DenseCoattentionEncoder",
}
READERS = {
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
}


def resolve(registry: dict[str, str], name: str, *, kind: str) -> Any:
    """The object behind `name`. Raises ConfigError with the known names if there is none."""
    if name not in registry:
        raise ConfigError(f"unknown {kind} {name!r}; known: {', '.join(sorted(registry))}")
    module, attribute = registry[name].split(":")
    return getattr(import_module(module), attribute)
