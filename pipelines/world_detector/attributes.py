"""Detectron2 ROI heads that also name the attributes of a region: its colour, its size, its texture.

The attribute head has the layout and the parameter names of the published grid-feature and bottom-up models
(facebookresearch/grid-feats-vqa, MILVLG/bottom-up-attention.pytorch, configs/d2):

    roi_heads.attribute_predictor.obj_embed.weight      (classes + 1, OBJ_EMBED_DIM), background last
    roi_heads.attribute_predictor.fc.0.{weight,bias}    region feature and class embedding to FC_DIM, then ReLU
    roi_heads.attribute_predictor.attr_score.{weight,bias}

While training the class is the true one, afterwards the most probable one.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import Res5ROIHeads, select_foreground_proposals
from torch import Tensor, nn

_UNNAMED_SHARE = 0.1  # of training regions whose class is given as background, so that its embedding is learnt too


def add_attribute_config(cfg: CfgNode) -> None:
    """Adds the keys of the attribute head to a detectron2 config, with the published models' names and values."""
    cfg.MODEL.ATTRIBUTE_ON = False
    cfg.INPUT.MAX_ATTR_PER_INS = 16
    cfg.MODEL.ROI_ATTRIBUTE_HEAD = CfgNode(
        {"NUM_CLASSES": 400, "OBJ_EMBED_DIM": 256, "FC_DIM": 512, "LOSS_WEIGHT": 0.2}
    )


class AttributePredictor(nn.Module):
    """Attribute scores of regions from their feature and their class."""

    def __init__(
        self,
        *,
        feature_dim: int,
        num_classes: int,
        num_attributes: int,
        embed_dim: int,
        fc_dim: int,
        loss_weight: float,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        self.obj_embed = nn.Embedding(num_classes + 1, embed_dim)
        self.fc = nn.Sequential(nn.Linear(feature_dim + embed_dim, fc_dim), nn.ReLU())
        self.attr_score = nn.Linear(fc_dim, num_attributes)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """(R, D) features and (R,) classes to (R, attributes) scores before the softmax."""
        return self.attr_score(self.fc(torch.cat([features, self.obj_embed(classes)], dim=1)))

    def loss(self, features: Tensor, classes: Tensor, attributes: Tensor) -> Tensor:
        """Cross entropy of one softmax over all attributes, the mean over each region's true ones.

        attributes: (R, MAX_ATTR_PER_INS) ids, -1 where a region has fewer.
        """
        unnamed = torch.rand(len(classes), device=classes.device) < _UNNAMED_SHARE
        log_probabilities = self(features, classes.masked_fill(unnamed, self.num_classes)).log_softmax(dim=1)
        given = attributes >= 0  # (R, A)
        losses = -log_probabilities.gather(1, attributes.clamp(min=0)) * given
        per_region = losses.sum(dim=1) / given.sum(dim=1).clamp(min=1)
        return self.loss_weight * per_region.sum() / given.any(dim=1).sum().clamp(min=1)


@ROI_HEADS_REGISTRY.register()
class AttributeRes5ROIHeads(Res5ROIHeads):
    """Res5 heads of a C4 network with an attribute head on the pooled region feature."""

    @configurable
    def __init__(self, *, attribute_predictor: nn.Module, mixed_precision: bool, **kwargs) -> None:
        super().__init__(**kwargs)
        self.attribute_predictor = attribute_predictor
        self.mixed_precision = mixed_precision

    @classmethod
    def from_config(cls, cfg, input_shape):
        built = super().from_config(cfg, input_shape)
        head = cfg.MODEL.ROI_ATTRIBUTE_HEAD
        built["attribute_predictor"] = AttributePredictor(
            feature_dim=8 * cfg.MODEL.RESNETS.RES2_OUT_CHANNELS,
            num_classes=cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            num_attributes=head.NUM_CLASSES,
            embed_dim=head.OBJ_EMBED_DIM,
            fc_dim=head.FC_DIM,
            loss_weight=head.LOSS_WEIGHT,
        )
        built["mixed_precision"] = cfg.SOLVER.AMP.ENABLED
        return built

    def forward(self, images, features, proposals, targets=None):
        if not self.training:
            return super().forward(images, features, proposals, targets)
        proposals = self.label_and_sample_proposals(proposals, targets)
        pooled = self.pooled_features(features, proposals)
        losses = self.box_predictor.losses(self.box_predictor(pooled), proposals)
        foreground, is_foreground = select_foreground_proposals(proposals, self.num_classes)
        losses["loss_attribute"] = self.attribute_predictor.loss(
            pooled[torch.cat(is_foreground)],
            torch.cat([found.gt_classes for found in foreground]),
            torch.cat([found.gt_attributes for found in foreground]),
        )
        return [], losses

    def describe(self, features, proposals) -> dict[str, Tensor]:
        """What the heads say of the proposals themselves, not of boxes moved by the box predictor.

        Features (R, D), class probabilities (R, classes + 1) with the background last, attribute probabilities
        (R, attributes) given the most probable class, the background among them.
        """
        pooled = self.pooled_features(features, proposals)
        class_scores, _ = self.box_predictor(pooled)
        attribute_scores = self.attribute_predictor(pooled, class_scores.argmax(dim=1))
        return {
            "features": pooled,
            "class_probabilities": class_scores.softmax(dim=1),
            "attribute_probabilities": attribute_scores.softmax(dim=1),
        }

    def pooled_features(self, features, proposals) -> Tensor:
        """Mean of res5 over each proposal, (R, D)."""
        (feature_map,) = (features[name] for name in self.in_features)
        boxes = [found.proposal_boxes for found in proposals]
        if not self.training:
            return self.res5(self.pooler([feature_map], boxes)).mean(dim=[2, 3])
        (level,) = self.pooler.level_poolers
        with torch.autocast(feature_map.device.type, torch.bfloat16, enabled=self.mixed_precision):
            outputs = self.res5(
                crop(feature_map, [box.tensor for box in boxes], level.output_size, level.spatial_scale)
            )
        return outputs.float().mean(dim=[2, 3])


def crop(feature_map: Tensor, boxes: list[Tensor], size: tuple[int, int], scale: float) -> Tensor:
    """ROIAlignV2 with one sample a bin as two matrix products, (R, C, *size) for (N, C, H, W) and N times (R_n, 4).

    The same numbers as the pooler's with POOLER_SAMPLING_RATIO 1. The pooler's gradient takes a third of a training
    step on a processor; that of these products takes next to nothing.
    """
    height, width = feature_map.shape[-2:]
    crops = []
    for image, image_boxes in zip(feature_map.permute(0, 2, 3, 1), boxes, strict=True):  # (H, W, C), (R, 4)
        x1, y1, x2, y2 = (image_boxes * scale - 0.5).unbind(dim=1)
        down = _sampling_weights(y1, y2, size[0], height)  # (R, h, H)
        across = _sampling_weights(x1, x2, size[1], width)  # (R, w, W)
        rows = (down.flatten(0, 1) @ image.flatten(1)).view(len(image_boxes), size[0], width, -1)  # (R, h, W, C)
        crops.append(across[:, None] @ rows)  # (R, h, w, C)
    return torch.cat(crops).permute(0, 3, 1, 2)


def _sampling_weights(start: Tensor, end: Tensor, num_bins: int, length: int) -> Tensor:
    """Weight of every cell of a line in the linear interpolation at each bin's middle: (R, num_bins, length)."""
    middles = (torch.arange(num_bins, device=start.device) + 0.5) / num_bins
    points = start[:, None] + (end - start)[:, None] * middles  # (R, num_bins)
    within = (points >= -1) & (points <= length)
    distances = points.clamp(0, length - 1)[..., None] - torch.arange(length, device=start.device)
    return (1 - distances.abs()).clamp(min=0) * within[..., None]
