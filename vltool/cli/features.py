"""vltool features …: look at, check and convert stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vltool.cli.commands import App, file_of
from vltool.cli.console import Console, print_json, print_lines, print_table
from vltool.cli.options import Config, Json, Set

app = App(help="Look at, check and convert stores of region features.", no_args_is_help=True)
Store = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]
Format = Annotated[
    Literal[
        "vilbert-lmdb",
        "mmf-lmdb",
        "bottom-up-tsv",
        "lxmert-tsv",
        "uniter-npz",
        "uniter-lmdb",
        "vinvl-tsv",
        "milvlg-npz",
        "dcn-h5",
        "hengyuan-h5",
    ],
    typer.Argument(metavar="FORMAT", help="The other tool's format: vilbert-lmdb, lxmert-tsv, ..."),
]


@app.command("info")
def info_command(store: Store, json: Json = False) -> None:
    """What a store holds and how it was made."""
    from vltool.features.store import info

    found = info(store)
    if json:
        print_json(found)
    else:
        print_lines(*(f"{name:14} {value}" for name, value in found.items()))


@app.command("show")
def show_command(
    store: Store,
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Canonical image id, as in coco:391895.")],
    npz: Annotated[
        Path | None, typer.Option(metavar="FILE", parser=file_of("--npz"), help="Write the arrays to this file.")
    ] = None,
    json: Json = False,
) -> None:
    """One image's regions: boxes, classes and attributes; --npz writes every array."""
    from vltool.features.show import describe, save_npz

    found = describe(store, image_id)
    if npz is not None:
        save_npz(store, image_id, npz)
    if json:
        print_json(found)
    else:
        print_lines(f"{found['image_id']}  {found['width']} x {found['height']}  {found['num_regions']} regions")
        for region in found["regions"]:
            box = " ".join(f"{value:8.1f}" for value in region["box"])
            print_lines(f"{box}  {region['attribute'] or ''} {region['class'] or ''}  {region['score'] or 0:.2f}")


@app.command("verify")
def verify_command(store: Store, json: Json = False) -> None:
    """Read every record and its checksum; exit code 2 names the damaged ones."""
    from vltool.features.store import verify

    damaged = verify(store)
    if json:
        print_json({"damaged": damaged})
    elif not damaged:
        print_lines(f"{store}: every record is whole")
    if damaged:
        typer.echo(f"vltool: {store}: {len(damaged)} damaged records: {', '.join(damaged[:20])}", err=True)
        raise typer.Exit(2)


@app.command("boxes")
def boxes_command(
    config: Config,
    out: Annotated[
        Path, typer.Option(metavar="FILE.json", parser=file_of("--out"), help="{image_id: [[x1, y1, x2, y2], …]}.")
    ],
    overrides: Set = None,
    json: Json = False,
) -> None:
    """The boxes that a run's datasets give, for `extract-features --recipe given-boxes --boxes FILE.json`.

    In pixels of the pictures as the run's store has them (features.store), which is to be there.
    """
    from vltool.config import load
    from vltool.json_files import write_json
    from vltool.tasks.wanted_boxes import given_boxes

    boxes = given_boxes(load(config, overrides or []))
    write_json(out, {image_id: found.tolist() for image_id, found in boxes.items()})
    counts = {"images": len(boxes), "boxes": sum(map(len, boxes.values())), "out": str(out)}
    if json:
        print_json(counts)
    else:
        print_lines(f"{out}: {counts['boxes']:,} boxes of {counts['images']:,} pictures, as x1 y1 x2 y2 (xyxy)")


@app.command("import")
def import_command(
    format: Format,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The other tool's file or folder.")],
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store, made or added to.")],
    image_id: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="As in flickr30k:{stem}; default coco:{number}, for COCO's names."),
    ] = None,
    dtype: Annotated[
        Literal["float16", "float32"] | None, typer.Option(help="Number format in the store (default: the source's).")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(help="Name of what made the features; files and stores of one origin may be joined."),
    ] = None,
    sizes: Annotated[
        Path | None,
        typer.Option(help="Pictures' sizes where the format has none: {image_id: [width, height]}."),
    ] = None,
    vg_images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Visual Genome's image_data.json: its pictures that are COCO's get coco: ids."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Region features of another tool into a store. Running it again goes on."""
    from vltool.features.formats.importing import import_features, read_sizes
    from vltool.splits.identity import visual_genome_aliases

    with Console() as console:
        result = import_features(
            format,
            source,
            out,
            image_id_pattern=image_id,
            dtype=dtype,
            origin=origin,
            sizes=None if sizes is None else read_sizes(sizes),
            aliases=None if vg_images is None else visual_genome_aliases(vg_images),
            progress=lambda done, total: console.progress("importing region features", done, total),
        )
        for note in result.notes:
            console.say(f"note: {note}")
    if json:
        print_json(vars(result))
    else:
        print_lines(
            f"{out}: {result.stored:,} of {result.images:,} images stored as {result.image_id}, {result.skipped:,} "
            f"were there, {result.failed:,} failed; {result.regions:,} regions of {result.feature_dim}-d "
            f"{result.dtype}; {result.images_per_second:.1f} images a second"
        )
    if result.failed:
        leave_with_failures(result.failed, result.failures)


@app.command("export")
def export_command(
    format: Format,
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="DEST", help="The file or folder to write.")],
    key: Annotated[
        str | None,
        typer.Option(metavar="PATTERN", help="Names of the pictures there, as in COCO_val2014_{number:012}."),
    ] = None,
    json: Json = False,
) -> None:
    """A store as another tool's file or folder."""
    from vltool.features.formats.exporting import export_features

    with Console() as console:
        result = export_features(
            format,
            store,
            out,
            key=key,
            progress=lambda done, total: console.progress("exporting region features", done, total),
        )
        for note in result.notes:
            console.say(f"note: {note}")
    if json:
        print_json({**vars(result), "out": str(out)})
    else:
        print_lines(
            f"{out}: {result.written:,} of {result.images:,} images written as {result.format}, {result.regions:,} "
            f"regions, {result.bytes:,} bytes"
        )
    if result.failed:
        leave_with_failures(result.failed, str(result.failures))


@app.command("merge")
def merge_command(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Stores of one origin, as shards are.")],
    out: Annotated[Path, typer.Option(metavar="STORE", help="The store, made or added to.")],
    json: Json = False,
) -> None:
    """Joins stores of the same detector and recipe; refuses to mix. Running it again goes on."""
    from vltool.features.merge import merge

    with Console() as console:
        result = merge(stores, out, progress=lambda done, total: console.progress("merging stores", done, total))
    if json:
        print_json({**vars(result), "out": str(out)})
    else:
        print_lines(
            f"{out}: {result.stored:,} of {result.images:,} images of {result.stores} stores stored, "
            f"{result.skipped:,} were there, {result.failed:,} failed; "
            f"{'complete' if result.complete else 'not complete'}"
        )
    if result.failed:
        leave_with_failures(result.failed, result.failures)


@app.command("compare")
def compare_command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A store's folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another's.")],
    json: Json = False,
) -> None:
    """How far apart two stores of the same pictures are: features, boxes, classes; the worst pictures by name."""
    from vltool.features.compare import compare, worst

    with Console() as console:
        found = compare(a, b, progress=lambda done, total: console.progress("comparing stores", done, total))
    if json:
        print_json(found)
        return
    print_lines(*(f"{name:14} {value}" for name, value in found.items() if name != "per_image"))
    columns = ["iou", "cosine", "min_cosine", "max_difference", "same_class"]
    rows = [
        [item["image_id"], f"{item['pairs']} of {item['regions_a']}, {item['regions_b']}"]
        + ["-" if item[name] is None else f"{item[name]:.6g}" for name in columns]
        for item in worst(found["per_image"])
    ]
    print_table("the images that differ most", ["image", "pairs of regions", *columns], rows)


def leave_with_failures(count: int, path: str) -> None:
    typer.echo(f"vltool: {count} images failed, each with its reason in {path}", err=True)
    raise typer.Exit(3)
