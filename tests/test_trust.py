"""What SECURITY.md and docs/licences.md say is so."""

from __future__ import annotations

import ast
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.packaging.licences import PAGE, pinned, table

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "vltool").rglob("*.py"))
ALLOWED = {
    "vltool/plain_pickle.py": {"pickle.Unpickler"},  # the base of the one that refuses
    "vltool/features/shards.py": {"pickle.loads"},  # a detector that the same run has pickled, for its own jobs
}


def calls(path: Path) -> list[tuple[str, dict[str, ast.expr]]]:
    """Dotted names that a module calls or derives from, with the keywords of the call."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            found.append((ast.unparse(node.func), {word.arg: word.value for word in node.keywords if word.arg}))
        elif isinstance(node, ast.ClassDef):
            found += [(ast.unparse(base), {}) for base in node.bases]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_run_from_a_file(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    for name, words in calls(path):
        if name in ALLOWED.get(place, ()):
            continue
        assert name not in ("eval", "exec", "compile", "__import__", "os.system", "marshal.loads"), f"{place}: {name}"
        assert not re.fullmatch(
            r"(pickle|cPickle|dill|cloudpickle|joblib|shelve)\.\w*(load|loads|Unpickler|open)", name
        ), place
        if name == "torch.load":
            assert ast.unparse(words["weights_only"]) == "True", f"{place}: torch.load without weights_only=True"
        if name in ("np.load", "numpy.load"):
            assert ast.unparse(words["allow_pickle"]) == "False", f"{place}: np.load without allow_pickle=False"
        assert name not in ("yaml.unsafe_load", "yaml.full_load"), place
        assert "shell" not in words or ast.unparse(words["shell"]) == "False", f"{place}: a shell"


def test_yaml_is_read_by_safe_loaders() -> None:
    import yaml

    from vltool import yaml_files
    from vltool.detectors.faster_rcnn import yaml_file

    for loader in (yaml_files._Loader, yaml_file._Loader):
        assert issubclass(loader, yaml.SafeLoader)


def test_the_files_that_security_md_names_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:vltool|docs)/[\w/.]+)`", text):
        assert (ROOT / path).is_file(), path


def test_the_licence_of_every_pinned_package_is_listed() -> None:
    rows = dict(re.findall(r"^\| (\S+) \| ([^|]+) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(rows) - {"package", "---"} == set(pinned()), "run: python -m tests.packaging.licences"
    assert "unknown" not in rows.values()


def test_the_list_of_licences_is_what_the_packages_say() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for name, version in (line.split("==") for line in lines if "==" in line):
        try:
            found = distribution(name).version
        except PackageNotFoundError:
            pytest.skip(f"{name} of constraints.txt is not installed here")
        if found != version:
            pytest.skip(f"{name} is {found} here, {version} in constraints.txt")
    assert PAGE.read_text(encoding="utf-8") == table(), "run: python -m tests.packaging.licences"
