"""What any encoder does: embed once, run levels 1 ... l, pair everything with everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vltool.errors import ConfigError
from vltool.models.encoder import Encoder
from vltool.structures import Batch, JointState


class AddOne(nn.Module):
    def forward(self, state: JointState) -> JointState:
        return replace(state, text=state.text + 1, image=state.image * 2)


class CountingEncoder(Encoder):
    """Names its parts and nothing else; counts what it embeds."""

    text_width, image_width = 1, 2

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([AddOne(), AddOne(), AddOne()])
        self.num_sentences = self.num_images = 0

    def embed_sentences(self, tokens: Tensor, token_mask: Tensor) -> Tensor:
        self.num_sentences += len(tokens)
        return tokens[..., None].float()

    def embed_images(self, regions: Tensor, region_mask: Tensor, boxes: Tensor) -> Tensor:
        self.num_images += len(regions)
        return regions[..., :2].float()


def test_each_image_and_sentence_is_embedded_once(batch: Batch) -> None:
    encoder = CountingEncoder()
    state = encoder.embed(batch)
    assert (encoder.num_images, encoder.num_sentences) == (3, 4)
    torch.testing.assert_close(state.text[4, :, 0], batch.tokens[0].float())
    torch.testing.assert_close(state.image[3], batch.regions[2, :, :2].float())
    torch.testing.assert_close(state.token_mask, batch.token_mask[batch.rows[:, 1]])
    torch.testing.assert_close(state.region_mask, batch.region_mask[batch.rows[:, 0]])


def test_forward_runs_the_levels_up_to_l_and_none_above(batch: Batch) -> None:
    encoder = CountingEncoder()
    start = encoder.embed(batch)
    for level in (1, 2, 3):
        state = encoder(batch, level=level)
        torch.testing.assert_close(state.text, start.text + level)
        torch.testing.assert_close(state.image, start.image * 2**level)


@pytest.mark.parametrize("level", [0, 4, -1, True, 1.0])
def test_a_level_that_is_not_there_names_the_legal_range(batch: Batch, level: int) -> None:
    with pytest.raises(ConfigError, match=r"level .* Choose a whole number from 1 to 3"):
        CountingEncoder()(batch, level=level)


def test_any_encoder_can_pair_everything(batch: Batch) -> None:
    encoder = CountingEncoder()
    images = encoder.prepare_images(batch.regions, batch.region_mask, batch.boxes)
    sentences = encoder.prepare_sentences(batch.tokens, batch.token_mask)
    rows = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    paired, expected = encoder.pair_states(images, sentences, level=2), encoder(replace(batch, rows=rows), level=2)
    for name, tensor in vars(expected).items():
        torch.testing.assert_close(getattr(paired, name), tensor)


def test_prepared_sides_are_cut_and_joined_alike() -> None:
    encoder = CountingEncoder()
    side = encoder.prepare_sentences(torch.arange(12).view(3, 4), torch.ones(3, 4, dtype=torch.bool))
    first, rest = side.take(slice(0, 1)), side.take(torch.tensor([1, 2]))
    torch.testing.assert_close(type(side).concatenate([first, rest]).features, side.features)
    assert side.take(slice(1, 3), num_positions=2).features.shape == (2, 2, 1)
