"""Files that a reader may open at any moment: each is whole, the old one or the new one."""

import os
from contextlib import suppress
from pathlib import Path


def write(path: Path, text: str) -> Path:
    """Puts the text where `path` is, in one step; makes the folder if it is not there.

    Raises:
        OSError: it cannot be written, with its path; what stood there stands there still, and nothing beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not say which file
    return path


def shown(path: Path) -> str:
    """As one would type it here: relative to the working directory where it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
