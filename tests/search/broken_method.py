"""A regularizer that fails in training."""

from typing import ClassVar, final

from tuner.regularizers.base import InputMix


@final
class Broken(InputMix):
    """Raises on its first batch."""

    name: ClassVar[str] = "broken"
    paper: ClassVar[None] = None

    def mix(self, images, targets, step):
        raise RuntimeError("there is no such mixing")
