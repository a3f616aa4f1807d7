"""The words of an attention figure: redness by the decoder's attention, or the colour of the phrase's box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vltool.report.attention import Exhibit, Panel
from vltool.report.pictures import VERDICTS, Picture, mark_colour

REDDEST = 0.75
"""Opacity of the red behind the word with the most attention; dark text stays readable on it."""


@dataclass(frozen=True)
class Word:
    """A word, or a phrase, as the page writes it."""

    text: str
    style: str = ""
    hint: str = ""
    mark: str = ""

    @property
    def space(self) -> str:
        """What stands before the word: nothing before punctuation and the second half of "do n't"."""
        return " " if self.text[:1].isalnum() and self.text != "n't" else ""


@dataclass(frozen=True)
class PanelView:
    """One picture with its sentence, ready for the template."""

    picture: Picture
    heading: str
    words: list[Word]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ExhibitView:
    """One figure, ready for the template."""

    anchor: str
    number: int
    panels: list[PanelView]
    caption: str
    columns: int = 0


def words_of(panel: Panel) -> list[Word]:
    """The sentence of a panel, its words marked the way its decoder sees them."""
    if panel.marks:
        return _phrases(panel)
    if panel.word_weights is None:
        return [Word(token) for token in panel.tokens]
    most = max(float(np.max(panel.word_weights, initial=0.0)), 1e-9)
    return [
        Word(token, f"background:rgba(220,38,30,{REDDEST * float(weight) / most:.2f})", f"{100 * float(weight):.0f} %")
        for token, weight in zip(panel.tokens, panel.word_weights, strict=True)
    ]


def _phrases(panel: Panel) -> list[Word]:
    starts = {mark.span[0]: (place, mark) for place, mark in reversed(list(enumerate(panel.marks)))}
    found, position = [], 0
    while position < len(panel.tokens):
        if position not in starts:
            found.append(Word(panel.tokens[position]))
            position += 1
            continue
        place, mark = starts[position]
        end = max(mark.span[1], position + 1)
        found.append(
            Word(
                " ".join(panel.tokens[position:end]),
                f"box-shadow:inset 0 -3px {mark_colour(place)}",
                f"{100 * mark.probability:.0f} %",
                f"{place + 1}{VERDICTS[mark.right]}",
            )
        )
        position = end
    return found


def caption_of(exhibit: Exhibit) -> str:
    """What a figure shows, in one or two sentences."""
    verdict = {True: "Right. ", False: "Wrong. ", None: ""}[exhibit.right]
    marked = [panel for panel in exhibit.panels if panel.marks]
    how = []
    if marked:
        truth = any(mark.truth for panel in marked for mark in panel.marks)
        how.append(
            "Solid: the region that the decoder ranks first for each phrase"
            + ("; dashed: the annotated boxes; both in the phrase's colour." if truth else ", in the phrase's colour.")
        )
    if any(panel.region_weights is not None and not panel.marks for panel in exhibit.panels):
        how.append(
            "Brightness: the decoder's attention over regions, the one with the most outlined; "
            "redness: its attention over words."
        )
    pictures = ", ".join(dict.fromkeys(panel.image_id for panel in exhibit.panels))
    return (
        f"{exhibit.task}: {exhibit.title}. {verdict}{' '.join(how)} Pictures: {pictures}."
        if how
        else f"{exhibit.task}. {verdict}"
    )
