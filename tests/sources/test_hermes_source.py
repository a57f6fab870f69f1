import contextlib
import json

import pytest
from examples.hermes_agent import END, OLD_SCHEMA, START, SUMMARY, Log, call
from log_database import read_whole, where

from lunar_tune.episodes import Attachment, Message, Signal, ToolCall, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.hermes.source import HermesSource


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "state.db")
    yield made
    made.db.close()


def read(log):
    return read_whole(HermesSource(), log)


def said(episode):
    return [m.content for m in episode.messages]


def test_a_whole_conversation(log):
    log.add("system_prompts", hash="h", prompt="You are Hermes.")
    log.session("s", system_prompt_hash="h")
    log.say("s", "session_meta", None)
    log.say("s", "user", "Weather in Paris?")
    log.say("s", "assistant", "", tool_calls=call("c1"), finish_reason="tool_calls", reasoning="They want Paris.")
    log.say("s", "tool", '{"error": "offline"}', tool_call_id="c1", tool_name="weather")
    thought = '[{"type": "reasoning.text", "text": "Hm."}]'
    log.say("s", "assistant", "I could", finish_reason="length", reasoning_details=thought)
    (episode,), lost = read(log)
    assert lost == []
    assert (episode.thread, episode.group, episode.system, episode.model) == ("s", "s", "You are Hermes.", "h4")
    assert episode.started_at == "2026-09-21T14:14:20Z"
    assert episode.messages == (
        Message(role="user", content="Weather in Paris?", created_at="2026-09-21T14:13:22Z"),
        Message(
            role="assistant",
            created_at="2026-09-21T14:13:23Z",
            model="h4",
            finish="stop",
            reasoning="They want Paris.",
            tool_calls=(ToolCall(name="weather", arguments={"city": "Paris"}, id="c1"),),
        ),
        Message(
            role="tool",
            content='{"error": "offline"}',
            created_at="2026-09-21T14:13:24Z",
            tool_call_id="c1",
            name="weather",
        ),
        Message(
            role="assistant",
            content="I could",
            created_at="2026-09-21T14:13:25Z",
            model="h4",
            finish="length",
            reasoning="Hm.",
        ),
    )
    assert episode.signals == (Signal(kind="tool_error", message=2),)


def test_content_of_several_parts(log):
    log.session("s")
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:xyz"}}]
    log.say("s", "user", "\x00json:" + json.dumps(parts))
    log.say("s", "assistant", "<memory-context>secret note</memory-context>A cat.")
    (episode,), lost = read(log)
    assert said(episode) == ["What is this?", "A cat."]
    assert episode.messages[0].attachments == (Attachment(type="image"),)
    assert where(lost) == [("text injected by the app", "messages.content=2")]


def test_reactions(log):
    log.session("s")
    reactions = [
        {"emoji": "👍", "author": "user"},
        {"emoji": "🔥", "author": "user"},
        {"emoji": "👎", "author": "agent"},
    ]
    log.say("s", "user", "Hi", display_metadata='{"reactions": [{"emoji": "👍", "author": "agent"}]}')
    log.say("s", "assistant", "Hello", display_metadata=json.dumps({"reactions": reactions}))
    log.say("s", "user", "Joke?")
    log.say("s", "assistant", "No.", display_metadata='{"reactions": [{"emoji": "👎🏽"}, "odd", {"emoji": 3}]}')
    (episode,), _ = read(log)
    assert episode.signals == (
        Signal(kind="reaction", value="👍", message=0, note="agent"),
        Signal(kind="rating", value=1.0, message=1, note="👍"),
        Signal(kind="reaction", value="🔥", message=1, note="user"),
        Signal(kind="reaction", value="👎", message=1, note="agent"),
        Signal(kind="rating", value=-1.0, message=3, note="👎🏽"),
    )


def test_rewound_turns_are_a_path_of_their_own(log):
    log.session("s")
    for role, text in (("user", "1"), ("assistant", "a1"), ("user", "2"), ("assistant", "a2")):
        log.say("s", role, text)
    log.script("UPDATE messages SET active = 0 WHERE id > 2")
    log.say("s", "user", "3")
    log.say("s", "assistant", "a3")
    gone = log.say("s", "user", "4")
    log.script(f"UPDATE messages SET active = 0 WHERE id = {gone}")
    (kept, undone), lost = read(log)
    assert (kept.thread, said(kept), kept.signals) == ("s", ["1", "a1", "3", "a3"], ())
    assert (undone.thread, undone.group, said(undone)) == ("s#4", "s", ["1", "a1", "2", "a2"])
    assert undone.signals == (Signal(kind="undo", message=3),)
    assert where(lost) == [("taken back before an answer", "messages.id=7")]


def compacted(log, *, merged=None):
    """Four exchanges; the last two are written again after the summary, the first before it; then one more."""
    log.session("s")
    log.say("s", "user", "Weather?")
    log.say("s", "assistant", "", tool_calls=call("c1"))
    log.say("s", "tool", "sunny", tool_call_id="c1")
    log.say("s", "assistant", "Sunny.")
    log.say("s", "user", "Really?")
    log.say("s", "assistant", "Yes.")
    log.compact("s")
    log.say("s", "user", "Weather?")
    if merged is None:
        log.say("s", "assistant", SUMMARY + END)
        log.say("s", "user", "Really?")
    else:
        log.say("s", "user", merged)
    log.say("s", "assistant", "Yes.")
    log.say("s", "user", "[Your active task list was preserved across context compression]\n- [ ] x")
    log.say("s", "user", "Thanks")
    log.say("s", "assistant", "Welcome.")


WHOLE = ["Weather?", "", "sunny", "Sunny.", "Really?", "Yes.", "Thanks", "Welcome."]


def test_compaction_in_place_is_told_once(log):
    compacted(log)
    (episode,), lost = read(log)
    assert said(episode) == WHOLE
    assert where(lost) == [
        ("a compaction summary", "messages.content=8"),
        ("text injected by the app", "messages.content=11"),
    ]


@pytest.mark.parametrize(
    "merged",
    [
        "[PRIOR CONTEXT — for reference only; not a new message]\nReally?\n\n"
        f"[END OF PRIOR CONTEXT — COMPACTION SUMMARY BELOW]\n\n{SUMMARY}{END}",
        f"{SUMMARY}{END}\n\nReally?",
        f"Really?\n\n{SUMMARY}{END}",
    ],
)
def test_a_summary_merged_into_a_message(log, merged):
    compacted(log, merged=merged)
    (episode,), _ = read(log)
    assert said(episode) == WHOLE


def test_copies_lose_the_space_around_them(log):
    compacted(log)
    log = Log(log.path, "")
    log.script("UPDATE messages SET content = ' ' || content || ' ' WHERE compacted = 1 AND role = 'user'")
    (episode,), _ = read(log)
    assert [text.strip() for text in said(episode)] == WHOLE


def test_a_summary_told_by_its_column(log):
    compacted(log)
    log = Log(log.path, "")
    log.script("UPDATE messages SET content = 'What was said', _compressed_summary = 1 WHERE id = 8")
    (episode,), _ = read(log)
    assert said(episode) == WHOLE


def test_going_back_to_before_a_compaction(log):
    compacted(log)
    log.script("UPDATE messages SET active = 0 WHERE id > 8")  # the copy of «Really?» and what follows
    log.say("s", "user", "And Rome?")
    log.say("s", "assistant", "Rainy.")
    (kept, undone), _ = read(log)
    assert said(kept) == ["Weather?", "", "sunny", "Sunny.", "And Rome?", "Rainy."]
    assert said(undone) == WHOLE
    assert undone.signals == (Signal(kind="undo", message=5), Signal(kind="undo", message=7))


def test_going_back_to_before_what_was_summarised(log):
    compacted(log)
    log.script("UPDATE messages SET active = 0 WHERE id > 6")
    log.say("s", "user", "Something else")
    log.say("s", "assistant", "Fine.")
    (kept, undone), _ = read(log)
    assert said(kept) == ["Something else", "Fine."]
    assert said(undone) == WHOLE


def test_a_child_after_compression_continues_its_parent(log):
    log.session("s", system_prompt="Be kind.", end_reason="compression", ended_at=START + 90)
    log.say("s", "user", "Weather?")
    log.say("s", "assistant", "Sunny.")
    log.say("s", "user", "Really?")
    log.say("s", "assistant", "Yes.")
    log.session("child", parent_session_id="s", model="h5", system_prompt="Be kind. (2)")
    log.say("child", "user", "Weather?")
    log.say("child", "assistant", "[CONTEXT SUMMARY]: They talked.")
    log.say("child", "user", "Really?")
    log.say("child", "assistant", "Yes.")
    log.say("child", "user", "Thanks")
    log.say("child", "assistant", "Welcome.")
    log.session("delegate", parent_session_id="s", model_config='{"_delegate_from": "s", "api_key": "sk-canary"}')
    log.say("delegate", "user", "Look it up")
    log.say("delegate", "assistant", "Done.")
    log.session("branch", parent_session_id="child", model_config='{"_branched_from": "child"}')
    log.say("branch", "user", "Weather?")
    log.say("branch", "assistant", "Foggy.")
    episodes, lost = read(log)
    assert [(e.thread, e.group) for e in episodes] == [("s", "s"), ("delegate", "delegate"), ("branch", "s")]
    assert said(episodes[0]) == ["Weather?", "Sunny.", "Really?", "Yes.", "Thanks", "Welcome."]
    assert [m.model for m in episodes[0].messages if m.model] == ["h4", "h4", "h5"]
    assert episodes[0].system == "Be kind."
    assert where(lost) == [("a compaction summary", "messages.content=6")]
    assert "canary" not in json.dumps([to_dict(e) for e in episodes])


def test_two_continuations_are_two_paths(log):
    log.session("s", end_reason="compression")
    log.say("s", "user", "Hi")
    log.say("s", "assistant", "Hello")
    for child, ended in (("stale", START + 500), ("live", None)):
        log.session(child, parent_session_id="s", ended_at=ended)
        log.say(child, "user", child)
        log.say(child, "assistant", "ok")
    episodes, _ = read(log)
    assert [(e.thread, e.group, said(e)[2]) for e in episodes] == [("s", "s", "live"), ("s#stale", "s", "stale")]


def test_scaffolding_is_left_out(log):
    log.session("s")
    log.say("s", "user", "Hi")
    log.say("s", "assistant", "Hello")
    log.say("s", "user", "Review the conversation above and update the skill library. Be")
    log.say("s", "assistant", "Skill saved.")
    log.say("s", "user", "go on", display_kind="hidden")
    log.say("s", "assistant", "Anything else?")
    (episode,), lost = read(log)
    assert said(episode) == ["Hi", "Hello", "Anything else?"]
    assert where(lost) == [
        ("text injected by the app", "messages.content=3"),
        ("an answer to the app's own prompt", "messages.content=4"),
        ("text injected by the app", "messages.content=5"),
    ]


def test_what_the_app_says_in_somebodys_place(log):
    log.session("s")
    log.say("s", "user", "Hi")
    log.say("s", "user", "[System: The active model for this chat has changed to m]", display_kind="model_switch")
    log.say("s", "assistant", "Your request was not processed.", display_kind="failed_turn")
    log.say("s", "user", "[System note: Your previous turn was interrupted mid-run. The request was:]\n\nHi again")
    log.say("s", "assistant", "Operation interrupted: waiting for model response (3.8s elapsed).")
    log.say("s", "user", "[OUT-OF-BAND USER MESSAGE — a direct message]\nHurry\n[/OUT-OF-BAND USER MESSAGE]")
    log.say("s", "assistant", "[This response was interrupted by a user correction.]")
    log.say("s", "user", "What is a <memory-context>?")
    log.say("s", "assistant", "Operation interrupted is what you read.")
    (episode,), lost = read(log)
    assert [(m.content, m.error, m.finish) for m in episode.messages] == [
        ("Hi", None, None),
        ("", "Your request was not processed.", "error"),
        ("Hi again", None, None),
        ("", None, "cancelled"),
        ("Hurry", None, None),
        ("", None, "cancelled"),
        ("What is a <memory-context>?", None, None),
        ("Operation interrupted is what you read.", None, None),
    ]
    assert where(lost) == [
        ("text injected by the app", "messages.content=2"),
        ("text injected by the app", "messages.content=4"),
    ]


def test_a_session_without_a_time_starts_with_its_first_message(log):
    log.session("a", started_at="soon")
    log.session("b")
    log.say("b", "user", "Hi")
    log.say("a", "user", "Hello", timestamp=START + 500)
    episodes, _ = read(log)
    assert [(e.thread, e.started_at) for e in episodes] == [
        ("b", "2026-09-21T14:15:20Z"),
        ("a", "2026-09-21T14:21:40Z"),
    ]


def test_strays_are_reported_when_everything_is_read(log):
    log.session("s")
    log.say("s", "user", "Hi")
    log.session("other", model_config="{")
    log.say("gone", "user", "Hi")
    path = log.close()
    with contextlib.closing(open_read_only(path)) as db:
        whole, alone = [], []
        list(HermesSource().read(db, path, whole.append))
        assert len(list(HermesSource().read(db, path, alone.append, {"s"}))) == 1
    assert alone == []
    assert [v.id for v in whole] == ["gone", "other", "other"]


@pytest.mark.parametrize("mark", ["<memory-context>", "[OUT-OF-BAND USER MESSAGE]", "\n\n[CONTEXT COMPACTION"])
def test_marks_without_end_take_no_time(log, mark):
    cell = "x" + mark * 40_000
    log.session("s")
    log.say("s", "user", cell)
    (episode,), _ = read(log)
    assert said(episode) == [cell]


def test_an_older_log(tmp_path):
    log = Log(tmp_path / "state.db", OLD_SCHEMA)
    log.session("s", system_prompt="Be kind.")
    log.say("s", "user", "Hi")
    log.say("s", "assistant", "Hello", finish_reason="stop")
    (episode,), lost = read(log)
    assert (lost, said(episode), episode.system) == ([], ["Hi", "Hello"], "Be kind.")


def test_broken_cells_cost_no_more_than_their_row(log):
    log.session("s", model_config='{"hunter2')
    log.say("s", "user", b"\xff\xfehunter2")
    log.say("s", "assistant", "x", tool_calls='[{"hunter2', reasoning_details="{hunter2", display_metadata="[hunter2")
    log.say("s", "user", '\x00json:[{"hunter2')
    log.say("s", "wizard", "hunter2")
    log.say("s", "assistant", "fine", display_metadata='["hunter2"]', reasoning_details='{"hunter2": 1}')
    log.say("s", "tool", "x" * 9, tool_call_id="nobody", active="odd", finish_reason=b"\x00")
    log.say("gone", "user", "hunter2")
    log.session("empty")
    log.session("a", parent_session_id="b", end_reason="compression")
    log.session("b", parent_session_id="a", end_reason="compression")
    log.say("a", "user", "round")
    log.say("a", "assistant", "and round")
    episodes, lost = read(log)
    assert [e.thread for e in episodes] == ["s", "a"] or [e.thread for e in episodes] == ["s", "b"]
    assert [(m.role, m.content, m.error) for m in episodes[0].messages] == [
        ("user", "", "unreadable content"),
        ("assistant", "x", "unreadable tool calls"),
        ("user", "", "unreadable content"),
        ("assistant", "fine", None),
        ("tool", "xxxxxxxxx", None),
    ]
    assert where(lost) == [
        ("messages of no session", "messages.session_id=gone"),
        ("unreadable model_config", "sessions.model_config=s"),
        ("content that is no text", "messages.content=1"),
        ("unreadable reasoning", "messages.reasoning_details=2"),
        ("unreadable tool calls", "messages.tool_calls=2"),
        ("unreadable metadata", "messages.display_metadata=2"),
        ("unreadable content", "messages.content=3"),
        ("a message of unknown role", "messages.role=4"),
        ("a conversation without messages", ""),
        ("sessions that continue each other in a circle", f"sessions.parent_session_id={episodes[1].thread}"),
    ]
    assert "hunter2" not in repr(lost) + json.dumps([to_dict(e) for e in episodes])


def test_an_empty_log(log):
    assert read(log) == ([], [])


def test_places(monkeypatch, tmp_path):
    (tmp_path / "profiles" / "work").mkdir(parents=True)
    (tmp_path / "profiles" / "work" / "state.db").touch()
    monkeypatch.setenv("HERMES_HOME", str(tmp_path))
    assert HermesSource().places() == [tmp_path / "state.db", tmp_path / "profiles" / "work" / "state.db"]
