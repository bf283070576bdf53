"""Read the YAML files of run folders, of other projects too: plain values, and no code of the file's choice."""

from __future__ import annotations

import copy
import functools
import re
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from foundation.distill.log import logger

MOST_VALUES = 100_000
"""Most values that a file may hold with its aliases written out: nested ones multiply."""
_PYTHON = "tag:yaml.org,2002:python/"
"""Beginning of the tags of Python."""
_POWER_OF_TEN = re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$")
"""Numbers such as 1e-3, which YAML 1.1 takes for text."""


class SavedYamlError(ValueError):
    """A file does not hold plain values."""


def read_yaml(path: str | Path) -> Any:
    """Return a file's contents; aliases are followed, tuples become lists, and paths text.

    Values of other Python tags, as Isaac Lab and mjlab write functions and slices, become None; one line names
    their tags.

    Raises:
        SavedYamlError: If the file is not YAML, or its aliases stand for too much.
        OSError: If it cannot be read.
    """
    # A copy: the contents are kept, as commands read a run's files several times.
    return copy.deepcopy(_parsed(str(path), Path(path).read_bytes()))


@functools.lru_cache(maxsize=32)
def _parsed(path: str, contents: bytes) -> Any:
    try:
        loader = _Loader(contents)
        values = loader.get_single_data()
    except Exception as error:  # a value that contradicts its tag can raise anything
        raise SavedYamlError(" ".join(str(error).split()) or type(error).__name__) from error
    if loader.passed_over:
        tags = ", ".join(sorted(loader.passed_over))
        logger.warning(f"[Run] {path}: passed over values that are not plain, of the tags {tags}")
    return values


class _Loader(yaml.SafeLoader):
    """Reads plain values, as OmegaConf, Isaac Lab and mjlab write them, and tuples."""

    def __init__(self, contents: bytes) -> None:
        super().__init__(contents)
        self.passed_over: set[str] = set()

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(f"the key {twice!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return self.construct_sequence(node, deep=True)

    def path(self, node: yaml.SequenceNode) -> str:
        return str(Path(*self.construct_sequence(node)))

    def pass_over(self, node: yaml.Node) -> None:
        self.passed_over.add(node.tag.replace("tag:yaml.org,2002:", "!!"))


_Loader.add_constructor(f"{_PYTHON}tuple", _Loader.sequence)
for _module in ("pathlib", "pathlib._local"):
    for _kind in ("Path", "PosixPath", "WindowsPath"):
        _Loader.add_constructor(f"{_PYTHON}object/apply:{_module}.{_kind}", _Loader.path)
_Loader.add_constructor(None, _Loader.pass_over)  # pyright: ignore
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _POWER_OF_TEN, list("-+0123456789"))


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return how many values a node stands for with its aliases written out.

    Args:
        node: The node.
        counts: Results so far by the node's identity; 0 where a node is being counted.
    """
    if counts.get(id(node)) == 0:
        raise yaml.MarkedYAMLError("an alias of what it stands in", node.start_mark)
    if id(node) not in counts:
        counts[id(node)] = 0
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        children = chain.from_iterable(children) if isinstance(node, yaml.MappingNode) else children
        counts[id(node)] = 1 + sum(_count(child, counts) for child in children)
        if counts[id(node)] > MOST_VALUES:
            raise yaml.MarkedYAMLError(f"aliases that stand for more than {MOST_VALUES} values", node.start_mark)
    return counts[id(node)]
