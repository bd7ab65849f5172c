"""DropBlock (Ghiasi et al., NeurIPS 2018): drop contiguous blocks of the feature maps."""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuner.regularizers.base import Paper, Regularizer, Step, hp
from tuner.regularizers.blocks import block_holes, seed_probability
from tuner.regularizers.depths import HiddenLayers, alter_at, hidden_layers_hp, too_deep
from tuner.regularizers.draws import uniform_field


def dropblock(hidden: Tensor, holes: Tensor) -> Tensor:
    """Hidden maps (N,C,H,W) that are 0 in the holes and scaled up elsewhere (algorithm 1, lines 7 and 8).

    `holes` is float32 (N,C,H,W), 1 where features are dropped. One number scales the whole batch, as in all codes: the
    inverse of the share that is kept. Where nothing is kept, everything is 0.
    """
    kept = 1 - holes
    share = kept.mean().clamp_min(1 / kept.numel())  # in float32: a mean over a map is wrong in half precision
    return hidden * (kept / share).to(hidden.dtype)


def draw_dropped(hidden: Tensor, keep_prob: float, block_size: int, generator: torch.Generator) -> Tensor:
    """A mask float32 (N,C,H,W) for hidden maps of that shape: every sample and every channel has its own blocks.

    As in the paper and the official code, each block lies inside the map as a whole; PatchUp's baseline, timm and
    others let seeds fall up to the border and clip. A block larger than the map is cut to the map, as there, which
    makes this a dropout of whole channels. The rate is that of the map at hand: PatchUp's code keeps the first one's.
    """
    samples, channels, height, width = hidden.shape
    rows, columns = min(block_size, height), min(block_size, width)
    inside = (samples, channels, height - rows + 1, width - columns + 1)
    field = uniform_field(inside, generator, hidden.device)
    seeds = (field < seed_probability(1 - keep_prob, height, width, rows, columns)).float()
    centred = F.pad(seeds, (columns // 2, (columns - 1) // 2, rows // 2, (rows - 1) // 2))
    return block_holes(centred, rows, columns)


@final
class DropBlock(Regularizer):
    """Drops blocks at each of some depths, in every batch; targets stay."""

    name: ClassVar[str] = "dropblock"
    paper: ClassVar[Paper] = Paper(
        title="DropBlock: A regularization method for convolutional networks",
        authors="Ghiasi et al.",
        venue="NeurIPS 2018",
        url="https://arxiv.org/abs/1810.12890",
    )

    keep_prob: float = hp(
        0.9,
        "share of the features to keep, as if blocks never overlapped, no unit",
        source="tensorflow/tpu, models/official/resnet: dropblock_keep_prob 0.9; PatchUp's baseline: 0.9",
        gt=0,
        le=1,
    )
    block_size: int = hp(
        7,
        "side of a block in features, at most the whole map; it is not scaled with the map",
        source="tensorflow/tpu, models/official/resnet: dropblock_size 7; PatchUp's baseline: 7",
        ge=1,
    )
    schedule: Literal["constant", "linear"] = hp(
        "linear",
        "keep_prob over the training: the same throughout, or falling from 1 at the start to keep_prob at the end",
        source="section Scheduled DropBlock: a fixed keep_prob does not work well (PatchUp's baseline: constant)",
    )
    layers: HiddenLayers = hidden_layers_hp(
        (1, 2),
        "to drop at, all of them in every batch",
        source="PatchUp's baseline: after the stem and after stage 1; the official groups are those of a ResNet-50",
    )

    def training_loss(self, net: nn.Sequential, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        keep_prob = self.keep_prob_at(step.progress)

        def drop(hidden: Tensor) -> Tensor:
            return dropblock(hidden, draw_dropped(hidden, keep_prob, self.block_size, step.generator))

        return step.criterion(alter_at(self.layers, drop, net, images), targets)

    def keep_prob_at(self, progress: float) -> float:
        """The keep_prob that holds when this share of the training is done."""
        return 1 - (1 - self.keep_prob) * progress if self.schedule == "linear" else self.keep_prob

    def misfits(self, sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return too_deep(self.layers, sides)
