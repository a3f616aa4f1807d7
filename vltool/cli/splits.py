"""vltool splits …: make contamination-safe splits and prove them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vltool.cli.commands import App, file_of
from vltool.cli.console import Console, print_json, print_lines, print_table
from vltool.cli.options import Config, Json, Set

app = App(help="Make contamination-safe splits and prove them.", no_args_is_help=True)


@app.command("build")
def build_command(
    config: Config,
    out: Annotated[Path | None, typer.Option(help="Folder of the lists (default: splits below the run's out).")] = None,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Write the lists of examples and pictures of every task and split, with their digests and what was left out."""
    from vltool.config import load
    from vltool.tasks.split_proof import build_splits, prepare_trainings

    run = load(config, overrides or [])
    folder = out or run.out_dir / "splits"
    found = {}
    for protocol, prepared in prepare_trainings(run).items():
        place = folder if protocol != "paper-ii" else folder.with_name(f"{folder.name}-ii")
        found[protocol] = {**build_splits(prepared, place, protocol=protocol), "out": str(place)}
    first = next(iter(found.values()))
    if json:
        print_json({**first, **({"trainings": found} if len(found) > 1 else {})})
        return
    for protocol, summary in found.items():
        rows = [
            [f"{task}/{split}", f"{facts['examples']:,}", f"{facts['images']:,}", facts["examples_sha256"][:16]]
            for task, splits in summary["lists"].items()
            for split, facts in splits.items()
        ]
        print_table(f"splits by protocol {protocol}", ["set", "examples", "pictures", "SHA-256 of the examples"], rows)
        rows = [
            [task, f"{found['of']:,}", f"{found['removed']:,}", _share(found), f"{summary['removed'][task]:,}"]
            for task, found in summary["removed_pictures"].items()
        ]
        columns = ["task", "training pictures", "left out", "share", "examples left out"]
        print_table("left out of training because a task evaluates the picture", columns, rows)
        if summary["excluded"]:
            named = ", ".join(f"{task} {count:,}" for task, count in summary["excluded"].items())
            print_lines(f"training examples left out because splits.exclude names their picture: {named}")
        print_lines(summary["out"])


def _share(found: dict[str, int]) -> str:
    return f"{100 * found['removed'] / found['of']:.1f} %" if found["of"] else ""


@app.command("audit")
def audit_command(
    config: Config,
    detector_list: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The pictures that trained the detector, one more training set.")
    ] = None,
    detector_image_id: Annotated[
        str, typer.Option(metavar="PATTERN", help="How that list names pictures, as in vg:{number}.")
    ] = "",
    vg_images: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Visual Genome's image_data.json: its pictures that are COCO's.")
    ] = None,
    exclude_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=file_of("--exclude-to"),
            help="Add the trained pictures of near-duplicates to this list (splits.exclude).",
        ),
    ] = None,
    overrides: Set = None,
    json: Json = False,
) -> None:
    """Pictures that are both trained on and evaluated, by id or by look, for every pair of sets; exit code 2 if any."""
    from vltool.config import load
    from vltool.splits.excluded import write_excluded
    from vltool.splits.identity import visual_genome_aliases
    from vltool.tasks.split_proof import audit_trainings, prepare_trainings, read_detector_list, remedy

    run = load(config, overrides or [])
    aliases = visual_genome_aliases(vg_images) if vg_images else None
    detector = (
        read_detector_list(detector_list, run, pattern=detector_image_id, aliases=aliases) if detector_list else []
    )
    trainings = prepare_trainings(run)
    with Console() as console:
        found = audit_trainings(trainings, run, detector=detector, hashes=_hashes(run, trainings, detector, console))
    if json:
        print_json(found)
    else:
        rows = [[f"{p['train']} → {p['evaluated']}", str(p["images"]), str(p["examples"])] for p in found["pairs"]]
        print_table("trained on and evaluated", ["pair", "pictures", "examples"], rows)
        if found["near_duplicates"]:
            near = [[f"{row['a']} = {row['b']}", str(row["distance"])] for row in found["near_duplicates"]]
            print_table("the same picture under two ids", ["trained on = evaluated", "differing bits"], near)
        print_lines("clean" if found["clean"] else "not clean")
    to_exclude = remedy(found, trainings)
    if exclude_to:
        remark = f"trained pictures that look like evaluated ones, found by vltool splits audit {config}"
        new = write_excluded(exclude_to, to_exclude, remark=remark)
        typer.echo(f"{exclude_to}: {new:,} pictures added", err=True)
    if not found["clean"]:
        step = _next_step(found, to_exclude, config, exclude_to)
        typer.echo(f"vltool: the splits are not clean. {step}", err=True)
        raise typer.Exit(2)


def _hashes(run: Any, trainings: Any, detector: list[Any], console: Console) -> Any:
    from vltool.remote_files import exists
    from vltool.tasks.split_proof import all_pictures, stored_hashes

    if not exists(run.features.store):
        console.say(f"{run.features.store}: no feature store yet, so pictures are compared by id alone")
        return ()
    wanted = all_pictures(trainings) | set(detector)
    files, looks = stored_hashes(run.features.store, wanted)
    if len(looks) < len(wanted):
        console.say(
            f"{run.features.store}: has picture hashes of {len(looks):,} of {len(wanted):,} pictures; the others are "
            "compared by id alone"
        )
    return files, looks


def _next_step(found: dict[str, Any], to_exclude: list[Any], config: Path, exclude_to: Path | None) -> str:
    if any(pair["images"] for pair in found["pairs"] if pair["train"] != "detector"):
        return "Set splits.protocol=clean"
    if to_exclude and exclude_to:
        return f"Set splits.exclude={exclude_to}, and no task trains on these {len(to_exclude):,} pictures"
    if to_exclude:
        return (
            f"To train on none of the {len(to_exclude):,} pictures that look like evaluated ones: vltool splits audit "
            f"{config} --exclude-to excluded.txt, then set splits.exclude=excluded.txt"
        )
    return "The detector was trained on evaluated pictures: say so beside the scores, or take another detector"
