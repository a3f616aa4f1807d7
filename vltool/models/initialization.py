"""Glorot initialisation, which the paper uses everywhere."""

from __future__ import annotations

from torch import nn


def glorot_(module: nn.Module) -> None:
    """Draw every linear map below `module` from Glorot's uniform distribution and set its bias to zero.

    An LSTM's stacked matrices are drawn gate by gate, since each gate is a map of its own.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LSTM):
            for name, parameter in part.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(parameter)
                    continue
                for gate in parameter.data.chunk(4):
                    nn.init.xavier_uniform_(gate)
