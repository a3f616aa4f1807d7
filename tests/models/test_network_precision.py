"""Choosing the number format."""

from __future__ import annotations

import pytest
import torch

from vltool.errors import ConfigError
from vltool.models.precision import compute_in, resolve_precision
from vltool.processor import has_bfloat16_units


def test_auto_follows_the_machine() -> None:
    expected = "bfloat16" if has_bfloat16_units("cpu") else "float32"
    assert resolve_precision("auto", "cpu") == expected


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_made_in_it(precision: str, dtype: torch.dtype) -> None:
    matrix = torch.ones(2, 2)
    with compute_in(precision, "cpu"):
        assert (matrix @ matrix).dtype == dtype
    assert (matrix @ matrix).dtype == torch.float32


def test_another_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"precision 'half' is not known.*auto, float32, bfloat16"):
        compute_in("half", "cpu")


def test_float16_is_for_gpus() -> None:
    assert resolve_precision("float16", "cuda") == "float16"
    with pytest.raises(ConfigError, match="float16 needs a GPU, the device is cpu"):
        compute_in("float16", "cpu")
