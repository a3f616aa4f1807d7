"""The floors of the house: a module imports only from floors below its own, and heavy packages only where allowed."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "vltool"
FLOORS = [
    {
        "errors",
        "structures",
        "json_files",
        "yaml_files",
        "remote_files",
        "plain_pickle",
        "processor",
        "provenance",
        "weights_file",
        "__init__",
    },
    {"config", "data_config", "search_config", "training_config", "registry", "engines", "world"},
    {"detectors", "text", "datasets", "metrics", "splits", "models"},
    {"features"},
    {"tasks"},
    {"evaluation"},
    {"training"},
    {"search"},
    {"report", "pipeline", "stages", "stage_inputs", "predict", "dry_run"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED_BESIDE = {
    ("config", "registry"),
    ("config", "data_config"),
    ("data_config", "training_config"),
    ("config", "search_config"),
    ("config", "training_config"),
    ("json_files", "errors"),
    ("yaml_files", "errors"),
    ("remote_files", "errors"),
    ("plain_pickle", "errors"),
    ("weights_file", "errors"),
    ("weights_file", "plain_pickle"),
    ("splits", "datasets"),
    ("pipeline", "stages"),
    ("stages", "stage_inputs"),
    ("stages", "report"),
    ("dry_run", "pipeline"),
    ("dry_run", "stages"),
    ("predict", "report"),
    ("__init__", "predict"),  # vltool.load: a package's face shows what is inside
}
ONLY_IN = {
    "detectron2": "detectors/detectron2.py",
    "ray": "engines/ray.py",
    "fsspec": "remote_files.py",
    "typer": "cli/",
    "rich": "cli/",
}
MODULES = sorted(path for path in ROOT.rglob("*.py"))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_from_floors_below(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imports_of(path):
        if module.split(".")[0] != "vltool":
            continue
        other = room_of(module)
        if other != own and (own, other) not in ALLOWED_BESIDE:
            assert FLOOR_OF[other] < FLOOR_OF[own], f"{own} (floor {FLOOR_OF[own]}) imports {module}"


def own_imports(path: Path) -> set[str]:
    """The modules of vltool that a module takes anything from, for its types or within a function too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {".".join(("vltool", *path.relative_to(ROOT).with_suffix("").parts)): path for path in MODULES}
    found = {name: sorted(own_imports(path) & names.keys()) for name, path in names.items()}
    assert found["vltool.tasks.batching"]
    TopologicalSorter(found).prepare()  # CycleError names the modules


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_and_optional_packages_stay_in_their_rooms(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for module in imports_of(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        assert allowed is None or place.startswith(allowed), f"{place} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_has_grown_past_450_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
