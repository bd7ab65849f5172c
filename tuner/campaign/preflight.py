"""What can be known of a campaign before anything trains: do data, split, net and hyper-parameters go together?"""

from dataclasses import dataclass
from itertools import chain

from tuner.campaign.document import Document, Method
from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.spaces import Space
from tuner.datasets.split import split_digest, split_indices
from tuner.models import map_sides


@dataclass(frozen=True)
class Facts:
    """Counts and digests that the ledger opens with."""

    train_images: int
    validation_images: int
    classes: int
    shape: tuple[int, int, int]
    data_digest: str
    train_digest: str
    validation_digest: str


def preflight(document: Document, file: str) -> Facts:
    """Reads the training pool, splits it, and lays every method's maps beside its hyper-parameters.

    Raises:
        DocumentError: with all faults that were found.
    """
    try:
        pool = document.dataset.training_pool()
    except (OSError, ValueError) as error:
        raise DocumentError([Fault(file, "dataset", str(error))]) from None
    try:
        train, validation = split_indices(pool.labels, document.split, document.dataset.class_names())
    except ValueError as error:
        raise DocumentError([Fault(file, "split", str(error))]) from None
    channels, height, width = pool.images.shape[1:]
    classes = document.dataset.classes()
    try:
        sides = map_sides(document.model.build(channels, classes, height), channels, height, width)
    except (RuntimeError, ValueError) as error:
        raise DocumentError([Fault(file, "model", str(error))]) from None
    faults = chain.from_iterable(
        _misfits(index, method, document.space(method.name), sides, file)
        for index, method in enumerate(document.methods)
    )
    if faults := list(faults):
        raise DocumentError(faults)
    return Facts(
        train_images=len(train),
        validation_images=len(validation),
        classes=classes,
        shape=(channels, height, width),
        data_digest=document.dataset.digest(),
        train_digest=split_digest(train),
        validation_digest=split_digest(validation),
    )


def _misfits(index: int, method: Method, space: Space, sides: list[tuple[int, int]], file: str) -> list[Fault]:
    """Fixed values, defaults and ends of ranges that cannot work on maps of these sides."""
    own = method.regularizer()
    faults = [
        Fault(file, f"methods[{index}].{field}", sentence)
        for field, sentence in own.misfits(sides)
        if field not in space
    ]
    for name, dimension in space.items():
        if name not in type(own).model_fields:
            continue
        for value in dimension.corners:
            faults += [
                Fault(file, f"spaces.{method.name}.{field}", sentence)
                for field, sentence in method.regularizer(**{name: value}).misfits(sides)
                if field == name
            ]
    return faults
