"""Sentences for whoever looks at the screen."""

from collections.abc import Callable

from rich.console import Console

Tell = Callable[[str], None]


def teller(console: Console) -> Tell:
    """Prints a sentence as it is: it may hold paths and names, and a pipe gets it in one line."""

    def tell(sentence: str) -> None:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    return tell
