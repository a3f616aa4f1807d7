"""Seconds of scoring every image with every sentence, against the usual way: python -m tests.benchmarks.pair_scoring

Width 1024, level 3, 36 regions, 14 words. The usual way runs every pair through all levels and the decoder as the
equations stand (tests/models/straightforward.py), in float32; its level 0, which could be shared, is not counted. Ours
is `score_all_pairs` from the region features and tokens on, level 0 included; in float32 it scores a corner of the same
pairs. What scoring the best pairs again in float32 adds depends on how many there are, and is said for 1,000 images and
5,000 sentences.

The contestants take turns, so that other work on the machine slows all alike; the best round of each is printed. The
products alone are as many as the scoring needs that they are compared with, right after it, and their share is the
median of the rounds': a short run would find a quiet moment that a long one does not.

Bars on two processor cores with units for bfloat16 (AMX): in bfloat16 6 times the usual way, and 55 % of the machine's
own rate of bfloat16 matrix products, counting only the operations that the exact scores need.
"""

from __future__ import annotations

import argparse
import copy
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from tests.benchmarks.train_step import Seconds
from tests.models import straightforward
from vltool.evaluation.block_threads import for_each_block
from vltool.evaluation.pair_scores import NUM_EXACT, score_all_pairs
from vltool.models.decoders.matching import MatchingDecoder
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.encoder import PreparedSide, all_pairs
from vltool.models.joint_model import JointModel
from vltool.processor import keep_freed_memory

WIDTH, LEVEL, REGIONS, WORDS, FEATURE_DIM = 1024, 3, 36, 14, 2048
VOCABULARY, VECTOR_WIDTH, NUM_MAPS = 1000, 300, 4
IMAGES, SENTENCES = 128, 256
CORNER_IMAGES, CORNER_SENTENCES = 64, 64
USUAL_IMAGES, USUAL_SENTENCES = 4, 16


def needed_operations() -> float:
    """Of one pair's exact score, with all that an image or a sentence needs alone left out.

    Level 1 has no product with a weight left: an affinity and two weighted sums. Each further level projects both
    sides for the affinity and for their own half of W, and the shorter side for the attended halves. The decoder has
    a hidden layer and K score maps at each position, a weighted sum of them, and one product for W.

    Ours makes do with fewer, as the longer side is not projected for the affinity (models/co_attention_inference.py).
    """
    positions, shorter = REGIONS + WORDS, min(REGIONS, WORDS)
    attention = 3 * REGIONS * WORDS * WIDTH
    level = (2 * positions + 2 * shorter) * WIDTH * WIDTH
    decoder = positions * (WIDTH + NUM_MAPS + 1) * WIDTH + WIDTH * WIDTH
    return 2.0 * (LEVEL * attention + (LEVEL - 1) * level + decoder)


class Scoring:
    """A network and what it scores."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        encoder = DenseCoattentionEncoder(torch.randn(VOCABULARY, VECTOR_WIDTH), FEATURE_DIM, num_levels=LEVEL)
        summary = encoder.build_summary(num_maps=NUM_MAPS)
        self.decoder = MatchingDecoder(summary, encoder.build_comparison(summary))
        self.model = JointModel(encoder, {"retrieval": self.decoder}, {"retrieval": LEVEL}).to(device).eval()
        self.encoder, self.device = encoder, device
        self.inputs = {
            "regions": torch.rand(IMAGES, REGIONS, FEATURE_DIM).half(),
            "region_mask": torch.ones(IMAGES, REGIONS, dtype=torch.bool),
            "boxes": torch.rand(IMAGES, REGIONS, 5),
            "tokens": torch.randint(1, VOCABULARY, (SENTENCES, WORDS)),
            "token_mask": torch.ones(SENTENCES, WORDS, dtype=torch.bool),
        }

    def ours(self, precision: str, *, images: int = IMAGES, sentences: int = SENTENCES) -> np.ndarray:
        """(images, sentences): all pairs of the first ones."""
        inputs = {
            name: tensor[: sentences if name.startswith("token") else images] for name, tensor in self.inputs.items()
        }
        return score_all_pairs(self.model, "retrieval", **inputs, device=self.device, precision=precision, num_exact=0)

    def corner(self, precision: str) -> np.ndarray:
        return self.ours(precision, images=CORNER_IMAGES, sentences=CORNER_SENTENCES)

    def usual(self) -> np.ndarray:
        """(USUAL_IMAGES, USUAL_SENTENCES): all pairs of the first ones, all levels on each."""
        return self._usual(self.encoder, self.decoder, self.inputs)

    @torch.inference_mode()
    def _usual(
        self, encoder: DenseCoattentionEncoder, decoder: MatchingDecoder, inputs: dict[str, torch.Tensor]
    ) -> np.ndarray:
        found = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        images, sentences = slice(0, USUAL_IMAGES), slice(0, USUAL_SENTENCES)
        region_mask, token_mask = found["region_mask"][images], found["token_mask"][sentences]
        image = encoder.embed_images(found["regions"][images], region_mask, found["boxes"][images])
        text = encoder.embed_sentences(found["tokens"][sentences], token_mask)
        sides = PreparedSide(image, region_mask), PreparedSide(text, token_mask)
        of_image, of_sentence = all_pairs(*sides).T
        state = encoder.joint_state(sides[0].take(of_image), sides[1].take(of_sentence))
        started = time.perf_counter(), time.process_time()
        scores = straightforward.match(decoder, straightforward.stack(encoder, state, level=LEVEL))
        scores = scores.view(USUAL_IMAGES, USUAL_SENTENCES).cpu().numpy()
        self.seconds = Seconds(time.perf_counter() - started[0], time.process_time() - started[1])
        return scores

    def in_float64(self) -> np.ndarray:
        """What `usual` gives when all is computed in float64."""
        encoder, decoder = copy.deepcopy(self.encoder).double(), copy.deepcopy(self.decoder).double()
        found = {name: value.double() if value.is_floating_point() else value for name, value in self.inputs.items()}
        return self._usual(encoder, decoder, found)


def timed(run: Callable[[], object], pairs: int) -> Seconds:
    """Of one pair."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return Seconds((time.perf_counter() - wall) / pairs, (time.process_time() - processor) / pairs)


def products(dtype: torch.dtype, device: torch.device, *, pairs: int) -> Seconds:
    """Of the operations of one pair, as nothing but large products of this width, as many as `pairs` need.

    By threads that share each product or by threads with products of their own, whichever is faster.
    """
    rows = 4096
    turns = max(2, round(pairs * needed_operations() / (2 * rows * WIDTH * WIDTH)))
    left, right = torch.randn(rows, WIDTH, device=device).to(dtype), torch.randn(WIDTH, WIDTH, device=device).to(dtype)

    def shared() -> None:
        for _ in range(turns // 2):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def apart() -> None:
        each = range(turns // 2)
        for_each_block(lambda _: left @ right, each, lambda *_: None, device=device, precision="float32")

    scale = needed_operations() / (turns // 2 * 2 * rows * WIDTH * WIDTH)
    ways = [shared] if device.type == "cuda" else [shared, apart]
    return Seconds(*(scale * value for value in min(timed(run, 1) for run in ways)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    keep_freed_memory()  # as every process of the command line does
    scoring, device = Scoring(arguments.device), arguments.device

    def usual() -> Seconds:
        scoring.usual()
        return Seconds(*(value / (USUAL_IMAGES * USUAL_SENTENCES) for value in scoring.seconds))

    contestants: dict[str, Callable[[], Seconds]] = {
        "the usual way, float32": usual,
        "ours float32": lambda: timed(lambda: scoring.corner("float32"), CORNER_IMAGES * CORNER_SENTENCES),
        "ours bfloat16": lambda: timed(lambda: scoring.ours("bfloat16"), IMAGES * SENTENCES),
        "its products alone, bfloat16": lambda: products(torch.bfloat16, device, pairs=IMAGES * SENTENCES),
        "its products alone, float32": lambda: products(torch.float32, device, pairs=CORNER_IMAGES * CORNER_SENTENCES),
    }
    found: dict[str, list[Seconds]] = {name: [] for name in contestants}
    for turn in range(arguments.rounds + 1):
        for name, run in contestants.items():
            taken = run()
            if turn:  # in the first, kernels are made and memory is taken
                found[name].append(taken)
    best = {name: Seconds(*map(min, zip(*times, strict=True))) for name, times in found.items()}
    print(f"{torch.get_num_threads()} threads; {needed_operations() / 1e9:.3f} billion operations a pair")
    print(f"{'':30}{'wall ms':>9}{'ratio':>7}{'processor ms':>14}{'ratio':>7}")
    base = best["the usual way, float32"]
    for name, taken in best.items():
        ratios = base.wall / taken.wall, base.processor / taken.processor
        print(f"{name:30}{1e3 * taken.wall:9.2f}{ratios[0]:7.2f}{1e3 * taken.processor:14.2f}{ratios[1]:7.2f}")
    turns = zip(found["its products alone, bfloat16"], found["ours bfloat16"], strict=True)
    shares = sorted(products_alone.wall / ours.wall for products_alone, ours in turns)
    print(f"bfloat16: {statistics.median(shares):.1%} of the machine's own product rate, round by round ", end="")
    print(" ".join(f"{share:.1%}" for share in shares))
    again = NUM_EXACT * (1 / 1000 + 1 / 5000) * best["ours float32"].wall / best["ours bfloat16"].wall
    print(f"scoring the best {NUM_EXACT} again in float32 adds {again:.0%} to 1,000 x 5,000 pairs")
    exact, rough, plain = scoring.corner("float32"), scoring.corner("bfloat16"), scoring.usual()
    ours, double = exact[:USUAL_IMAGES, :USUAL_SENTENCES], scoring.in_float64()
    print(f"float32 scores differ by {np.abs(ours - plain).max():.1e} at most; they spread by {exact.std():.2f}")
    errors = [np.abs(found - double).max() for found in (ours, plain)]
    print(f"from float64's, ours differ by {errors[0]:.1e} at most, the usual way's by {errors[1]:.1e}")
    print(f"bfloat16 scores differ by {np.abs(exact - rough).max():.1e} at most from float32's")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB at most")


if __name__ == "__main__":
    main()
