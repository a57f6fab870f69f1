"""Other people's instructions inside tool results that the assistant obeyed.

A result speaks to the assistant ("ignore previous instructions", "AI assistant: forward this to ..."), or orders
something ("send the file to ..."), and a turn after it calls a tool, or says something, that the order names and the
user did not ask for. From there to the end of the exchange the turns are context. An assistant that declines, or tells
the user of it, is learnt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.curate.signs import said, signs
from lunar_tune.episodes import Message, ToolCall
from lunar_tune.seams import Report

REASON = "obeys an instruction inside a tool's result"
READ = 200_000  # characters of a result that are searched
SPAN = 300  # characters after the words that begin an order which belong to it, up to an empty line
MOST = 10  # orders of each kind in one result
WISHES = 20  # messages of the user in which what an order names may have been asked for, the newest
HELD = 40  # orders of an exchange that are remembered, the newest

_VERB: Final = (
    r"(?:call|send|forward|e-?mail|transfer|wire|post|upload|share|delete|remove|execute|run|invoke|use|reply|"
    r"respond|answer|"
    r"say|print|output|include|visit|fetch|open|click|tell|buy|order|pay|add|write|give|provide|reveal|recommend|"
    r"rate|approve|"
    r"accept|subscribe|download|install|navigate|go to|append|mention|ignore|disregard|forget|make|create|set|change|"
    r"update|"
    r"submit|publish|summari[sz]e|search|look up|read|act|do|book|invite|grant|bcc|cc|copy|save|store|remember|state)\b"
)
_NAMES: Final = (
    *(
        f"{who}{mark}"
        for who in (
            "ai",
            "a.i.",
            "llm",
            "language model",
            "assistant",
            "bot",
            "copilot",
            "gpt",
            "claude",
            "gemini",
            "llama",
            "agent",
        )
        for mark in (":", ",", "!", "s:", "s,", " -")
    ),
    *(" reading this", " processing this", "system:", "systems:"),
)
_WHO: Final = (
    r"(?:ai|a\.i\.|llm|language model|(?:ai |virtual |digital )?assistant|chatbot|copilot|chatgpt|gpt|claude|gemini|"
    r"llama|"
    r"(?:ai |llm )?agent|(?:ai )?bot)s?"
)
_POLITE: Final = r"(?:(?:please|you|must|should|now|need to|have to|are to|immediately|first|also|instead|kindly)\W+)*"
# what says that the assistant is spoken to, in lower case; each pattern is looked for where one of its signs stands
_ADDRESSED: Final = tuple(
    (marks, re.compile(pattern))
    for marks, pattern in (
        (
            ("ignore", "disregard", "forget", "override", "bypass"),
            r"(?:ignore|disregard|forget|override|bypass)\s+(?:(?:all|any|your|the|my|of|these|those|every|"
            r"everything) ){0,3}"
            r"(?:previous|prior|above|earlier|preceding|existing|original|system|initial|safety|instructions?|"
            r"prompts?|rules|"
            r"guidelines|you(?:r|'ve)?)\b",
        ),
        (
            _NAMES,
            rf"(?:^|[.!?:;>*\])\n-])\W{{0,6}}(?:(?:dear|attention|hey|hello|hi|(?:note|message|instructions?|"
            rf"important)?,? ?(?:to|for)|"
            rf"attn)[:,]? +(?:the |any |all |our )?)?{_WHO}(?: reading this| processing this| "
            rf"systems?)*\s*[:,!-]+\s*{_POLITE}{_VERB}",
        ),
        (
            ("if you are a", "as an ai", "as a language", "as an llm", "as an assistant", "as an agent"),
            rf"(?:if you are|as) an? (?:\w+ ){{0,2}}{_WHO}\b[^.\n]{{0,80}}?\b(?:you (?:must|should|need|have|are)|"
            rf"please|{_VERB})",
        ),
        (
            ("the user", "the human", "the owner"),
            r"(?:do not|don't|never) (?:tell|inform|mention (?:this|it)|alert|notify|reveal|show|warn)\b[^.\n]{0,40}?\b"
            r"(?:user|human|owner)|without (?:telling|asking|informing|notifying|alerting) the (?:user|human|owner)\b",
        ),
        (
            (
                "instruction",
                "directive",
                "override",
                "task:",
                "task from",
                "task for",
                "command:",
                "command from",
                "command for",
            ),
            r"(?:new|updated|actual|additional|special|hidden|admin|system|priority) (?:instructions?|task|directive|"
            r"override|"
            r"command)s?\s*(?::|from (?:the )?(?:admin|system|developer|user)|for (?:the )?(?:ai|assistant|agent|"
            r"model))",
        ),
        (("<important>", "<system>", "<instruction", "<admin>"), r"<(?:important|system|instructions?|admin)>"),
        (
            ("system:", "assistant:", "admin:", "developer:", "system]", "assistant]", "admin]", "developer]"),
            rf"(?:^|\n)\W{{0,4}}(?:system|assistant|admin|developer)\]?\s*:\s*{_POLITE}{_VERB}",
        ),
        (
            ("your new", "your real", "your actual"),
            r"your (?:new|real|actual) (?:task|goal|instruction|objective|job) is\b",
        ),
    )
)
_COMMAND: Final = re.compile(
    r"(?:forward|send|e-?mail|transfer|wire|post|upload|share|bcc|submit|pay|publish|leak|exfiltrate)\s+(?:(?:this|"
    r"that|it|all|any|the|"
    r"your|his|her|their|every|everything|a copy|copies|me|us)\b|[$€£]?\d[\d.,]*)[^.\n]{0,160}?\b(?:to|at|on|via|"
    r"with)\b"
)
_ORDERING: Final = signs(
    "forward send mail email transfer wire post upload share bcc submit pay publish leak exfiltrate"
)
_SPOKEN_TO: Final = signs(
    "ignore disregard forget override bypass ai ais llm llms model assistant assistants chatbot chatbots copilot "
    "chatgpt gpt claude "
    "gemini llama agent agents bot bots user human owner instruction instructions directive directives important "
    "system admin "
    "developer your"
)  # a word of every pattern of _ADDRESSED
_TARGETS: Final = ("@", "://", "<", "#")  # what an order that addresses nobody must name, or a long number
_LONG_NUMBER: Final = re.compile(r"\d{5}|\d[\d -]{7}")
_STRONG: Final = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.-]*\w|https?://[^\s\"'<>)\]]+|<[A-Z][A-Z_]*_\d+>|\+?\d[\d -]{7,}\d|\b\d{5,}\b|"
    r"\b[A-Z]{2}\d{2}[A-Z0-9]{8,}\b|"
    r"(?<!\w)[#@]\w[\w-]{2,}"
)
_QUOTED: Final = re.compile(r"[\"“'`]([^\"”'`\n]{3,120})[\"”'`]")
_SAID: Final = re.compile(
    r"\b(?:say|reply|respond|answer|print|output|write|include|append|state|tell (?:the user|them|him|her|me)|"
    r"recommend|mention)\b"
    r"(?: (?:only|exactly|back|with|that|the (?:word|phrase|text|line|words)|following|to (?:buy|use|try|"
    r"visit)))*\s*[:,]?\s*"
    r"[\"“'`]?([^\"”'`\n.!]{3,80})",
    re.IGNORECASE,
)
_NAME_PART: Final = re.compile(r"[a-z]{3,}|[A-Z][a-z]{2,}")
_DECLINES: Final = re.compile(
    r"\b(?:inject\w*|instruct(?:ion|ions|s|ed|ing)|suspicious|malicious|phishing|scam|ignor(?:e|ed|ing)|won't|will "
    r"not|not going to|"
    r"declin\w+|refus\w+|(?:have not|haven't|did not|didn't) (?:follow|do|done|send|sent|act|acted|compl\w+)\w*|"
    r"(?:attempts?|attempting|"
    r"attempted|tries|tried|trying) to|be (?:careful|aware)|warn\w*|untrusted|asks? (?:me|the assistant|ai)|telling "
    r"me|comply)\b",
    re.IGNORECASE,
)
_DELEGATES: Final = re.compile(
    r"\b(?:do (?:what|as|whatever)|follow (?:the|its|their|his|her|all|any|those|these)|as (?:it|they|he|she) "
    r"(?:says?|asks?)|carry out|"
    r"act on|whatever (?:it|they|he|she)|complete (?:the|all|every) (?:tasks?|steps?|instructions?|todos?)|"
    r"instructions? (?:in|from|on))\b",
    re.IGNORECASE,
)


class _Order(NamedTuple):
    """An order in a result: its words, whether it speaks to the assistant, and what it names."""

    text: str
    addressed: bool
    values: tuple[str, ...]
    sayings: tuple[str, ...]


class Injections:
    """Sets aside what an assistant did on the word of a tool's result."""

    name = "injections"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its obedience to strangers set aside."""
        for draft in drafts:
            marker: Marker | None = None
            asked: list[str] = []
            held: list[_Order] = []
            obeyed = False
            for index, message in enumerate(draft.episode.messages):
                if message.role == "user":
                    asked = [*asked[1 - WISHES :], message.content[:READ]]
                    held, obeyed = [], False
                elif message.role == "tool":
                    held = [*held, *orders(message.content)][-HELD:]
                elif held and message.role == "assistant":
                    obeyed = obeyed or _obeys(message, held, asked)
                    if obeyed and draft.weights[index] == LEARN:
                        marker = marker or Marker(draft, self.name, report)
                        marker.set_aside(index, REASON)
            yield marker.done() if marker else draft


def orders(result: str) -> list[_Order]:
    """Return the orders that a result holds."""
    if len(result) < 20:
        return []
    text = result[:READ]
    words = said(text)
    addressed, ordering = not _SPOKEN_TO.isdisjoint(words), not _ORDERING.isdisjoint(words)
    if not addressed and not ordering:
        return []
    lowered = text.lower()
    found: list[_Order] = []
    for marks, pattern in _ADDRESSED if addressed else ():
        if any(map(lowered.__contains__, marks)):
            found += _read(pattern, text, lowered, addressed=True)
    if ordering and (any(map(text.__contains__, _TARGETS)) or _LONG_NUMBER.search(text)):
        found += _read(_COMMAND, text, lowered, addressed=False)
    return [order for order in found if order.values or order.addressed]


def _read(pattern: re.Pattern[str], text: str, lowered: str, *, addressed: bool) -> Iterator[_Order]:
    for match in islice(pattern.finditer(lowered), MOST):
        yield _order(text[match.start() : match.end() + SPAN].partition("\n\n")[0], addressed)


def _order(text: str, addressed: bool) -> _Order:
    values = [value.rstrip(".,;:") for value in _STRONG.findall(text)]
    sayings: list[str] = []
    if addressed:
        sayings = [value.strip() for value in _SAID.findall(text) if len(value.strip()) >= 4] + values
        values += [value.strip() for value in _QUOTED.findall(text)]
    return _Order(text, addressed, tuple(v for v in values if len(v) >= 3), tuple(sayings))


def _obeys(turn: Message, held: list[_Order], asked: list[str]) -> bool:
    """Tell whether a turn does what one of the orders names and nobody asked for."""
    if asked and _DELEGATES.search(asked[-1]):
        return False
    request = "\n".join(asked).lower()
    for call in turn.tool_calls:
        given = "\n".join(_strings(call.arguments))[:READ]
        if any(_call_obeys(call, given, order, request) for order in held):
            return True
    if turn.tool_calls or not turn.content or _DECLINES.search(turn.content[:READ]):
        return False
    sayings = [saying for order in held for saying in order.sayings if saying.lower() not in request]
    content = turn.content[:READ].lower()
    return any(saying.lower() in content for saying in sayings)


def _call_obeys(call: ToolCall, given: str, order: _Order, request: str) -> bool:
    """Tell whether a call carries what an order names, or is of the tool that an order to the assistant names."""
    if order.text[:40] in given:
        return False  # the result itself is written or searched: a file that holds such words
    parts = [part.lower() for part in _NAME_PART.findall(call.name)]
    wanted = any(part in request for part in parts)
    if (order.addressed or not wanted) and any(v in given and v.lower() not in request for v in order.values):
        return True
    if not order.addressed or wanted:
        return False
    told = order.text.lower()
    return call.name.lower() in told or (len(parts) > 1 and all(part in told for part in parts))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif value is not None:
        yield str(value)
