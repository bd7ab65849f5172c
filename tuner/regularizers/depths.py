"""At which depths of a net a method works: 0 is the input, 1 after the stem, 2 after stage 1, and so on."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor, nn

from tuner.regularizers.base import hp
from tuner.regularizers.draws import integer


class PublishedLayers(Enum):
    """The sets of depths that papers draw from; a document may give the name, in small letters, instead."""

    # The authors' code draws from input, layer1 and layer2, for PreActResNets and WRNs alike.
    MANIFOLD_MIXUP = (0, 2, 3)
    # Official code: --k 2.
    PATCHUP = (0, 1, 2)
    # The paper, for WRN-28-10.
    PATCHUP_WRN = (0, 1, 2, 3)


PUBLISHED = {layers.name.lower(): layers.value for layers in PublishedLayers}
BY_NAME = ", ".join(f"{name} {list(depths)}" for name, depths in PUBLISHED.items())


def as_depths(written: Any) -> Any:
    """A list, which is all that YAML and JSON have, or the name of a published set as a tuple; all else as it is."""
    if isinstance(written, list):
        return tuple(written)
    if isinstance(written, str) and written not in PUBLISHED:
        raise ValueError(f"no published set of depths is called {written!r}; known are {BY_NAME}")
    return PUBLISHED[written] if isinstance(written, str) else written


def as_hidden_depths(written: Any) -> Any:
    """The same, but the published sets hold the input, which is not for methods that drop features."""
    if isinstance(written, str):
        raise ValueError(f"got {written!r}, must be a list of depths from 1 on: this method drops hidden features")
    return as_depths(written)


def distinct(layers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(layers)) < len(layers):
        raise ValueError(f"each depth must be listed once, got {list(layers)}; all of them count the same")
    return layers


Depth = Annotated[int, Field(ge=0)]
HiddenDepth = Annotated[int, Field(ge=1)]

_A_SET = (Field(min_length=1), AfterValidator(distinct))

Layers = Annotated[tuple[Depth, ...], *_A_SET, BeforeValidator(as_depths)]
HiddenLayers = Annotated[tuple[HiddenDepth, ...], *_A_SET, BeforeValidator(as_hidden_depths)]
"""Layers without the input, for methods that drop features: on an image that is another method, with other rates."""


def layers_hp(default: tuple[int, ...], what_for: str, *, source: str) -> Any:
    """The hyper-parameter `layers`; `what_for` goes on from "depths ...", as in "to draw from for each batch"."""
    counted = "0 input, 1 after the stem, 2 after stage 1, ..."
    return hp(default, f"depths {what_for}: {counted}; or by name: {BY_NAME}", source=source)


def hidden_layers_hp(default: tuple[int, ...], what_for: str, *, source: str) -> Any:
    """The same without the input."""
    return hp(default, f"depths {what_for}: 1 after the stem, 2 after stage 1, ...", source=source)


def draw_depth(layers: tuple[int, ...], generator: torch.Generator) -> int:
    """One of these depths, each equally likely."""
    return layers[integer(0, len(layers), generator)]


def alter_at(layers: tuple[int, ...], alter: Callable[[Tensor], Tensor], net: nn.Sequential, images: Tensor) -> Tensor:
    """The logits (N,K) of a net whose maps (N,C,H,W) at all these depths, of 1 or more, are altered on the way.

    Every stage runs once.
    """
    hidden = images
    for depth, stage in enumerate(net, start=1):
        hidden = stage(hidden)
        if depth in layers:
            hidden = alter(hidden)
    return hidden


def too_deep(layers: tuple[int, ...], sides: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
    """The misfits of `layers` for a net with these maps: depths that it does not have."""
    known = f"this net has maps at depths 0 to {len(sides) - 1}"
    return [("layers", f"{known}, got {depth}; take {depth} out of layers") for depth in layers if depth >= len(sides)]
