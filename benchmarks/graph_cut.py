"""How far the batched graph cut stays above the least energy, and what it takes, on fresh problems of Puzzle Mix.

Usage: uv run python -m benchmarks.graph_cut [SEED]

Excess is in percent of the exact minimum, and the time is CPU time of 100 grids on one core. Energies are costs of
saliency, of which each image has 1, plus the prior and the smoothness, without the constant that the method leaves out,
which would only make the percentages smaller. Half of the images have a smooth saliency and smooth colours, as a net's
look after pooling, half have independent pixels.
"""

import sys
import time
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from tuner.regularizers.draws import beta, permutation
from tuner.regularizers.graph_cut import energy, exact_graph_cut, graph_cut
from tuner.regularizers.puzzlemix import PuzzleMix

PROBLEMS = 1000
BATCH = 100
SIDE = 32
GRIDS = (2, 4, 8, 16)


def main(seed: str | None = None) -> None:
    torch.set_num_threads(1)
    generator = torch.Generator()
    seed = int(seed) if seed else generator.seed()
    generator.manual_seed(seed)

    table = Table(title=f"The batched graph cut against the exact one, seed {seed}", title_justify="left")
    for column in ("labels", "grid", "problems", "solved", "mean", "99 %", "worst", "ms/100"):
        table.add_column(column, justify="right")
    for n_labels in (2, 3):
        for blocks in GRIDS:
            excess, seconds = [], []
            for problem in problems(PROBLEMS, n_labels, blocks, generator):
                began = time.process_time()
                labels = graph_cut(*problem)
                seconds.append(time.process_time() - began)
                excess.append(excess_of(labels, problem))
            excess = torch.cat(excess)
            table.add_row(
                str(n_labels),
                f"{blocks} x {blocks}",
                f"{len(excess):,}",
                f"{(excess < 1e-6).double().mean():.1%}",  # float64 sums of the same float32 costs
                f"{excess.mean():.4%}",
                f"{excess.quantile(0.99):.4%}",
                f"{excess.max():.4%}",
                f"{1e3 * sorted(seconds)[len(seconds) // 2]:.1f}",
            )
    Console().print(table)


def problems(count: int, n_labels: int, blocks: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Arguments of `graph_cut` in batches of at most 100, each with its own lam, as the method makes them."""
    method = PuzzleMix(n_labels=n_labels)
    for first in range(0, count, BATCH):
        n = min(BATCH, count - first)
        smooth, rough = n // 2, n - n // 2
        saliency = torch.cat(
            [field(smooth, 1, generator, radius=4), torch.rand(rough, 1, SIDE, SIDE, generator=generator)]
        )
        colours = torch.cat(
            [field(smooth, 3, generator, radius=3), torch.rand(rough, 3, SIDE, SIDE, generator=generator)]
        )
        perm = permutation(n, generator, torch.device("cpu"))
        # Squared, as saliency is concentrated: few pixels have most of it.
        yield method.costs(colours, saliency[:, 0].square(), perm, beta(method.alpha, generator), blocks)


def field(count: int, channels: int, generator: torch.Generator, radius: int) -> Tensor:
    """Smooth random maps (N,C,H,W) that reach from 0 to 1."""
    noise = torch.rand(count, channels, SIDE + 2 * radius, SIDE + 2 * radius, generator=generator)
    maps = F.avg_pool2d(noise, 2 * radius + 1, stride=1)
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return (maps - low) / (high - low)


def excess_of(labels: Tensor, problem: tuple[Tensor, ...]) -> Tensor:
    """Energies above the least one, in parts of it: float64 (N,)."""
    exactly = torch.stack([exact_graph_cut(*(costs[i] for costs in problem)) for i in range(len(labels))])
    found, least = (energy(which, *(costs.double() for costs in problem)) for which in (labels, exactly))
    return found / least - 1


if __name__ == "__main__":
    main(*sys.argv[1:])
