"""The generated world as SNLI-VE writes it: a picture of Flickr30k, a hypothesis, and what the one says of the other.

One line of `snli_ve_dev.jsonl`:

    {"Flickr30K_ID": "17", "annotator_labels": ["neutral", "neutral", "neutral", "neutral", "neutral"],
     "captionID": "17.jpg#2", "gold_label": "neutral", "pairID": "17.jpg#2r1n",
     "sentence1": "Two red circles and a striped star on the sand .", "sentence1_binary_parse": "( Two ( red …",
     "sentence1_parse": "(ROOT (X Two) …", "sentence2": "The circle is striped.", …}

"The circle is striped" is entailed if all circles of the picture are striped, contradicted if none is; if some are it
depends on which circle is meant, which nobody can know, and the hypothesis is neutral. Each hypothesis is put to three
pictures, with a label each, so it tells nothing without the picture. The parses are right-branching and flat: this
world knows no grammar of its sentences. Format: necla-ml/SNLI-VE.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vltool.world.captions import Caption
from vltool.world.phrases import Kind, noun, the_kind, with_article
from vltool.world.queries import Asked, Query, View
from vltool.world.scene import COLOURS, SHAPES, SIZES, TEXTURES, Scene
from vltool.world.twelve.balance import draw_balanced

LABELS = ("entailment", "neutral", "contradiction")
_STREAM = 22  # third word of the random seed
_NUM_ANNOTATORS = 5
_VALUES = {"colour": COLOURS, "texture": TEXTURES, "size": SIZES, "shape": SHAPES}
_SHARES = {"colour": 5.0, "texture": 3.0, "size": 1.5, "shape": 3.0}  # of what is said of a thing


def label(view: View, kind: Kind, attribute: str, value: str) -> str | None:
    """What the picture says of "the <kind> is <value>"; None where it has nothing of the kind."""
    rows = view.index.get(kind, ())
    if not rows:
        return None
    fitting = [getattr(view.scene.objects[row], attribute) == value for row in rows]
    return "entailment" if all(fitting) else "neutral" if any(fitting) else "contradiction"


def records(
    scenes: Sequence[Scene], captions: Mapping[int, Sequence[Caption]], *, per_picture: int, seed: int
) -> list[dict[str, Any]]:
    """The lines of a split, by picture; one of the picture's own captions stands there as the premise."""
    views = [View(scene) for scene in scenes]
    rng = np.random.default_rng([seed, len(scenes), _STREAM])
    asked = draw_balanced(
        [{attribute: dict(_ask(view, attribute)) for attribute in _VALUES} for view in views],
        _SHARES,
        per_picture=per_picture,
        group_size=len(LABELS),
        rng=rng,
    )
    numbers: Counter[str] = Counter()
    found = []
    for entry in asked:
        number = scenes[entry.picture].number
        row = int(rng.integers(len(captions[number])))
        caption_id = f"{number}.jpg#{row}"
        numbers[caption_id + entry.answer] += 1
        (kind,), (value,) = entry.query.kinds, entry.query.values
        premise = " ".join(captions[number][row].words)
        hypothesis = _sentence(kind, entry.family, value)
        found.append(
            {
                "Flickr30K_ID": str(number),
                "annotator_labels": [entry.answer] * _NUM_ANNOTATORS,
                "captionID": caption_id,
                "gold_label": entry.answer,
                "pairID": f"{caption_id}r{numbers[caption_id + entry.answer]}{entry.answer[0]}",
                "sentence1": premise,
                "sentence1_binary_parse": _binary_parse(premise),
                "sentence1_parse": _parse(premise),
                "sentence2": hypothesis,
                "sentence2_binary_parse": _binary_parse(hypothesis),
                "sentence2_parse": _parse(hypothesis),
            }
        )
    return found


def _ask(view: View, attribute: str) -> Asked:
    """All hypotheses about one attribute: of things named by shape, or by two further attributes at most."""
    for kind in view.index:
        leaves_open = getattr(kind, attribute) is None
        says_what = kind.shape is not None or attribute == "shape"
        if leaves_open and says_what and 1 <= kind.num_attributes <= 2:
            for value in _VALUES[attribute]:
                found = label(view, kind, attribute, value)
                assert found is not None
                yield Query(attribute, (kind,), (value,)), found


def _sentence(kind: Kind, attribute: str, value: str) -> str:
    said = " ".join(with_article([noun(Kind(shape=value))])) if attribute == "shape" else value
    named = the_kind(kind)
    return f"{named[0].upper()}{named[1:]} is {said}."


def _tokens(sentence: str) -> list[str]:
    return sentence.replace(".", " .").split()


def _binary_parse(sentence: str) -> str:
    words = _tokens(sentence)
    return " ".join(["( " + word for word in words[:-1]] + [words[-1]] + [")"] * (len(words) - 1))


def _parse(sentence: str) -> str:
    return "(ROOT " + " ".join(f"(X {word})" for word in _tokens(sentence)) + ")"
