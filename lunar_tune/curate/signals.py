"""What people thought of an answer: ratings, annotations, reactions, undo, retries, and the user's next turn.

A judged answer is the whole exchange (every assistant turn since the user's message, calls included): the person saw
the outcome only. What the log records is taken at its word; the user's next words are read by `feedback` and count from
`settings.doubt` on. The answer to a correction is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.feedback.reading import REASONS, read
from lunar_tune.curate.marks import LEARN, OUT, Marker
from lunar_tune.curate.signs import listed
from lunar_tune.episodes import Signal, ToolCall
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings

TOLD: Final = ("correction", "retry", "undo")  # kinds of signals that say by themselves that the answer was not wanted
TRUST: Final = 0.4  # what a good rating or reaction takes off the evidence of words, as praise in words does
DISLIKED: Final = listed("👎 😡 😠 🤬 😤 🤦 💩 ❌ 🙄 😞 ☹ 🤮 😒 🚫 -1 thumbsdown")
LIKED: Final = listed("👍 ❤ 🎉 🙏 👏 🔥 😍 💯 ✅ 😊 😀 🥳 🙌 +1 thumbsup heart")
_FAILED: Final = listed("false no fail failed incorrect wrong bad error poor rejected")
_PASSED: Final = listed("true yes pass passed")
_BAD_NAMES: Final = (
    "toxic",
    "harm",
    "hallucinat",
    "error",
    "wrong",
    "unsafe",
    "fail",
    "refus",
    "violat",
    "issue",
    "leak",
)
_TONES: Final = dict.fromkeys([0xFE0F, 0x200D, 0x2640, 0x2642, *range(0x1F3FB, 0x1F400)])


class Signals:
    """Sets aside the turns that somebody was not content with."""

    name = "signals"

    def __init__(self, settings: CurateSettings) -> None:
        self.least, self.score = settings.min_rating, settings.min_score
        self.doubt, self.similarity = settings.doubt, settings.similarity

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its disliked turns set aside."""
        for draft in drafts:
            if LEARN not in draft.weights:
                yield draft
                continue
            marker = Marker(draft, self.name, report)
            trusted = self._recorded(marker) if draft.episode.signals else frozenset()
            self._spoken(marker, trusted)
            yield marker.done() if marker.weights != list(draft.weights) else draft

    def _recorded(self, marker: Marker) -> frozenset[int]:
        """Follow the signals that the log holds, and return the messages of exchanges that were liked.

        Of several ratings of one message the last counts. A signal without a message is about the whole conversation.
        """
        ratings: dict[int | None, float] = {}
        trusted: set[int] = set()
        for signal in marker.draft.episode.signals:
            if signal.kind == "rating" and isinstance(signal.value, (int, float)):
                ratings[signal.message] = float(signal.value)
            elif signal.kind in TOLD:
                self._set_aside(marker, signal.message, f"the log says {signal.kind}")
            elif signal.kind == "annotation" and self._judged_bad(signal):
                self._set_aside(marker, signal.message, "annotated as wrong")
            elif signal.kind == "reaction":
                sign = str(signal.value).translate(_TONES).strip(": ")
                if sign in DISLIKED:
                    self._set_aside(marker, signal.message, "a bad reaction")
                elif sign in LIKED and signal.message is not None:
                    trusted.update(marker.exchange(signal.message))
        for message, value in ratings.items():
            if value < self.least:
                judged = range(len(marker.messages)) if message is None else _up_to(marker, message)
                for turn in marker.turns(judged):
                    marker.set_aside(turn, "rated below the minimum")
            elif value > 0 and message is not None:
                trusted.update(marker.exchange(message))
        return frozenset(trusted)

    def _judged_bad(self, signal: Signal) -> bool:
        """Tell whether an annotation, a judgement by a model, a program or a person's words, finds fault.

        A word of failure does, and "true" for something bad; a number does below `settings.min_score`, which is 0
        unless set, for what a score measures and in which direction the log does not tell.
        """
        if isinstance(signal.value, (int, float)):
            return signal.value < self.score
        verdict = str(signal.value or "").strip().lower()
        name = (signal.note or "").partition(": ")[2].partition(". ")[0].lower()
        bad = any(part in name for part in _BAD_NAMES)
        return verdict in (_PASSED if bad else _FAILED)

    def _set_aside(self, marker: Marker, message: int | None, reason: str) -> None:
        if message is None:
            for turn in marker.turns(range(len(marker.messages))):
                marker.set_aside(turn, reason)
        else:
            marker.set_exchange_aside(message, reason)

    def _spoken(self, marker: Marker, trusted: frozenset[int]) -> None:
        """Follow what the user said right after an answer."""
        messages, weights = marker.messages, marker.weights
        exchanges: list[tuple[int, list[int]]] = []  # a user's message and the turns after it
        for index, message in enumerate(messages):
            if weights[index] == OUT:
                continue
            if message.role == "user":
                exchanges.append((index, []))
            elif message.role == "assistant" and exchanges:
                exchanges[-1][1].append(index)
        for (earlier, turns), (later, next_turns) in pairwise(exchanges):
            if not any(weights[turn] == LEARN for turn in turns):
                continue
            found = read(
                messages[earlier].content,
                messages[turns[-1]].content,
                messages[later].content,
                next((messages[i].content for i in next_turns if messages[i].content), ""),
                similarity=self.similarity,
                calls=_calls(marker, turns),
                again=_calls(marker, next_turns),
            )
            if found is not None and found.weight - (TRUST if turns[-1] in trusted else 0.0) >= self.doubt:
                for turn in turns:
                    marker.set_aside(turn, REASONS[found.kind])


def _calls(marker: Marker, turns: list[int]) -> list[ToolCall]:
    return [call for turn in turns for call in marker.messages[turn].tool_calls]


def _up_to(marker: Marker, message: int) -> range:
    """Return the exchange up to the judged message: what came after it was not judged."""
    exchange = marker.exchange(message)
    return range(exchange.start, message + 1)
