"""Ask one arm every held-out turn and every probe, score the held-out rows, and say what was right.

Requests are rendered, encoded and parsed by our own prompt code, so that a server's parser is never judged. Probes are
asked without the agent's tools and system prompt. Metrics of turns:
`tool_call_accuracy`, `tool_call_exact` and `under_call` over turns whose logged answer calls tools; `over_call` over
turns that were offered tools and called none; `schema_valid` over calls produced, unreadable ones included as invalid;
`answers_cut_off` over all answers to turns.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from lunar_tune.artefacts import Completion, Reply, TokenRow
from lunar_tune.errors import UsageError
from lunar_tune.evaluate.arms import ArmResult
from lunar_tune.evaluate.metrics import calls_difference, calls_exact, mean_nll, schema_problem
from lunar_tune.evaluate.probes import Probe, passes
from lunar_tune.evaluate.turns import HeldOutTurn
from lunar_tune.seams import Prompt, Runtime, Scorer, Tokenizer
from lunar_tune.settings import EvaluateSettings
from lunar_tune.tokens import prompt_ids, whole

PROBE_DATE = "2026-01-01"  # some templates show a date; a fixed one keeps the probes the same every night
IN_FLIGHT = 4  # prompts handed over at a time for each request answered at a time: progress without idling

OnProgress = Callable[[int, int], None]  # done, of how many: turns, probes and rows together
_Items = defaultdict[str, dict[str, tuple[float, float]]]


def judge(
    runtime: Runtime,
    scorer: Scorer,
    prompt: Prompt,
    tokenizer: Tokenizer,
    turns: Sequence[HeldOutTurn],
    probes: Sequence[Probe],
    settings: EvaluateSettings,
    on_progress: OnProgress,
    *,
    rows: Sequence[TokenRow] = (),
) -> ArmResult:
    """Return what one arm made of the turns, the probes and the tokens of the held-out rows.

    `nll` is the mean over the supervised tokens of `rows`; its items are the dataset's rows, whose pieces count
    together. A turn whose prompt does not fit the
    runtime's context must have been left out before (`turns.fitting_turns`).

    Raises:
        UsageError: two probes share an id.
        RuntimeFailure: from the runtime or the scorer.
    """
    twice = [probe for probe, times in Counter(probe.id for probe in probes).items() if times > 1]
    if twice:
        raise UsageError(f"Two probes have the id {twice[0]!r}.", "Give your own probes ids of their own.")
    total, done = len(turns) + len(probes) + len(rows), 0
    items: _Items = defaultdict(dict)
    samples: list[dict[str, Any]] = []
    asked = [(turn.context, turn.tools, turn.date) for turn in turns]
    asked += [(tuple(probe.messages), (), PROBE_DATE) for probe in probes]
    questions: list[HeldOutTurn | Probe] = [*turns, *probes]
    ids = [prompt_ids(*request, prompt, tokenizer) for request in asked]
    answers: dict[int, Completion] = {}
    for index, said in _answers(runtime, prompt, ids, settings):
        answers[index] = said
        done += 1
        on_progress(done, total)
    for index, item in enumerate(questions):
        said = answers[index]
        if isinstance(item, HeldOutTurn):
            samples.append(_judge_turn(item, said, prompt.parse(said.text, item.tools), items))
        else:
            samples.append(_judge_probe(item, said, prompt.parse(said.text, ()), items))
    scored: defaultdict[str, list[float]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.ids):
        scored[whole(row.id)] += scorer.score([row])[0]
        done += 1
        on_progress(done, total)
    items["nll"] |= {id_: (mean_nll(found), float(len(found))) for id_, found in sorted(scored.items()) if found}
    groups = {turn.id: turn.group for turn in turns} | {turn.row: turn.group for turn in turns}
    return ArmResult(dict(items), groups, tuple(samples))


def _answers(
    runtime: Runtime, prompt: Prompt, asked: Sequence[Sequence[int]], settings: EvaluateSettings
) -> Iterator[tuple[int, Completion]]:
    """Yield every answer with its question's index; questions that begin alike follow each other.

    A runtime that keeps its last prompt then computes what an agent's turns share once.
    """
    order = sorted(range(len(asked)), key=lambda index: list(asked[index]))
    size = IN_FLIGHT * settings.parallel
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        answers = runtime.complete(
            [asked[index] for index in chosen], max_tokens=settings.max_tokens, stops=prompt.stops
        )
        yield from zip(chosen, answers, strict=True)


def _judge_turn(turn: HeldOutTurn, said: Completion, reply: Reply, items: _Items) -> dict[str, Any]:
    """Enter a turn's values and return its sample."""
    tried = bool(reply.tool_calls or reply.problem)
    reason = reply.problem or calls_difference(reply.tool_calls, turn.calls, turn.tools)
    items["answers_cut_off"][turn.id] = (float(said.finish == "length"), 1.0)
    if turn.calls:
        items["tool_call_accuracy"][turn.id] = (float(reason is None), 1.0)
        items["tool_call_exact"][turn.id] = (float(calls_exact(reply.tool_calls, turn.calls)), 1.0)
        items["under_call"][turn.id] = (float(not tried), 1.0)
    elif turn.tools:
        items["over_call"][turn.id] = (float(tried), 1.0)
    if tried:
        _judge_schemas(turn, reply, items)
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    return _sample("turn", turn.id, said, reason) | {"tool_calls": calls}


def _judge_schemas(turn: HeldOutTurn, reply: Reply, items: _Items) -> None:
    """Enter the share of a turn's calls that are valid; what could not be read as a call is one invalid call."""
    verdicts = [False] if reply.problem else []
    for call in reply.tool_calls:
        try:
            verdicts.append(schema_problem(call, turn.tools) is None)
        except ValueError:  # the logged schema is none: nothing can be said about the call
            continue
    if verdicts:
        items["schema_valid"][turn.id] = (sum(verdicts) / len(verdicts), float(len(verdicts)))


def _judge_probe(probe: Probe, said: Completion, reply: Reply, items: _Items) -> dict[str, Any]:
    """Enter a probe's values and return its sample."""
    right = passes(probe, reply.content)
    for metric in ("probes", f"probes/{probe.group}"):
        items[metric][probe.id] = (float(right), 1.0)
    return _sample("probe", probe.id, said, None if right else "check")


def _sample(kind: str, item: str, said: Completion, reason: str | None) -> dict[str, Any]:
    return {"kind": kind, "id": item, **asdict(said), "right": reason is None, "reason": reason}
