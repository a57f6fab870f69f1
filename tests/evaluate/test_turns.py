import pytest

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import ToolCall
from lunar_tune.evaluate.turns import choose_turns, fitting_turns, held_out_turns, with_prompt

TOOLS = [{"type": "function", "function": {"name": "t", "description": "", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "t", "arguments": {"a": 1}}}
ROW = {
    "id": "row-1",
    "date": "2026-03-04",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "context only", "weight": 0},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "weight": 1},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": "It is 42.", "weight": 1},
    ],
    "tools": TOOLS,
    "meta": {"group": "g-1"},
}


def test_every_assistant_message_of_weight_one_is_a_turn():
    first, second = held_out_turns([ROW])
    assert [message["content"] for message in first.context] == ["Be brief.", "one", "context only", "two"]
    assert first.calls == (ToolCall(name="t", arguments={"a": 1}),)
    assert first.date == "2026-03-04"
    assert first.tools == tuple(TOOLS)
    assert len(second.context) == 6
    assert second.calls == ()
    assert second.expected == {"role": "assistant", "content": "It is 42."}
    assert {turn.group for turn in (first, second)} == {"g-1"}
    assert not any("weight" in message for turn in (first, second) for message in turn.context)


def test_a_row_without_a_group_is_its_own():
    assert {turn.group for turn in held_out_turns([{**ROW, "meta": {}}])} == {"row-1"}


def test_ids_follow_the_content():
    ids = [turn.id for turn in held_out_turns([ROW])]
    assert ids == [turn.id for turn in held_out_turns([ROW])]
    assert len(set(ids)) == 2
    for changed in ({"date": "2026-03-05"}, {"tools": []}, {"id": "row-2"}, {"messages": ROW["messages"][1:]}):
        assert not set(ids) & {turn.id for turn in held_out_turns([{**ROW, **changed}])}


def many(count):
    return held_out_turns([{**ROW, "id": f"row-{number}"} for number in range(count)])


@pytest.mark.parametrize("most", [0, 40, 41])
def test_all_turns_are_chosen_when_they_may(most):
    turns = many(20)
    assert choose_turns(turns, most) == turns


def test_a_choice_is_stable_and_in_order():
    turns = many(20)
    chosen = choose_turns(turns, 10)
    assert len(chosen) == 10
    assert chosen == [turn for turn in turns if turn in chosen]
    assert {t.id for t in choose_turns(turns[::-1], 10)} == {t.id for t in chosen}
    assert len({t.id for t in choose_turns(many(21), 10)} & {t.id for t in chosen}) >= 8


class CountingTokenizer:
    def encode(self, text):
        return list(range(len(text)))

    def decode(self, ids):
        return ""


class JoinedPrompt:
    def text(self, messages, tools, date):
        return "".join(message["content"] for message in messages)


def test_what_does_not_fit_is_left_out_with_a_verdict():
    turns = held_out_turns([ROW])
    shorter = sum(len(message["content"]) for message in turns[0].context)
    fit, verdicts, longest = fitting_turns(turns, JoinedPrompt(), CountingTokenizer(), shorter)
    assert (fit, longest) == (turns[:1], shorter)
    detail = f"prompt of {shorter + 2} tokens, at most {shorter} fit"
    assert verdicts == [Verdict("row-1", "evaluate", "window", detail, 6)]


def test_a_turn_must_fit_with_every_prompt_that_it_is_asked_with():
    turns = held_out_turns([ROW])
    lengths = [sum(len(message["content"]) for message in turn.context) for turn in turns]
    longer = "Be brief, please."
    more = len(longer) - len("Be brief.")
    assert fitting_turns(turns, JoinedPrompt(), CountingTokenizer(), lengths[1], [None, ""])[0] == turns
    limit = lengths[0] + more
    assert lengths[1] < limit, "both fit with their own"
    fit, verdicts, longest = fitting_turns(turns, JoinedPrompt(), CountingTokenizer(), limit, [None, longer])
    assert (fit, longest) == (turns[:1], limit)
    assert [verdict.message for verdict in verdicts] == [6]


def test_a_turn_is_asked_with_another_system_prompt_and_keeps_its_id():
    (turn, _) = held_out_turns([ROW])
    assert turn.asked_with(None) == turn
    assert turn.asked_with("Short.").context == ({"role": "system", "content": "Short."}, *turn.context[1:])
    assert turn.asked_with("").context == turn.context[1:]
    assert turn.asked_with("").id == turn.id
    assert with_prompt(turn.context[1:], "Short.") == turn.context[1:], "messages without a prompt get none"
