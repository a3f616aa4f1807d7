"""Glorot initialisation, which the paper uses everywhere."""

from __future__ import annotations

from typing import Literal

from torch import nn

Initialization = Literal["glorot_uniform", "glorot_normal"]
"""The paper says Glorot and not which; uniform is the layers' public code's."""


def glorot_(module: nn.Module, kind: Initialization = "glorot_uniform") -> None:
    """Draw every linear map below `module` from Glorot's distribution and set its bias to zero.

    An LSTM's stacked matrices are drawn gate by gate, since each gate is a map of its own. A module's further
    matrices are named in its `glorot_parameters`.
    """
    draw_ = nn.init.xavier_normal_ if kind == "glorot_normal" else nn.init.xavier_uniform_
    for part in module.modules():
        if isinstance(part, nn.Linear):
            draw_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LSTM):
            for name, parameter in part.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(parameter)
                    continue
                for gate in parameter.data.chunk(4):
                    draw_(gate)
    for part in module.modules():
        for name in getattr(part, "glorot_parameters", ()):
            if len(getattr(part, name)):
                draw_(getattr(part, name))
