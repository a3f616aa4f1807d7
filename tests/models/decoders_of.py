"""The decoders of Nguyen and Okatani from their widths, as an encoder and a task put them together."""

from __future__ import annotations

from vltool.models.decoders.answering import AnsweringDecoder, TwoLayers
from vltool.models.decoders.matching import BilinearComparison, MatchingDecoder
from vltool.models.decoders.summary import AttendedSummary


def matching(text_width: int = 8, image_width: int = 8, **summary: float) -> MatchingDecoder:
    return MatchingDecoder(
        AttendedSummary(text_width, image_width, **summary),  # type: ignore[arg-type]
        BilinearComparison(text_width, image_width),
    )


def answering(
    text_width: int = 8,
    image_width: int = 8,
    num_answers: int = 7,
    *,
    classifier_width: int | None = None,
    dropout: float = 0.3,
    **summary: int,
) -> AnsweringDecoder:
    read = AttendedSummary(text_width, image_width, dropout=dropout, **summary)
    hidden_width = classifier_width or text_width
    return AnsweringDecoder(read, TwoLayers(read.joined_width, num_answers, hidden_width=hidden_width, dropout=dropout))
