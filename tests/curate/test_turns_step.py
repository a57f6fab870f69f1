import pytest

from lunar_tune.curate.marks import prune
from lunar_tune.curate.turns import Turns
from lunar_tune.episodes import Attachment, Message, Signal


def roles(draft):
    return [(m.role, m.content) for m in prune(draft).episode.messages]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"content": "  "}, "empty"),
        ({"content": "Osl", "finish": "length", "error": "length"}, "cut off"),
        ({"content": "Osl", "finish": "cancelled"}, "cut off"),
        ({"content": "", "error": "HTTP 500", "finish": "error"}, "failed"),
    ],
)
def test_broken_answers_are_context(make, broken, reason):
    answer = Message(role="assistant", **broken)
    (draft,), told = make.run(Turns(), make.episode(make.user("Hi"), answer, make.user("And?"), make.says("Yes")))
    assert told == [(1, reason)]
    assert draft.weights == (0, 0, 0, 1)


def test_a_conversation_begins_with_the_user(make):
    system = Message(role="system", content="New rules")
    (draft,), told = make.run(Turns(), make.episode(system, make.says("Welcome!"), make.user("Hi"), make.says("Yo")))
    assert told == [(1, "before the first user turn")]
    assert roles(draft) == [("system", "New rules"), ("user", "Hi"), ("assistant", "Yo")]


def test_two_user_messages_are_joined_and_a_repeated_one_is_not_doubled(make):
    (draft,), told = make.run(
        Turns(), make.episode(make.user("Oslo?"), make.user("In celsius."), make.user("In celsius."), make.says("4"))
    )
    assert [reason for _, reason in told] == ["joined to the user message that follows it"] * 2
    assert roles(draft) == [("user", "Oslo?\nIn celsius."), ("assistant", "4")]


def test_of_two_answers_the_last_stands(make):
    (draft,), told = make.run(Turns(), make.episode(make.user("Hi"), make.says("Yo"), make.says("Hello")))
    assert told == [(1, "another answer follows it")]
    assert roles(draft) == [("user", "Hi"), ("assistant", "Hello")]


def test_text_and_call_in_two_rows_are_one_turn(make):
    first, second = make.calls(call_id="c1"), make.calls(call_id="c2")
    results = (make.result(call_id="c1"), make.result(call_id="c2"))
    (draft,), told = make.run(
        Turns(), make.episode(make.user("Both"), make.says("One moment."), first, second, *results, make.says("4"))
    )
    assert [reason for _, reason in told] == ["joined to the turn that follows it"] * 2
    turn = prune(draft).episode.messages[1]
    assert (turn.content, [c.id for c in turn.tool_calls]) == ("One moment.", ["c1", "c2"])
    assert prune(draft).weights == (0, 1, 0, 0, 1)


@pytest.mark.parametrize("asked", [{"content": "?", "attachments": (Attachment(type="image/png"),)}, {"content": " "}])
def test_answers_to_what_is_not_kept_are_context(make, asked):
    (draft,), told = make.run(
        Turns(), make.episode(Message(role="user", **asked), make.says("A cat"), make.user("Sure?"), make.says("Yes"))
    )
    assert [index for index, _ in told] == [1]
    assert draft.weights == (0, 0, 0, 1)


def test_signals_follow_their_messages_when_some_are_left_out(make):
    signals = (Signal(kind="rating", value=1.0, message=2), Signal(kind="rating", value=1.0, message=0))
    (draft,), _ = make.run(
        Turns(), make.episode(make.says("Welcome"), make.user("Hi"), make.says("Yo"), signals=signals)
    )
    kept = prune(draft)
    assert kept.episode.signals == (Signal(kind="rating", value=1.0, message=1),)
    assert kept.episode.messages[1].content == "Yo"
