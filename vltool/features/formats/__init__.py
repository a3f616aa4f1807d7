"""Formats of region features that other tools read and write, by name."""

from __future__ import annotations

from vltool.features.formats.format import Format
from vltool.registry import resolve

FORMATS = {
    "vilbert-lmdb": "vltool.features.formats.pickled:VilbertLmdb",
    "mmf-lmdb": "vltool.features.formats.pickled:MmfLmdb",
    "bottom-up-tsv": "vltool.features.formats.tsv:BottomUpTsv",
    "lxmert-tsv": "vltool.features.formats.tsv:LxmertTsv",
    "uniter-npz": "vltool.features.formats.uniter:UniterNpz",
    "uniter-lmdb": "vltool.features.formats.uniter:UniterLmdb",
    "vinvl-tsv": "vltool.features.formats.vinvl:VinvlTsv",
    "milvlg-npz": "vltool.features.formats.milvlg:MilvlgNpz",
    "dcn-h5": "vltool.features.formats.hdf5:DcnH5",
    "hengyuan-h5": "vltool.features.formats.hdf5:HengyuanH5",
}


def format_called(name: str) -> Format:
    """The format of that name. Raises ConfigError with the known names if there is none."""
    return resolve(FORMATS, name, kind="format")()
