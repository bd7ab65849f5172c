"""Files that a reader may open at any moment: each is whole, the old one or the new one."""

import os
from pathlib import Path


def write(path: Path, text: str) -> Path:
    """Puts the text where `path` is, in one step; makes the folder if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def shown(path: Path) -> str:
    """As one would type it here: relative to the working directory where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
