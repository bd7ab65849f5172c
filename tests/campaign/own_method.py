"""A regularizer outside the package, as a user would write one."""

from typing import ClassVar, final

from pydantic import Field

from tuner.regularizers.base import InputMix


@final
class Shrink(InputMix):
    """Pulls the images towards their mean."""

    name: ClassVar[str] = "shrink"
    paper: ClassVar[None] = None

    amount: float = Field(0.25, ge=0, le=1, description="share of the way to the mean")

    def mix(self, images, targets, step):
        return images * (1 - self.amount), targets
