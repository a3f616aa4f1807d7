"""How large the full ViLBERT is, alone and with the heads of twelve tasks: what docs/vilbert.md says."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vltool.models.decoders.answering import AnsweringDecoder
from vltool.models.vilbert.encoder import VilbertEncoder

PAGE = (Path(__file__).parents[2] / "docs" / "vilbert.md").read_text(encoding="utf-8")
BERT_WORDS, FEATURE_DIM = 30522, 2048
ANSWERS = {"VQA": 3129, "Visual Genome QA": 3129, "GQA": 1533}


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_the_page_states_the_sizes() -> None:
    with torch.device("meta"):
        encoder = VilbertEncoder(torch.empty(BERT_WORDS, 0), FEATURE_DIM)
        summary = encoder.build_summary()
        width = summary.joined_width
        decoders = [
            *(AnsweringDecoder(summary, encoder.build_classifier(width, number)) for number in ANSWERS.values()),
            encoder.build_classifier(2 * width, 2),  # NLVR2
            encoder.build_classifier(width, 3, num_layers=1),  # SNLI-VE
            *(encoder.build_comparison(summary) for _ in ("COCO", "Flickr30k")),
            *(encoder.build_region_scores() for _ in ("RefCOCO", "RefCOCO+", "RefCOCOg", "Visual7W", "GuessWhat")),
        ]
    assert len(decoders) == 12
    trunk, heads = count(encoder), count(*decoders)
    assert encoder.poolers is not None
    sizes = {
        "streams and connections": trunk - count(encoder.poolers),
        "shared poolers": count(encoder.poolers),
        "heads of twelve tasks, each its own": heads,
        "one model of twelve tasks, own heads": trunk + heads,
        "twelve models of one task": 12 * trunk + heads,
    }
    for what, size in sizes.items():
        assert f"| {what} | {size:,} |" in PAGE, f"{what}: {size:,}"
