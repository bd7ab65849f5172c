"""What can be known of a campaign before anything trains: do data, split, net and hyper-parameters go together?"""

from dataclasses import dataclass
from itertools import chain, product

from pydantic import ValidationError

from tuner.campaign.document import Document, Method
from tuner.campaign.faults import DocumentError, Fault, faults_of
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
    if classes < 2:
        raise DocumentError([Fault(file, "dataset", f"two classes or more are needed to tell apart, got {classes}.")])
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
    searched = {name: dimension for name, dimension in space.items() if name in type(own).model_fields}
    found: set[tuple[str, str]] = set()
    # All corners together: what one value does may depend on another one that is searched, too.
    for values in product(*(dimension.corners for dimension in searched.values())):
        try:
            misfits = method.regularizer(**dict(zip(searched, values, strict=True))).misfits(sides)
        except ValidationError as error:
            sentences = [fault.sentence for fault in faults_of(error, type(own), file)]
            misfits = [("", f"{sentence} Ranges that are searched together must not cross.") for sentence in sentences]
        found |= {misfit for misfit in misfits if misfit[0] in searched or misfit not in known}
    for field, sentence in sorted(found):
        # Where one dimension alone is searched, it is what makes another field misfit.
        blamed = field if field in searched else next(iter(searched)) if len(searched) == 1 else None
        faults.append(Fault(file, ".".join(filter(None, ("spaces", method.name, blamed))), sentence))
    return faults
