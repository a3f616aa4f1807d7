"""Writes a trained detector the way vltool ships it: config, weights, and the names of its classes and attributes.

    python pipelines/world_detector/export.py --trained /tmp/world_detector --out vltool/world/detector

The config is written in full, so that a reader needs none of detectron2's defaults. Batch normalisation becomes
FrozenBN: the same parameter names and the same numbers, and nothing left to track.
"""

import argparse
import json
from pathlib import Path

from model import read_config
from pictures import ATTRIBUTES, CLASSES
from safetensors.torch import load_file, save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True, help="the folder train.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    cfg = read_config(arguments.trained / "config.yaml")
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    cfg.SOLVER.AMP.ENABLED = False
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ()
    (arguments.out / "config.yaml").write_text(cfg.dump())
    weights = arguments.out / "model.safetensors"
    save_file(load_file(arguments.trained / "model.safetensors"), weights)
    weights.chmod(0o644)
    names = {"classes": list(CLASSES), "attributes": list(ATTRIBUTES)}
    (arguments.out / "classes.json").write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    main()
