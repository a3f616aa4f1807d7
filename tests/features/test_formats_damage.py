"""Files of other tools that are damaged, doubled, of another tool's making, or malicious."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vltool import plain_pickle
from vltool.cli.app import app
from vltool.errors import DataError
from vltool.features.formats.arrays import write_npy, write_npz
from vltool.features.formats.importing import import_features
from vltool.features.store import RegionStore

WIDTH = 4


class Malicious:
    """Would make a file, were it unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def features(number: int) -> np.ndarray:
    return np.full((2, WIDTH), number, np.float32)


BOXES = np.array([[0, 0, 10, 10], [5, 5, 20, 30]], np.float32)


def tsv_line(number: int, **changes: str) -> str:
    cells = {
        "image_id": str(number),
        "image_w": "64",
        "image_h": "48",
        "num_boxes": "2",
        "boxes": base64.b64encode(BOXES.tobytes()).decode(),
        "features": base64.b64encode(features(number).tobytes()).decode(),
    }
    return "\t".join({**cells, **changes}.values())


def value(number: int, **changes: Any) -> dict[str, Any]:
    values = {"image_id": str(number), "image_h": 48, "image_w": 64, "num_boxes": 2}
    return {**values, "boxes": BOXES, "features": features(number), **changes}


def write_lmdb(folder: Path, values: dict[bytes, Any], *, keys: bool = True) -> Path:
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
        for key, content in values.items():
            transaction.put(key, content if isinstance(content, bytes) else pickle.dumps(content))
        if keys:
            transaction.put(b"keys", pickle.dumps(list(values)))
    return folder


def failures(store: Path) -> dict[str, str]:
    lines = store.with_name(f"{store.name}.failures.jsonl").read_text().splitlines()
    return {item["image_id"]: item["error"] for item in map(json.loads, lines)}


def test_damaged_and_doubled_rows_are_listed_and_the_rest_is_stored(tmp_path: Path) -> None:
    source = tmp_path / "a.tsv"
    padding = base64.b64encode(features(3).tobytes()).decode()[:-3]
    lines = [
        tsv_line(1),
        tsv_line(2, num_boxes="3"),
        tsv_line(3, features=padding),
        tsv_line(4, boxes=base64.b64encode(BOXES[:, [2, 3, 0, 1]].copy().tobytes()).decode()),
        tsv_line(1),
        "5\t64\t48",
        tsv_line(6, image_w="wide"),
        tsv_line(7, features=base64.b64encode(np.full((2, WIDTH), np.nan, np.float32).tobytes()).decode()),
        tsv_line(8, features=base64.b64encode(np.zeros((2, WIDTH + 1), np.float32).tobytes()).decode()),
        tsv_line(3),
        tsv_line(9)[:-30],
    ]
    source.write_text("\n".join(lines))
    result = CliRunner().invoke(app, ["features", "import", "bottom-up-tsv", str(source), "--out", str(tmp_path / "s")])
    assert result.exit_code == 3 and "9 images failed" in result.stderr
    with RegionStore.open(tmp_path / "s") as store:
        assert store.image_ids() == ["coco:1", "coco:3"] and not store.state["complete"]
    found = (tmp_path / "s.failures.jsonl").read_text()
    for reason in ("3 rows", "padding", "x1 <= x2", "a second row", "3 columns", "'wide'", "not finite", "width 5"):
        assert reason in found, reason
    assert set(failures(tmp_path / "s")) == {f"coco:{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9)}
    again = import_features("bottom-up-tsv", source, tmp_path / "s")
    assert (again.stored, again.skipped, again.failed) == (0, 2, 9)
    assert len((tmp_path / "s.failures.jsonl").read_text().splitlines()) == 9


def test_line_ends_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes((tsv_line(9) + "\r\n" + tsv_line(1) + "\r\n" + tsv_line(4)).encode())
    runner, store = CliRunner(), str(tmp_path / "s")
    for command in (
        ["import", "bottom-up-tsv", str(tmp_path / "a.tsv"), "--out", store, "--json"],
        ["export", "bottom-up-tsv", store, "--out", str(tmp_path / "b.tsv"), "--json"],
    ):
        result = runner.invoke(app, ["features", *command])
        assert result.exit_code == 0 and json.loads(result.stdout)["failed"] == 0
    assert (tmp_path / "b.tsv").read_bytes() == (tmp_path / "a.tsv").read_bytes()


def test_another_tools_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(tsv_line(1))
    with pytest.raises(DataError, match=r"none of its 1 rows can be imported as lxmert-tsv.*6 columns, expected 10"):
        import_features("lxmert-tsv", tmp_path / "a.tsv", tmp_path / "s")
    assert not (tmp_path / "s").exists()
    for name in ("vilbert-lmdb", "uniter-lmdb", "dcn-h5", "hengyuan-h5"):
        with pytest.raises(DataError, match=rf"a\.tsv.*is it {name}"):
            import_features(name, tmp_path / "a.tsv", tmp_path / "s")
    with pytest.raises(DataError, match="no such file"):
        import_features("dcn-h5", tmp_path / "b.h5", tmp_path / "s")
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(DataError, match="no rows"):
        import_features("lxmert-tsv", tmp_path / "empty.tsv", tmp_path / "s")


def test_variants_of_vilberts_lmdb_are_read(tmp_path: Path) -> None:
    texts = {name: base64.b64encode(array.tobytes()).decode() for name, array in (("boxes", BOXES), ("x", features(2)))}
    probabilities = np.array([[0.1, 0.2, 0.7], [0.9, 0.06, 0.04]], np.float32)
    volta = {"img_id": "3", "img_h": 48, "img_w": 64, "features": features(3), "boxes": BOXES}
    source = write_lmdb(
        tmp_path / "db",
        {
            b"1": value(1, num_boxes=1, cls_prob=probabilities),
            b"2": {"image_w": "64", "image_h": "48", "num_boxes": "2", "boxes": texts["boxes"], "features": texts["x"]},
            b"3": {**volta, "objects_id": np.array([5, 6])},
            b"4": {**volta, "objects": base64.b64encode(np.array([5, 6]).tobytes()), "num_boxes": 2},
        },
    )
    result = import_features("vilbert-lmdb", source / "data.mdb", tmp_path / "s")
    assert (result.stored, result.failed) == (4, 0) and result.notes == ["cls_prob of 1 images is not kept"]
    with RegionStore.open(tmp_path / "s") as store:
        for number in (1, 2, 3, 4):
            found = store.get(f"coco:{number}")
            assert (found.height, found.width) == (48, 64) and found.features[0, 0] in (number, 3)
            np.testing.assert_array_equal(found.boxes, BOXES)
        assert store.source("coco:1")["extra"] == {"num_boxes": 1}
        np.testing.assert_array_equal(store.get("coco:1").classes, [1, 0])
        np.testing.assert_array_equal(store.get("coco:4").classes, [5, 6])


def test_an_lmdb_without_its_list_is_read_all_the_same(tmp_path: Path) -> None:
    source = write_lmdb(tmp_path / "db", {b"1": value(1), b"2": value(2)}, keys=False)
    assert import_features("vilbert-lmdb", source, tmp_path / "s").stored == 2
    source = write_lmdb(tmp_path / "db2", {b"1": value(1), b"2": value(2)})
    with lmdb.open(str(source)) as env, env.begin(write=True) as transaction:
        transaction.put(b"keys", pickle.dumps([b"1", b"77"]))
    result = import_features("vilbert-lmdb", source, tmp_path / "s2")
    assert (result.stored, result.failed) == (2, 1) and "not in the database" in failures(tmp_path / "s2")["coco:77"]


def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    source = write_lmdb(
        tmp_path / "db", {b"%d" % n: value(n, features=np.zeros((2, 5000), np.float32)) for n in range(9)}
    )
    with (source / "data.mdb").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) // 2)
    with pytest.raises(Exception, match="truncated"):
        import_features("vilbert-lmdb", source, tmp_path / "s")


def test_mmfs_folder_is_read(tmp_path: Path) -> None:
    info = {"bbox": BOXES, "num_boxes": 2, "objects": np.array([1, 2]), "image_width": 64, "image_height": 48}
    for number in (1, 2):
        np.save(tmp_path / f"COCO_val2014_{number:012}.npy", features(number))
    np.save(tmp_path / "COCO_val2014_000000000001_info.npy", np.array(info, dtype=object), allow_pickle=True)
    result = import_features("mmf-lmdb", tmp_path, tmp_path / "s")
    assert (result.stored, result.failed) == (1, 1)
    assert "_info.npy beside it" in failures(tmp_path / "s")["coco:2"]


def pickle_in_vilbert(tmp_path: Path, bad: Malicious) -> tuple[str, Path]:
    return "vilbert-lmdb", write_lmdb(tmp_path / "db", {b"1": value(1), b"2": value(2, boxes=bad)})


def pickle_in_milvlg(tmp_path: Path, bad: Malicious) -> tuple[str, Path]:
    (tmp_path / "npz").mkdir()
    size = {"image_h": np.int64(48), "image_w": np.int64(64)}
    for number, info in ((1, {}), (2, {"objects_id": bad})):
        values = {"x": features(number), "bbox": BOXES, **size, "info": info}
        (tmp_path / "npz" / f"{number}.npz").write_bytes(write_npz(values))
    return "milvlg-npz", tmp_path / "npz"


def pickle_in_mmf(tmp_path: Path, bad: Malicious) -> tuple[str, Path]:
    (tmp_path / "npy").mkdir()
    about = {"image_h": 48, "image_w": 64, "bbox": BOXES}
    for number, beside in ((1, about), (2, {**about, "more": bad})):
        (tmp_path / "npy" / f"{number}.npy").write_bytes(write_npy(features(number)))
        (tmp_path / "npy" / f"{number}_info.npy").write_bytes(write_npy(beside))
    return "mmf-lmdb", tmp_path / "npy"


@pytest.mark.parametrize("make", [pickle_in_vilbert, pickle_in_milvlg, pickle_in_mmf])
def test_a_row_that_is_code_is_refused_by_name(
    make: Callable[[Path, Malicious], tuple[str, Path]], tmp_path: Path
) -> None:
    name, source = make(tmp_path, Malicious(tmp_path / "made"))
    result = import_features(name, source, tmp_path / "s")
    assert (result.stored, result.failed) == (1, 1)
    assert "posix.mkdir, which is not plain data: refused" in failures(tmp_path / "s")["coco:2"]
    assert not (tmp_path / "made").exists()


def test_a_list_or_map_that_is_code_is_refused_by_name(tmp_path: Path) -> None:
    import h5py

    bad = Malicious(tmp_path / "made")
    source = write_lmdb(tmp_path / "db", {b"1": value(1), b"keys": bad}, keys=False)
    with pytest.raises(DataError, match=r"db: its pickle asks for posix\.mkdir"):
        import_features("vilbert-lmdb", source, tmp_path / "s")
    for name, names in (
        ("dcn-h5", ("boxes", "features", "img_start_idx", "img_end_idx", "image_h", "image_w")),
        ("hengyuan-h5", ("image_features", "image_bb", "spatial_features")),
    ):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for dataset in names:
                file[dataset] = np.zeros((1, 1))
    torch.save({1: bad}, tmp_path / "dcn-h5.pt")
    (tmp_path / "hengyuan-h5_imgid2idx.pkl").write_bytes(pickle.dumps({1: bad}, protocol=2))
    for name in ("dcn-h5", "hengyuan-h5"):
        with pytest.raises(DataError, match=r"asks for posix\.mkdir, which is not plain data: refused"):
            import_features(name, tmp_path / f"{name}.h5", tmp_path / "s")
    assert not (tmp_path / "made").exists()


def test_a_pickle_inside_of_msgpack_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    packed = {"features": {b"nd": True, b"type": b"", b"kind": b"O", b"shape": (1,), b"data": b"x"}, "norm_bb": 1}
    with lmdb.open(str(folder)) as env, env.begin(write=True) as transaction:
        transaction.put(b"1.npz", msgpack.packb(packed))
        transaction.put(b"__keys__", b'["1.npz"]')
    with pytest.raises(DataError, match="features holds a pickle in its msgpack"):
        import_features("uniter-lmdb", folder, tmp_path / "s")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_every_protocol_are_read(protocol: int) -> None:
    given = {"a": features(1), "b": [1, 2.5, "c", b"d", None, True], "e": np.float32(3), "f": np.array(7), "g": {1, 2}}
    found = plain_pickle.loads(pickle.dumps(given, protocol=protocol))
    np.testing.assert_array_equal(found.pop("a"), given.pop("a"))
    assert found == given
    with pytest.raises(DataError, match="damaged pickle"):
        plain_pickle.loads(pickle.dumps(given, protocol=protocol)[:-20])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """40 MB and 160 MB of rows take the same memory at most, beside LMDB's pages, which are the system's."""
    program = """
import sys, tracemalloc
from vltool.features.formats.importing import import_features
from vltool.features.formats.exporting import export_features
tracemalloc.start()
import_features("bottom-up-tsv", sys.argv[1], sys.argv[2])
export_features("bottom-up-tsv", sys.argv[2], sys.argv[3])
print(tracemalloc.get_traced_memory()[1])
"""
    used = []
    for count in (100, 400):
        source = tmp_path / f"{count}.tsv"
        with source.open("w") as file:
            for number in range(count):
                wide = base64.b64encode(np.full((36, 2048), number, np.float32).tobytes()).decode()
                boxes = base64.b64encode(np.tile(BOXES, (18, 1)).tobytes()).decode()
                file.write(tsv_line(number, num_boxes="36", boxes=boxes, features=wide) + "\n")
        paths = [str(source), str(tmp_path / f"s{count}"), str(tmp_path / f"b{count}.tsv")]
        done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
        used.append(int(done.stdout))
        assert (tmp_path / f"b{count}.tsv").read_bytes() == source.read_bytes()
        source.unlink()
    assert used[1] < used[0] + 2**20 < 40 * 2**20
