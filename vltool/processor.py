"""What the processor or GPU multiplies fast; checked, never assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

BFLOAT16_UNITS = (
    "amx_bf16",
    "avx512_bf16",
)  # Intel's tiles; dot products of Intel's Cooper Lake, AMD's Zen 4 and later


def has_bfloat16_units(device: torch.device | str) -> bool:
    """Whether `device` multiplies matrices in bfloat16 faster than in float32."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return False
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.9
    if known:
        return any(known.get(unit, False) for unit in BFLOAT16_UNITS)
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # before; private, and so may be missing
    return any(getattr(torch.cpu, test, bool)() for test in tests)
