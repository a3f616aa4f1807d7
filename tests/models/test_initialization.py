"""Glorot's uniform distribution, everywhere."""

from __future__ import annotations

import torch
from torch import nn

from vltool.models.initialization import glorot_


def test_linear_maps_and_lstm_gates_fill_glorot_s_range() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"linear": nn.Linear(50, 70), "lstm": nn.LSTM(60, 40)})
    glorot_(network)
    lstm = network["lstm"]
    for weight, fans in (
        (network["linear"].weight, 120),
        *((gate, 100) for gate in lstm.weight_ih_l0.chunk(4)),
        *((gate, 80) for gate in lstm.weight_hh_l0.chunk(4)),
    ):
        limit = (6 / fans) ** 0.5
        assert 0.95 * limit < weight.abs().max() <= limit
    for bias in (network["linear"].bias, lstm.bias_ih_l0, lstm.bias_hh_l0):
        assert (bias == 0).all()
