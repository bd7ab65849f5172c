"""Whether what the methods draw is distributed as their papers' formulas say.

Usage: uv run python -m benchmarks.distributions [SEED]

Each row is a mean over fresh draws beside its expectation; `sigmas` is how many standard errors lie between them. The
tests check the same with fixed seeds; here any seed will do.
"""

import math
import sys
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from tuner.regularizers import Step, get
from tuner.regularizers.blocks import seed_probability
from tuner.regularizers.cutout import draw_centres, spans
from tuner.regularizers.draws import beta
from tuner.regularizers.dropblock import draw_dropped
from tuner.regularizers.fmix import draw_mask
from tuner.regularizers.patchup import draw_holes
from tuner.regularizers.rectangle import draw_rectangle
from tuner.regularizers.region_mixup import grid, region_mixup
from tuner.regularizers.resizemix import draw_box
from tuner.training.criterion import soft_cross_entropy

Draw = Callable[[torch.Generator], float]


def main(seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = Table(title=f"What is drawn, seed {seed}", title_justify="left")
    for heading, justify in (("what", "left"), ("draws", "right"), ("expected", "right"), ("mean", "right")):
        table.add_column(heading, justify=justify)
    table.add_column("sigmas", justify="right")
    for what, count, expected, draw in checks():
        values = torch.tensor([draw(generator) for _ in range(count)], dtype=torch.float64)
        error = values.std() / math.sqrt(count)
        sigmas = ((values.mean() - expected) / error).item() if error > 0 else 0.0
        table.add_row(what, f"{count:,}", f"{expected:.4f}", f"{values.mean():.4f}", f"{sigmas:+.1f}")
    Console().print(table)


def checks() -> Iterator[tuple[str, int, float, Draw]]:
    """What is drawn, how often, its expectation, and one draw of it."""
    yield "CutMix, pasted area of 32 x 32, lam uniform", 20_000, 0.299, lambda g: _cut(g) / 1024
    yield "CutMix, boxes without a pixel", 20_000, (2 / 32) ** 2, lambda g: float(_cut(g) == 0)
    for length, expected in ((8, 0.055), (16, 0.191), (20, 0.278)):
        yield f"Cutout, blanked area of 32 x 32, length {length}", 300, expected, _blanked(length)
    # The expected shares of PatchUp are E[1 - p_u] with seeds anywhere: each feature escapes every seed around it.
    for gamma in (0.5, 0.75):
        for side, block in ((32, 3), (32, 5), (32, 7), (16, 3), (16, 5), (16, 7), (8, 3), (8, 5), (8, 7)):
            share = _covered(side, block, seed_probability(gamma, side, side, block, block), torch.ones(side, side))
            yield (
                f"PatchUp, altered share, side {side}, block {block}, gamma {gamma}",
                60,
                share,
                _altered(side, block, gamma),
            )
    for side, keep_prob in ((32, 0.9), (16, 0.75), (8, 0.9)):
        block, inside = 7, torch.zeros(side, side)
        inside[3 : side - 3, 3 : side - 3] = 1
        share = _covered(side, block, seed_probability(1 - keep_prob, side, side, block, block), inside)
        yield f"DropBlock, dropped share, side {side}, keep_prob {keep_prob}", 60, share, _dropped(side, keep_prob)
    for grid_size in (1, 2, 4):
        yield f"Region Mixup, own share, {grid_size} x {grid_size} tiles", 2_000, 0.5, _own_share(grid_size)
        variance = 1 / 12 / grid_size**2  # of the mean of grid_size^2 uniform shares, for each half of a pair
        yield f"Region Mixup, its variance, {grid_size} x {grid_size} tiles", 2_000, variance, _squared(grid_size)
    yield "FMix, own share of 32 x 32, alpha 1", 2_000, 0.5, lambda g: draw_mask(beta(1, g), 3, 32, 32, g).mean().item()
    scales = torch.linspace(0.1, 0.8, 100_001, dtype=torch.float64)
    area = ((scales * 32).floor() / 32).square().mean().item()
    yield "ResizeMix, pasted area of 32 x 32", 20_000, area, _pasted
    for name, rate in (("patchup_hard", 0.7), ("patchup_soft", 1.0), ("cutmix", 0.5)):
        yield f"{name}, batches that draw more than their first number", 2_000, rate, _mixes(name)


def _cut(generator: torch.Generator) -> int:
    return draw_rectangle(beta(1, generator), 32, 32, generator).area


def _blanked(length: int) -> Draw:
    def draw(generator: torch.Generator) -> float:
        centres = draw_centres(torch.empty(100, 1, 32, 32), 1, generator)
        rows, columns = (spans(centres[..., axis], length, 32).float() for axis in (0, 1))
        return (rows.sum(2) * columns.sum(2) / 1024).mean().item()

    return draw


def _covered(side: int, block: int, rate: float, seeds: Tensor) -> float:
    """The expected share of a map within a block of one of the seeds, each there with this rate."""
    around = F.conv2d(seeds.view(1, 1, side, side), torch.ones(1, 1, block, block), padding=block // 2)
    return (1 - (1 - rate) ** around.double()).mean().item()


def _altered(side: int, block: int, gamma: float) -> Draw:
    return lambda g: draw_holes(torch.empty(2, 64, side, side), (block, block), gamma, g).mean().item()


def _dropped(side: int, keep_prob: float) -> Draw:
    return lambda g: draw_dropped(torch.empty(4, 16, side, side), keep_prob, 7, g).mean().item()


def _own_share(grid_size: int) -> Draw:
    """The label's share of a sample whose partners are all another one."""
    tiles, images, swap = grid(grid_size, 8, 8), torch.zeros(2, 1, 8, 8), torch.tensor([1, 0])

    def draw(generator: torch.Generator) -> float:
        lams = [beta(1, generator) for _ in tiles]
        return region_mixup(images, torch.eye(2), tiles, [swap for _ in tiles], lams)[1][0, 0].item()

    return draw


def _squared(grid_size: int) -> Draw:
    own = _own_share(grid_size)
    return lambda generator: (own(generator) - 0.5) ** 2


def _pasted(generator: torch.Generator) -> float:
    scale = 0.1 + 0.7 * torch.rand((), dtype=torch.float64, generator=generator).item()
    return draw_box(scale, 32, 32, generator).area / 1024


def _mixes(name: str) -> Draw:
    method, images, targets = get(name)(), torch.zeros(2, 1, 8, 8), torch.eye(2)
    net = torch.nn.Sequential(*[torch.nn.Identity() for _ in range(3)], torch.nn.Flatten(), torch.nn.Linear(64, 2))

    def draw(generator: torch.Generator) -> float:
        own = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
        method.loss(net, images, targets, Step(soft_cross_entropy, own, 0.5, (0.5,), (0.5,)))
        clean = torch.Generator().manual_seed(own.initial_seed())
        torch.rand((), dtype=torch.float64, generator=clean)
        return float(not torch.equal(own.get_state(), clean.get_state()))

    return draw


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
