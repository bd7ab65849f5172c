"""Strict YAML: 5e-4 is a number, on and off are words, and a key that stands twice is refused."""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

# The scalars of YAML 1.2. PyYAML's own are those of 1.1, where 1e-3 is a text, off is false and 1:30 is ninety.
_SCALARS = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]


DEEPEST = 50
"""How far lists and mappings may stand inside one another: PyYAML itself, and JSON, fail at some hundred."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth == DEEPEST:
            raise yaml.composer.ComposerError(
                problem=f"more than {DEEPEST} lists and mappings inside one another",
                problem_mark=self.peek_event().start_mark,
            )
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            # Deep at once: a list that holds itself is refused, and so is one that a mapping holds, as JSON would.
            return super().construct_object(node, deep=True)
        except (ValueError, KeyError, AttributeError) as error:  # of PyYAML's own constructors, as on `!!int x`
            problem = f"{node.value!r:.80} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from error


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: ClassVar[dict] = {}


for _tag, _pattern, _first in _SCALARS:
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for key in keys:
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                problem=f"a key must be a text, got {key!r}", problem_mark=node.start_mark
            )
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {key!r} stands twice", problem_mark=node.start_mark
            )
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


for _tag in ("binary", "timestamp", "set", "omap", "pairs"):  # of which JSON has none
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_undefined)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load(path: Path) -> Any:
    """The file's content.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: it is not YAML, with line and column.
    """
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def dump(content: Any) -> str:
    """YAML that `load` reads back to the same content, keys in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
