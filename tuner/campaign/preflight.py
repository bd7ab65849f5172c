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
    test_images: int
    classes: int
    shape: tuple[int, int, int]
    data_digest: str
    train_digest: str
    validation_digest: str
    test_digest: str


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
        # No search trial is ever given it, but one that is broken is better found now than behind the whole search.
        test = document.dataset.test_set()
        if test.shape != pool.shape:
            shapes = " and ".join(str(part.shape) for part in (pool, test))
            raise ValueError(f"the images to train and to test on must have one shape (C,H,W), got {shapes}")
    except (OSError, ValueError) as error:
        raise DocumentError([Fault(file, "dataset", str(error))]) from None
    try:
        train, validation = split_indices(pool.labels, document.split, document.dataset.class_names())
    except ValueError as error:
        raise DocumentError([Fault(file, "split", str(error))]) from None
    channels, height, width = pool.shape
    classes = document.dataset.classes()
    try:
        sides = map_sides(document.model.build(channels, classes, min(height, width)), channels, height, width)
    except (RuntimeError, ValueError) as error:
        raise DocumentError([Fault(file, "model", str(error))]) from None
    faults = chain.from_iterable(
        _misfits(index, method, document.space(method.name), sides, file)
        for index, method in enumerate(document.methods)
        if method.name in document.spaces
    )
    if faults := list(faults):
        raise DocumentError(faults)
    return Facts(
        train_images=len(train),
        validation_images=len(validation),
        test_images=len(test),
        classes=classes,
        shape=(channels, height, width),
        data_digest=pool.digest(),
        train_digest=split_digest(train),
        validation_digest=split_digest(validation),
        test_digest=test.digest(),
    )


def _misfits(index: int, method: Method, space: Space, sides: list[tuple[int, int]], file: str) -> list[Fault]:
    """Fixed values, defaults and ends of ranges that cannot work on maps of these sides."""
    own = method.regularizer()
    known = own.misfits(sides)
    faults = [Fault(file, f"methods[{index}].{field}", sentence) for field, sentence in known if field not in space]
    for name, dimension in space.items():
        if name not in type(own).model_fields:
            continue
        for value in dimension.corners:
            faults += [
                Fault(file, f"spaces.{method.name}.{name}", sentence)
                for field, sentence in method.regularizer(**{name: value}).misfits(sides)
                if field == name or (field, sentence) not in known
            ]
    return faults
