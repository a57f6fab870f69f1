"""Many near-identical exchanges of one log within a day: a few are learnt, the rest is repetition or poisoning.

Two exchanges are near-identical when the request, without case, spacing, punctuation and digits, and all that the agent
answered and called, without case and spacing, are the same. Requests of few words ("thanks", "hello")
are repeated by everybody and are not counted. What a conversation says twice counts once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.feedback.similar import STOP
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.episodes import Episode
from lunar_tune.identity import plain_json
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings

REASON = "one of many near-identical ones within a day"
DAY = 24 * 3600.0
FEW = 3  # content words that a request must have
BEGIN = 600  # characters of a request that are compared
SPACES = b" \t\r\n"
VARIES = SPACES + b"0123456789.,;:!?'\"()-_#*"

_WORD: Final = re.compile(r"[^\W\d_]+")


class Bursts:
    """Remembers, for each kind of exchange, when the last few that were kept began: some hundred bytes a kind."""

    name = "bursts"

    def __init__(self, settings: CurateSettings) -> None:
        self.most = settings.burst
        self._kept: dict[bytes, tuple[float, ...]] = {}

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, the exchanges beyond the first few of a day set aside."""
        for draft in drafts:
            marker: Marker | None = None
            if self.most > 0 and LEARN in draft.weights:
                began = _seconds(draft.episode.started_at)
                counted: dict[bytes, bool] = {}
                for exchange in _exchanges(draft):
                    kind = _kind(draft.episode, exchange)
                    if kind not in counted:
                        counted[kind] = self._full(kind, began)
                    if counted[kind] and _says_something(draft.episode.messages[exchange.start].content):
                        marker = marker or Marker(draft, self.name, report)
                        for turn in marker.turns(exchange):
                            marker.set_aside(turn, REASON)
            yield marker.done() if marker else draft

    def _full(self, kind: bytes, began: float) -> bool:
        """Count an exchange that began at a time, in seconds; tell whether its day has enough of them."""
        kept = self._kept.get(kind, ())
        if len(kept) >= self.most and abs(began - kept[-self.most]) < DAY:
            return True
        self._kept[kind] = (*kept, began)[-self.most :]
        return False


def _exchanges(draft: Draft) -> Iterator[range]:
    """Yield the exchanges of which something is to be learnt, each from its user message."""
    messages = draft.episode.messages
    begin = -1
    for index in range(len(messages) + 1):
        if index == len(messages) or messages[index].role == "user":
            if begin >= 0 and LEARN in draft.weights[begin:index]:
                yield range(begin, index)
            begin = index


def _says_something(request: str) -> bool:
    """Tell whether a request has more than the few words that everybody says."""
    return len(set(_WORD.findall(request[:BEGIN].lower())) - STOP) >= FEW


def _kind(episode: Episode, exchange: range) -> bytes:
    """Return the hash of what an exchange says."""
    digest = hashlib.blake2b(f"{episode.source}\n{episode.path}\n".encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(_bare(episode.messages[exchange.start].content[:BEGIN], VARIES))
    for index in exchange:
        message = episode.messages[index]
        if message.role == "assistant":
            digest.update(b"\n" + _bare(message.content, SPACES))
            for call in message.tool_calls:
                digest.update(b"\n" + call.name.encode("utf-8", "surrogatepass") + plain_json(call.arguments))
    return digest.digest()


def _bare(text: str, without: bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass").lower().translate(None, without)


def _seconds(stamp: str | None) -> float:
    """Return a time in seconds; conversations without one count as of one moment."""
    if not stamp:
        return 0.0
    try:
        moment = datetime.fromisoformat(stamp)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return 0.0
