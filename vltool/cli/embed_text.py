"""vltool embed-text: tokens, vocabularies and word vectors of a run."""

from __future__ import annotations

from vltool.cli.options import Config, Json, Set
from vltool.cli.stage_command import run_stage


def command(config: Config, overrides: Set = None, json: Json = False) -> None:
    """Tokenize a run's corpora; build vocabularies from training data only, and the GloVe matrix."""
    run_stage(
        config,
        overrides,
        "embed-text",
        json=json,
        show=lambda found: [
            f"{found['sentences']:,} sentences, {found['words']:,} words ({found['covered']:.1f} % with a vector)",
            *(f"{name}: {count:,} answers" for name, count in found["answers"].items()),
        ],
    )
