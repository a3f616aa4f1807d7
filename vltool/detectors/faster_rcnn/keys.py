"""Every key of a detectron2 configuration: read, accepted with some values only, or without effect.

Keys and defaults are detectron2's (`config/defaults.py`, version 2 of its format); `MODEL.ATTRIBUTE_ON` and
`MODEL.ROI_ATTRIBUTE_HEAD` are those of grid-feats-vqa.
"""

from __future__ import annotations

from typing import Any

# What the runner reads, with detectron2's defaults.
DEFAULTS: dict[str, Any] = {
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "MODEL.PIXEL_MEAN": [103.53, 116.28, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.WEIGHTS": "",
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.FPN.IN_FEATURES": [],
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.FPN.NORM": "",
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32.0, 64.0, 128.0, 256.0, 512.0]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0.0,
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.RPN.CONV_DIMS": [-1],
    "MODEL.RPN.BBOX_REG_WEIGHTS": [1.0, 1.0, 1.0, 1.0],
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
    "MODEL.ROI_BOX_HEAD.NAME": "",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": [10.0, 10.0, 5.0, 5.0],
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 256,
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
    "MODEL.ATTRIBUTE_ON": False,
    "MODEL.ROI_ATTRIBUTE_HEAD.OBJ_EMBED_DIM": 256,
    "MODEL.ROI_ATTRIBUTE_HEAD.FC_DIM": 512,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_CLASSES": 400,
    "TEST.DETECTIONS_PER_IMAGE": 100,
    # What Visual Genome detectors made in caffe do otherwise; `visual_genome.py` sets them.
    "CAFFE.MAX_POOL": False,  # the stem pools without padding and rounds its size up
    "CAFFE.DILATED_RES5": False,  # the head's res5 keeps 14 x 14 cells, with dilation 2
    "CAFFE.BOXES": False,  # a box from 3 to 5 is 3 pixels wide; proposals are filtered before they are ranked
    "CAFFE.ANCHORS": False,  # in whole pixels around (7.5, 7.5), ratios outer
    "CAFFE.RESIZE": False,  # the mean goes first, then float pixels are resized
    "CAFFE.ATTRIBUTE_BACKGROUND": False,  # one more attribute, "none of these", takes its share of probability
    "CAFFE.NORMALIZE_FIRST": False,  # blocks normalize what comes in, not what goes out (ResNet, second version)
    # What maskrcnn-benchmark does otherwise; `maskrcnn_benchmark.py` sets them.
    "BENCHMARK.BOXES": False,  # a box from 3 to 5 is 3 pixels wide, also when corrected; sizes are cut, not rounded
    "BENCHMARK.IGNORE_REGRESSION": False,  # boxes stay those of the proposals
    "BENCHMARK.NMS_FILTER": 0,  # 1: a region is worth its best surviving class, as in bottom-up attention
    "BENCHMARK.MIN_DETECTIONS": 0,  # the score threshold falls until there are that many
}
OWN_SECTIONS = ("CAFFE.", "BENCHMARK.")  # of the runner; no file may name them

STATISTICS_NORMS = ("FrozenBN", "BN", "SyncBN", "NaiveSyncBN")  # the same arithmetic once training is over

# Keys whose other values would change the result in a way the runner does not compute.
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "VERSION": (2,),
    "INPUT.FORMAT": ("BGR", "RGB"),
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",),
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.BACKBONE.NAME": ("build_resnet_backbone", "build_resnet_fpn_backbone"),
    "MODEL.RESNETS.DEPTH": (50, 101, 152),
    "MODEL.RESNETS.NORM": STATISTICS_NORMS,
    "MODEL.RESNETS.RES5_DILATION": (1, 2),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ([False, False, False, False],),
    "MODEL.FPN.NORM": ("", *STATISTICS_NORMS),
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.ROI_HEADS.NAME": (
        "Res5ROIHeads",
        "StandardROIHeads",
        "AttributeRes5ROIHeads",
        "AttributeStandardROIHeads",
    ),
    "MODEL.ROI_BOX_HEAD.NAME": ("", "FastRCNNConvFCHead"),
    "MODEL.ROI_BOX_HEAD.NORM": ("", *STATISTICS_NORMS),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2", "ROIAlign", "ROIPool"),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
    "TEST.AUG.ENABLED": (False,),
    "FLOAT32_PRECISION": ("", "highest"),
}

# Sections and keys without effect when a trained box detector is run. Mask and keypoint heads come after the boxes
# and do not change them.
IRRELEVANT: dict[str, tuple[str, ...]] = {
    "": ("CUDNN_BENCHMARK", "DATALOADER", "DATASETS", "GLOBAL", "OUTPUT_DIR", "SEED", "SOLVER", "VIS_PERIOD"),
    "INPUT": (
        "CROP",
        "MASK_FORMAT",
        "MAX_ATTR_PER_INS",
        "MAX_SIZE_TRAIN",
        "MIN_SIZE_TRAIN",
        "MIN_SIZE_TRAIN_SAMPLING",
        "RANDOM_FLIP",
    ),
    "MODEL": (
        "DEVICE",
        "KEYPOINT_ON",
        "MASK_ON",
        "PANOPTIC_FPN",
        "RETINANET",
        "ROI_BOX_CASCADE_HEAD",
        "ROI_KEYPOINT_HEAD",
        "ROI_MASK_HEAD",
        "SEM_SEG_HEAD",
    ),
    "MODEL.ANCHOR_GENERATOR": ("ANGLES",),
    "MODEL.BACKBONE": ("FREEZE_AT",),
    "MODEL.RESNETS": ("DEFORM_MODULATED", "DEFORM_NUM_GROUPS"),
    "MODEL.RPN": (
        "BATCH_SIZE_PER_IMAGE",
        "BBOX_LOSS_WEIGHT",
        "BBOX_REG_LOSS_TYPE",
        "BBOX_REG_LOSS_WEIGHT",
        "BOUNDARY_THRESH",
        "IOU_LABELS",
        "IOU_THRESHOLDS",
        "LOSS_WEIGHT",
        "POSITIVE_FRACTION",
        "POST_NMS_TOPK_TRAIN",
        "PRE_NMS_TOPK_TRAIN",
        "SMOOTH_L1_BETA",
    ),
    "MODEL.ROI_HEADS": (
        "BATCH_SIZE_PER_IMAGE",
        "IOU_LABELS",
        "IOU_THRESHOLDS",
        "POSITIVE_FRACTION",
        "PROPOSAL_APPEND_GT",
    ),
    "MODEL.ROI_BOX_HEAD": (
        "BBOX_LOSS_WEIGHT",
        "BBOX_REG_LOSS_TYPE",
        "BBOX_REG_LOSS_WEIGHT",
        "FED_LOSS_FREQ_WEIGHT_POWER",
        "FED_LOSS_NUM_CLASSES",
        "SMOOTH_L1_BETA",
        "TRAIN_ON_PRED_BOXES",
        "USE_FED_LOSS",
    ),
    "MODEL.ROI_ATTRIBUTE_HEAD": ("LOSS_WEIGHT",),
    "TEST": ("AUG", "EVAL_PERIOD", "EXPECTED_RESULTS", "KEYPOINT_OKS_SIGMAS", "PRECISE_BN"),
}


def is_irrelevant(key: str, table: dict[str, tuple[str, ...]]) -> bool:
    """Whether a dotted key, or a section that it lies in, is in a table like IRRELEVANT."""
    parts = key.split(".")
    return any(parts[depth] in table.get(".".join(parts[:depth]), ()) for depth in range(len(parts)))
