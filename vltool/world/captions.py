"""Captions of the generated world: five true sentences a picture, each noun phrase tied to what it speaks of.

One caption, as `write_captions(scene)` gives it:

    Caption(words=("Two", "red", "circles", "and", "a", "striped", "star", "on", "the", "sand", "."),
            phrases=(Phrase(0, 3, "circle", (1, 4)), Phrase(4, 7, "star", (0,)), Phrase(8, 10, "scene", ())))
"""

import numpy as np

from vltool.world.caption_forms import FORMS
from vltool.world.caption_writer import Caption, CaptionWriter, Phrase
from vltool.world.scene import Scene

__all__ = ["CAPTIONS_PER_PICTURE", "Caption", "Phrase", "write_captions"]

CAPTIONS_PER_PICTURE = 5
_CAPTION_STREAM = 2  # third word of the random seed: words and paint draw apart


def write_captions(scene: Scene) -> tuple[Caption, ...]:
    """Five captions of the picture, each of another form where the picture allows it, all of them true."""
    rng = np.random.default_rng([scene.seed, scene.number, _CAPTION_STREAM])
    writer = CaptionWriter(scene, rng)
    captions: list[Caption] = []
    while len(captions) < CAPTIONS_PER_PICTURE:
        for form in rng.permutation(len(FORMS)).tolist():
            writer.begin()
            if len(captions) < CAPTIONS_PER_PICTURE and FORMS[form](writer):
                caption = writer.finish()
                if all(caption.words != earlier.words for earlier in captions):
                    captions.append(caption)
    return tuple(captions)
