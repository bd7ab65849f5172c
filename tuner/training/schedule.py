"""How the learning rate moves: its share of `lr` at each step, as a pure function of the step."""

import math
from itertools import pairwise
from typing import Annotated, Literal, final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class _Schedule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


@final
class Constant(_Schedule):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"

    def share(self, step: int, steps: int) -> float:
        return 1.0


@final
class Cosine(_Schedule):
    """Half a cosine from 1 down to 0 (Loshchilov & Hutter 2017, eq. 5 without restarts)."""

    name: Literal["cosine"] = "cosine"

    def share(self, step: int, steps: int) -> float:
        return _between(1.0, 0.0, step / steps)


@final
class OneCycle(_Schedule):
    """Up from 1/25 in the first 30 % of the steps, down to 1/250,000 in the rest (Smith & Topin 2018).

    Step for step what torch's OneCycleLR does by default, momentum left alone.
    """

    name: Literal["onecycle"] = "onecycle"

    def share(self, step: int, steps: int) -> float:
        start, end = 1 / 25, 1 / 25 / 1e4
        peak, last = 0.3 * steps - 1, steps - 1
        if step <= peak:
            return _between(start, 1.0, step / peak)
        return _between(1.0, end, (step - peak) / (last - peak))


def _increasing(at: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(at)):
        raise ValueError(f"the drops of a step schedule must be increasing, got {list(at)}")
    return at


@final
class StepDecay(_Schedule):
    """Multiplied by `factor` at each of the given shares of the training."""

    name: Literal["step"] = "step"
    at: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(_increasing)] = Field(
        min_length=1, strict=False, description="when to drop: shares of the training, increasing, between 0 and 1"
    )
    factor: float = Field(0.1, gt=0, lt=1, description="what each drop multiplies the learning rate with")

    def share(self, step: int, steps: int) -> float:
        return self.factor ** sum(step / steps >= at for at in self.at)


Schedule = Annotated[Constant | Cosine | OneCycle | StepDecay, Field(discriminator="name")]


def _between(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine, for progress in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
