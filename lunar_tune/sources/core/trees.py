"""Conversations that branch: leaf paths of trees, and histories that repeat what came before."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Branch(Generic[Node]):
    """The nodes from a root to a leaf. `problem` says why the way to the root ended before a root."""

    nodes: tuple[Node, ...]
    problem: Literal["cycle", "missing parent"] | None = None


def leaf_paths(parents: Mapping[Node, Node | None], leaves: Sequence[Node] | None = None) -> Iterator[Branch[Node]]:
    """Yield the path to every leaf, in the order of the mapping (or of `leaves`).

    A parent that is not a key ends the path there (`missing parent`). A cycle is cut where it closes; nodes that are
    in a cycle without any leaf are given as one path, from the first of them in the mapping's order.
    """
    line = tuple(parents)
    if leaves is None and line and (None, *line[:-1]) == tuple(parents.values()):  # nothing branches, as in most logs
        yield Branch(line)
        return
    inner = {parent for parent in parents.values() if parent is not None}
    reached: set[Node] = set()
    for leaf in leaves if leaves is not None else [node for node in parents if node not in inner]:
        path = path_to(parents, leaf)
        reached.update(path.nodes)
        yield path
    if leaves is None:
        for node in parents:  # what no leaf reaches goes round in a cycle
            if node not in reached:
                path = _round(parents, node)
                reached.update(path.nodes)
                yield path


def path_to(parents: Mapping[Node, Node | None], leaf: Node) -> Branch[Node]:
    """Return the path from the root to one node."""
    nodes: list[Node] = []
    seen: set[Node] = set()
    at: Node | None = leaf
    while at is not None:
        if at in seen:
            return Branch(tuple(reversed(nodes)), "cycle")
        if at not in parents:
            return Branch(tuple(reversed(nodes)), "missing parent")
        seen.add(at)
        nodes.append(at)
        at = parents[at]
    return Branch(tuple(reversed(nodes)))


def root(parents: Mapping[str, str | None], node: str) -> str:
    """Return where the way up from a node ends: at the first that has no parent or is not a key.

    Of a way that closes on itself it is the least of its ring, so that all that leads into a ring has one root.
    """
    way: dict[str, None] = {}
    while node not in way:
        way[node] = None
        parent = parents.get(node)
        if parent is None:
            return node
        node = parent
    walked = list(way)
    return min(walked[walked.index(node) :])


def _round(parents: Mapping[Node, Node | None], node: Node) -> Branch[Node]:
    """Return a cycle without a leaf as a path that begins at `node`, children after parents."""
    up = path_to(parents, node).nodes  # from the node after `node` round to `node`
    return Branch((up[-1], *up[:-1]), "cycle")


def not_repeated(histories: Sequence[Sequence[Node]]) -> list[int]:
    """Return the indices of the histories that no other history begins with, in order; of equal ones the last.

    Items are compared by value, so give something hashable that stands for a message (its content id or its text).
    """
    return longest([prefix_hashes(history) for history in histories])


def longest(rolled: Sequence[Sequence[int]]) -> list[int]:
    """Return the same as `not_repeated` of histories whose prefixes are hashed already."""
    prefixes: set[int] = set()
    kept: list[int] = []
    for hashes in rolled:
        prefixes.update(hashes[:-1])
    full: set[int] = set()
    for index in range(len(rolled) - 1, -1, -1):
        whole = rolled[index][-1] if rolled[index] else 0
        if rolled[index] and whole not in prefixes and whole not in full:
            full.add(whole)
            kept.append(index)
    return kept[::-1]


def prefix_hashes(history: Sequence[Hashable]) -> list[int]:
    """Return what stands for every prefix of a history in this process, the shortest first and the whole last."""
    out: list[int] = []
    so_far = 0
    for item in history:
        so_far = hash((so_far, item))
        out.append(so_far)
    return out
