"""What a user's next turn says of the answer before it: a kind, and how strongly it speaks against the answer.

Only the reply's own words count (code and quotations are left out), only where a clause begins, only the first clauses,
and none after a question or a colon. Praise takes weight off, "no" to the agent's own question is an answer, and an
agent that admits a mistake in its next turn lends weight to a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from lunar_tune.curate.feedback import phrases, repair
from lunar_tune.curate.feedback.phrases import AGAIN, ASKED, CORRECTED, HINT, LIKELY, REJECTED, SURE, UNDONE, WEAK
from lunar_tune.curate.feedback.similar import said_again, same_words, words
from lunar_tune.curate.signs import listed, said, signs
from lunar_tune.episodes import ToolCall

READ = 400  # characters of a reply that are read: feedback comes first
CLAUSES = 3  # clauses in which it is looked for
BRIEF = 80  # characters of a reply that only sets one thing against another ("eight, not eighteen")
ENDING = 60  # characters at the end of an answer in which a question mark means that it asks; a sign-off may follow it
OFFERING = 200  # characters at the end of an answer in which it may offer to go on
PRAISE, ADMISSION = 0.4, 0.3  # what praise takes off and an admitted mistake adds
MENDED, PROTEST = 0.2, 0.15  # what an answer given anew and an outcry add to other evidence
IDENTIFIES = 0.3  # "that's 9 in Berlin": says what the answer is, though not that it is wrong
LATER = 0.8  # factor on what stands in a later clause than the first
REPEATED, REPHRASED, ADMITTED, REDONE = "repeated", "rephrased", "admitted", "redone"

REASONS: Final = {
    REPEATED: "asked again in the same words",
    REPHRASED: "asked again in other words",
    CORRECTED: "corrected by the user",
    REJECTED: "called wrong by the user",
    AGAIN: "the user asked to try again",
    UNDONE: "undone by the user",
    ASKED: "questioned by the user",
    ADMITTED: "the agent admitted a mistake",
    REDONE: "done again as it was first asked for",
}

_SPLIT: Final = re.compile(r"([.!?;:\n…]+|[,—])")
_PARTED: Final = (
    " - ",
    " – ",
    " but ",
    " however ",
    " except ",
    " aber ",
    " pero ",
    " mais ",
)  # words that begin a clause
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|[\"“«„][^\"”»“\n]{0,300}[\"”»“]|(?m:^>.*$)", re.DOTALL)
_STAR: Final = re.compile(r"\*\w[\w ']{0,30}|\w[\w ']{0,30}\*")
_CONTRACTED: Final = (
    (re.compile(r"\b(can|could|wo|would|do|does|did|is|are|was|were|has|have|should|must)n'?t\b"), r"\1 not"),
    (re.compile(r"\b(that|this|it|what|there|he|she|here|who|where)'s\b|\b(that|what|there)s\b"), r"\1\2 is"),
    (re.compile(r"\b(you|they|we|these|those)'re\b|\b(you)re\b"), r"\1\2 are"),
    (re.compile(r"\bi'm\b|\bim\b"), "i am"),
    (re.compile(r"\b(i|you|they|we)'ve\b"), r"\1 have"),
    (re.compile(r"\bcannot\b"), "can not"),
    (re.compile(r"\bits (?=(?:not|wrong|still|broken|incorrect|the same)\b)"), "it is "),
)
_NO: Final = re.compile(
    r"\W*(?:[\w']+\W+){0,2}?(?:no+|nope|nah|nein|nö|non)"
    r"(?:\s*[,.!;:?—-]|\s*\Z|\s+(?:i|it|that|this|the|not|you|use|they)\b)"
)
_LOOSE: Final = listed(
    "cant wont dont doesnt didnt isnt arent wasnt werent hasnt havent shouldnt couldnt wouldnt mustnt thats whats "
    "theres youre im "
    "cannot its"
)
_OFFERS: Final = re.compile(r"let me know|would you like|do you want|want me to|shall i|should i|just (?:say|tell|ask)")
_BARE: Final = re.compile(
    r"(?:no+ |nope )*(?:wrong|incorrect|false|falsch|faux|incorrecto|not (?:right|correct|true|it))$"
)
_TELLS: Final = listed(
    "say says said saying tell told read reads write writes wrote called titled translate phrase word"
)
_SUBJECT: Final = re.compile(
    r"(?:the|my|your|that|this|those|these) (?P<what>\w+(?: \w+){0,3}?) (?:is|are|was|were|looks?|seems?|does|do|did|"
    r"still|"
    r"has|have|keeps?|fails?|crash\w*|throws?|returns?|shows?)\b(?P<how>.{0,60})"
)
_SUBJECT_BAD: Final = re.compile(
    r"\b(?:wrong|incorrect|missing|broken|dead|empty|inaccurate|outdated|too (?:long|short|many|few|\w+)|wrongly|"
    r"not (?:right|correct|there|working|what|work|exist|compile|match|run|add|load|even|included|valid)|fail\w*|"
    r"crash\w*|an? (?:\w+ )?error|upside|backwards|reversed|duplicated?|misspelled|cut off|same)\b"
)
_INSIDE: Final = re.compile(r"\b(?:instead of|rather than|and not|but not)\b (?P<what>[\w' -]{1,60})$")
_INSTEAD: Final = re.compile(
    r"(?:please )?(?:use|make it|change it|put|try|take|it is|call it|say|write it)\b.{1,60}\binstead$"
)
_POINTING: Final = listed("the my your that this those these")
_AGAINST: Final = listed("and but so not instead rather nicht kein keine keinen no pas en")
_BUT_FOR: Final = listed("except but without only just")
_IS_NOT: Final = re.compile(r"(?:that|this|it|das|c'est) (?:is |ist )?(?:not|nicht|pas) (?P<what>\w+(?: \w+){0,2})$")
_ONLY: Final = re.compile(
    r"(?:except|but not|without|only|just)(?: for)? (?P<what>(?:the |my |your )?\w+(?: \w+){0,2})$"
)
_IDENTIFIES: Final = re.compile(
    r"(?:no |nope |hm+ |but |wait )*(?:(?:that|this|it) is|(?:that|this)s|das ist|eso es|c'est) (?!(?:an? |the |so |"
    r"really |very |"
    r"quite |all|fine|ok|why|how|what|when|where|because|good|great|nice|cool|interesting|funny|enough|it\b)).*\w"
)
_FAILED: Final = re.compile(r"(?:Traceback \(most recent|\w*(?:Error|Exception):|error(?:\[\w+\])?:|fatal:|panic:)")


_ADMITTING: Final = signs(
    "sorry apologies apologize apologise right mistake wrong catch misread misunderstood misheard misinterpreted "
    "misjudged miscounted "
    "mistook should my confused recht fehler entschuldigung razón raison perdón overlooked backwards mixed thank "
    "thanks désolé "
    "see messed missed had got read took"
)


Verdict = tuple[float, str, str]  # weight, kind, what stands behind it in the clause


_NEGATIONS: Final = signs("not nicht pas")


class Evidence(NamedTuple):
    """What speaks against an answer: the kind (a key of REASONS) and how strongly, 0 to 1."""

    kind: str
    weight: float


def read(
    request: str,
    answer: str,
    reply: str,
    then: str = "",
    *,
    similarity: float,
    calls: Sequence[ToolCall] = (),
    again: Sequence[ToolCall] = (),
) -> Evidence | None:
    """Return what a user's `reply` to the `answer` to `request` says against it, None for nothing.

    `then` is what the agent said next, `calls` and `again` what it called before and after the reply. `similarity` is
    the share of a request's content words that must come back for it to count as asked again in other words.
    """
    if not reply.strip():
        return None
    asked = "?" in answer[-ENDING:]
    text = plain(reply[:READ])
    heard = _Reply(text, asked or _offers(answer), request, answer)
    found = [heard.evidence(), _repeat(request, answer, reply, similarity, asked=asked)]
    if not asked and "`" in answer and _FAILED.match(reply.lstrip("`\n ")):
        found.append(Evidence(REJECTED, HINT))
    if calls and again and not heard.pleased and repair.redone_as_asked(request, calls, again):
        found.append(Evidence(REDONE, HINT))
    best = max((one for one in found if one is not None), key=lambda one: one.weight, default=None)
    if best is None and not heard.pleased and not asked and _IDENTIFIES.match(text) and not phrases.GOOD.match(text):
        best = Evidence(CORRECTED, IDENTIFIES)
    weight = best.weight if best is not None else 0.0
    if heard.praised or (heard.pleased and weight < SURE):
        weight -= PRAISE
    elif best is not None and weight < SURE:
        weight += MENDED if _mended(answer, reply, then, calls, again) else 0.0
        weight += PROTEST if any(map(text.__contains__, phrases.PROTEST_MARKS)) else 0.0
    return _with_admission(best, weight, then, pleased=heard.praised or heard.pleased)


def _mended(answer: str, reply: str, then: str, calls: Sequence[ToolCall], again: Sequence[ToolCall]) -> bool:
    """Tell whether the agent did next what it does after a mistake: again, taken back, or with other numbers."""
    if calls and again:
        return repair.takes_back(calls, again)
    return bool(then) and (repair.same_but_numbers(answer, then) or repair.adopts(reply, then))


def _with_admission(best: Evidence | None, weight: float, then: str, *, pleased: bool) -> Evidence | None:
    admitted = None
    if then and not pleased and not _ADMITTING.isdisjoint(said(then[:200])):
        admitted = phrases.ADMITS.match(plain(then[:200]))
    if admitted is not None:
        if admitted["fault"] and weight < HINT:
            kind = best.kind if best is not None and weight + ADMISSION >= HINT else ADMITTED
            return Evidence(kind, max(HINT, round(weight + ADMISSION, 3)))
        weight += ADMISSION if best is not None else 0.0
    return Evidence(best.kind, min(1.0, round(weight, 3))) if best is not None and weight > 0 else None


def _offers(answer: str) -> bool:
    end = answer[-OFFERING:]
    return not phrases.OFFER_SIGNS.isdisjoint(said(end)) and _OFFERS.search(end.lower()) is not None


def plain(text: str) -> str:
    """Return a reply's own words in lower case, contractions written out, code and quotations left out."""
    text = _CODE.sub(" quoted ", text) if any(mark in text for mark in '`"“«„>') else text
    text = text.replace("’", "'").lower()
    if "'" in text or not _LOOSE.isdisjoint(text.split()):
        for pattern, full in _CONTRACTED:
            text = pattern.sub(full, text)
    return text.strip()


def _repeat(request: str, answer: str, reply: str, similarity: float, *, asked: bool) -> Evidence | None:
    if same_words(request, reply):
        return Evidence(REPEATED, LIKELY)
    if phrases.GOES_ON.match(reply[:30].lower().lstrip()):
        return None
    share, marked = said_again(request, answer, reply, similarity)
    if not share or (asked and not marked):
        return None
    return Evidence(REPHRASED, LIKELY if marked else HINT)


class _Reply:
    """A reply's clauses, read one after another; `praised` when it thanks or praises before anything else."""

    def __init__(self, text: str, answers: bool, request: str, answer: str) -> None:
        self.text, self.answers = text, answers
        self.request, self.answer = request, answer
        self.praised = False
        self._words = said(text)
        marked = any(map(text.__contains__, phrases.PLEASED_MARKS))
        self.pleased = marked or (self._has(phrases.PLEASED_SIGNS) and phrases.PLEASED.search(text) is not None)
        self._elsewhen = self._has(phrases.ELSEWHEN_SIGNS) and phrases.ELSEWHEN.search(text) is not None

    def _has(self, words: frozenset[bytes]) -> bool:
        return not words.isdisjoint(self._words)

    def evidence(self) -> Evidence | None:
        """Return the strongest evidence in the first clauses."""
        if any(map(self.text.__contains__, phrases.TAKEN_BACK_MARKS)) or (
            self._has(phrases.TAKEN_BACK_SIGNS) and phrases.TAKEN_BACK.search(self.text)
        ):
            self.praised = True
            return None
        if (
            not self.answers
            and len(self.text) < BRIEF
            and phrases.SHORT_CONTRAST.fullmatch(self.text)
            and not phrases.GOOD.match(self.text)
        ):
            return Evidence(CORRECTED, LIKELY)
        if _STAR.fullmatch(self.text):
            return Evidence(CORRECTED, SURE)
        text = self.text
        for word in _PARTED:
            if word in text:
                text = text.replace(word, f" —{word}" if word.strip().isalpha() else " — ")
        parts = _SPLIT.split(text)
        pairs = list(zip(parts[::2], [*parts[1::2], ""], strict=True))
        best: Evidence | None = None
        looked = 0
        for number, (raw, mark) in enumerate(pairs[: 3 * CLAUSES]):
            clause = " ".join(raw.split())
            if not clause:
                continue
            leading = phrases.LEADING.match(clause)
            own = clause[leading.end() :] if leading else clause
            verdict = self._verdict(clause)
            if not own and verdict is None:
                continue
            if verdict is None and phrases.GOOD.match(clause):
                self.praised = self.praised or looked == 0
                looked += 1
                continue
            if self.praised and phrases.BUT.match(clause):
                self.praised = self.pleased = False  # "thanks, but ..."
            found = (
                None
                if self._elsewhen and phrases.ELSEWHEN.search(clause)
                else self._clause(clause, own, verdict, later=looked > 0)
            )
            if found is not None and "?" in mark and found.kind in (REJECTED, UNDONE):
                found = Evidence(found.kind, found.weight / 2)  # "that's wrong?" asks
            if found is not None and (best is None or found.weight > best.weight):
                rest = " ".join(part for part, _ in pairs[number + 1 :])
                best = self._informed(found, own, rest)
            looked += 1
            ends = (
                ("?" in mark and found is None and len(clause.split()) > 3)
                or ":" in mark
                or clause.rpartition(" ")[2] in _TELLS
            )
            if looked >= CLAUSES or (ends and (best is None or best.weight < WEAK)):
                break
        denial = self._denial()
        return denial if best is None or (denial is not None and denial.weight > best.weight) else best

    def _verdict(self, clause: str) -> Verdict | None:
        match = _CLAUSES.match(clause)
        if match is None or match.lastindex is None:
            return None
        weight, kind = _KINDS[match.lastindex - 1]
        return weight, kind, clause[match.end() :]

    def _clause(self, clause: str, own: str, verdict: Verdict | None, *, later: bool) -> Evidence | None:
        verdict = verdict or (self._verdict(own) if own != clause else None)
        if verdict is None:
            return self._about_named(own, later=later)
        weight, kind, _ = verdict
        if later and kind in (ASKED, UNDONE):
            return None  # after a statement it is a change of mind
        if kind == UNDONE and clause.split()[0] in self.request.lower():
            return None
        if self.answers and (weight < LIKELY or _BARE.match(clause)):
            weight /= 2
        return Evidence(kind, weight * (LATER if later else 1.0))

    def _about_named(self, own: str, *, later: bool) -> Evidence | None:
        """Judge clauses that name what they are about: it must be something the request or the answer spoke of."""
        first = own.partition(" ")[0]
        subject = _SUBJECT.match(own) if first in _POINTING else None
        if subject is not None and _SUBJECT_BAD.search(own, subject.start("how")) and self._known(subject["what"]):
            return Evidence(CORRECTED, HINT if later else LIKELY)
        contrast = phrases.CONTRAST.match(own) if first in _AGAINST else None
        if contrast is None and (" than " in own or " of " in own or " not " in own):
            contrast = _INSIDE.search(own)
        if contrast is not None and not self.answers and self._in(contrast["what"], self.answer):
            return Evidence(CORRECTED, LIKELY)
        if own.endswith("instead") and _INSTEAD.match(own) and not self.answers:
            return Evidence(CORRECTED, HINT)
        kept = _ONLY.match(own) if first in _BUT_FOR and not later else None
        if kept is not None and self._in(kept["what"], self.request) and self._in(kept["what"], self.answer):
            return Evidence(CORRECTED, HINT)
        denied = _IS_NOT.match(own) if " not " in own or " nicht " in own or " pas " in own else None
        if denied is not None and self._in(denied["what"], self.request):
            return Evidence(REJECTED, LIKELY)
        return None

    def _known(self, what: str) -> bool:
        """Tell whether the request or the answer has a content word of `what`."""
        return self._in(what, self.answer) or self._in(what, self.request)

    def _in(self, what: str, text: str) -> bool:
        return bool(words(what).content & words(text).content)

    def _informed(self, found: Evidence, own: str, rest: str) -> Evidence:
        """A rejection with something beyond it says what would be right."""
        if found.kind != REJECTED:
            return found
        verdict = self._verdict(own)
        beyond = f"{verdict[2] if verdict else ''} {rest}"
        return Evidence(CORRECTED if words(beyond).content else REJECTED, found.weight)

    def _denial(self) -> Evidence | None:
        """A reply that begins with "no", where the agent had asked nothing, denies the answer."""
        if self.answers or self.praised or self.pleased or not _NO.match(self.text):
            return None  # also where "no" belongs to the words after it ("no está mal")
        flat = " ".join(re.sub(r"[^\w' ]+", " ", self.text).split())
        denied = phrases.DENIAL.match(flat)
        if denied is None or phrases.NO_HARM.match(flat):
            return None
        rest = flat[denied.end() :].split()
        if not rest:
            return Evidence(REJECTED, LIKELY)
        return Evidence(CORRECTED, HINT)


_KINDS: Final = tuple((weight, kind) for weight, kind, _ in phrases.CLAUSES)
_CLAUSES: Final = re.compile("|".join(f"({pattern})" for _, _, pattern in phrases.CLAUSES))  # one group a kind
