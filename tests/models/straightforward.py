"""The paper's equations as they stand: what our layers, encoder and decoders are held to and timed against.

Two affinities a layer, a weighted sum per head, concatenations in front of every W, and no sharing between rows or
levels. Everything works on our modules' own parameters, in whatever precision they have, with torch's own dropout.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltool.models.co_attention_layer import DenseCoattentionLayer
from vltool.models.decoders.grounding import GroundingDecoder
from vltool.models.decoders.summary import SummaryNetwork
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.sentence_reader import BidirectionalLstm, SentenceReader
from vltool.structures import Batch, JointState


def dropout(features: Tensor, module: nn.Module) -> Tensor:
    return F.dropout(features, float(module.probability), module.training)  # type: ignore[arg-type]


def attend(
    queries: Tensor, values: Tensor, mask: Tensor, query_map: nn.Linear, value_map: nn.Linear, slots: Tensor, maps: int
) -> Tensor:
    """One sequence attending to another: an affinity of its own, a weighted sum per head, then their mean (3.2.1)."""
    everything = torch.cat([slots.expand(len(values), -1, -1).to(values.dtype), values], dim=1)  # (N, M + Q, d)
    allowed = torch.cat([mask.new_ones(len(values), len(slots)), mask], dim=1)  # (N, M + Q)
    by_head_queries = query_map(queries).unflatten(-1, (maps, -1)).transpose(1, 2)  # (N, H, P, d / H)
    by_head_values = value_map(everything).unflatten(-1, (maps, -1)).transpose(1, 2)  # (N, H, M + Q, d / H)
    affinity = by_head_queries @ by_head_values.transpose(-1, -2) / by_head_queries.shape[-1] ** 0.5
    weights = affinity.masked_fill(~allowed[:, None, None], -torch.inf).softmax(dim=-1)  # (N, H, P, M + Q)
    return (weights.to(everything.dtype) @ everything[:, None]).mean(dim=1)


def layer(part: DenseCoattentionLayer, state: JointState) -> JointState:
    """Eq. 1-3."""
    words, regions, maps = part.affinity_words, part.affinity_regions, part.num_maps
    to_words = attend(state.text, state.image, state.region_mask, words, regions, part.memory_regions, maps)
    to_regions = attend(state.image, state.text, state.token_mask, regions, words, part.memory_words, maps)
    added_text = F.relu(part.fuse_words(torch.cat([state.text, to_words], dim=-1)))
    added_image = F.relu(part.fuse_regions(torch.cat([state.image, to_regions], dim=-1)))
    text, image = dropout(added_text, part.dropout) + state.text, dropout(added_image, part.dropout) + state.image
    return JointState(text, image, state.token_mask, state.region_mask)


def stack(encoder: DenseCoattentionEncoder, state: JointState, *, level: int) -> JointState:
    for part in list(encoder.levels)[:level]:
        state = layer(part, state)  # type: ignore[arg-type]
    return state


def bidirectional_lstm(lstm: BidirectionalLstm, sequence: Tensor, mask: Tensor) -> Tensor:
    """Word after word of each sentence, there and back, with the LSTM's own equations."""
    for depth, directions in enumerate(zip(lstm.forward_layers, lstm.backward_layers, strict=True)):
        if depth:
            sequence = dropout(sequence, lstm.dropout)
        outputs = []
        for reverse, part in zip((False, True), directions, strict=True):
            state = part.initial_hidden.expand(len(sequence), -1), part.initial_cell.expand(len(sequence), -1)
            steps: list[Tensor] = [state[0]] * sequence.shape[1]
            for place in reversed(range(sequence.shape[1])) if reverse else range(sequence.shape[1]):
                new = lstm_cell(part.lstm, sequence[:, place], *state)  # type: ignore[arg-type]
                real = mask[:, place, None]
                state = torch.where(real, new[0], state[0]), torch.where(real, new[1], state[1])
                steps[place] = state[0]
            outputs.append(torch.stack(steps, dim=1))
        sequence = torch.cat(outputs, dim=-1)
    return sequence


def lstm_cell(lstm: nn.LSTM, given: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    gates = F.linear(given, lstm.weight_ih_l0, lstm.bias_ih_l0) + F.linear(hidden, lstm.weight_hh_l0, lstm.bias_hh_l0)
    let_in, forget, candidate, let_out = gates.chunk(4, dim=-1)
    cell = forget.sigmoid() * cell + let_in.sigmoid() * candidate.tanh()
    return let_out.sigmoid() * cell.tanh(), cell


def read_sentences(reader: SentenceReader, tokens: Tensor, mask: Tensor) -> Tensor:
    vectors = reader.word_vectors(tokens)
    read = bidirectional_lstm(reader.lstm, vectors, mask)
    return reader.project(dropout(torch.cat([vectors, read], dim=-1), reader.dropout))


def encode(encoder: DenseCoattentionEncoder, batch: Batch, *, level: int) -> JointState:
    """Every row by itself: its image and its sentence are embedded however often they occur."""
    image_of_row, sentence_of_row = batch.rows.unbind(dim=1)
    token_mask, region_mask = batch.token_mask[sentence_of_row], batch.region_mask[image_of_row]
    text = read_sentences(encoder.read_sentences, batch.tokens[sentence_of_row], token_mask)
    image = encoder.project_regions(batch.regions[image_of_row])
    if encoder.normalize_regions:
        image = image / image.norm(dim=-1, keepdim=True)
    return stack(encoder, JointState(text, image, token_mask, region_mask), level=level)


def summary(network: SummaryNetwork, features: Tensor, mask: Tensor) -> Tensor:
    """Eq. 4-6: a weighted sum per score map, then their mean."""
    hidden = dropout(F.relu(network.hidden(features)), network.dropout)
    weights = network.scores(hidden).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)  # (N, P, K)
    return torch.stack([(weights[..., k, None] * features).sum(dim=1) for k in range(weights.shape[-1])]).mean(dim=0)


def summaries(both: Any, state: JointState) -> tuple[Tensor, Tensor]:
    regions = summary(both.summarize_regions, state.image, state.region_mask)
    return summary(both.summarize_words, state.text, state.token_mask), regions


def match(decoder: Any, state: JointState) -> Tensor:
    """Eq. 7."""
    words, regions = summaries(decoder.summary, state)
    return torch.einsum("ni,ij,nj->n", regions, decoder.compare.compare.weight, words)


def answer(decoder: Any, state: JointState) -> Tensor:
    """Eq. 8."""
    words, regions = summaries(decoder.summary, state)
    classify = decoder.classify
    hidden = F.relu(classify.hidden(torch.cat([regions, words], dim=-1)))
    return classify.answers(dropout(hidden, classify.dropout))


def ground(decoder: GroundingDecoder, state: JointState, spans: Tensor, mask: Tensor) -> Tensor:
    """Eq. 9 and 10, phrase by phrase; 0 for padded phrases."""
    logits = state.image.new_zeros(*mask.shape, state.image.shape[1])  # (B, P, R)
    for row, place in mask.nonzero().tolist():
        start, end = spans[row, place].tolist()
        phrase = state.text[row, start:end].mean(dim=0)
        logits[row, place] = torch.stack([phrase @ decoder.compare.weight @ region for region in state.image[row]])
    return logits
