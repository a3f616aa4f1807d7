"""vltool extract-features: region features of images into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vltool.cli.console import Console, print_json, print_lines
from vltool.cli.options import Json, RayAddress
from vltool.registry import DETECTORS


def command(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE…", help="Image files, folders, or @list.txt; or URLs.")
    ],
    out: Annotated[str, typer.Option("--out", metavar="STORE", help="The store to write or go on with; or a URL.")],
    backend: Annotated[
        str,
        typer.Option(
            metavar="auto|builtin|detectron2|NAME",
            help="Who runs the network; NAME: another package's detector.",
            autocompletion=lambda: ["auto", *DETECTORS],
        ),
    ] = "auto",
    config_file: Annotated[
        Path | None, typer.Option(help="A detectron2 YAML file (default: the world detector).")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its checkpoint: .pth, .pkl or .safetensors.")] = None,
    recipe: Annotated[
        Literal["bottom-up", "bottom-up-36", "detections", "given-boxes"], typer.Option(help="Which regions are kept.")
    ] = "bottom-up",
    boxes: Annotated[Path | None, typer.Option(help="Boxes to pool at: {image_id: [[…4 numbers], …]}.")] = None,
    box_format: Annotated[Literal["xyxy", "xywh"] | None, typer.Option(help="What the 4 numbers are.")] = None,
    min_boxes: Annotated[int, typer.Option(min=1)] = 10,
    max_boxes: Annotated[int, typer.Option(min=1)] = 100,
    score_threshold: Annotated[float, typer.Option(min=0, max=1)] = 0.2,
    nms_threshold: Annotated[float, typer.Option(min=0, max=1)] = 0.3,
    dtype: Annotated[Literal["float16", "float32"], typer.Option(help="Number format in the store.")] = "float16",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Number format of the network.")
    ] = "auto",
    image_id: Annotated[
        str, typer.Option(metavar="PATTERN", help="As in coco:{number} or flickr30k:{stem}.")
    ] = "file:{stem}",
    vg_images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Visual Genome's image_data.json: its pictures that are COCO's get coco: ids."
        ),
    ] = None,
    shard: Annotated[str, typer.Option(metavar="i/n", help="Only part i of n of the images.")] = "1/1",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes here, or shards of the images on a Ray cluster.")
    ] = "local",
    ray_address: RayAddress = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes (0: one a core).")] = 0,
    batch_size: Annotated[
        int, typer.Option(min=0, help="Pictures of one size that go through the network together (0: 1, on a GPU 8).")
    ] = 0,
    on_error: Annotated[Literal["skip", "stop"], typer.Option(help="What a picture that fails does.")] = "skip",
    json: Json = False,
) -> None:
    """Region features of images (files, folders, @lists) into an LMDB store. Running it again goes on."""
    from vltool.detectors.boxes_file import read_boxes
    from vltool.detectors.detector import Detector
    from vltool.detectors.load import load_detector
    from vltool.features.extract import extract, parse_shard
    from vltool.features.shards import engine_called
    from vltool.splits.identity import visual_genome_aliases

    aliases = None if vg_images is None else visual_genome_aliases(vg_images)
    given = read_boxes(boxes, box_format, recipe=recipe)
    part = parse_shard(shard)
    runs = engine_called(engine, workers=workers, ray_address=ray_address)
    with Console() as console:

        def detector() -> Detector:
            found = load_detector(
                backend=backend, config_file=config_file, weights=weights, precision=precision, say=console.say
            )
            console.say(f"detector {found.name}, {found.feature_dim}-d features, recipe {recipe}")
            return found

        result = extract(
            sources,
            out,
            detector=detector,
            recipe=recipe,
            image_id_pattern=image_id,
            aliases=aliases,
            boxes=given,
            min_boxes=min_boxes,
            max_boxes=max_boxes,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            dtype=dtype,
            shard=part,
            workers=workers,
            batch_size=batch_size,
            on_error=on_error,
            engine=runs,
            progress=lambda done, total: console.progress("extracting region features", done, total),
        )
    if json:
        print_json(vars(result))
    else:
        print_lines(
            f"{out}: {result.stored:,} of {result.images:,} images stored, {result.skipped:,} were there, "
            f"{result.failed:,} failed; {result.regions:,} regions; {result.images_per_second:.1f} images a second"
        )
    if result.failed:
        typer.echo(f"vltool: {result.failed} images failed, each with its reason in {result.failures}", err=True)
        raise typer.Exit(3)
