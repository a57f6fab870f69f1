import dataclasses
import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune import chatml
from lunar_tune.artefacts import Verdict
from lunar_tune.curate import Ledger, curate
from lunar_tune.curate.dedup import Dedup
from lunar_tune.episodes import Episode, Message, Signal, ToolCall, ToolSpec
from lunar_tune.settings import CurateSettings


def test_a_copy_is_dropped_whatever_its_ids_times_and_prompt(make):
    first = make.episode(make.user("Hi"), make.calls(call_id="1"), make.result(call_id="1"), thread="a", system="Old")
    later = make.episode(
        make.user("Hi", created_at="2026-10-02T00:00:00Z"), make.calls(call_id="2"), make.result(call_id="2"),
        thread="b", system="New", model="other",
    )  # fmt: skip
    drafts, _ = make.run(Dedup(), first, later, make.episode(make.user("Ho"), thread="c"))
    assert [d.episode.thread for d in drafts] == ["a", "c"]


def test_a_verdict_on_a_copy_names_the_first(make, ledger):
    episodes = [make.episode(make.user("Hi"), make.says("Yo"), thread=thread) for thread in "ab"]
    (kept,) = curate(episodes, CurateSettings(), ledger)
    (verdict,) = ledger.verdicts
    assert (verdict.step, verdict.detail) == ("dedup", f"of {kept.id}")


def test_a_fork_learns_what_is_new_in_it(make):
    shared = (make.user("Oslo?"), make.says("4 C"))
    first = make.episode(*shared, make.user("Thx"), make.says("Gladly"), thread="a")
    fork = make.episode(*shared, make.user("Rome?"), make.says("20 C"), thread="b", group="a")
    stranger = make.episode(*shared, make.user("Bergen?"), make.says("5 C"), thread="c")
    drafts, _ = make.run(Dedup(), first, fork, stranger)
    assert [d.weights for d in drafts] == [(0, 1, 0, 1), (0, 0, 0, 1), (0, 1, 0, 1)]


def test_the_same_conversation_from_two_files_counts_once(make, ledger):
    episode = make.episode(make.user("Hi"), make.says("Yo"))
    assert len(list(curate([episode, dataclasses.replace(episode, path="copy.db")], CurateSettings(), ledger))) == 1
    assert ledger.balanced()
    assert ledger.summary()["turns"] == {
        "read": 2, "kept": 1, "left_out": {"dedup": {"the same conversation in another log": 1}},
    }  # fmt: skip


def test_nothing_to_learn_is_said(make, ledger):
    assert list(curate([make.episode(make.user("Hello?"))], CurateSettings(), ledger)) == []
    assert ledger.summary()["conversations"]["left_out"] == {"curate": {"nothing to learn": 1}}


def test_a_plugin_step_that_sets_turns_aside_in_silence_is_found_out(make, ledger):
    class Silent:
        name = "silent"

        def __call__(self, drafts, report):
            for draft in drafts:
                yield dataclasses.replace(draft, weights=(0, 1, 0, 0))

    episode = make.episode(make.user("a"), make.says("b"), make.user("c"), make.says("d"))
    assert len(list(curate([episode], CurateSettings(), ledger, [Silent()]))) == 1
    assert ledger.balanced()
    assert ledger.summary()["turns"]["left_out"] == {"unknown": {"set aside without a reason": 1}}


def test_readers_verdicts_are_counted_apart_and_name_no_address():
    ledger = Ledger()
    ledger(Verdict("ann@example.com", "read", "unreadable tools", "conversations.tools"))
    assert ledger.summary()["unreadable"] == {"read": {"unreadable tools": 1}}
    assert "@" not in ledger.verdicts[0].id


def test_without_redaction_nothing_is_replaced(make, ledger):
    episode = make.episode(make.user("I am ann@example.com"), make.says("Hi"))
    (draft,) = curate([episode], CurateSettings(redact=False), ledger)
    assert draft.episode.messages == episode.messages
    assert draft.id == episode.id


def test_the_fixture_comes_out_as_it_was_planted(fixture_episodes):
    ledger = Ledger()
    drafts = list(curate(fixture_episodes, CurateSettings(), ledger))
    left = {
        f"{step}: {reason}": n for step, by in ledger.summary()["turns"]["left_out"].items() for reason, n in by.items()
    }
    assert ledger.balanced()
    assert ledger.summary()["conversations"]["left_out"]["dedup"]["a copy of another conversation"] >= 15  # planted
    assert left["dedup: shared with the conversation it was forked from"] == 12  # six forks share a call and an answer
    assert left["toolcalls: its call failed"] == 10
    assert left["toolcalls: unknown tool"] == left["toolcalls: unexpected argument"] == 2
    assert left["toolcalls: unreadable arguments"] == 3  # two malformed, one cut off in the text
    assert left["toolcalls: answers a result without a call"] == 2
    assert left["turns: empty"] == 3
    assert left["turns: cut off"] == 1
    assert left["signals: corrected by the user"] + left["signals: rated below the minimum"] >= (11 + 4 + 8) * 2
    learnt = [m for d in drafts for m, w in zip(d.episode.messages, d.weights, strict=True) if w]
    assert not [m for m in learnt if (m.model or "").startswith("lunar-custom")]
    check_renderable(drafts)


def check_renderable(drafts):
    """Every row begins with the user, alternates, and every result has its call before it."""
    for draft in drafts:
        said = [m for m in draft.episode.messages if m.role != "system"]
        assert said[0].role == "user"
        for before, after in pairwise(said):
            assert (before.role, after.role) not in {("user", "user"), ("assistant", "assistant"), ("user", "tool")}
        called = set()
        for message in said:
            called.update(c.id for c in message.tool_calls)
            assert message.role != "tool" or message.tool_call_id is None or message.tool_call_id in called
        assert len(draft.weights) == len(draft.episode.messages)
        assert set(draft.weights) <= {0, 1}
        assert all(m.role == "assistant" for m, w in zip(draft.episode.messages, draft.weights, strict=True) if w)
        json.dumps(chatml.to_messages(draft.episode, draft.weights))


CALL = st.builds(
    ToolCall,
    name=st.sampled_from(["get_weather", "nothing", ""]),
    id=st.sampled_from(["1", "2", None]),
    arguments=st.sampled_from([{"city": "Oslo"}, {}, {"town": 3}]),
    error=st.sampled_from([None, None, "not JSON"]),
)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "tool", "system"]),
    content=st.sampled_from(["", "Hello", "No, I meant Bergen", "I am ann@example.com", "What is it like in Oslo?"]),
    error=st.sampled_from([None, None, None, "length"]),
    finish=st.sampled_from([None, "stop", "length"]),
    tool_call_id=st.sampled_from(["1", "2", None]),
    name=st.sampled_from(["get_weather", None]),
    model=st.sampled_from([None, "lunar-custom"]),
)


def with_calls(message, calls):
    return dataclasses.replace(message, tool_calls=tuple(calls)) if message.role == "assistant" else message


TURN = st.builds(with_calls, MESSAGE, st.lists(CALL, max_size=2))
TOOLS = (ToolSpec(name="get_weather", parameters={"type": "object", "required": ["city"]}),)


@st.composite
def any_episode(draw):
    messages = tuple(draw(st.lists(TURN, min_size=1, max_size=7)))
    rating = st.builds(
        Signal, kind=st.sampled_from(["rating", "retry", "tool_error"]), value=st.sampled_from([-1.0, 1.0, None]),
        message=st.one_of(st.none(), st.integers(0, len(messages) - 1)),
    )  # fmt: skip
    return Episode(
        source="lunar", path="log.db", thread=draw(st.sampled_from("abc")), messages=messages,
        tools=draw(st.sampled_from([(), TOOLS])),
        signals=tuple(draw(st.lists(rating, max_size=3))), group=draw(st.sampled_from([None, "a"])),
    )  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(any_episode(), max_size=3))
def test_whatever_comes_in_the_books_balance_and_rows_can_be_rendered(episodes):
    ledger = Ledger()
    drafts = list(curate(episodes, CurateSettings(), ledger))
    assert ledger.balanced()
    assert ledger.turns_read == sum(m.role == "assistant" for e in episodes for m in e.messages)
    assert ledger.conversations_kept == len(drafts)
    assert all(1 in d.weights for d in drafts)
    check_renderable(drafts)
