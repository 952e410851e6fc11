"""YAML read so that nothing is lost: each value knows its line, numbers are exact, and text stays text.

YAML's surprises are refused or taken as written: a key that stands twice, `010` and `1:30` as numbers, `NO` and `on` as
booleans, merges. Keys are always text; only `true` and `false` are booleans.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*)?\.?[0-9_]*([eE][-+]?[0-9]{1,2})?")
_MOST_NODES: Final = 100_000
"""Far above any card; and a longer file may hold a value for each character. Aliases of aliases can't make a small file
a huge one."""
_DEEPEST: Final = 32
_TOO_DEEP: Final = f"more than {_DEEPEST} values within one another, or one within itself"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class YamlFault:
    """What can't be read, and where."""

    place: Place
    rule: str
    sentence: str


class YamlRefusedError(Exception):
    """The text can't be read; all faults that were found, at least one."""

    def __init__(self, faults: list[YamlFault]) -> None:
        super().__init__(faults[0].sentence)
        self.faults = faults


@dataclass(slots=True)
class YamlTree:
    """The document as plain data, with the place of each value, and of each key, by path."""

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where the value at a path stands; where it is not there, that of the nearest part around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.keys.get(path) or self.values.get(path) or Place(1, 1)


def read_text(path: FilePath) -> str:
    """The text of a file. Raises YamlRefusedError if it is not UTF-8, and OSError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        fault = YamlFault(Place(1, 1), "utf_8", f"the file is not UTF-8 (byte {error.start})")
        raise YamlRefusedError([fault]) from error


def read_yaml(text: str) -> YamlTree:
    """Reads one document. Raises YamlRefusedError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(mark) if mark else Place(1, 1)
        sentence = ", ".join(part for part in (error.context, error.problem) if part) or "not YAML"
        raise YamlRefusedError([YamlFault(place, "yaml", f"the text is no YAML: {sentence}")]) from error
    except yaml.YAMLError as error:
        raise YamlRefusedError([YamlFault(Place(1, 1), "yaml", f"the text is no YAML: {error}")]) from error
    except RecursionError as error:
        raise YamlRefusedError([YamlFault(Place(1, 1), "too_deep", _TOO_DEEP)]) from error
    reader = _Reader(max(_MOST_NODES, len(text)))
    if root is not None:
        reader.tree.data = reader.read(root, ())
    if reader.faults:
        raise YamlRefusedError(reader.faults)
    return reader.tree


class _Reader:
    def __init__(self, most_nodes: int) -> None:
        self.tree = YamlTree()
        self.faults: list[YamlFault] = []
        self._nodes = 0
        self._most_nodes = most_nodes

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > self._most_nodes:
            if self._nodes == self._most_nodes + 1:  # told once
                self._fault(node, "too_large", f"more than {self._most_nodes:,} values")
            return None
        self.tree.values[path] = _place(node.start_mark)
        if len(path) > _DEEPEST:
            self._fault(node, "too_deep", _TOO_DEEP)
            return None
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(one, (*path, index)) for index, one in enumerate(node.value)]
        return self._scalar(node)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, "key_is_text", "a key has to be text")
                continue
            name = str(key.value)
            if key.tag == "tag:yaml.org,2002:merge":
                self._fault(key, "no_merge", "merging with << is not read: write the entries out")
            if name in seen:
                self._fault(key, "key_twice", f"{name!r} stands in line {seen[name]} already")
                continue
            seen[name] = key.start_mark.line + 1
            self.tree.keys[*path, name] = _place(key.start_mark)
            yield name, self.read(value, (*path, name))

    def _scalar(self, node: yaml.Node) -> Any:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2]
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        if kind == "int":
            if not _INTEGER.fullmatch(text):
                self._fault(node, "plain_number", f"{text} is not written as a plain number, such as 1_000_000")
                return 0
            return int(text.replace("_", ""))
        if kind == "float":
            if not _DECIMAL.fullmatch(text):
                self._fault(node, "plain_number", f"{text} is not written as a plain number, such as 0.25")
                return Decimal(0)
            return Decimal(text.replace("_", ""))
        return text

    def _fault(self, node: yaml.Node, rule: str, sentence: str) -> None:
        self.faults.append(YamlFault(_place(node.start_mark), rule, sentence))


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
