"""Formats of other tools: what they look like to those tools, and what comes back from them."""

from __future__ import annotations

import base64
import errno
import filecmp
import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import lmdb
import msgpack
import numpy as np
import pytest
import torch

from vltool.errors import ConfigError, DataError, StoreError
from vltool.features.compare import compare
from vltool.features.folder import lock, unlock
from vltool.features.formats import FORMATS, format_called
from vltool.features.formats.exporting import export_features
from vltool.features.formats.importing import import_features, read_sizes
from vltool.features.header import make_header
from vltool.features.store import RegionStore, verify
from vltool.structures import ImageId, RegionFeatures

WIDTH = 8
ENDINGS = {"bottom-up-tsv": ".tsv", "lxmert-tsv": ".tsv", "dcn-h5": ".h5", "hengyuan-h5": ".hdf5"}
WITHOUT_SIZE = ("uniter-npz", "uniter-lmdb")


def regions(number: int, *, count: int = 3) -> RegionFeatures:
    random = np.random.default_rng(number)
    corners = random.uniform(0, [300, 200], (count, 2))
    return RegionFeatures(
        image_id=ImageId(f"coco:{number}"),
        features=random.normal(size=(count, WIDTH)).astype(np.float32),
        boxes=np.concatenate([corners, corners + random.uniform(1, 200, (count, 2))], axis=1).astype(np.float32),
        height=480,
        width=640,
        classes=random.integers(0, 3, count),
        scores=np.sort(random.uniform(size=count).astype(np.float32))[::-1],
        attributes=random.integers(0, 9, count),
        attribute_scores=random.uniform(size=count).astype(np.float32),
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    header = make_header(
        feature_dim=WIDTH,
        dtype="float32",
        backend="builtin",
        fingerprint="f00d",
        recipe={"name": "bottom-up"},
        class_names=("cat", "dog", "zebra"),
    )
    path = tmp_path / "features.lmdb"
    with RegionStore.create(path, header) as made:
        for number in (7, 42, 391895):
            made.put(regions(number), {"name": f"COCO_val2014_{number:012}.jpg"})
        made.flush(complete=True)
    return path


def export(name: str, store: Path, folder: Path) -> Path:
    dest = folder / f"exported-{name}{ENDINGS.get(name, '')}"
    result = export_features(name, store, dest)
    assert (result.written, result.failed, result.regions) == (3, 0, 9)
    return dest


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_is_imported_again(name: str, store: Path, tmp_path: Path) -> None:
    dest = export(name, store, tmp_path)
    sizes = {f"coco:{number}": (640, 480) for number in (7, 42, 391895)}
    back = tmp_path / "back.lmdb"
    result = import_features(name, dest, back, sizes=sizes)
    assert (result.stored, result.failed, result.regions, result.feature_dim) == (3, 0, 9, WIDTH)
    assert result.dtype == ("float16" if name in WITHOUT_SIZE else "float32") and not verify(back)
    with RegionStore.open(back) as found, RegionStore.open(store) as given:
        assert found.header["backend"] == "imported" and found.header["source"]["format"] == name
        assert found.state["complete"] and found.image_ids() == given.image_ids()
        for image_id in given.image_ids():
            mine, theirs = given.get(image_id), found.get(image_id)
            assert (theirs.height, theirs.width) == (480, 640)
            if name in WITHOUT_SIZE:
                np.testing.assert_array_equal(theirs.features, mine.features.astype(np.float16))
                np.testing.assert_allclose(theirs.boxes, mine.boxes, atol=0.4)
            else:
                np.testing.assert_array_equal(theirs.features, mine.features)
                np.testing.assert_array_equal(theirs.boxes, mine.boxes)
            for array in ("classes", "scores", "attributes", "attribute_scores"):
                if getattr(theirs, array) is not None and (name not in WITHOUT_SIZE or array != "scores"):
                    np.testing.assert_array_equal(getattr(theirs, array), getattr(mine, array))


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_imported_is_exported_with_the_same_bytes(name: str, store: Path, tmp_path: Path) -> None:
    dest = export(name, store, tmp_path)
    import_features(name, dest, tmp_path / "back.lmdb")
    again = tmp_path / "again" / dest.name
    export_features(name, tmp_path / "back.lmdb", again)
    if dest.is_dir():
        names = sorted(path.name for path in dest.iterdir() if path.name != "data.mdb")
        assert names == sorted(path.name for path in again.iterdir() if path.name != "data.mdb")
        assert filecmp.cmpfiles(dest, again, names, shallow=False)[1:] == ([], [])
        if (dest / "data.mdb").exists():
            assert entries(dest) == entries(again)
    elif dest.suffix == ".tsv":
        assert dest.read_bytes() == again.read_bytes()
    else:
        with h5py.File(dest) as first, h5py.File(again) as second:
            assert list(first) == list(second)
            for dataset in first:
                np.testing.assert_array_equal(first[dataset][()], second[dataset][()])


def entries(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return dict(transaction.cursor())


def test_the_published_tsv_comes_back_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "bottomup_features" / "train2014_obj36.tsv"
    result = import_features("lxmert-tsv", source, tmp_path / "store")
    assert (result.stored, result.failed, result.feature_dim, result.regions) == (7, 0, 2048, 252)
    with RegionStore.open(tmp_path / "store") as store:
        assert "coco:132417" in store and store.get("coco:132417").width == 500
    export_features("lxmert-tsv", tmp_path / "store", tmp_path / "again.tsv")
    assert (tmp_path / "again.tsv").read_bytes() == source.read_bytes()


def test_vilbert_lmdb_has_its_keys_types_and_order(store: Path, tmp_path: Path) -> None:
    found = entries(export("vilbert-lmdb", store, tmp_path))
    assert pickle.loads(found[b"keys"]) == [b"391895", b"42", b"7"] and b"numpy._core" not in found[b"7"]
    value = pickle.loads(found[b"391895"])
    assert list(value) == ["image_id", "image_h", "image_w", "num_boxes", "boxes", "features"]
    assert [value[name] for name in ("image_id", "image_h", "image_w", "num_boxes")] == ["391895", 480, 640, 3]
    assert value["boxes"].dtype == value["features"].dtype == np.float32
    assert (tmp_path / "exported-vilbert-lmdb" / "data.mdb").stat().st_size < 2**20


def test_mmf_lmdb_has_its_keys(store: Path, tmp_path: Path) -> None:
    value = pickle.loads(entries(export("mmf-lmdb", store, tmp_path))[b"COCO_val2014_000000391895"])
    assert list(value) == [
        "feature_path", "features", "image_height", "image_width", "num_boxes", "objects", "cls_prob", "bbox",
    ]  # fmt: skip
    assert value["feature_path"] == "COCO_val2014_000000391895" and value["objects"].dtype == np.int64


def test_tsv_columns_stand_in_their_order(store: Path, tmp_path: Path) -> None:
    cells = export("bottom-up-tsv", store, tmp_path).read_bytes().splitlines()[0].split(b"\t")
    assert cells[:4] == [b"391895", b"640", b"480", b"3"]
    assert len(base64.b64decode(cells[5])) == 3 * WIDTH * 4
    cells = export("lxmert-tsv", store, tmp_path).read_bytes().splitlines()[0].split(b"\t")
    assert cells[:3] == [b"COCO_val2014_000000391895", b"480", b"640"] and cells[7] == b"3"
    assert [len(base64.b64decode(cell)) // 3 for cell in cells[3:7] + cells[8:]] == [8, 4, 8, 4, 16, 4 * WIDTH]


def test_uniter_is_in_half_precision_under_its_names(store: Path, tmp_path: Path) -> None:
    folder = export("uniter-npz", store, tmp_path)
    with np.load(folder / "coco_val2014_000000391895.npz") as values:
        assert list(values) == ["features", "norm_bb", "conf"]
        assert {values[name].dtype for name in values} == {np.dtype(np.float16)} and values["norm_bb"].shape == (3, 6)
        np.testing.assert_allclose(
            values["norm_bb"][:, 4], values["norm_bb"][:, 2] - values["norm_bb"][:, 0], atol=1e-3
        )
    found = entries(export("uniter-lmdb", store, tmp_path))
    assert "coco_val2014_000000391895.npz" in json.loads(found[b"__keys__"])
    value = msgpack.unpackb(found[b"coco_val2014_000000391895.npz"], strict_map_key=False)
    assert value["features"][b"nd"] is True and value["features"][b"type"] == "<f2"
    assert tuple(value["features"][b"shape"]) == (3, WIDTH)
    export_features("uniter-lmdb", store, tmp_path / "feat_th0.2_max100_min10_compressed")
    assert entries(tmp_path / "feat_th0.2_max100_min10_compressed")[b"coco_val2014_000000391895.npz"][:2] == b"PK"
    assert set(json.loads((tmp_path / "nbb_th0.2_max100_min10.json").read_text()).values()) == {3}
    assert (
        import_features("uniter-lmdb", tmp_path / "feat_th0.2_max100_min10_compressed", tmp_path / "back").stored == 3
    )


def test_vinvl_rows_end_with_the_box_as_shares(store: Path, tmp_path: Path) -> None:
    folder = export("vinvl-tsv", store, tmp_path)
    lines = (folder / "features.tsv").read_bytes().splitlines(keepends=True)
    starts = [int(line) for line in (folder / "features.lineidx").read_text().split()]
    assert starts == [0, len(lines[0]), len(lines[0]) + len(lines[1])]
    assert json.loads((folder / "imageid2idx.json").read_text()) == {"391895": 0, "42": 1, "7": 2}
    key, count, text = lines[0].rstrip().split(b"\t")
    rows = np.frombuffer(base64.b64decode(text), "<f4").reshape(3, WIDTH + 6)
    expected = regions(391895).boxes / np.array([640, 480, 640, 480], np.float32)
    np.testing.assert_array_equal(rows[:, WIDTH : WIDTH + 4], expected)
    predictions = json.loads((folder / "predictions.tsv").read_bytes().splitlines()[0].split(b"\t")[1])
    assert (key, count, predictions["image_h"]) == (b"391895", b"3", 480)
    assert predictions["objects"][0]["class"] in ("cat", "dog", "zebra")


def test_milvlg_npz_has_its_info(store: Path, tmp_path: Path) -> None:
    with np.load(export("milvlg-npz", store, tmp_path) / "COCO_val2014_000000391895.npz", allow_pickle=True) as values:
        assert list(values) == ["x", "bbox", "num_bbox", "image_h", "image_w", "info"]
        assert values["x"].dtype == np.float32 and int(values["num_bbox"]) == 3
        info = values["info"].item()
    assert list(info) == [
        "image_id", "image_h", "image_w", "num_boxes", "objects_id", "objects_conf", "attrs_id", "attrs_conf",
    ]  # fmt: skip


def test_dcn_end_index_is_inclusive(store: Path, tmp_path: Path) -> None:
    path = export("dcn-h5", store, tmp_path)
    with h5py.File(path) as file:
        assert file["img_start_idx"][()].tolist() == [0, 3, 6] and file["img_end_idx"][()].tolist() == [2, 5, 8]
        assert {name: file[name].dtype for name in ("features", "img_end_idx")} == {
            "features": np.dtype("<f4"),
            "img_end_idx": np.dtype("<i8"),
        }
        assert file["image_h"][0] == 480 and file["features"].shape == (9, WIDTH)
    assert torch.load(path.with_suffix(".pt"), weights_only=True) == {391895: 0, 42: 1, 7: 2}


def test_hengyuan_needs_the_same_number_of_regions(store: Path, tmp_path: Path) -> None:
    path = export("hengyuan-h5", store, tmp_path)
    with h5py.File(path) as file:
        assert {name: file[name].shape for name in file} == {
            "image_features": (3, 3, WIDTH),
            "image_bb": (3, 3, 4),
            "spatial_features": (3, 3, 6),
        }
    assert pickle.loads(path.with_name(f"{path.stem}_imgid2idx.pkl").read_bytes()) == {391895: 0, 42: 1, 7: 2}
    with RegionStore.open(store, mode="a") as more:
        more.put(regions(8, count=5))
    result = export_features("hengyuan-h5", store, tmp_path / "train36.hdf5")
    assert (result.written, result.failed) == (3, 1)
    assert "5 regions, but all pictures need 3" in Path(str(result.failures)).read_text()


def test_a_store_without_sizes_is_not_written_in_pixels(store: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    assert "--sizes" in import_features("uniter-npz", export("uniter-npz", store, tmp_path), back).notes[0]
    with pytest.raises(Exception, match="--sizes"):
        export_features("vilbert-lmdb", back, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.unfinished").exists()
    found = compare(store, back)
    assert found["pairs"] == 9 and found["iou"] > 0.95 and found["cosine"] > 0.9999


def test_two_names_of_one_number_do_not_share_a_row(tmp_path: Path) -> None:
    header = make_header(feature_dim=WIDTH, backend="b", fingerprint="f", recipe={"name": "r"})
    with RegionStore.create(tmp_path / "s.lmdb", header) as made:
        for name in ("7", "007", "8"):
            made.put(replace(regions(int(name)), image_id=ImageId(f"file:{name}")))
    result = export_features("dcn-h5", tmp_path / "s.lmdb", tmp_path / "d.h5")
    assert (result.written, result.failed) == (2, 1) and "a second picture of the number 7" in failed(tmp_path / "d.h5")
    assert sorted(torch.load(tmp_path / "d.pt").items()) == [(7, 0), (8, 1)]


def failed(dest: Path) -> str:
    return dest.with_name(f"{dest.name}.failures.jsonl").read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_written_leaves_nothing(
    name: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vltool.features.formats.format.put_in_place", refuse)
    monkeypatch.setattr("vltool.features.formats.hdf5.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match=r"cannot be written: No space left on device"):
        export_features(name, store, tmp_path / "out" / "dest.h5")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_another_process_writes_is_left_to_it(store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv.unfinished").write_text("half of it")
    held = lock(tmp_path / "a.tsv.unfinished.lock", "busy")
    with pytest.raises(StoreError, match=r"a\.tsv: another process is writing it"):
        export_features("lxmert-tsv", store, tmp_path / "a.tsv")
    assert (tmp_path / "a.tsv.unfinished").read_text() == "half of it"
    unlock(held)
    export_features("lxmert-tsv", store, tmp_path / "a.tsv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tsv", "features.lmdb"]


def test_a_record_with_a_damaged_header_is_listed_and_left_out(store: Path, tmp_path: Path) -> None:
    data = (store / "data.mdb").read_bytes()
    (store / "data.mdb").write_bytes(re.sub(rb'"image_id":( ?"coco:42")', rb'"image_id";\1', data))
    result = export_features("lxmert-tsv", store, tmp_path / "a.tsv")
    assert (result.written, result.failed) == (2, 1) and "'coco:42' is damaged" in failed(tmp_path / "a.tsv")


def test_a_store_that_cannot_be_made_is_no_fault_of_the_rows(store: Path, tmp_path: Path) -> None:
    source = export("bottom-up-tsv", store, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"^[^\n]*file: a file; a feature store is a folder"):
        import_features("bottom-up-tsv", source, tmp_path / "file")
    assert not (tmp_path / "file.failures.jsonl").exists()


def test_names_are_given_by_a_pattern(store: Path, tmp_path: Path) -> None:
    export_features("bottom-up-tsv", store, tmp_path / "a.tsv", key="COCO_val2014_{number:012}")
    assert (tmp_path / "a.tsv").read_bytes().startswith(b"COCO_val2014_000000391895\t")
    with pytest.raises(ConfigError, match="expected"):
        export_features("bottom-up-tsv", store, tmp_path / "b.tsv", key="{name}")
    with pytest.raises(DataError, match="exists already"):
        export_features("bottom-up-tsv", store, tmp_path / "a.tsv")
    with pytest.raises(ConfigError, match="known: bottom-up-tsv"):
        format_called("caffe")


def test_names_that_are_not_of_coco_need_a_pattern(store: Path, tmp_path: Path) -> None:
    dest = tmp_path / "flickr.tsv"
    export_features("bottom-up-tsv", store, dest, key="flickr30k_{number}")
    with pytest.raises(DataError, match="--image-id flickr30k"):
        import_features("bottom-up-tsv", dest, tmp_path / "back")
    import_features("bottom-up-tsv", dest, tmp_path / "back", image_id_pattern="flickr30k:{number}")
    with RegionStore.open(tmp_path / "back") as back:
        assert "flickr30k:42" in back and back.source("flickr30k:42")["name"] == "flickr30k_42"


def test_importing_again_skips_and_another_file_needs_the_same_origin(store: Path, tmp_path: Path) -> None:
    dest, back = export("lxmert-tsv", store, tmp_path), tmp_path / "back"
    import_features("lxmert-tsv", dest, back, origin="caffe36")
    assert import_features("lxmert-tsv", dest, back, origin="caffe36").skipped == 3
    with pytest.raises(StoreError, match="fingerprint"):
        import_features("lxmert-tsv", dest, back)
    second = tmp_path / "more.tsv"
    with RegionStore.open(store, mode="a") as more:
        more.put(replace(regions(8), attributes=None))
    assert any("no attributes" in note for note in export_features("lxmert-tsv", store, second).notes)
    result = import_features("lxmert-tsv", second, back, origin="caffe36")
    assert (result.stored, result.failed) == (1, 3)  # the three are in the store from another file
    for content in ("[]", '{"coco:1": [1e999, 480]}', '{"coco:1": 640}'):
        (tmp_path / "sizes.json").write_text(content)
        with pytest.raises(DataError, match="width"):
            read_sizes(tmp_path / "sizes.json")
