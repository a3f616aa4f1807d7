"""Trains the detector of the generated world with detectron2, from nothing or from earlier weights.

    python pipelines/world_detector/train.py --out /tmp/world_detector
    python pipelines/world_detector/train.py --out /tmp/longer --weights /tmp/world_detector/model.safetensors \
        --first-number 24000 SOLVER.MAX_ITER 1000 SOLVER.BASE_LR 0.0008

Needs detectron2 beside vltool. Pictures are drawn while training, each one once, from a world of its own (pictures.py).
The step size rises for WARMUP_ITERS, then falls to zero along half a cosine. For the last fifth of the iterations
batch normalisation uses its running statistics, as it does ever after.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_train_loader
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from model import read_config
from pictures import TrainingMapper, TrainingPictures
from safetensors.torch import load_file, save_file
from torch import nn

_FIXED_STATISTICS_SHARE = 0.2
_ITERATIONS_A_LINE = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.yaml"))
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights, the config and the log")
    parser.add_argument("--weights", type=Path, help="weights to start from (safetensors)")
    parser.add_argument("--first-number", type=int, default=0, help="number of the first training picture")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="detectron2 config keys and values")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    cfg = read_config(arguments.config, arguments.overrides)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "config.yaml").write_text(cfg.dump())
    model = build_model(cfg)
    if arguments.weights is not None:
        model.load_state_dict(load_file(arguments.weights), strict=False)
    train(model.to(memory_format=torch.channels_last), cfg, out=arguments.out, first_number=arguments.first_number)


def train(model: nn.Module, cfg: CfgNode, *, out: Path, first_number: int) -> None:
    """Runs all iterations; leaves `model.safetensors` and `log.jsonl` in the folder."""
    solver = cfg.SOLVER
    loader = build_detection_train_loader(
        TrainingPictures(first_number=first_number),
        mapper=TrainingMapper(cfg),
        total_batch_size=solver.IMS_PER_BATCH,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    use_mixed_precision_in_backbone(model, enabled=solver.AMP.ENABLED)
    optimizer = torch.optim.AdamW(parameter_groups(model, solver.WEIGHT_DECAY), lr=solver.BASE_LR)
    fix_statistics_at = round((1 - _FIXED_STATISTICS_SHARE) * solver.MAX_ITER)
    model.train()
    sums: dict[str, float] = {}
    start = time.perf_counter()
    with EventStorage() as storage, (out / "log.jsonl").open("a") as log:
        for iteration, batch in zip(range(solver.MAX_ITER), loader, strict=False):
            if iteration == fix_statistics_at:
                fix_statistics(model)
            for group in optimizer.param_groups:
                group["lr"] = step_size(iteration, solver)
            losses = model(batch)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), solver.CLIP_GRADIENTS.CLIP_VALUE)
            optimizer.step()
            storage.step()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss.item() / _ITERATIONS_A_LINE
            if (iteration + 1) % _ITERATIONS_A_LINE == 0:
                line = {"iteration": iteration + 1, "seconds": round(time.perf_counter() - start, 1)}
                line |= {name: round(value, 4) for name, value in sums.items()}
                print(json.dumps(line), file=log, flush=True)
                print(json.dumps(line), flush=True)
                sums = {}
            if (iteration + 1) % solver.CHECKPOINT_PERIOD == 0 or iteration + 1 == solver.MAX_ITER:
                save_weights(model, out / "model.safetensors")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for the matrices and filters, none for biases and normalisation."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def step_size(iteration: int, solver: CfgNode) -> float:
    """Linear rise, then half a cosine down to zero."""
    if iteration < solver.WARMUP_ITERS:
        return solver.BASE_LR * (iteration + 1) / solver.WARMUP_ITERS
    done = (iteration - solver.WARMUP_ITERS) / max(1, solver.MAX_ITER - solver.WARMUP_ITERS)
    return solver.BASE_LR * (1 + math.cos(math.pi * done)) / 2


def fix_statistics(model: nn.Module) -> None:
    """From here on, batch normalisation uses its running statistics and leaves them alone."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def use_mixed_precision_in_backbone(model: nn.Module, *, enabled: bool) -> None:
    """bfloat16 inside the backbone, float32 on its outputs: box arithmetic needs the full precision."""
    forward = model.backbone.forward

    def mixed(images):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=enabled):
            outputs = forward(images)
        return {name: output.float() for name, output in outputs.items()}

    model.backbone.forward = mixed


def save_weights(model: nn.Module, path: Path) -> None:
    """detectron2's parameter names, float32; batch counters are left out."""
    kept = {
        name: value.float().contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(kept, path)


if __name__ == "__main__":
    main()
