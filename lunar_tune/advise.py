"""Prompt, retrieve or fine-tune? The decision tree, answered from the newest dataset and what curation left out of it.

Asked in this order: is there enough to learn from and to judge on (else collect); are the failures missing knowledge
(then retrieve); is the behaviour settled and is there anything to gain (else prompt); if so, fine-tune. Every bar is
named here with where it comes from, and the report shows the figure beside the bar.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lunar_tune.artefacts import SPLITS, Dataset, Row
from lunar_tune.errors import LunarError
from lunar_tune.files import read_jsonl
from lunar_tune.settings import Settings

Verdict = Literal["collect", "retrieve", "prompt", "fine-tune"]

WORTHWHILE = 500  # tasks: about so many good traces give most of the gain of supervised fine-tuning (TRL, 2026)
LARGEST_GAIN = 0.30  # a test that shows nothing smaller cannot tell a good model from a lucky one
# Where the next bars lie is this project's own judgement, not a measured fact.
GAPS = 0.10  # share of answers that lacked knowledge, from which looking things up comes first
FAULTS = 0.02  # share of answers that were calls gone wrong, from which form is worth teaching
CONSISTENT = (
    0.70  # share of repeated tasks answered in their usual shape, below which there is nothing settled to learn
)
LONG_PROMPT = 500  # tokens of system prompt and tools, from which having them in the weights pays
CHARACTERS_A_TOKEN = 4  # of English text in the vocabularies of today's models, where no tokenizer is at hand
CALLS = 0.10  # share of answers that are calls, from which there is form to learn at all

# What curation left out, by what it says of the agent: step -> reasons, None for all of them.
FORM: Mapping[str, tuple[str, ...] | None] = {"toolcalls": None}
KNOWLEDGE: Mapping[str, tuple[str, ...] | None] = {
    "signals": ("corrected by the user", "the log says correction"),
    "fleeting": None,
}
UNLIKED: Mapping[str, tuple[str, ...] | None] = {"signals": None, "refusals": None}
_IGNORANT = re.compile(
    r"\bi (?:do not|don't|dont) (?:know|have (?:any |that |this |the )?(?:information|details|data|knowledge))\b"
    r"|\bi (?:have no|lack) (?:information|knowledge|record|data)\b"
    r"|\bi(?: am|'m) not (?:sure|certain|aware)\b"
    r"|\bi (?:could not|couldn't|cannot|can't) find (?:any|that|information)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Evidence:
    """What the tree is asked about. None where nothing could be counted.

    `distinct` and `templates` are tasks to train on; `gaps`, `faults`, `unliked`, `ignorant` and `rated` are numbers of
    answers. The answers of a group depend on each other: what they can show lies between the two smallest gains.
    """

    read: int
    learnt: int
    distinct: int
    templates: int
    repeated: int
    consistency: float | None
    gaps: int
    faults: int
    unliked: int
    ignorant: int
    rated: int | None
    calls: float | None
    prompt_tokens: int | None
    estimated: bool
    test_turns: int
    test_groups: int
    smallest_gain: float
    smallest_gain_of_groups: float
    needed_tasks: int
    needed_turns: int
    needed_groups: int

    def share(self, number: int) -> float:
        """Return a number of answers as a share of those read."""
        return number / self.read if self.read else 0.0


@dataclass(frozen=True)
class Advice:
    """The verdict, its reasons in words, what else is worth knowing, and the next command."""

    verdict: Verdict
    reasons: tuple[str, ...]
    also: tuple[str, ...]
    next: str
    evidence: Evidence
    dataset: str

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def advise(home: Path, dataset: Dataset, settings: Settings) -> Advice:
    """Return what is best done with a dataset; nothing is written or fetched.

    Raises:
        ArtefactBroken: a row that cannot be read.
    """
    evidence = gather(home, dataset, settings)
    verdict, reasons = decide(evidence)
    return Advice(verdict, tuple(reasons), tuple(_also(evidence, verdict)), _next(verdict), evidence, dataset.id)


def gather(home: Path, dataset: Dataset, settings: Settings) -> Evidence:
    """Return the evidence of a dataset."""
    from lunar_tune.dataset.tasks import tasks
    from lunar_tune.evaluate.gate import MIN_CONVERSATIONS
    from lunar_tune.evaluate.power import items_for, smallest_gain

    curation, turns = dataset.manifest["curation"], dataset.manifest["turns"]
    left_out = curation["turns"]["left_out"]
    requests: set[str] = set()
    shapes: dict[str, Counter[str]] = defaultdict(Counter)
    ignorant, sample = 0, []
    for split in SPLITS:
        for number, row in enumerate(read_jsonl(dataset.split(split))):
            ignorant += sum(_ignorant(message) for message in row["messages"])
            if split == "train":
                if number % max(1, dataset.counts["train"] // 100) == 0:
                    sample.append(row)
                for task in tasks(row):
                    requests.add(task.request)
                    shapes[task.template][task.shape] += 1
    again = [counts for counts in shapes.values() if counts.total() > 1]
    repeated = sum(counts.total() for counts in again)
    tokens, estimated = _prompt_tokens(sample, settings)
    learnt = sum(turns[split]["learnt"] for split in SPLITS)
    judged = min(turns["test"]["learnt"], settings.evaluate.turns or turns["test"]["learnt"])
    groups, confidence = dataset.manifest["groups"]["test"], settings.gate.confidence
    return Evidence(
        read=curation["turns"]["read"],
        learnt=learnt,
        distinct=len(requests),
        templates=len(shapes),
        repeated=repeated,
        consistency=sum(max(counts.values()) for counts in again) / repeated if repeated else None,
        gaps=_number(left_out, KNOWLEDGE),
        faults=_number(left_out, FORM),
        unliked=_number(left_out, UNLIKED) - _number(left_out, {"signals": KNOWLEDGE["signals"]}),
        ignorant=ignorant,
        rated=_rated(home, dataset),
        calls=sum(turns[split]["calls"] for split in SPLITS) / learnt if learnt else None,
        prompt_tokens=tokens,
        estimated=estimated,
        test_turns=judged,
        test_groups=groups,
        smallest_gain=smallest_gain(judged, confidence=confidence),
        smallest_gain_of_groups=smallest_gain(min(judged, groups), confidence=confidence),
        needed_tasks=settings.train.min_examples,
        needed_turns=max(settings.gate.min_turns, int(items_for(LARGEST_GAIN, confidence=confidence)) + 1),
        needed_groups=min(MIN_CONVERSATIONS, settings.gate.min_turns),
    )


def decide(found: Evidence) -> tuple[Verdict, list[str]]:
    """Return the first verdict of the tree that the evidence gives, and why."""
    collect = []
    if found.distinct < found.needed_tasks:
        collect.append(
            f"{found.distinct} distinct tasks to train on, and at least {found.needed_tasks} are wanted "
            "(train.min_examples): fewer are learnt by heart"
        )
    if found.smallest_gain > LARGEST_GAIN:
        collect.append(
            f"{found.test_turns} answers to judge on would show a gain of {found.smallest_gain:.0%} or more only; "
            f"{found.needed_turns} would show {LARGEST_GAIN:.0%}"
        )
    elif found.test_turns < found.needed_turns:
        collect.append(
            f"{found.test_turns} answers to judge on, and at least {found.needed_turns} are wanted (gate.min_turns)"
        )
    if found.test_groups < found.needed_groups:
        collect.append(
            f"the answers to judge on come from {found.test_groups} groups of conversations, and the gate wants at "
            f"least {found.needed_groups}: answers of a group depend on each other"
        )
    if collect:
        return "collect", collect
    missing = found.share(found.gaps + found.ignorant)
    if missing >= GAPS and found.gaps + found.ignorant > found.faults:
        return "retrieve", [
            f"{missing:.0%} of the answers were corrected, out of date or said that the agent does not know, and "
            f"{found.share(found.faults):.0%} were calls gone wrong: facts belong where they can be looked up, "
            "fine-tuning teaches form"
        ]
    if found.consistency is not None and found.consistency < CONSISTENT:
        return "prompt", [
            f"the same task gets its usual kind of answer in {found.consistency:.0%} of cases: say in the prompt what "
            "is wanted, or it is the inconsistency that is learnt"
        ]
    gains = list(_gains(found))
    if not gains:
        return "prompt", [
            "few calls, few of them wrong, and a short prompt: there is little that fine-tuning would change"
        ]
    return "fine-tune", gains


def _gains(found: Evidence) -> Iterable[str]:
    if found.share(found.faults) >= FAULTS:
        yield f"{found.share(found.faults):.0%} of the answers were calls gone wrong, which is form and can be taught"
    if found.prompt_tokens is not None and found.prompt_tokens >= LONG_PROMPT:
        yield (
            f"every request begins with {_about(found)} tokens of prompt and tools, which training can shorten "
            "(dataset.system)"
        )
    if found.calls is not None and found.calls >= CALLS:
        usual = _percent(found.consistency)
        settled = "" if found.consistency is None else f", and the same task gets its usual kind in {usual} of cases"
        yield f"{found.calls:.0%} of the answers are calls{settled}"


def _also(found: Evidence, verdict: Verdict) -> Iterable[str]:
    if verdict == "collect" and found.gaps + found.ignorant > found.faults:
        yield "what failed so far was more often knowledge than form: looking things up may do more than training"
    if verdict == "fine-tune" and found.distinct < WORTHWHILE:
        yield f"{found.distinct} distinct tasks are enough to begin; most of the gain comes by about {WORTHWHILE}"
    if found.rated == 0:
        yield "nobody rated an answer: a rating is the surest sign of what to learn"


def _next(verdict: Verdict) -> str:
    return {
        "collect": "use the agent, then `lunar-tune harvest` and `lunar-tune advise` again",
        "retrieve": "give the agent a tool or notes to look facts up in; `lunar-tune review` shows what was corrected",
        "prompt": "change the agent's prompt; `lunar-tune dataset show` says what is asked and answered",
        "fine-tune": "lunar-tune nightly",
    }[verdict]


def table(found: Evidence) -> list[list[str]]:
    """Return the evidence as rows of question, figure and bar."""
    share = found.share
    return [
        ["distinct tasks to train on", str(found.distinct), f"at least {found.needed_tasks}, better {WORTHWHILE}"],
        ["of them different in more than values", str(found.templates), "-"],
        ["repeated tasks answered in their usual shape", _percent(found.consistency), f"at least {CONSISTENT:.0%}"],
        ["answers read", str(found.read), "-"],
        ["corrected by the user, or out of date", f"{found.gaps} ({share(found.gaps):.1%})", f"together {GAPS:.0%}:"],
        ["said that the agent does not know", f"{found.ignorant} ({share(found.ignorant):.1%})", "  retrieve"],
        ["calls gone wrong", f"{found.faults} ({share(found.faults):.1%})", f"from {FAULTS:.0%}: form to teach"],
        ["disliked for another reason", f"{found.unliked} ({share(found.unliked):.1%})", "-"],
        ["rated", "-" if found.rated is None else f"{found.rated} ({share(found.rated):.1%})", "-"],
        ["calls among the answers to learn", _percent(found.calls), f"from {CALLS:.0%}: form to learn"],
        ["tokens of prompt and tools", _about(found), f"from {LONG_PROMPT}: shortening pays"],
        ["answers to judge on", str(found.test_turns), f"at least {found.needed_turns}"],
        ["groups of conversations that they come from", str(found.test_groups), f"at least {found.needed_groups}"],
        ["smallest gain they could show", f"{found.smallest_gain:.0%}", f"at most {LARGEST_GAIN:.0%}"],
        ["the same if a group tells no more than one answer", f"{found.smallest_gain_of_groups:.0%}", "-"],
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _about(found: Evidence) -> str:
    return "-" if found.prompt_tokens is None else f"{'about ' if found.estimated else ''}{found.prompt_tokens}"


def _number(left_out: Mapping[str, Mapping[str, int]], wanted: Mapping[str, tuple[str, ...] | None]) -> int:
    """Count the turns that were left out by the named steps, for the named reasons."""
    return sum(
        number
        for step, reasons in wanted.items()
        for reason, number in left_out.get(step, {}).items()
        if reasons is None or reason in reasons
    )


def _ignorant(message: Mapping[str, Any]) -> bool:
    return bool(message.get("weight") and _IGNORANT.search(message["content"]))


def _rated(home: Path, dataset: Dataset) -> int | None:
    """Count the rated messages of the dataset's logs, None where their conversations are not kept here."""
    from lunar_tune.store import EpisodeStore

    paths = {str(Path(source["path"]).resolve()): source["path"] for source in dataset.manifest["sources"]}
    rated: set[tuple[str, int | None]] = set()
    known = False
    with contextlib.closing(EpisodeStore(home)) as kept:
        for held in kept.episodes(paths):
            known = True
            episode = held.episode
            rated |= {(episode.thread, s.message) for s in episode.signals if s.kind in ("rating", "reaction")}
    return len(rated) if known else None


def _prompt_tokens(rows: Sequence[Row], settings: Settings) -> tuple[int | None, bool]:
    """Return the median tokens of system prompt and tools, and whether they are estimated for want of a tokenizer."""
    from statistics import median_low

    from lunar_tune.bases import load_tokenizer, model_type, tokenizer_here
    from lunar_tune.prompts import load_prompt, prompt_of

    if not rows:
        return None, False
    folder = tokenizer_here(settings.train.base)
    try:
        prompt = prompt_of(settings.prompt, folder, model_type(folder)) if folder else load_prompt(settings.prompt)
        tokenizer = load_tokenizer(folder) if folder else None
    except LunarError:
        prompt, tokenizer = load_prompt(settings.prompt), None
    lengths = []
    for row in rows:
        system = [message for message in row["messages"][:1] if message["role"] == "system"]
        text = prompt.text([*system, {"role": "user", "content": ""}], row.get("tools") or (), row["date"])
        lengths.append(len(tokenizer.encode(text)) if tokenizer else len(text) // CHARACTERS_A_TOKEN)
    return median_low(lengths), tokenizer is None
