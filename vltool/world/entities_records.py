"""The generated world as Flickr30k Entities writes it: phrases of captions tied to boxes.

One sentence and two of its chains (tabs shown as spaces):

    [/EN#12/circle Two red circles] and [/EN#13/star a striped star] on [/EN#14/scene the sand] .

    <object>                                      <object>
        <name>12</name>                               <name>14</name>
        <bndbox>                                      <scene>1</scene>
            <xmin>56</xmin> … <ymax>106</ymax>        <nobndbox>1</nobndbox>
        </bndbox>                                 </object>
    </object>

A chain is what several phrases of a picture speak of, be it one object or a group; an object that belongs to several
chains has several <name>s. Chain 0 is what cannot be seen ("somebody"). Boxes are whole pixels counted from 1, the
last one included, as in the official files (BryanPlummer/flickr30k_entities, flickr30k_entities_utils.py at 68b3d6f,
takes 1 off each when it reads them).
"""

from collections.abc import Sequence
from math import ceil, floor

from vltool.world.caption_writer import Caption, Phrase
from vltool.world.scene import Scene

NOT_VISUAL = 0
_Referent = tuple[str, tuple[int, ...]]  # what a chain stands for: a type or words, and rows of objects


class Chains:
    """Numbers the chains of one picture after the other: ids run over the whole corpus."""

    def __init__(self) -> None:
        self._next = 1

    def annotate(self, scene: Scene, captions: Sequence[Caption], *, filename: str) -> tuple[str, str]:
        """The picture's Sentences/<number>.txt and Annotations/<number>.xml."""
        chains: dict[_Referent, int] = {}
        lines = [self._sentence(caption, chains) for caption in captions]
        return "".join(lines), _xml(scene, chains, filename)

    def _sentence(self, caption: Caption, chains: dict[_Referent, int]) -> str:
        """One annotated line; new chains are entered into `chains`."""
        words = list(caption.words)
        for phrase in caption.phrases:
            chain = self._chain(caption, phrase, chains)
            words[phrase.first] = f"[/EN#{chain}/{phrase.type} {words[phrase.first]}"
            words[phrase.last - 1] += "]"
        return " ".join(words) + "\n"

    def _chain(self, caption: Caption, phrase: Phrase, chains: dict[_Referent, int]) -> int:
        if phrase.type == "notvisual":
            return NOT_VISUAL
        if phrase.objects:
            referent: _Referent = ("", phrase.objects)
        elif phrase.type == "scene":
            referent = ("scene", ())
        else:
            referent = (caption.words[phrase.last - 1], ())
        if referent not in chains:
            chains[referent] = self._next
            self._next += 1
        return chains[referent]


def _xml(scene: Scene, chains: dict[_Referent, int], filename: str) -> str:
    lines = [
        "<annotation>",
        f"\t<filename>{filename}</filename>",
        "\t<size>",
        f"\t\t<width>{scene.width}</width>",
        f"\t\t<height>{scene.height}</height>",
        "\t\t<depth>3</depth>",
        "\t</size>",
    ]
    for row, item in enumerate(scene.objects):
        names = sorted(chain for (_, rows), chain in chains.items() if row in rows)
        if names:
            x1, y1, x2, y2 = item.box
            sides = {"xmin": floor(x1) + 1, "ymin": floor(y1) + 1, "xmax": ceil(x2), "ymax": ceil(y2)}
            lines += ["\t<object>", *(f"\t\t<name>{name}</name>" for name in names), "\t\t<bndbox>"]
            lines += [f"\t\t\t<{side}>{value}</{side}>" for side, value in sides.items()]
            lines += ["\t\t</bndbox>", "\t</object>"]
    for (kind, rows), chain in chains.items():
        if not rows:
            lines += ["\t<object>", f"\t\t<name>{chain}</name>", f"\t\t<scene>{int(kind == 'scene')}</scene>"]
            lines += ["\t\t<nobndbox>1</nobndbox>", "\t</object>"]
    return "\n".join([*lines, "</annotation>", ""])
