"""Keys of maskrcnn-benchmark's configurations, as scene_graph_benchmark extends them, in detectron2's names.

MODEL: {META_ARCHITECTURE: AttrRCNN, BACKBONE: {CONV_BODY: R-152-C4}, ROI_BOX_HEAD: {NUM_CLASSES: 1595}, ...}

VinVL's `vinvl_vg_x152c4.pth` goes with such a file. Keys, defaults and rules: microsoft/scene_graph_benchmark at
8e14944 (`maskrcnn_benchmark/config/defaults.py`, `scene_graph_benchmark/config/sg_defaults.py`).
"""

from __future__ import annotations

from typing import Any

from vltool.detectors.faster_rcnn.keys import is_irrelevant
from vltool.detectors.faster_rcnn.values import convert
from vltool.errors import ConfigError

SIGNS = ("MODEL.BACKBONE.CONV_BODY", "MODEL.WEIGHT")  # keys that only this family has
CONV_BODIES = {"R-50-C4": 50, "R-101-C4": 101, "R-152-C4": 152}
RES5_EXTRACTOR = "ResNet50Conv5ROIFeatureExtractor"  # whatever the depth: res5 has three blocks in all of them

# Its key: (its default, our key).
READ: dict[str, tuple[Any, str]] = {
    "MODEL.WEIGHT": ("", "MODEL.WEIGHTS"),
    "MODEL.CLS_AGNOSTIC_BBOX_REG": (False, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"),
    "MODEL.ATTRIBUTE_ON": (False, "MODEL.ATTRIBUTE_ON"),
    "INPUT.MIN_SIZE_TEST": (800, "INPUT.MIN_SIZE_TEST"),
    "INPUT.MAX_SIZE_TEST": (1333, "INPUT.MAX_SIZE_TEST"),
    "INPUT.PIXEL_MEAN": ([102.9801, 115.9465, 122.7717], "MODEL.PIXEL_MEAN"),
    "INPUT.PIXEL_STD": ([1.0, 1.0, 1.0], "MODEL.PIXEL_STD"),
    "MODEL.RESNETS.NUM_GROUPS": (1, "MODEL.RESNETS.NUM_GROUPS"),
    "MODEL.RESNETS.WIDTH_PER_GROUP": (64, "MODEL.RESNETS.WIDTH_PER_GROUP"),
    "MODEL.RESNETS.STRIDE_IN_1X1": (True, "MODEL.RESNETS.STRIDE_IN_1X1"),
    "MODEL.RESNETS.RES2_OUT_CHANNELS": (256, "MODEL.RESNETS.RES2_OUT_CHANNELS"),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": (64, "MODEL.RESNETS.STEM_OUT_CHANNELS"),
    "MODEL.RPN.ANCHOR_SIZES": ([32.0, 64.0, 128.0, 256.0, 512.0], "MODEL.ANCHOR_GENERATOR.SIZES"),
    "MODEL.RPN.ASPECT_RATIOS": ([0.5, 1.0, 2.0], "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"),
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": (6000, "MODEL.RPN.PRE_NMS_TOPK_TEST"),
    "MODEL.RPN.POST_NMS_TOP_N_TEST": (1000, "MODEL.RPN.POST_NMS_TOPK_TEST"),
    "MODEL.RPN.NMS_THRESH": (0.7, "MODEL.RPN.NMS_THRESH"),
    "MODEL.RPN.MIN_SIZE": (0.0, "MODEL.PROPOSAL_GENERATOR.MIN_SIZE"),
    "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS": ([10.0, 10.0, 5.0, 5.0], "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
    "MODEL.ROI_HEADS.SCORE_THRESH": (0.05, "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
    "MODEL.ROI_HEADS.NMS": (0.5, "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": (100, "TEST.DETECTIONS_PER_IMAGE"),
    "MODEL.ROI_HEADS.MIN_DETECTIONS_PER_IMG": (0, "BENCHMARK.MIN_DETECTIONS"),
    "MODEL.ROI_HEADS.NMS_FILTER": (0, "BENCHMARK.NMS_FILTER"),
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": (14, "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"),
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": (0, "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO"),
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": (81, "MODEL.ROI_HEADS.NUM_CLASSES"),
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES": (401, "MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES"),
    "MODEL.ROI_ATTRIBUTE_HEAD.CLS_EMD_DIM": (256, "MODEL.ROI_ATTRIBUTE_HEAD.OBJ_EMBED_DIM"),
    "MODEL.ROI_ATTRIBUTE_HEAD.ATTR_EMD_DIM": (512, "MODEL.ROI_ATTRIBUTE_HEAD.FC_DIM"),
    "TEST.IGNORE_BOX_REGRESSION": (False, "BENCHMARK.IGNORE_REGRESSION"),
}
WITH_BACKGROUND = ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES")  # counted in
ONE_LEVEL = ("MODEL.RPN.ANCHOR_SIZES", "MODEL.RPN.ASPECT_RATIOS")

# Keys of which only these values are computed; the first is the default.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN", "AttrRCNN"),
    "MODEL.BACKBONE.CONV_BODY": tuple(CONV_BODIES),
    "MODEL.RPN_ONLY": (False,),
    "MODEL.RETINANET_ON": (False,),
    "MODEL.MASK_ON": (False,),
    "MODEL.KEYPOINT_ON": (False,),
    "MODEL.RELATION_ON": (False,),
    "MODEL.RPN.USE_FPN": (False,),
    "MODEL.RPN.ANCHOR_STRIDE": ([16], (16,)),
    "MODEL.RPN.RPN_HEAD": ("SingleConvRPNHead",),
    "MODEL.RPN.FORCE_BOXES": (False,),
    "MODEL.ROI_HEADS.USE_FPN": (False,),
    "MODEL.ROI_HEADS.NMS_FILTER": (0, 1),
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": (RES5_EXTRACTOR,),
    "MODEL.ROI_BOX_HEAD.PREDICTOR": ("FastRCNNPredictor",),
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": ([0.0625], (0.0625,)),
    "MODEL.ROI_BOX_HEAD.FORCE_BOXES": (False,),
    "MODEL.ROI_ATTRIBUTE_HEAD.FEATURE_EXTRACTOR": (RES5_EXTRACTOR,),
    "MODEL.ROI_ATTRIBUTE_HEAD.PREDICTOR": ("AttributeRCNNPredictor",),
    "MODEL.ROI_ATTRIBUTE_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": (True,),
    "MODEL.RESNETS.TRANS_FUNC": ("BottleneckWithFixedBatchNorm",),
    "MODEL.RESNETS.STEM_FUNC": ("StemWithFixedBatchNorm",),
    "MODEL.RESNETS.RES5_DILATION": (1,),
    "MODEL.RESNETS.STAGE_WITH_DCN": ([False] * 4, (False,) * 4),
    "INPUT.TO_BGR255": (True,),
    "DATALOADER.SIZE_DIVISIBILITY": (0,),
    "TEST.BBOX_AUG.ENABLED": (False,),
    "DTYPE": ("float32",),
}

# Sections and keys without effect on a trained detector of this shape.
IRRELEVANT: dict[str, tuple[str, ...]] = {
    "": (
        "DATALOADER",
        "DATASETS",
        "DATA_DIR",
        "DISTRIBUTED_BACKEND",
        "LOG_LOSS_PERIOD",
        "OUTPUT_DIR",
        "PATHS_CATALOG",
        "SOLVER",
    ),
    "INPUT": (
        "BRIGHTNESS",
        "CONTRAST",
        "HORIZONTAL_FLIP_PROB_TRAIN",
        "HUE",
        "MAX_SIZE_TRAIN",
        "MIN_SIZE_TRAIN",
        "SATURATION",
        "VERTICAL_FLIP_PROB_TRAIN",
    ),
    "MODEL": (
        "DEVICE",
        "FBNET",
        "FPN",
        "FREQ_PRIOR",
        "GROUP_NORM",
        "RETINANET",
        "ROI_KEYPOINT_HEAD",
        "ROI_MASK_HEAD",
        "ROI_RELATION_HEAD",
        "TRANSFORMER",
        "USE_FREQ_PRIOR",
    ),
    "MODEL.BACKBONE": ("FREEZE_CONV_BODY_AT",),
    "MODEL.RESNETS": ("DEFORMABLE_GROUPS", "WITH_MODULATED_DCN"),
    "MODEL.RPN": (
        "BATCH_SIZE_PER_IMAGE",
        "BG_IOU_THRESHOLD",
        "FG_IOU_THRESHOLD",
        "FPN_POST_NMS_PER_BATCH",
        "FPN_POST_NMS_TOP_N_TEST",
        "FPN_POST_NMS_TOP_N_TRAIN",
        "POSITIVE_FRACTION",
        "POST_NMS_TOP_N_TRAIN",
        "PRE_NMS_TOP_N_TRAIN",
        "STRADDLE_THRESH",
    ),
    "MODEL.ROI_HEADS": ("BATCH_SIZE_PER_IMAGE", "BG_IOU_THRESHOLD", "FG_IOU_THRESHOLD", "POSITIVE_FRACTION"),
    "MODEL.ROI_BOX_HEAD": ("CONV_HEAD_DIM", "DILATION", "MLP_HEAD_DIM", "NUM_STACKED_CONVS", "USE_GN"),
    "MODEL.ROI_ATTRIBUTE_HEAD": (
        "LOSS_WEIGHT",
        "MAX_NUM_ATTR_PER_IMG",
        "MAX_NUM_ATTR_PER_OBJ",
        "MLP_HEAD_DIM",
        "POOLER_RESOLUTION",  # the box head's features serve both
        "POOLER_SAMPLING_RATIO",
        "POOLER_SCALES",
        "POSTPROCESS_ATTRIBUTES_THRESHOLD",
    ),
    "TEST": (
        "BBOX_AUG",
        "DETECTIONS_PER_IMG",
        "EXPECTED_RESULTS",
        "EXPECTED_RESULTS_SIGMA_TOL",
        "GATHER_ON_CPU",
        "IMS_PER_BATCH",
        "OUTPUT_ATTRIBUTE_FEATURE",
        "OUTPUT_FEATURE",
        "OUTPUT_RELATION_FEATURE",
        "SAVE_PREDICTIONS",
        "SAVE_RESULTS_TO_TSV",
        "SKIP_PERFORMANCE_EVAL",
        "TSV_SAVE_SUBSET",
    ),
}
OUT_CHANNELS = "MODEL.RESNETS.BACKBONE_OUT_CHANNELS"


def is_benchmark(given: dict[str, Any]) -> bool:
    """Whether dotted keys are those of a maskrcnn-benchmark configuration."""
    return any(sign in given for sign in SIGNS)


def translate_benchmark(given: dict[str, Any], *, source: str) -> dict[str, Any]:
    """detectron2's and the runner's own keys with the values that `given` and maskrcnn-benchmark's defaults have.

    Raises ConfigError naming a key or value that would change the result in a way that is not computed.
    """
    for key, value in given.items():
        check_known(key, value, source)
    keys: dict[str, Any] = {
        "MODEL.RESNETS.DEPTH": CONV_BODIES[given.get("MODEL.BACKBONE.CONV_BODY", "R-50-C4")],
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlign",  # of the first version, half a pixel off
        "CAFFE.ANCHORS": True,
        "BENCHMARK.BOXES": True,
    }
    for theirs, (default, ours) in READ.items():
        value = convert(theirs, given.get(theirs, default), default, source)
        if theirs in WITH_BACKGROUND:
            if value < 2:
                raise ConfigError(f"{source}: {theirs} = {value}: the background counts, so 2 is the least")
            value -= 1
        keys[ours] = [value] if theirs in ONE_LEVEL else value
    if keys["TEST.DETECTIONS_PER_IMAGE"] <= 0:
        keys["TEST.DETECTIONS_PER_IMAGE"] = -1  # all
    if keys["MODEL.ATTRIBUTE_ON"]:
        keys["MODEL.ROI_HEADS.NAME"] = "AttributeRes5ROIHeads"
        keys["CAFFE.ATTRIBUTE_BACKGROUND"] = True
    width, expected = given.get(OUT_CHANNELS, 1024), 4 * keys["MODEL.RESNETS.RES2_OUT_CHANNELS"]
    if width != expected:
        raise ConfigError(
            f"{source}: {OUT_CHANNELS} = {width!r:.80}, expected {expected}, four times MODEL.RESNETS.RES2_OUT_CHANNELS"
        )
    return keys


def check_known(key: str, value: Any, source: str) -> None:
    """Raises ConfigError unless a key is read, has no effect, or has a value that the runner computes."""
    if key in SUPPORTED:
        if not any(value == choice and type(value) is type(choice) for choice in SUPPORTED[key]):
            known = ", ".join(dict.fromkeys(repr(choice) for choice in SUPPORTED[key]))
            raise ConfigError(
                f"{source}: {key} = {value!r:.80} is not supported by the built-in detector runner (of "
                f"maskrcnn-benchmark's detectors it computes: {known})"
            )
        return
    if key not in READ and key != OUT_CHANNELS and not is_irrelevant(key, IRRELEVANT):
        raise ConfigError(
            f"{source}: {key} = {value!r:.80} is not a key that the built-in detector runner knows of "
            "maskrcnn-benchmark, so its effect cannot be reproduced. Remove it if it has none"
        )
