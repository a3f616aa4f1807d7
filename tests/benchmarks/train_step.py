"""Seconds of a training step, against the paper's equations as they stand: python -m tests.benchmarks.train_step

Width 1024, 5 levels, 36 regions, 14 words, batch 32: forward and backward of the stack of levels (what the bars are
about), and of the whole network: embedding, levels, answering decoder, loss. The straightforward implementation is
the tests' (tests/models/straightforward.py), on the same weights. Its bfloat16 stands beside it for comparison.

The contestants take turns, so that other work on the machine slows all alike; the best round of each is printed.
Bars on two processor cores with units for bfloat16 (AMX): in bfloat16 3.5 times the straightforward float32, in
float32 1.2 times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tests.models import straightforward
from vltool.models import products
from vltool.models.decoders.answering import AnsweringDecoder
from vltool.models.dense_coattention import DenseCoattentionEncoder
from vltool.models.precision import compute_in
from vltool.processor import keep_freed_memory
from vltool.structures import Batch, JointState

WIDTH, LEVELS, REGIONS, WORDS, BATCH, FEATURE_DIM, ANSWERS = 1024, 5, 36, 14, 32, 2048, 3000
VOCABULARY, VECTOR_WIDTH = 1000, 300

Step = Callable[[], Tensor]


class Seconds(NamedTuple):
    wall: float
    processor: float


def make_batch(device: torch.device) -> Batch:
    return Batch(
        regions=torch.rand(BATCH, REGIONS, FEATURE_DIM),
        region_mask=torch.ones(BATCH, REGIONS, dtype=torch.bool),
        boxes=torch.rand(BATCH, REGIONS, 5),
        tokens=torch.randint(1, VOCABULARY, (BATCH, WORDS)),
        token_mask=torch.ones(BATCH, WORDS, dtype=torch.bool),
        rows=torch.arange(BATCH)[:, None].expand(-1, 2).contiguous(),
        example_ids=tuple(map(str, range(BATCH))),
        image_ids=(),
    ).to(device)


def stack_steps(encoder: DenseCoattentionEncoder, batch: Batch) -> tuple[Step, Step]:
    """Ours and the straightforward: the loss of the levels' last state, gradients down to level 0."""
    with torch.no_grad():
        start = encoder.embed(batch)
    text, image = start.text.requires_grad_(), start.image.requires_grad_()

    def step(run: Callable[[JointState], JointState]) -> Tensor:
        state = run(JointState(text, image, start.token_mask, start.region_mask))
        return state.text.float().square().mean() + state.image.float().square().mean()

    return (
        lambda: step(lambda state: encoder.run_levels(state, level=LEVELS)),
        lambda: step(lambda state: straightforward.stack(encoder, state, level=LEVELS)),
    )


def network_steps(encoder: DenseCoattentionEncoder, decoder: AnsweringDecoder, batch: Batch) -> tuple[Step, Step]:
    """Ours and the straightforward: from the batch to the loss of the answers."""
    targets = torch.rand(BATCH, ANSWERS, device=batch.tokens.device)

    def loss(logits: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)

    return (
        lambda: loss(decoder(encoder(batch, level=LEVELS), {})),
        lambda: loss(straightforward.answer(decoder, straightforward.encode(encoder, batch, level=LEVELS))),
    )


def by_mkl(run: Callable[[], Seconds]) -> Seconds:
    """The same with float32 products made by MKL, as the straightforward implementation's are."""
    chosen, products.MKL_IS_SLOW = products.MKL_IS_SLOW, False
    try:
        return run()
    finally:
        products.MKL_IS_SLOW = chosen


def seconds(step: Step, modules: nn.Module, precision: str, device: torch.device) -> Seconds:
    """Of one forward and backward."""
    modules.zero_grad(set_to_none=True)
    wait(device)
    wall, processor = time.perf_counter(), time.process_time()
    with compute_in(precision, device):
        loss = step()
    loss.backward()
    wait(device)
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product_seconds(dtype: torch.dtype, device: torch.device) -> Seconds:
    """Of the multiplications of `needed_operations`, as nothing but large products of this width."""
    rows = BATCH * REGIONS
    left, right = torch.randn(rows, WIDTH, device=device).to(dtype), torch.randn(WIDTH, WIDTH, device=device).to(dtype)
    turns = 20
    wait(device)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(turns):
        left @ right
    wait(device)
    scale = needed_operations() / (turns * 2 * rows * WIDTH * WIDTH)
    return Seconds((time.perf_counter() - wall) * scale, (time.process_time() - processor) * scale)


def needed_operations() -> float:
    """Of forward and backward of the stack, the shorter side projected for the attended half of each W.

    A product of the forward is followed by two of its size: for the gradient of its input and of its weights.
    """
    shorter = min(REGIONS, WORDS)
    linear = (2 * (REGIONS + WORDS) + 2 * shorter) * WIDTH * WIDTH
    attention = 3 * REGIONS * WORDS * WIDTH  # one affinity, two weighted sums
    return 3 * 2 * LEVELS * BATCH * (linear + attention)


def compare(title: str, ours: Step, theirs: Step, modules: nn.Module, device: torch.device, rounds: int) -> None:
    contestants: dict[str, Callable[[], Seconds]] = {
        "straightforward float32": lambda: seconds(theirs, modules, "float32", device),
        "straightforward bfloat16": lambda: seconds(theirs, modules, "bfloat16", device),
        "ours float32": lambda: seconds(ours, modules, "float32", device),
        "ours float32, products by MKL": lambda: by_mkl(lambda: seconds(ours, modules, "float32", device)),
        "ours bfloat16": lambda: seconds(ours, modules, "bfloat16", device),
        "its products alone, bfloat16": lambda: product_seconds(torch.bfloat16, device),
        "its products alone, float32": lambda: product_seconds(torch.float32, device),
    }
    for run in contestants.values():
        run()  # kernels are made and memory is taken
    found: dict[str, list[Seconds]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            found[name].append(run())
    best = {name: Seconds(*map(min, zip(*times, strict=True))) for name, times in found.items()}
    base = best["straightforward float32"]
    print(f"{title}\n{'':30}{'wall s':>9}{'ratio':>7}{'processor s':>13}{'ratio':>7}")
    for name, taken in best.items():
        ratios = base.wall / taken.wall, base.processor / taken.processor
        print(f"{name:30}{taken.wall:9.3f}{ratios[0]:7.2f}{taken.processor:13.3f}{ratios[1]:7.2f}")
    if title == "stack":
        for kind in ("float32", "bfloat16"):
            alone, whole = best[f"its products alone, {kind}"], best[f"ours {kind}"]
            shares = alone.wall / whole.wall, alone.processor / whole.processor
            print(f"{kind}: {shares[0]:.0%} of torch's own product rate here ({shares[1]:.0%} by processor time)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    keep_freed_memory()  # as every process of the command line does
    torch.manual_seed(0)
    encoder = DenseCoattentionEncoder(torch.randn(VOCABULARY, VECTOR_WIDTH), FEATURE_DIM).to(arguments.device)
    summary = encoder.build_summary()
    classify = encoder.build_classifier(summary.joined_width, ANSWERS)
    decoder = AnsweringDecoder(summary, classify).to(arguments.device)
    batch = make_batch(arguments.device)
    modules = nn.ModuleList([encoder, decoder]).train()
    print(f"{torch.get_num_threads()} threads; {needed_operations() / 1e9:.0f} billion operations needed for the stack")
    compare("stack", *stack_steps(encoder, batch), modules, arguments.device, arguments.rounds)
    compare("network", *network_steps(encoder, decoder, batch), modules, arguments.device, arguments.rounds)


if __name__ == "__main__":
    main()
