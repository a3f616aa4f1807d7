"""Values of configuration keys: of the right type, finite, and of a size that a network can have."""

from __future__ import annotations

import math
from typing import Any

from vltool.errors import ConfigError

# What a number, or every number of a list, has to be at least.
AT_LEAST: dict[str, int] = {
    "INPUT.MIN_SIZE_TEST": 0,
    "INPUT.MAX_SIZE_TEST": 1,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 1,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 1,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 1,
    "MODEL.FPN.OUT_CHANNELS": 1,
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0,
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
    "MODEL.RPN.CONV_DIMS": -1,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1,
    "MODEL.RPN.NMS_THRESH": 0,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 1,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 1,
    "MODEL.ROI_ATTRIBUTE_HEAD.OBJ_EMBED_DIM": 1,
    "MODEL.ROI_ATTRIBUTE_HEAD.FC_DIM": 1,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES": 1,
}
LARGEST = 1_000_000  # of a whole number: beyond it lies a slip of the pen, not a network
# Divisors and lengths, which 0 would make meaningless.
ABOVE_ZERO = (
    "MODEL.PIXEL_STD",
    "MODEL.ANCHOR_GENERATOR.SIZES",
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "MODEL.RPN.BBOX_REG_WEIGHTS",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS",
)
LENGTHS = {
    "MODEL.PIXEL_MEAN": 3,
    "MODEL.PIXEL_STD": 3,
    "MODEL.RPN.BBOX_REG_WEIGHTS": 4,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": 4,
}
NOT_EMPTY = (
    "MODEL.ANCHOR_GENERATOR.SIZES",
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "MODEL.RPN.IN_FEATURES",
    "MODEL.RPN.CONV_DIMS",
    "MODEL.ROI_HEADS.IN_FEATURES",
)


def convert(key: str, value: Any, default: Any, source: str) -> Any:
    """`value` in the type of the default, so that 600 and 600.0, tuples and lists, hash alike.

    Raises ConfigError where it has another type or is not a finite number.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, int):
        if is_number and isinstance(value, int) and abs(value) <= LARGEST:
            return value
    elif isinstance(default, float):
        if is_number and abs(value) < 1e30 and math.isfinite(value):
            return float(value)
    elif isinstance(default, str):
        if isinstance(value, str):
            return value
    elif isinstance(default, list) and isinstance(value, (list, tuple)):
        example = default[0] if default else ""
        return [convert(key, item, example, source) for item in value]
    raise ConfigError(f"{source}: {key} = {value!r:.80}, expected a value like {default!r}")


def check_size(key: str, value: Any, source: str) -> None:
    """Raises ConfigError for a converted value that no network can have: no channels, two means, a divisor of 0."""
    if key in LENGTHS and len(value) != LENGTHS[key]:
        raise ConfigError(f"{source}: {key} = {value!r:.80}, expected {LENGTHS[key]} numbers")
    if key in NOT_EMPTY and not (value and all(item != [] for item in value)):
        raise ConfigError(f"{source}: {key} = {value!r:.80}, expected at least one")
    for number in numbers_of(value) if key in AT_LEAST or key in ABOVE_ZERO else ():
        if number < AT_LEAST.get(key, 0) or (key in ABOVE_ZERO and number <= 0):
            bound = f"more than 0, found {number}" if key in ABOVE_ZERO else f"at least {AT_LEAST[key]}, found {number}"
            raise ConfigError(f"{source}: {key} = {value!r:.80}: needs to be {bound}")
    if key == "MODEL.ANCHOR_GENERATOR.OFFSET" and value >= 1:
        raise ConfigError(f"{source}: {key} = {value!r}: a share of the stride, less than 1")
    if key == "MODEL.RPN.CONV_DIMS" and 0 in value:
        raise ConfigError(f"{source}: {key} = {value!r}: a layer needs channels, or -1 for as many as before it")


def numbers_of(value: Any) -> list[float]:
    """The numbers in a number or in lists of lists of them."""
    return [number for item in value for number in numbers_of(item)] if isinstance(value, list) else [value]
