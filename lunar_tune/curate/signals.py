"""What the user thought of an answer: ratings, corrections, repeated requests, undone turns.

A judged answer is the whole exchange (every assistant turn since the user's message, calls included): the person saw
the outcome only. Corrections in words count only in the first clause of the user's next message, and after a question
of the agent only when they are beyond doubt; the answer to the correction is learnt. The classes follow Don-Yehiya et
al., arXiv 2407.10944 (repeat, correction with and without information).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import Marker
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings

_CLAUSE = re.compile(r"[.!?;:\n]|,\s|\s[-–—]\s|—")
_NO = re.compile(r"(no|nope|nah|oops|sorry|wait|hm+|ah|oh|but|actually)$")
_SURE = re.compile(
    r"(?:no |nope |sorry |wait |actually )?(?:"
    r"i (?:meant|asked for|wanted to say)\b(?! it)"
    r"|i said (?!to\b|that\b|i\b|we\b|he\b|she\b|they\b|hello|goodbye|yes|no\b)(?:\S+ ?){1,4}$"
    r"|(?:that|this|it)(?:'s| is| was) (?:wrong|incorrect|not right|not correct|not it$|not what)"
    r"|(?:that|this|it) (?:isn't|wasn't|isnt|wasnt) (?:right|correct|it$|what)"
    r"|not what i\b|wrong(?: (?!answers)\w+)?$|incorrect$|that's not\b"
    r"|you (?:misunderstood|misread|misheard|got (?:it|that) wrong)\b"
    r"|you (?:used|took|picked|chose|called) the wrong\b)"
)
_AFTER_NO = re.compile(r"(?:not\b|the other\b|use\b|it should\b|it's\b(?! (?:ok|okay|fine|good|all))|i want\b)")
_UNDO = re.compile(
    r"(?:no |please |can you |could you )?(?:undo|revert|roll back|take back)(?: that| this| it| the last \w+)?$"
)
ENDING = 60  # characters at the end of an answer in which a question mark means that it asks; a sign-off may follow it
REPEAT_WORDS = 4  # shorter requests ("next", "go on") are repeated on purpose


class Signals:
    """Sets aside the turns that somebody was not content with."""

    name = "signals"

    def __init__(self, settings: CurateSettings) -> None:
        self.least = settings.min_rating

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its disliked turns set aside."""
        for draft in drafts:
            marker = Marker(draft, self.name, report)
            self._recorded(marker)
            _spoken(marker)
            yield marker.done()

    def _recorded(self, marker: Marker) -> None:
        """Follow the signals that the log holds; of several ratings of one message the last counts."""
        ratings: dict[int | None, float] = {}
        for signal in marker.draft.episode.signals:
            if signal.kind == "rating" and isinstance(signal.value, (int, float)):
                ratings[signal.message] = float(signal.value)
            elif signal.kind in ("correction", "retry", "undo") and signal.message is not None:
                marker.set_exchange_aside(signal.message, f"the log says {signal.kind}")
        for message, value in ratings.items():
            if value >= self.least:
                continue
            judged = range(len(marker.messages)) if message is None else _up_to(marker, message)
            for turn in marker.turns(judged):
                marker.set_aside(turn, "rated below the minimum")


def _up_to(marker: Marker, message: int) -> range:
    """Return the exchange up to the judged message: what came after it was not judged."""
    exchange = marker.exchange(message)
    return range(exchange.start, message + 1)


def _spoken(marker: Marker) -> None:
    """Follow what the user said right after an answer."""
    users = [i for i in marker.present() if marker.messages[i].role == "user"]
    for earlier, later in pairwise(users):
        turns = marker.turns(range(earlier, later))
        if not turns:
            continue
        before, after = marker.messages[earlier].content, marker.messages[later].content
        reason = judge(before, marker.messages[turns[-1]].content, after)
        if reason:
            for turn in turns:
                marker.set_aside(turn, reason)


def judge(request: str, answer: str, reply: str) -> str | None:
    """Say why a user's `reply` shows that the `answer` to `request` was not wanted, None when it does not."""
    clauses = [_plain(part) for part in _CLAUSE.split(reply.strip())]
    clauses = [clause for clause in clauses if clause]
    if not clauses:
        return None
    said_no = bool(_NO.fullmatch(clauses[0])) and len(clauses) > 1
    clause = clauses[1] if said_no else clauses[0]
    if _UNDO.fullmatch(clause):
        return "undone by the user"
    if _SURE.match(clause):
        return "corrected by the user"
    asked = "?" in answer[-ENDING:]
    if clauses[0] in ("no", "nope") and said_no and _AFTER_NO.match(clause) and not asked:
        return "corrected by the user"
    if len(request.split()) >= REPEAT_WORDS and _words(request) == _words(reply):
        return "asked again in the same words"
    return None


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").lower().split())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
