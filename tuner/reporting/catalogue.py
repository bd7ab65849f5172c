"""What there is to choose from, read off the classes themselves: methods, models, data sets, campaigns."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from tuner import regularizers
from tuner.campaign import reading
from tuner.campaign.spaces import Choices, Dimension, Space
from tuner.datasets import dataset_classes
from tuner.models import architectures
from tuner.paper import Paper

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"


def methods() -> Iterator[RenderableType]:
    """Every method with its paper and its hyper-parameters: default, legal and searched values, and their sources."""
    for name in regularizers.names():
        cls = regularizers.get(name)
        yield _entry(name, cls, _settings(cls, reading.own_space(name)))


def models() -> Iterator[RenderableType]:
    """Every net with its paper, its settings and its size."""
    for name, cls in architectures().items():
        count = cls().parameter_count(channels=3, classes=10, side=32)
        yield _entry(name, cls, _settings(cls), Text(f"{count:,} parameters for ten classes of 32 x 32 images"))


def datasets() -> Iterator[RenderableType]:
    """Every data set with its paper and its settings."""
    for name, cls in dataset_classes().items():
        yield _entry(name, cls, _settings(cls))


def campaigns() -> Iterator[RenderableType]:
    """Every campaign of the repository: what its file says of itself, and what it compares on what."""
    for path in sorted(CAMPAIGNS.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        names = [entry if isinstance(entry, str) else entry["name"] for entry in content["methods"]]
        yield Group(
            Text(f"campaigns/{path.name}", style="bold"),
            Padding(_opening(text), (0, 0, 0, 2)),
            Padding(
                Text(f"{content['model']['name']} on {content['dataset']['name']}: {', '.join(names)}", style="dim"),
                (0, 0, 0, 2),
            ),
            "",
        )


LISTS = {"methods": methods, "models": models, "datasets": datasets, "campaigns": campaigns}


def _opening(text: str) -> str:
    """The first paragraph of the comment that a file begins with."""
    lines: list[str] = []
    for line in text.splitlines():
        words = line.removeprefix("#").strip()
        if not line.startswith("#") or not words:
            break
        lines.append(words)
    return " ".join(lines)


def _entry(name: str, cls: type, settings: Sequence[RenderableType], *facts: Text) -> RenderableType:
    paper = [Text(cited(cls.paper), style="dim")] if cls.paper else []
    about = [_described(cls), *paper, *facts, *settings]
    return Group(Text(name, style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in about), "")


def _described(cls: type) -> Text:
    paragraph = (cls.__doc__ or "").strip().split("\n\n")[0]
    return Text(" ".join(paragraph.split()))


def cited(paper: Paper) -> str:
    """A paper in one line."""
    return f"{paper.title} ({paper.authors}, {paper.venue}). {paper.url}"


def _settings(cls: type[BaseModel], space: Space | None = None) -> list[RenderableType]:
    """Each setting: default, what is legal, what is searched; below, what it is and where the default comes from."""
    laws = cls.model_json_schema(mode="serialization")["properties"]
    entries: list[RenderableType] = []
    for name, field in cls.model_fields.items():
        if name == "name":
            continue
        default = "required" if field.is_required() else value_text(field.get_default())
        facts = [default, legal_text(laws[name])]
        if space is not None:
            facts.append(f"searched {searched_text(space[name])}" if name in space else "not searched")
        source = (field.json_schema_extra or {}).get("source")
        below = [field.description or "", *([f"default: {source}"] if source else [])]
        entries.append(Text.assemble((name, "cyan"), "  ", "; ".join(facts)))
        entries += [Padding(Text(line, style="dim"), (0, 0, 0, 4)) for line in below]
    return entries


def value_text(value: Any) -> str:
    """A value as a campaign document writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def searched_text(dimension: Dimension) -> str:
    """0.2 to 4 (log), or 3 | 5 | 7."""
    if isinstance(dimension, Choices):
        return " | ".join(map(value_text, dimension.choices))
    return f"{value_text(dimension.low)} to {value_text(dimension.high)}" + (" (log)" if dimension.log else "")


def legal_text(law: dict[str, Any]) -> str:
    """What a JSON schema allows, in words: "number from 0 to 1", "integer from 1", "const | linear"."""
    if "anyOf" in law:
        return " or ".join(dict.fromkeys(legal_text(kind) for kind in law["anyOf"]))
    if "enum" in law:
        return " | ".join(map(value_text, law["enum"]))
    if "const" in law:
        return value_text(law["const"])
    match law.get("type"):
        case "boolean":
            return "true | false"
        case "null":
            return "none"
        case "array":
            entry = legal_text(law.get("items") or law["prefixItems"][0])
            count = f"{law['minItems']} " if law.get("minItems") == law.get("maxItems", 0) else ""
            return f"list of {count}{entry.replace('integer', 'integers', 1)}"
        case kind:
            return " ".join(filter(None, [kind, _bounds(law)]))


def _bounds(law: dict[str, Any]) -> str:
    low = f"from {law['minimum']:g}" if "minimum" in law else ""
    above = f"above {law['exclusiveMinimum']:g}" if "exclusiveMinimum" in law else ""
    high = f"to {law['maximum']:g}" if "maximum" in law else ""
    below = f"below {law['exclusiveMaximum']:g}" if "exclusiveMaximum" in law else ""
    return " ".join(filter(None, [low or above, high or below]))
