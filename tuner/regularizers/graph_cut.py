"""Graph cuts on grids of blocks: the labelling of least energy, for a whole batch on its device, and exactly.

Both solvers ask for unary costs that are convex in the label (the data term of Puzzle Mix is linear in it, its prior
convex) and for weights that are not negative. Puzzle Mix's authors call alpha-beta swap on the CPU, grid by grid.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS = 50
THRESHOLDS = 5
STEP_RATIO = 0.7  # the primal step over the dual one, where weights are 1; anything from 0.5 to 1 does about as well


def energy(labels: Tensor, unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Energies (...,N) of labels int64 (...,N,H,W): unary costs, and weight * (z_u - z_v)^2 of all neighbours u and v.

    `unary` (N,L,H,W) is the cost of label l, which stands for z = l / (L-1); `down` (N,H-1,W) weighs each block and
    the one below it, `right` (N,H,W-1) each block and the one at its right.
    """
    own = torch.take_along_dim(unary.expand(*labels.shape[:-2], -1, -1, -1), labels.unsqueeze(-3), dim=-3)
    z = labels / (unary.shape[1] - 1)
    return own.sum((-3, -2, -1)) + sum(
        (weight * z.diff(dim=dim).square()).sum((-2, -1)) for weight, dim in ((down, -2), (right, -1))
    )


@torch.no_grad()
def graph_cut(unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Labels int64 (N,H,W) of all but least energy, for arguments as in `energy`, float32 and on any device.

    Drawn on as straight lines between the labels the energy is convex, and once its minimiser is known, rounding that
    at any threshold gives labels of least energy. Short of convergence the thresholds differ: the best is taken. A grid
    of a single label is always tried, too.
    """
    batch, labels, *grid = unary.shape
    thresholds = (torch.arange(THRESHOLDS, device=unary.device) + 0.5) / THRESHOLDS
    rounded = (_relaxed(unary, down, right) + thresholds.view(-1, 1, 1, 1)).floor().long()
    constant = torch.arange(labels, device=unary.device).view(-1, 1, 1, 1).expand(-1, batch, *grid)
    candidates = torch.cat([rounded, constant])
    best = energy(candidates, unary, down, right).argmin(0)
    return candidates.take_along_dim(best.view(1, -1, 1, 1), dim=0).squeeze(0)


def _relaxed(unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """About the minimiser (N,H,W), real numbers from 0 to L-1, of the energy with lines drawn between the labels.

    The primal-dual method of Chambolle and Pock (2011, algorithm 1). Grids are laid out (H,W,N), so that every view of
    neighbours has long contiguous rows. `flow` is the dual variable; edges that leave the grid keep weight and flow 0.
    """
    labels, height, width = unary.shape[1:]
    weights = unary.new_zeros(2, height, width, len(unary))
    weights[0, :-1] = down.permute(1, 2, 0)
    weights[1, :, :-1] = right.permute(1, 2, 0)
    weights /= (labels - 1) ** 2
    scale = weights.mean((0, 1, 2)).clamp_min(1e-12)  # weights of about 1 on every grid fit the fixed steps
    weights /= scale
    # The squared norm of the difference operator is at most 8, and these steps multiply to 1/8.
    primal_step, dual_step = STEP_RATIO / 4, 1 / (2 * STEP_RATIO)
    slopes = unary.diff(dim=1).permute(1, 2, 3, 0) / scale
    slid = (primal_step * slopes).contiguous()

    x = (slopes < 0).sum(0).to(unary.dtype)  # the best labels of blocks without neighbours
    ahead, flow = x, torch.zeros_like(weights)
    for _ in range(ITERATIONS):
        flow[0, :-1].add_(ahead[1:], alpha=dual_step).sub_(ahead[:-1], alpha=dual_step)
        flow[1, :, :-1].add_(ahead[:, 1:], alpha=dual_step).sub_(ahead[:, :-1], alpha=dual_step)
        flow = _clipped(flow, weights, dual_step, labels)
        pushed = torch.add(x, flow[0], alpha=primal_step).add_(flow[1], alpha=primal_step)
        pushed[1:].sub_(flow[0, :-1], alpha=primal_step)
        pushed[:, 1:].sub_(flow[1, :, :-1], alpha=primal_step)
        # The proximal map of a line with corners at the labels: slide by the slope of a segment, stop at its end.
        ends = [(pushed - slide).clamp_(0, end) for end, slide in enumerate(slid, start=1)]
        before, x = x, _largest(ends)
        ahead = torch.lerp(before, x, 2.0)
    return x.permute(2, 0, 1)


def _clipped(flow: Tensor, weights: Tensor, dual_step: float, labels: int) -> Tensor:
    """The proximal map of the dual of `weight * d^2` with lines drawn between whole differences d of labels.

    Its slopes are 1, 3, 5, ... times the weight: up to the first the flow is free, and it pays for every corner passed.
    """
    clipped = torch.clamp(flow, -weights, weights)
    passed, rest = clipped, flow
    for _ in range(labels - 2):
        rest = F.softshrink(rest - passed, dual_step)
        passed = torch.clamp(rest, -2 * weights, 2 * weights)
        clipped = clipped + passed
    return clipped


def _largest(values: list[Tensor]) -> Tensor:
    first, *others = values
    for other in others:
        first = torch.maximum(first, other)
    return first


def exact_graph_cut(unary: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Labels int64 (H,W) of least energy on one grid: unary (L,H,W), down (H-1,W), right (H,W-1).

    Ishikawa's construction (2003): a node for each block and each label but the lowest says "at least this label", and
    a minimum s-t cut answers all. Capacities are rounded to about 2^-30 of the unary costs' sum. Much slower than
    `graph_cut`: tests and the benchmark measure that one against it.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    levels, (height, width) = len(unary) - 1, unary.shape[1:]
    blocks = np.arange(height * width)
    grid = blocks.reshape(height, width)
    one = np.concatenate([grid[:-1].ravel(), grid[:, :-1].ravel()])
    other = np.concatenate([grid[1:].ravel(), grid[:, 1:].ravel()])
    weights = np.concatenate([side.double().cpu().numpy().ravel() for side in (down, right)]) / levels**2

    # With k of `levels` nodes true for one block and m for the other, edges of weight w between all their nodes cut
    # w * (levels * (k + m) - 2 * k * m): that is w * (k - m)^2 and what is taken off the costs of k and of m here.
    degree = np.bincount(np.concatenate([one, other]), np.tile(weights, 2), minlength=len(blocks))
    level = np.arange(1, levels + 1)[:, None]
    costs = unary.double().diff(dim=0).cpu().numpy().reshape(levels, -1) + degree * (2 * level - 1 - levels)
    unit = 2**30 / max(np.abs(costs).sum(), 1e-12)

    source, sink = levels * len(blocks), levels * len(blocks) + 1
    tails, heads, capacities = [], [], []

    def connect(tail, head, capacity):
        tails.append(np.broadcast_to(tail, len(capacity)))
        heads.append(np.broadcast_to(head, len(capacity)))
        capacities.append(np.minimum(np.rint(capacity), 2**30).astype(np.int32))

    for k in range(levels):
        mine = k * len(blocks) + blocks
        connect(mine, sink, unit * np.maximum(costs[k], 0))
        connect(source, mine, unit * np.maximum(-costs[k], 0))
        if k:  # who is at least at one level is at least at the one below
            connect(mine, mine - len(blocks), np.full(len(blocks), 2.0**30))
        for m in range(levels):
            connect(k * len(blocks) + one, m * len(blocks) + other, unit * weights)
            connect(k * len(blocks) + other, m * len(blocks) + one, unit * weights)
    ends = (np.concatenate(tails), np.concatenate(heads))
    network = csr_array((np.concatenate(capacities), ends), shape=(sink + 1, sink + 1))
    left = network - maximum_flow(network, source, sink).flow
    left.eliminate_zeros()
    true = np.zeros(sink + 1, dtype=np.int64)
    true[breadth_first_order(left, source, return_predecessors=False)] = 1
    return torch.from_numpy(true[:source].reshape(levels, height, width).sum(0))
