"""vltool: learning vision and language together over region features."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vltool.predict.predictor import Predictor

__version__ = "0.1.0"

# torch reads this when it is first imported: threads that spin while they wait slow everything down several times
# as soon as another process wants the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def load(checkpoint: Any, **options: Any) -> "Predictor":
    """The model of a checkpoint, to be asked about pictures; see `vltool.predict.predictor.load` for the options.

    model = vltool.load("runs/mine/training/joint/checkpoint")
    model.answer("photo.jpg", "what is he holding?")
    """
    from vltool.predict.predictor import load as load_predictor

    return load_predictor(checkpoint, **options)
