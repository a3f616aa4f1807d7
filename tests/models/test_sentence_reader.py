"""The bidirectional LSTM against torch's packed one, and the reader around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vltool.models.sentence_reader import BidirectionalLstm, SentenceReader, turn_around, turn_within_length

LENGTHS = torch.tensor([5, 2, 4, 1])
MASK = torch.arange(5) < LENGTHS[:, None]


def make_lstm() -> BidirectionalLstm:
    torch.manual_seed(0)
    lstm = BidirectionalLstm(3, 4).double().eval()
    for name, parameter in lstm.named_parameters():
        if name.endswith(("initial_hidden", "initial_cell")):
            nn.init.normal_(parameter)
    return lstm


def packed_lstm(lstm: BidirectionalLstm, sequence: Tensor) -> Tensor:
    """The same weights in torch's own stacked, bidirectional LSTM over packed sequences."""
    packed = nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True).double()
    layers = [part for pair in zip(lstm.forward_layers, lstm.backward_layers, strict=True) for part in pair]
    weights = {}
    for k, layer in enumerate(layers):
        ending = f"_l{k // 2}" + "_reverse" * (k % 2)
        weights |= {name.replace("_l0", ending): tensor for name, tensor in layer.lstm.state_dict().items()}
    packed.load_state_dict(weights)
    hidden = torch.stack([layer.initial_hidden for layer in layers])[:, None].expand(-1, len(sequence), -1).contiguous()
    cell = torch.stack([layer.initial_cell for layer in layers])[:, None].expand(-1, len(sequence), -1).contiguous()
    given = nn.utils.rnn.pack_padded_sequence(sequence, LENGTHS, batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(packed(given, (hidden, cell))[0], batch_first=True)[0]


@torch.no_grad()
def test_it_is_the_packed_bidirectional_lstm() -> None:
    lstm, sequence = make_lstm(), torch.randn(4, 5, 3, dtype=torch.float64)
    ours, theirs = lstm(sequence, MASK), packed_lstm(lstm, sequence)
    torch.testing.assert_close(ours[MASK], theirs[MASK], rtol=0, atol=1e-12)


def test_gradient_of_turning_around_is_finite_differences() -> None:
    turn = turn_within_length(MASK)
    assert turn.tolist() == [[4, 3, 2, 1, 0], [1, 0, 2, 3, 4], [3, 2, 1, 0, 4], [0, 1, 2, 3, 4]]
    sequence = torch.randn(4, 5, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(turn_around, (sequence, turn))


def test_padding_never_reaches_a_word() -> None:
    lstm, sequence = make_lstm(), torch.randn(4, 5, 3, dtype=torch.float64).requires_grad_()
    lstm(sequence, MASK)[MASK].sum().backward()
    assert sequence.grad is not None
    assert (sequence.grad[~MASK] == 0).all() and (sequence.grad[MASK] != 0).all()


def test_initial_states_are_learned() -> None:
    lstm = make_lstm()
    lstm(torch.randn(4, 5, 3, dtype=torch.float64), MASK)[MASK].sum().backward()
    for name, parameter in lstm.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_word_vector_joins_the_lstm_s_output() -> None:
    torch.manual_seed(0)
    reader = SentenceReader(torch.randn(9, 3), 2, lstm_width=4).eval()
    tokens = torch.tensor([[1, 2, 3, 4, 5]] * 4)
    vectors = reader.word_vectors(tokens)
    joined = torch.cat([vectors, reader.lstm(vectors, MASK)], dim=-1)
    torch.testing.assert_close(reader(tokens, MASK), reader.project(joined))


def test_the_given_word_vectors_are_copied() -> None:
    vectors = torch.randn(9, 3)
    reader = SentenceReader(vectors, 2, lstm_width=4)
    vectors.zero_()
    assert reader.word_vectors.weight.abs().sum() > 0
