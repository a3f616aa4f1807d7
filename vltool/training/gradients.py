"""Gradients of several processes, added up. Why not DistributedDataParallel: docs/decisions/several_processes.md."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from vltool.engines.processes import Processes


def add_up_gradients(parameters: Sequence[nn.Parameter], loss: float, processes: Processes) -> float:
    """Give every process the sum of all gradients, and the sum of all losses.

    A parameter that no process has reached keeps no gradient (None, not zero), so that Adam leaves it alone. A
    process that had no example of its own takes part all the same.
    """
    if processes.size == 1:
        return loss
    sums = torch.tensor([loss, *(parameter.grad is not None for parameter in parameters)], dtype=torch.float64)
    processes.add_up(sums)
    reached = [parameter for parameter, count in zip(parameters, sums[1:].tolist(), strict=True) if count]
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in reached]
    together = torch.cat([gradient.flatten() for gradient in own])
    processes.add_up(together)
    pieces = together.split([parameter.numel() for parameter in reached])
    for parameter, piece in zip(reached, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
    return float(sums[0])
