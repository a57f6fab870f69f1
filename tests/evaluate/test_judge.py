"""The judge with a runtime that says what it is told to say."""

import json
import math
from dataclasses import replace

import pytest

from lunar_tune.artefacts import Completion, Reply, TokenRow
from lunar_tune.episodes import ToolCall
from lunar_tune.errors import UsageError
from lunar_tune.evaluate.arms import ArmResult, arm_key
from lunar_tune.evaluate.compare import compare_arms
from lunar_tune.evaluate.evaluation import evaluation_document, read_evaluation
from lunar_tune.evaluate.gate import decide
from lunar_tune.evaluate.judge import PROBE_DATE, judge
from lunar_tune.evaluate.probes import Probe
from lunar_tune.evaluate.table import comparison
from lunar_tune.evaluate.turns import held_out_turns
from lunar_tune.runtimes.scripted import ScriptedRuntime
from lunar_tune.settings import EvaluateSettings, GateSettings

SETTINGS = EvaluateSettings(max_tokens=17, parallel=2)
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}


class LetterTokenizer:
    """One id a character."""

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


class PlainPrompt:
    """`role: content` lines; a call is `CALL {json}`; `BROKEN` looks like one and is none."""

    stops = ("<end>",)
    version = "plain-1"

    def text(self, messages, tools, date):
        return f"{date} {len(tools)}\n" + "\n".join(f"{m['role']}: {m['content']}" for m in messages)

    def parse(self, text, tools):
        if text == "BROKEN":
            return Reply(text, (), "broken JSON in a call")
        head, tag, body = text.partition("CALL ")
        if not tag:
            return Reply(text)
        calls = json.loads(body)
        return Reply(head, tuple(ToolCall(name=c["name"], arguments=c["arguments"]) for c in calls))


class FlatScorer:
    """Every supervised token has the same log-probability."""

    def __init__(self, logprob=-0.5):
        self.logprob = logprob

    def score(self, rows):
        return [[self.logprob] * row.supervised for row in rows]


def turn(name, calls=(), tools=(TOOL,), group=None):
    wire = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    answer = {"role": "assistant", "content": "ok", "weight": 1} | ({"tool_calls": wire} if wire else {})
    messages = [{"role": "system", "content": "You are an agent."}, {"role": "user", "content": name}, answer]
    row = {"id": name, "date": "2026-02-03", "messages": messages, "tools": list(tools), "meta": {"group": group}}
    return held_out_turns([row])[0]


def said(*calls):
    return "CALL " + json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


def run(turns=(), answers=(), probes=(), rows=(), runtime=None, progress=None):
    runtime = runtime or ScriptedRuntime(list(answers))
    progress = progress or (lambda done, total: None)
    return judge(runtime, FlatScorer(), PlainPrompt(), LetterTokenizer(), turns, probes, SETTINGS, progress, rows=rows)


ADD = ("add", {"n": 1})


@pytest.mark.parametrize(
    ("calls", "answer", "figures", "reason"),
    [
        ([ADD], said(ADD), {"tool_call_accuracy": 1, "tool_call_exact": 1, "under_call": 0, "schema_valid": 1}, None),
        ([ADD], said(("add", {"n": 2})), {"tool_call_accuracy": 0, "tool_call_exact": 0, "schema_valid": 1}, "value:n"),
        ([ADD], said(("add", {"n": "1"})), {"tool_call_accuracy": 0, "schema_valid": 0}, "type:n"),
        ([ADD], said(("sub", {})), {"tool_call_accuracy": 0, "schema_valid": 0, "under_call": 0}, "name"),
        ([ADD], "just text", {"tool_call_accuracy": 0, "under_call": 1, "tool_call_exact": 0}, "count"),
        ([ADD], "BROKEN", {"tool_call_accuracy": 0, "under_call": 0, "schema_valid": 0}, "broken JSON in a call"),
        ([ADD, ADD], said(ADD), {"tool_call_accuracy": 0, "under_call": 0}, "count"),
        ([ADD, ("add", {"n": 2})], said(("add", {"n": 2}), ADD), {"tool_call_accuracy": 1}, None),
        ([], "text", {"over_call": 0}, None),
        ([], said(ADD), {"over_call": 1, "schema_valid": 1}, "count"),
        ([], "BROKEN", {"over_call": 1, "schema_valid": 0}, "broken JSON in a call"),
    ],
)
def test_one_turn(calls, answer, figures, reason):
    found = run([turn("x", calls)], [answer])
    assert {metric: found.figures[metric] for metric in figures} == figures
    assert ("over_call" in found.items) == (not calls)
    assert ("tool_call_accuracy" in found.items) == ("under_call" in found.items) == bool(calls)
    (sample,) = found.samples
    assert (sample["right"], sample["reason"], sample["text"]) == (reason is None, reason, answer)
    assert sample["id"] == turn("x", calls).id


def test_over_calling_needs_tools_to_call():
    assert "over_call" not in run([turn("x", tools=())], ["text"]).items


def test_schema_validity_is_a_share_of_calls():
    answers = [said(ADD, ADD, ("add", {})), said(ADD), "text"]
    found = run([turn(str(k), [ADD]) for k in range(3)], answers)
    assert found.figures["schema_valid"] == 3 / 4
    assert found.counts["schema_valid"] == 4


def test_an_unusable_schema_is_not_held_against_the_call():
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "dict"}}}
    found = run([turn("x", [ADD], tools=[tool])], [said(ADD)])
    assert "schema_valid" not in found.items
    assert found.figures["tool_call_accuracy"] == 1


def test_requests_are_our_own_ids_the_like_together_and_in_batches():
    turns = [turn(f"question {k}") for k in reversed(range(11))]
    runtime = ScriptedRuntime(["text"] * 11)
    seen = []
    run(turns, runtime=runtime, progress=lambda done, total: seen.append((done, total)))
    first = "2026-02-03 1\nsystem: You are an agent.\nuser: question 0"
    assert LetterTokenizer().decode(runtime.asked[0]) == first
    assert [LetterTokenizer().decode(ids)[-2:] for ids in runtime.asked] == [
        " 0",
        " 1",
        "10",
        *(f" {k}" for k in range(2, 10)),
    ]
    assert runtime.limits == [(17, ("<end>",))] * 2  # four times `parallel` at a time
    assert seen == [(k, 11) for k in range(1, 12)]


def probe(name, group="facts", word="yes"):
    return Probe(name, group, [{"role": "user", "content": name}], {"kind": "contains", "value": word})


def test_probes_are_asked_plainly_and_counted_by_group():
    probes = [probe("p1"), probe("p2"), probe("p3", "format")]
    runtime = ScriptedRuntime(["yes!", "no", "yes"])
    found = run(probes=probes, runtime=runtime)
    assert LetterTokenizer().decode(runtime.asked[0]) == f"{PROBE_DATE} 0\nuser: p1"
    assert found.figures["probes"] == pytest.approx(2 / 3)
    assert found.figures["probes/facts"] == 0.5
    assert found.figures["probes/format"] == 1
    assert found.counts["probes"] == 3
    assert [sample["right"] for sample in found.samples] == [True, False, True]
    assert found.figures["turns"] == 0


def test_two_probes_of_one_id_are_refused():
    with pytest.raises(UsageError, match="'p1'"):
        run(probes=[probe("p1"), probe("p1", "format")], answers=["yes", "yes"])


def test_cut_off_answers_are_counted():
    found = run([turn("a"), turn("b")], [Completion("so long", "length"), "short"])
    assert found.figures["answers_cut_off"] == 0.5
    assert [sample["finish"] for sample in found.samples] == ["length", "stop"]


def test_nll_is_a_mean_over_tokens():
    rows = [TokenRow("a", (1, 2, 3), (0, 1, 1)), TokenRow("b", (1, 2), (0, 1)), TokenRow("none", (1, 2), (0, 0))]
    found = run(rows=rows)
    assert found.figures["nll"] == 0.5
    assert found.figures["perplexity"] == pytest.approx(math.exp(0.5))
    assert found.counts["nll"] == 3
    assert set(found.items["nll"]) == {"a", "b"}


def test_turns_and_rows_know_their_conversation():
    turns = [turn("a", group="g1"), turn("b", group="g1"), turn("c")]
    found = run(turns, ["text"] * 3)
    assert found.groups[turns[0].id] == found.groups["b"] == "g1"
    assert found.figures["turns"] == 3
    assert found.figures["conversations"] == 2


def test_the_pieces_of_a_row_count_as_the_row():
    class Scorer:
        def score(self, rows):
            return [[-float(row.ids[0])] * row.supervised for row in rows]

    turns = [turn("a", group="g1")]
    rows = [TokenRow("a#4", (3, 0), (0, 1)), TokenRow("a", (1, 0, 0, 0), (0, 1, 1, 1)), TokenRow("b", (1, 0), (0, 1))]
    found = judge(
        ScriptedRuntime(["text"]), Scorer(), PlainPrompt(), LetterTokenizer(), turns, [], SETTINGS, print, rows=rows
    )
    assert found.items["nll"] == {"a": (1.5, 4.0), "b": (1.0, 1.0)}
    assert found.groups["a"] == "g1"


def judged(answers):
    turns = [turn(f"{k:02}", [ADD]) for k in range(40)]
    rows = [TokenRow(f"{k}", (1, 2), (0, 1)) for k in range(40)]
    return run(turns, ["yes", "yes", *answers], [probe("p1"), probe("p2")], rows)  # probes have the earlier date


def test_a_result_survives_json():
    found = judged([said(ADD)] * 40)
    again = ArmResult.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found
    assert again.figures == found.figures


def test_from_turns_to_a_verdict_and_back():
    arms = {"base": judged(["text"] * 40), "tuned": judged([said(ADD)] * 38 + ["text"] * 2)}
    paired = {"tuned-base": compare_arms(arms["tuned"], arms["base"])}
    figures = {name: arm.figures for name, arm in arms.items()}
    verdict, reasons = decide(figures, paired, GateSettings())
    assert verdict == "promote"
    document = json.loads(json.dumps(evaluation_document(arms, paired, verdict, reasons), allow_nan=False))
    assert document["arms"]["tuned"]["tool_call_accuracy"] == 0.95
    assert document["counts"]["tuned"]["tool_call_accuracy"] == 40
    assert set(document["paired"]["tuned-base"]["probes"]) == {"delta", "low", "high", "p", "n"}
    evaluation = read_evaluation("eval-1", None, document)
    assert (evaluation.arms, evaluation.paired) == (figures, paired)
    assert (evaluation.verdict, list(evaluation.reasons)) == (verdict, reasons)


def test_the_table_has_a_line_a_metric_and_a_column_an_arm():
    arms = {"base": judged(["text"] * 40), "tuned": judged([said(ADD)] * 40)}
    document = evaluation_document(arms, {"tuned-base": compare_arms(arms["tuned"], arms["base"])}, "promote", [])
    headers, lines = comparison(document)
    assert headers == ["metric", "base", "tuned", "tuned-base"]
    by_metric = {line[0]: line[1:] for line in lines}
    assert by_metric["tool_call_accuracy"] == ["0.000", "1.000", "+1.000 (1.000 to 1.000, n=40)"]
    assert by_metric["schema_valid"] == ["-", "1.000", "-"]
    assert by_metric["turns"] == ["40", "40", "-"]
    assert all(len(line) == 4 for line in lines)


def test_the_key_names_everything_an_arm_depends_on():
    turns, probes, rows = [turn("a"), turn("b")], [probe("p")], [TokenRow("a", (1, 2), (0, 1))]
    key = arm_key("sha", "plain-1", None, turns, probes, rows, SETTINGS)
    assert key == arm_key("sha", "plain-1", None, list(turns), [probe("p")], list(rows), replace(SETTINGS, parallel=9))
    others = {
        arm_key("sha", "plain-1", "", turns, probes, rows, SETTINGS),
        arm_key("sha", "plain-1", "Be brief.", turns, probes, rows, SETTINGS),
        arm_key("other", "plain-1", None, turns, probes, rows, SETTINGS),
        arm_key("sha", "plain-2", None, turns, probes, rows, SETTINGS),
        arm_key("sha", "plain-1", None, turns[:1], probes, rows, SETTINGS),
        arm_key("sha", "plain-1", None, turns, [probe("p", word="no")], rows, SETTINGS),
        arm_key("sha", "plain-1", None, turns, probes, [TokenRow("a", (1, 3), (0, 1))], SETTINGS),
        arm_key("sha", "plain-1", None, turns, probes, rows, replace(SETTINGS, max_tokens=18)),
    }
    assert len(others) == 8
    assert key not in others
