"""More of a campaign that was begun: trials, budget, methods or final seeds. What there is stays as it is."""

import re
from collections.abc import Mapping, Sequence

from tuner.campaign import reading
from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault

COMMAND = "tune.py extend"
"""Where the faults of its options lie."""


def extended(
    document: Document,
    trials: str | None = None,
    methods: Sequence[str] = (),
    seeds: str | None = None,
    budget: Sequence[str] = (),
) -> Document:
    """The document that the campaign goes on with.

    Args:
        document: the campaign's latest.
        trials: "+32" for so many search trials more in every study.
        methods: "+fmix" for each new method; its space is that of the repository.
        seeds: "+5" for so many final seeds more, counted on from the largest.
        budget: "epochs=+5000" for so much more of each limit that the campaign has.
    Raises:
        DocumentError: with all that is wrong with the options, and with the document that they would make.
    """
    faults: list[Fault] = []
    if methods and document.search.warm_start:
        sentence = "the others began with what an earlier campaign had found; begin a new campaign for all of them."
        faults.append(Fault(COMMAND, "--methods", sentence))
    if not (trials or methods or seeds or budget):
        sentence = "nothing to add; write --trials +32, --methods +NAME, --seeds +5 or --budget epochs=+5000."
        faults.append(Fault(COMMAND, "", sentence))
    content = document.as_yaml()
    content["search"]["trials"] += _added("trials", trials, document.search.trials, faults)
    more = _added("seeds", seeds, len(document.final.seeds), faults)
    last = max(document.final.seeds)
    content["final"]["seeds"] += range(last + 1, last + 1 + more)
    if limits := document.search.budget:
        content["search"]["budget"] = _raised(limits.limits, budget, faults)
    elif budget:
        faults.append(
            Fault(COMMAND, "--budget", "the campaign has none to raise; --trials +N gives it more to search.")
        )
    content["methods"] += _new(methods, [method.name for method in document.methods], faults)
    try:
        made = reading.check(content, f"{document.name}, extended")
    except DocumentError as error:
        faults += error.faults
    if faults:
        raise DocumentError(faults)
    return made.model_copy(update={"tracking": document.tracking})  # of which plain data holds no password


def _added(option: str, text: str | None, now: int, faults: list[Fault]) -> int:
    if text is None:
        return 0
    if re.fullmatch(r"\+[1-9][0-9]{0,5}", text):
        return int(text)
    law = f"must be a plus and how many {option} to add, from +1 to +999999."
    if re.fullmatch(r"[1-9][0-9]{0,5}", text):
        law += f" Write +{text} for {text} more"
        law += f", or +{int(text) - now} for {text} in all." if int(text) > now else "."
    faults.append(Fault(COMMAND, f"--{option}", f'got "{text}", {law}'))
    return 0


def _raised(limits: Mapping[str, float], texts: Sequence[str], faults: list[Fault]) -> dict[str, float]:
    raised = dict(limits)
    for text in texts:
        name, more = re.fullmatch(r"(?:(\w+)=)?(.*)", text, re.DOTALL).groups()
        if name not in limits:
            sentence = f'got "{text}", must be one of {", ".join(f"{limit}=+N" for limit in limits)}.'
        elif raised[name] != limits[name]:
            sentence = f'"{name}" is raised twice; say it once.'
        elif not re.fullmatch(r"\+[0-9]{1,9}" if name == "epochs" else r"\+[0-9]{1,9}(\.[0-9]{1,9})?", more):
            sentence = f'got "{text}", must be a plus and how much to add, such as {name}=+{limits[name]:g}.'
        elif not float(more):
            sentence = f'got "{text}", which adds nothing.'
        else:
            raised[name] += type(limits[name])(more)
            continue
        faults.append(Fault(COMMAND, "--budget", sentence))
    return raised


def _new(texts: Sequence[str], known: Sequence[str], faults: list[Fault]) -> list[str]:
    names: list[str] = []
    for text in texts:
        name = text.removeprefix("+")
        if name == text or not name:
            sentence = f'got "{text}", must be a plus and the name of a method to add, such as +{name or "NAME"}.'
        elif name in known or name in names:
            sentence = f'"{name}" is in the campaign already; each method has one search.'
        else:
            names.append(name)
            continue
        faults.append(Fault(COMMAND, "--methods", sentence))
    return names
