"""Which rows are trained on, validated on and judged on: groups that belong together stay together, the newest judge.

A group is a connected component of conversations that share a fork tree, their opening request and call, all their
requests, or one long request; that are near-duplicates (`near`); or that share a sequence of 13 words (`grams`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from sys import intern

from lunar_tune.artefacts import Draft, Split
from lunar_tune.dataset.grouping.corpus import LONG_REQUEST, Turn, turns_of
from lunar_tune.identity import sorted_json
from lunar_tune.settings import DatasetSettings

FEW_ROWS = 10  # of a group that is never too large to be held out
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode
SEVERAL_WORDS = 8  # words in all requests together, below which equal conversations ("hi", "thanks") prove nothing


@dataclass(frozen=True, slots=True)
class Member:
    """What splitting knows of a row: its id, when it began, its family's name, its log, its keys, its requests."""

    id: str
    started_at: str
    thread: str
    log: tuple[str, str]
    keys: tuple[str, ...]
    requests: tuple[str, ...] = ()


def member(draft: Draft, turns: Sequence[Turn] | None = None) -> Member:
    """Return what splitting needs to know of a draft; `turns` are its words where they are known already."""
    episode = draft.episode
    family = episode.group or episode.thread
    said = turns_of(episode.messages) if turns is None else turns
    requests = [turn.words for turn in said if turn.role == "user"]
    asked = tuple([_key(" ".join(request).encode("utf-8", "surrogatepass")) for request in requests])
    keys = (f"family {episode.source}\0{family}", *_content_keys(draft, requests, asked))
    return Member(
        draft.id or episode.id, started_at(draft), family, (intern(episode.source), intern(episode.path)), keys, asked
    )


def started_at(draft: Draft) -> str:
    """Return when a conversation began, "" when the log does not say."""
    said = (m.created_at for m in draft.episode.messages if m.created_at)
    return draft.episode.started_at or next(said, "")


def _content_keys(draft: Draft, requests: Sequence[Sequence[str]], asked: Sequence[str]) -> Iterator[str]:
    """Yield what rows share that belong together; `asked` are the keys of the requests."""
    if sum(map(len, requests)) >= SEVERAL_WORDS:
        yield f"requests {asked[0] if len(asked) == 1 else _key(''.join(asked).encode())}"
    for request, key in zip(requests, asked, strict=True):
        if len(request) >= LONG_REQUEST:
            yield key
    messages = draft.episode.messages
    users = [i for i, m in enumerate(messages) if m.role == "user"]
    if users:
        opening = messages[users[0] : users[1] if len(users) > 1 else None]
        call = next((call for message in opening for call in message.tool_calls), None)
        if call is not None:
            yield f"opening {_key(sorted_json([asked[0], call.name, call.arguments]))}"


def _key(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=12).hexdigest()


def components(members: Sequence[Member], pairs: Iterable[Sequence[int]] = ()) -> list[int]:
    """Return, for each member, the index of the first member of its connected component.

    Members are connected by the keys that they share, and by `pairs` of their indices.
    """
    first: dict[str, int] = {}
    shared = ((first.setdefault(key, i), i) for i, one in enumerate(members) for key in one.keys)
    alike = [pair for pair in shared if pair[0] != pair[1]]
    return connected(range(len(members)), [*alike, *pairs])


def connected(groups: Iterable[int], pairs: Iterable[Sequence[int]]) -> list[int]:
    """Return the groups (each named by its first member) that are left when some pairs of members are connected."""
    parent = list(groups)

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = find(i), find(j)
        parent[max(a, b)] = min(a, b)
    return [find(i) for i in range(len(parent))]


def assign(members: Sequence[Member], groups: Sequence[int], settings: DatasetSettings) -> list[Split]:
    """Return each member's split: the newest groups are `test`, a seeded choice of the others `valid`, else `train`.

    A group is as new as its newest member. The choice for `valid` is by hash of seed and name, so that a group keeps
    its place while the log grows. With few groups `train` gets its one before the others do. A group of more than
    `settings.largest_group` of all rows is trained on, however new: it must not become most of what is judged.
    """
    large = oversized(groups, settings.largest_group)
    newest: dict[int, str] = {}
    for one, group in zip(members, groups, strict=True):
        newest[group] = max(newest.get(group, ""), one.started_at)
    order = sorted(newest.keys() - large, key=lambda g: (newest[g], members[g].id))
    spare = 0 if large else 1  # a group that `train` must have
    test = min(_share(len(newest), settings.test), max(len(order) - spare, 0))
    rest = order[: len(order) - test]
    valid = min(_share(len(newest), settings.valid), max(len(rest) - spare, 0))
    rest.sort(key=lambda g: _place(settings.seed, members[g].thread))
    chosen = set(rest[:valid])
    judged = set(order[len(order) - test :])
    return ["test" if g in judged else "valid" if g in chosen else "train" for g in groups]


def oversized(groups: Sequence[int], share: float) -> set[int]:
    """Return the groups that hold more than a share of all rows; ten rows are never too many."""
    return {group for group, rows in Counter(groups).items() if rows > max(share * len(groups), FEW_ROWS)}


def _place(seed: int, name: str) -> str:
    text = f'["valid",[{seed},{_AS_JSON(name)}]]'
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _share(number: int, share: float) -> int:
    return math.floor(number * share + 0.5)
