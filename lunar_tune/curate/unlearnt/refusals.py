"""Refusals that were undone: the agent would not, the user insisted, and the agent did it after all.

What was possible all along must not be learnt as impossible. A refusal that stood stays, and so does one after which
the user went on to something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.feedback.similar import said_again, same_words, words
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.curate.signs import listed
from lunar_tune.episodes import Message
from lunar_tune.seams import Report
from lunar_tune.settings import CurateSettings

REASON = "a refusal that was undone"
BEGIN = 300  # characters of an answer in which it refuses
LONG = 80  # characters: a shorter answer may just say that it will not try again
SHORT = 20  # words: a longer reply says more than that it insists

_REFUSES: Final = re.compile(
    r"(?:(?:i'm|i am|so|very|really|terribly|sorry|apologies|i apologi[sz]e|unfortunately|but|however|as an? (?:\w+ "
    r"){0,4}"
    r"(?:ai|model|assistant|agent)|es tut mir leid|leider|lo siento|désolé|je suis désolé|hm+|ah|oh|regrettably|no|"
    r"for (?:that|this))"
    r"(?:\W+|\Z)){0,6}(?:i (?:really |simply |currently |still )?(?:can't|cannot|can not|couldn't|won't|will not|am "
    r"unable|'m unable|am not "
    r"(?:able|allowed|permitted)|'m not (?:able|allowed|permitted)|don't have (?:the )?(?:access|ability|permission|"
    r"tools?|capability|"
    r"a (?:tool|way))|do not have (?:the )?(?:access|ability|permission|tools?|capability|a (?:tool|way))|have no "
    r"(?:access|way|tool|"
    r"ability)|must decline|refuse|lack (?:the )?(?:access|ability|tool))|i'm (?:unable|not (?:able|allowed|"
    r"permitted))|"
    r"(?:that|this|it)(?:'s| is) (?:not (?:possible|something i can)|beyond (?:my|what i)|outside (?:my|what i))|"
    r"ich kann (?:das |dir |ihnen )?(?:leider )?(?:nicht|keine?)|no puedo|je ne peux pas|je ne suis pas en mesure)\b",
    re.IGNORECASE,
)
_INSISTS: Final = re.compile(
    r"(?:\W*(?:yes|no|but|sure|come on|well|ok|okay|hm+|please|just|of course|actually|doch|sí|si|mais|oui|"
    r"ja)\b)*\W*(?:you (?:can|could|"
    r"do|have|are able|did|should|must)\b|yes,? you|(?:try|do|run|send|use|call|check|go ahead|give it)\b|it is "
    r"(?:fine|ok|okay|allowed|"
    r"my)|it's (?:fine|ok|okay|allowed|my)|i (?:own|am the|have (?:the )?(?:permission|right)|give you|allow|"
    r"authori[sz]e|insist|need "
    r"(?:you|this|it))|there is a tool|you've|why not|still|anyway|please\b|du kannst|puedes|tu peux|versuch|"
    r"inténtalo|essaie)",
    re.IGNORECASE,
)


class Refusals:
    """Sets aside the refusals of a conversation that the agent itself took back when the user insisted."""

    name = "refusals"

    def __init__(self, settings: CurateSettings) -> None:
        self.similarity = settings.similarity

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its undone refusals set aside."""
        for draft in drafts:
            messages = draft.episode.messages
            ends = [i for i, m in enumerate(messages) if m.role == "assistant" and _ends_exchange(messages, i)]
            if not any(draft.weights[i] == LEARN and refuses(messages[i]) for i in ends):
                yield draft
                continue
            marker = Marker(draft, self.name, report)
            self._undone(marker, ends)
            yield marker.done()

    def _undone(self, marker: Marker, ends: list[int]) -> None:
        """Follow the exchanges by their last turns; refusals wait until the agent does it or the user gives up."""
        pending: list[int] = []
        asked = ""
        for end in ends:
            request = marker.messages[marker.exchange(end).start]
            insisted = (
                bool(pending)
                and request.role == "user"
                and self._insists(asked, marker.messages[pending[-1]].content, request.content)
            )
            refused = refuses(marker.messages[end])
            if pending and not insisted:
                pending.clear()
            if refused:
                asked = asked if insisted else request.content
                pending.append(end)
            elif insisted and _does(marker, end, asked):
                for turn in pending:
                    marker.set_aside(turn, REASON)
                pending.clear()

    def _insists(self, request: str, refusal: str, reply: str) -> bool:
        if same_words(request, reply) or said_again(request, refusal, reply, self.similarity)[0]:
            return True
        if _INSISTS.match(reply[:BEGIN]) is None or len(reply[: 2 * BEGIN].split()) > SHORT:
            return False
        new = words(reply).content - words(request).content - _INSISTING
        return len(new) <= 3


def _does(marker: Marker, end: int, asked: str) -> bool:
    """Tell whether the exchange that ends here does what was asked: by a call, or in more than an "okay"."""
    said = marker.messages[end].content
    if any(marker.messages[turn].tool_calls for turn in marker.turns(marker.exchange(end))):
        return True
    return len(said) >= LONG or bool(words(said).content & words(asked).content)


_INSISTING: Final = listed("try can use tool permission allowed able access anyway fine own sure insist ahead go call")


def _ends_exchange(messages: tuple[Message, ...], index: int) -> bool:
    return index + 1 == len(messages) or messages[index + 1].role == "user"


def refuses(message: Message) -> bool:
    """Tell whether a turn begins with a refusal."""
    begin = message.content[:BEGIN]
    return not message.tool_calls and _REFUSES.match(begin.replace("’", "'").lstrip()) is not None
