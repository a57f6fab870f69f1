"""Answers that were only true that day: weather, prices, news, scores, times, told from nothing that was looked up.

An answer that rests on a tool's result is behaviour and stays, and so does one whose figures the user gave. What counts
is a sentence with a figure or a state of one of these kinds that is said of now, by its own words or because the
request asks for it; "what can I do for you today?" claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lunar_tune.artefacts import Draft
from lunar_tune.curate.marks import LEARN, Marker
from lunar_tune.curate.signs import said, signs
from lunar_tune.episodes import Episode
from lunar_tune.seams import Report

REASON = "true only that day, and rests on nothing that was looked up"
READ = 4000  # characters of an answer that are read
SENTENCES = 40

_NOW: Final = re.compile(
    r"\b(?:today|today's|tonight|currently|right now|at the moment|at present|as of (?:today|now|this|writing)|"
    r"this (?:morning|afternoon|evening|week|weekend)|just now|at this (?:time|hour|moment)|live score|yesterday|"
    r"last night|tomorrow|the current|is (?:winning|leading)|heute|morgen|derzeit|aktuell|gerade|jetzt|hoy|ahora|"
    r"actualmente|mañana|aujourd'hui|actuellement|en ce moment|demain)\b",
    re.IGNORECASE,
)
_WEATHER: Final = re.compile(
    r"-?\d{1,3}(?:[.,]\d)? ?(?:°|º|degrees?\b|grad\b|grados\b|degrés\b|[CF]\b)|"
    r"\b(?:sunny|cloudy|overcast|rain(?:ing|y)?|snow(?:ing|y)?|foggy|fog|clear sk(?:y|ies)|windy|stormy|thunderstorms?|"
    r"drizzl\w+|showers|humid|freezing|hail|sleet|sonnig|bewölkt|regnet|schneit|soleado|nublado|llueve|ensoleillé|"
    r"nuageux|"
    r"il pleut)\b",
    re.IGNORECASE,
)
_MONEY: Final = re.compile(
    r"[$€£¥₿]\s?\d|\b\d[\d.,]*\s?(?:dollars?|euros?|pounds?|usd|eur|gbp|yen|cents?|[$€£¥])", re.IGNORECASE
)
_MARKET: Final = re.compile(
    r"\b(?:trad(?:ing|ed|es)|priced|prices?|costs?|worth|quoted|stands? at|is at|are at|closed (?:at|up|down)|"
    r"exchange rate|"
    r"stocks?|shares?|bitcoin|btc|ethereum|eth|gold|oil|nasdaq|dow|s&p|dax|kurs|preis|kostet|precio|cotiza|cuesta|prix|"
    r"cours)\b",
    re.IGNORECASE,
)
_SCORE: Final = re.compile(r"\b\d{1,3} ?[-–:] ?\d{1,3}\b")
_PLAY: Final = re.compile(
    r"\b(?:won|win(?:s|ning)?|lost|beat|beats|defeated|lead(?:s|ing)?|drew|scored?|gewann|führt|ganó|gagné|mène)\b",
    re.IGNORECASE,
)
_NEWS: Final = re.compile(
    r"\b(?:breaking news|headlines|in the news|top stories|announced|according to (?:reports|the news)|reportedly|"
    r"reported|latest news|schlagzeilen|titulares|à la une)\b",
    re.IGNORECASE,
)
# what the request asks for, and the parts of a sentence that answers it: of now because such a request is
_ASKED: Final = (
    (
        r"\b(?:weather|forecast|raining|snowing|umbrella|sunny|how (?:cold|warm|hot|windy) is it|temperature (?:in|"
        r"outside|"
        r"now|today)|like outside|wetter|wie warm|wie kalt|tiempo hace|clima|météo|quel temps)\b",
        (_WEATHER,),
    ),
    (
        r"\b(?:stock price|share price|bitcoin|btc|ethereum|exchange rate|gold price|oil price|gas price|price of "
        r"(?:gold|oil|"
        r"gas|silver)|stock market|shares|trading at|aktienkurs|wechselkurs|cotización|bourse)\b",
        (_MONEY, _MARKET),
    ),
    (r"\b(?:news|headlines|happening in the world|nachrichten|noticias|actualités)\b", (_NEWS,)),
)
_REQUESTS: Final = tuple((re.compile(asked, re.IGNORECASE), claims) for asked, claims in _ASKED)
_ALWAYS: Final = ((_WEATHER,), (_MONEY, _MARKET), (_SCORE, _PLAY), (_NEWS,))  # of sentences that say they are of now
_DAY: Final = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"
_MONTH: Final = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
_CLOCK: Final = re.compile(
    r"\b(?:the (?:current )?(?:local )?time (?:in [\w ]{1,30} )?is|it(?:'s| is) (?:now|currently))(?: about| "
    r"around)? ?\d{1,2}[:.h]\d\d"
    r"|\b(?:today is|today's date is|the (?:current date|date today) is|it(?:'s| is) currently)(?: \w+,)? ?"
    rf"(?:{_DAY}|{_MONTH} \d|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}|20\d\d-\d\d)",
    re.IGNORECASE,
)
# a text without any of these words is not looked at closer
_NOW_SIGNS: Final = signs(
    "today tonight currently yesterday tomorrow heute morgen derzeit aktuell gerade jetzt hoy ahora actualmente "
    "mañana aujourd "
    "actuellement demain"
)
_NOW_PARTS: Final = signs(
    "now moment present writing morning afternoon evening week weekend time hour live night current winning leading "
    "date"
)
_NOW_MARKS: Final = (
    "right now", "just now", "'s now", "is now", "the moment", "at present", "as of ", "this morning", "this afternoon",
    "this evening", "this week", "at this ", "live score", "last night", "the current", "is winning", "is leading",
    "time is", "time in ", "date is", "date today", "en ce moment",
)  # fmt: skip
_REQUEST_SIGNS: Final = signs(
    "weather forecast raining snowing umbrella sunny cold warm hot windy temperature outside wetter kalt tiempo "
    "clima météo temps "
    "stock shares share bitcoin btc ethereum exchange price trading aktienkurs wechselkurs cotización bourse news "
    "headlines "
    "happening nachrichten noticias actualités"
)
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|[\"“«][^\"”»\n]{0,300}[\"”»]", re.DOTALL)
_NO_CLAIM: Final = re.compile(
    r"\b(?:if|when|whenever|unless|could|would|might|for example|e\.g\.|such as|say|imagine|suppose|typically|"
    r"usually|generally|"
    r"on average|average|normally|historical(?:ly)?|can't|cannot|can not|don't have|do not have|unable|no access|not "
    r"able|"
    r"check|boils?|melts?|oven|preheat|bake|cook)\b|\b(?:in|since|by|until|during) (?:1\d\d\d|20[01]\d|202[0-3])\b",
    re.IGNORECASE,
)
_MADE_UP: Final = re.compile(
    r"\b(?:write|story|poem|draft|translate|imagine|pretend|role-?play|example|template|rewrite|rephrase|proofread|"
    r"fictional|"
    r"invent|compose|lyrics|joke|song|scenario|simulate|summari[sz]e|convert|cook|bake|oven|average|normal(?:ly)?|"
    r"usual(?:ly)?|climate|email|e-mail|letter|essay|code|function|script|regex|"
    r"schreib|übersetze|escribe|traduce|écris|traduis)\b",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(r"\d+(?:[.,]\d+)*")


Claims = tuple[re.Pattern[str], ...]  # what one sentence must all hold


class Fleeting:
    """Sets aside the answers of the day that rest on no result and on nothing that was said before."""

    name = "fleeting"

    def __call__(self, drafts: Iterable[Draft], report: Report) -> Iterator[Draft]:
        """Yield every draft, its answers of the day set aside."""
        for draft in drafts:
            marker: Marker | None = None
            messages = draft.episode.messages
            rests, request = False, -1
            for index, message in enumerate(messages):
                if message.role == "user":
                    rests, request = False, index
                elif message.role == "tool" or message.tool_calls:
                    rests = True
                elif not rests and request >= 0 and draft.weights[index] == LEARN:
                    asked = messages[request].content
                    if fleeting(asked, message.content) and not _given(draft.episode, index):
                        marker = marker or Marker(draft, self.name, report)
                        marker.set_aside(index, REASON)
            yield marker.done() if marker else draft


def fleeting(request: str, answer: str) -> bool:
    """Tell whether an answer claims what changes by the day."""
    begun, question = answer[:READ], request[:READ]
    wanted: list[Claims] = []
    if not _REQUEST_SIGNS.isdisjoint(said(question)):
        wanted = [claims for asked, claims in _REQUESTS if asked.search(question)]
    asked_of_now = _of_now(question)
    if not (wanted or asked_of_now or _of_now(begun)) or _MADE_UP.search(question):
        return False
    sentences = _SENTENCE.split(_CODE.sub("", begun))[:SENTENCES]
    if _MONEY.search(question):  # a sum that the user gave is reckoned with
        wanted = [claims for claims in wanted if _MONEY not in claims]
    return any(_claims(sentence, wanted, asked_of_now) for sentence in sentences)


def _of_now(text: str) -> bool:
    """Tell whether a text may speak of now."""
    words = said(text)
    if not _NOW_SIGNS.isdisjoint(words):
        return True
    return not _NOW_PARTS.isdisjoint(words) and any(map(text.lower().__contains__, _NOW_MARKS))


def _claims(sentence: str, wanted: Sequence[Claims], asked_of_now: bool) -> bool:
    if sentence.rstrip().endswith("?") or _NO_CLAIM.search(sentence):
        return False
    if _CLOCK.search(sentence):
        return True
    kinds = _ALWAYS if _NOW.search(sentence) else (*wanted, (_SCORE, _PLAY)) if asked_of_now else wanted
    return any(all(part.search(sentence) for part in claims) for claims in (*kinds, *wanted))


def _given(episode: Episode, index: int) -> bool:
    """Tell whether every figure of an answer was said before, by the user, a tool or the prompt: it rests on that."""
    figures = set(_FIGURE.findall(episode.messages[index].content[:READ]))
    if not figures:
        return False
    said = [m.content for m in episode.messages[:index] if m.role != "assistant"] + [episode.system or ""]
    alone = [re.compile(rf"(?<!\d){re.escape(figure)}(?!\d)") for figure in figures]
    return all(any(figure.search(text) for text in said) for figure in alone)
