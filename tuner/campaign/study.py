"""A study: one search for the best setting of one method."""

from typing import NamedTuple


class Study(NamedTuple):
    """A method's search, or one of several independent ones."""

    method: str
    replicate: int = 0

    @property
    def name(self) -> str:
        """The method's; `-r1`, `-r2`, ... behind it for the replicates after the first."""
        return f"{self.method}-r{self.replicate}" if self.replicate else self.method
