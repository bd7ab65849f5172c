"""What is recorded of an exception."""

import traceback

import torch


def failure_of(error: Exception, batch_size: int) -> dict[str, str]:
    """Class, message and traceback of what a training died of; where there is advice, it comes first in the message."""
    if isinstance(error, torch.OutOfMemoryError):
        error.add_note(
            f"Out of GPU memory with batch_size {batch_size}: make it smaller or, where trials share a "
            "GPU, resources.gpu larger."
        )
    message = "\n".join([*getattr(error, "__notes__", ()), str(error)])
    trace = "".join(traceback.format_exception(error))
    return {"class": type(error).__name__, "message": _written(message), "traceback": _written(trace)}


def _written(text: str) -> str:
    """Names of files need not be valid Unicode, lines of the ledger must be."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
