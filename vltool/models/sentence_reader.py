"""Sentences to word features: frozen word vectors, a two-layer bidirectional LSTM, and a linear map to d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.dropout import Dropout
from vltool.models.initialization import glorot_


class DirectedLstm(nn.Module):
    """One LSTM layer in one direction with a learned initial state."""

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_width, hidden_width, batch_first=True)
        self.initial_hidden = nn.Parameter(torch.zeros(hidden_width))
        self.initial_cell = nn.Parameter(torch.zeros(hidden_width))

    def forward(self, sequence: Tensor) -> Tensor:
        """(V, T, input_width) -> (V, T, hidden_width)."""
        num_sentences = sequence.shape[0]
        hidden = self.initial_hidden.to(sequence.dtype).expand(1, num_sentences, -1).contiguous()
        cell = self.initial_cell.to(sequence.dtype).expand(1, num_sentences, -1).contiguous()
        return self.lstm(sequence, (hidden, cell))[0]


class BidirectionalLstm(nn.Module):
    """A stacked bidirectional LSTM in which padding never reaches a word.

    Each sentence is turned around within its own length, so padding comes last for both directions. The numbers are
    those of a packed bidirectional LSTM, but the sequences stay rectangular, for which the CPU's and the GPU's fast
    kernels are made (in bfloat16 on a CPU twice as fast as packed), and no length has to visit the host.
    """

    def __init__(self, input_width: int, hidden_width: int, *, num_layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        widths = [input_width] + [2 * hidden_width] * (num_layers - 1)
        self.forward_layers = nn.ModuleList(DirectedLstm(width, hidden_width) for width in widths)
        self.backward_layers = nn.ModuleList(DirectedLstm(width, hidden_width) for width in widths)
        self.dropout = Dropout(dropout)  # between the layers, as in torch's own stacked LSTM

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """(V, T, input_width), mask (V, T) with the real words first -> (V, T, 2 * hidden_width).

        Positions that are padding hold nothing of use.
        """
        turn = turn_within_length(mask)  # (V, T)
        for depth, (ahead, back) in enumerate(zip(self.forward_layers, self.backward_layers, strict=True)):
            if depth > 0:
                sequence = self.dropout(sequence)
            forward_output = ahead(sequence)
            backward_output = turn_around(back(turn_around(sequence, turn)), turn)
            sequence = torch.cat([forward_output, backward_output], dim=-1)
        return sequence


def turn_within_length(mask: Tensor) -> Tensor:
    """(V, T) positions that turn each sentence around within its length and leave its padding in place."""
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    lengths = mask.sum(dim=1, keepdim=True)  # (V, 1)
    return torch.where(positions < lengths, lengths - 1 - positions, positions)


def turn_around(sequence: Tensor, turn: Tensor) -> Tensor:
    """(V, T, width) with each sentence turned around within its length; turn (V, T) of `turn_within_length`."""
    result: Tensor = TurnAround.apply(sequence, turn)
    return result


class TurnAround(torch.autograd.Function):
    """Turning twice changes nothing, so the gradient is turned as the sequence was: a read, where torch would add."""

    @staticmethod
    def forward(context: Any, sequence: Tensor, turn: Tensor) -> Tensor:
        context.save_for_backward(turn)
        return gather_positions(sequence, turn)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (turn,) = context.saved_tensors
        return gather_positions(gradient, turn), None


def gather_positions(sequence: Tensor, positions: Tensor) -> Tensor:
    """(V, T, width) with each sentence's positions taken in the order of `positions` (V, T).

    Whole rows are copied; `gather`, which looks up each number, takes two to five times as long on a CPU.
    """
    sentences = torch.arange(len(positions), device=positions.device)
    return sequence[sentences[:, None], positions]


class SentenceReader(nn.Module):
    """Word vectors -> LSTM; the word vector joins the LSTM's output; dropout; linear to `width`.

    word_vectors: (vocabulary size, E), frozen unless train_word_vectors.
    """

    def __init__(
        self,
        word_vectors: Tensor,
        width: int,
        *,
        lstm_width: int = 450,
        lstm_layers: int = 2,
        dropout: float = 0.3,
        lstm_dropout: float = 0.1,
        train_word_vectors: bool = False,
    ) -> None:
        super().__init__()
        if not word_vectors.shape[1]:
            raise ConfigError(
                "this encoder reads words by their vectors, and the run's text is of word pieces, which have none. Set "
                "text.tokenizer=spacy and run embed-text again"
            )
        self.word_vectors = nn.Embedding.from_pretrained(word_vectors.clone(), freeze=not train_word_vectors)
        vector_width = word_vectors.shape[1]
        self.lstm = BidirectionalLstm(vector_width, lstm_width, num_layers=lstm_layers, dropout=lstm_dropout)
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(2 * lstm_width + vector_width, width)
        glorot_(self)

    def forward(self, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """tokens (V, T) long, token_mask (V, T) with the real words first -> (V, T, width)."""
        vectors = self.word_vectors(tokens)  # (V, T, E)
        read = self.lstm(vectors, token_mask)  # (V, T, 2 * lstm_width)
        return self.project(self.dropout(torch.cat([vectors, read.to(vectors.dtype)], dim=-1)))
