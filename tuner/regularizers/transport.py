"""Puzzle Mix's transport: the blocks that a mask shows change places, so that salient ones come into sight."""

import torch
from torch import Tensor


def transport_plan(saliency: Tensor, mask: Tensor, t_eps: float) -> Tensor:
    """For each place of a grid the block to put there, int64 (N,H*W), from saliency and mask, both float (N,H,W).

    Lowers the sum of t_eps * distance, less the saliency of blocks that come where the mask shows something (section
    Optimizing Transport); distances are squared, with the grid's sides as 1. A place that the mask shows gets a block
    that no other such place gets; what a hidden place gets does not matter. `t_eps` must be above 0, else no block has
    a reason to stay where it is.

    Every block goes for its cheapest place, of several the cheapest wins, and who has lost goes for its next one. So
    the paper; the official code adds 1 to the cost of a place that is lost, and blocks may come back to it. The number
    of rounds, one for each row, is the code's: the paper goes on until nothing changes, for which the host would have
    to wait.
    """
    batch, height, width = saliency.shape
    rounds = max(height, width)
    cost = t_eps * _squared_distances(height, width, saliency.device)
    cost = cost - saliency.flatten(1).unsqueeze(2) * (mask > 0).flatten(1).unsqueeze(1)
    prices, places = cost.topk(rounds, dim=2, largest=False)  # in each round a block loses at most one place
    blocks = torch.arange(height * width, device=saliency.device).expand(batch, -1)
    nobody = torch.full_like(blocks, height * width)
    losses = torch.zeros_like(blocks)
    for _ in range(rounds):
        price, place = (of.gather(2, losses.unsqueeze(2)).squeeze(2) for of in (prices, places))
        lowest = torch.full_like(price, torch.inf).scatter_reduce_(1, place, price, "amin")
        # Of equal prices the first block wins.
        candidate = torch.where(price == lowest.gather(1, place), blocks, nobody)
        winner = nobody.scatter_reduce(1, place, candidate, "amin")
        losses = losses + (winner.gather(1, place) != blocks)
    return torch.where(winner < height * width, winner, blocks)


def _squared_distances(height: int, width: int, device: torch.device) -> Tensor:
    """Between all blocks of a grid, (H*W,H*W); one side of the grid counts as 1."""
    rows, columns = (torch.linspace(0, 1, side, device=device) for side in (height, width))
    places = torch.cartesian_prod(rows, columns)
    return (places.unsqueeze(1) - places).square().sum(2)


def move_blocks(images: Tensor, plan: Tensor, height: int, width: int) -> Tensor:
    """Images (N,C,H,W) laid out anew: place p of a grid of `height` x `width` blocks gets block plan[:, p]."""
    blocks = images.unflatten(3, (width, -1)).unflatten(2, (height, -1)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = blocks[torch.arange(len(images), device=images.device).unsqueeze(1), plan]
    # Blocks of one pixel would come out with channels last, and with those the backward pass of narrow nets crashes on
    # the CPU (torch 2.15).
    return moved.unflatten(1, (height, width)).permute(0, 3, 1, 4, 2, 5).reshape(images.shape).contiguous()
