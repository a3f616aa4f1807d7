"""The command line: every command by name, and what happens to errors.

Exit code 0: done. 1: a bug of ours, with its traceback. 2: something the user can fix. 3: finished, but some
items failed. 130: interrupted.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from vltool import __version__
from vltool.cli import (
    demo,
    doctor,
    embed_text,
    evaluate,
    extract_features,
    features,
    predict,
    report,
    run,
    score,
    search_layers,
    splits,
    train_joint,
    world,
)
from vltool.cli.commands import App
from vltool.engines.processes import leave, refuse_group
from vltool.errors import Interrupted, VltoolError

app = App(
    name="vltool",
    help="Learn vision and language together over region features, and evaluate it honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"vltool {__version__}\n")
        raise typer.Exit


_TOGETHER = ("train-joint", "eval", "doctor")
"""What processes that torchrun started may run: they share the first two, and each may look at its own machine."""

_INSTEAD = {
    "search-layers": "; --jobs N runs several trials at once, --engine ray those of a cluster",
    "extract-features": "; --workers N or --engine ray describes several pictures at once",
    "run": "; search.jobs and features.workers run several at once, and train-joint and eval alone may be torchrun's",
}


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options before the command."""
    name = context.invoked_subcommand
    if name and name not in _TOGETHER:
        refuse_group(name, instead=_INSTEAD.get(name, ""))


app.command("demo")(demo.command)
app.command("world")(world.command)
app.command("extract-features")(extract_features.command)
app.add_typer(features.app, name="features")
app.command("embed-text")(embed_text.command)
app.command("search-layers")(search_layers.command)
app.command("train-joint")(train_joint.command)
app.command("eval")(evaluate.command)
app.add_typer(score.app, name="score")
app.add_typer(splits.app, name="splits")
app.command("predict")(predict.command)
app.command("report")(report.command)
app.command("run")(run.command)
app.command("doctor")(doctor.command)


def main() -> None:
    """Run the command line; a VltoolError is a message and exit code 2."""
    try:
        _run()
    except SystemExit as leaving:
        leave(leaving.code)
        raise


def _run() -> None:
    try:
        app()
    except Interrupted as error:
        sys.stderr.write(f"vltool: {error}\n")
        sys.exit(130)
    except VltoolError as error:
        sys.stderr.write(f"vltool: {error}\n")
        sys.exit(2)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            sys.stderr.write(f"vltool: {error.filename or 'a file'}: {error.strerror}; make room and run it again\n")
            sys.exit(2)
        if error.filename is None:
            raise
        sys.stderr.write(
            f"vltool: {error.filename}: {error.strerror}. Check that the path is right and can be written\n"
        )
        sys.exit(2)
    except SystemExit as leaving:
        if _is_by_ctrl_c(leaving):  # typer makes an exit code of it and says nothing
            sys.stderr.write("vltool: interrupted; run the same command again to go on where it stopped\n")
            sys.exit(130)
        raise


def _is_by_ctrl_c(leaving: BaseException) -> bool:
    error: BaseException | None = leaving
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
