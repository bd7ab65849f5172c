"""Where something was published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """`authors` is short, as in "Yun et al."."""

    title: str
    authors: str
    venue: str
    url: str
