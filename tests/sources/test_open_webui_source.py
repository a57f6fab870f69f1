import contextlib
import json
import sqlite3

import pytest
from examples import CANARY
from examples.open_webui import START, WebUI, called, said

from lunar_tune.episodes import to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.open_webui.source import OpenWebUISource


def read(webui):
    path, lost = webui.close(), []
    with contextlib.closing(open_read_only(path)) as db:
        assert OpenWebUISource().recognises(db)
        episodes = list(OpenWebUISource().read(db, path, lost.append))
    assert CANARY not in json.dumps([to_dict(e) for e in episodes]) + repr(lost)
    return episodes, lost


@pytest.fixture
def webui(tmp_path):
    return WebUI(tmp_path / "webui.db")


def answer(content="", seconds=1, **more):
    """A chat's only answer, to one question."""
    return [said("u1", "user", "Q"), said("a1", "assistant", content, "u1", seconds, model="m", done=True, **more)]


def steps(episode):
    """Return what was said in short: role, text, calls or result's call."""
    out = []
    for m in episode.messages:
        calls = [(c.name, c.arguments) for c in m.tool_calls]
        out.append((m.role, m.content, calls or m.reasoning or m.tool_call_id))
    return out


def test_blocks_that_somebody_wrote_stay_text(webui):
    fenced = (
        "Like this:\n```html\n" + called("k", "find", {}, "x") + "```\nand `<details>` or\n<details>\nmine\n</details>"
    )
    inline = 'The tag <details type="reasoning" done="true"> opens it.'
    open_fence = "```\n" + called("k", "find", {}, "x")
    for n, text in enumerate((fenced, inline, open_fence)):
        webui.chat(f"c{n}", [said("u", "user", fenced), said("a", "assistant", text, "u", done=True)], at=START + n)
    episodes, lost = read(webui)
    assert lost == []
    assert [e.messages[1].content for e in episodes] == [fenced, inline, open_fence.strip()]
    assert {e.messages[0].content for e in episodes} == {fenced}


@pytest.mark.parametrize(
    ("content", "expected", "reasoning"),
    [
        ("<think>Hm.</think>\nYes.", "Yes.", "Hm."),
        ('<details type="reasoning" done="false">\n<summary>Thinking…</summary>\n> Well', "", "Well"),
        ('<details type="reasoning">\n<summary>T</summary>\n> a <details>\n</details>\nYes.', "Yes.", "a <details>"),
        ("Just text", "Just text", None),
    ],
)  # fmt: skip
def test_reasoning_in_the_text(webui, content, expected, reasoning):
    webui.chat("c", answer(content))
    (episode,), _ = read(webui)
    assert (episode.messages[1].content, episode.messages[1].reasoning) == (expected, reasoning)


def test_items_of_every_kind(webui):
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "First."}]},
        {"type": "function_call", "call_id": "c1", "name": "a", "arguments": {"x": 1}, "status": "rejected"},
        {"type": "reasoning", "summary": [], "content": "Second."},
        {"type": "function_call", "call_id": "c2", "name": "b", "arguments": "{broken", "status": "completed"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_image", "image_url": "x"}]},
        {"type": "function_call", "call_id": "c3", "name": "b", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c3", "output": {"n": 1}},
        {"type": "open_webui:code_interpreter", "code": "1/0", "output": {"stdout": "", "stderr": "ZeroDivisionError"}},
        {"type": "open_webui:context_compaction", "summary": "SUMMARY"},
        {"type": "web_search_call", "action": {"query": "q"}, "status": "completed"},
        {"type": "hologram"},
        "scrap",
        {"type": "message", "content": [{"type": "output_text", "text": "So."}, {"type": "refusal", "refusal": "No."}]},
    ]
    webui.chat("c", answer(output=output))
    (episode,), lost = read(webui)
    assert steps(episode)[1:] == [
        ("assistant", "", [("a", {"x": 1})]),
        ("tool", "", "c1"),
        ("assistant", "", [("b", {})]),
        ("tool", "", "c2"),
        ("assistant", "", [("b", {})]),
        ("tool", '{"n": 1}', "c3"),
        ("assistant", "", [("code_interpreter", {"code": "1/0"})]),
        ("tool", "", "call_7_0"),
        ("assistant", "So.\nNo.", None),
    ]
    assert [m.reasoning for m in episode.messages if m.reasoning] == ["First.", "Second."]
    assert [m.error for m in episode.messages if m.error] == ["the user rejected the call", "ZeroDivisionError"]
    assert episode.messages[3].tool_calls[0].arguments_raw == "{broken"
    assert [a.type for a in episode.messages[4].attachments] == ["image"]
    assert [s.message for s in episode.signals] == [2, 8]
    assert [v.reason for v in lost] == [
        "a compaction summary",
        "a call that the provider ran itself",
        "an output item of unknown type",
        "an output item of unknown type",
    ]
    assert {v.detail for v in lost} == {"chat.chat=c:a1"}


def test_output_that_only_thought_is_joined_with_the_text(webui):
    thought = [{"type": "reasoning", "content": [{"type": "output_text", "text": "Hm."}]}]
    webui.chat("c", answer("Yes.", output=thought))
    (episode,), _ = read(webui)
    assert steps(episode)[1] == ("assistant", "Yes.", "Hm.")


def test_failed_and_cut_answers(webui):
    result = [
        {"type": "function_call", "call_id": "c1", "name": "a", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    webui.chat(
        "c",
        [
            said("u1", "user", "Q"),
            said("a1", "assistant", "", "u1", error={"content": "Quota exceeded"}, done=True),
            said("u2", "user", "Q", "a1"),
            said("a2", "assistant", "Server said no", "u2", error=True),
            said("u3", "user", "Q", "a2"),
            said("a3", "assistant", "Half a sen", "u3", done=False),
            said("u4", "user", "Q", "a3"),
            said("a4", "assistant", "", "u4", done=False, output=result),
            said("u5", "user", "Q", "a4"),
            said("a5", "assistant", "Fine.", "u5", error=None),
        ],
    )
    (episode,), lost = read(webui)
    assert lost == []
    ends = [(m.content, m.error, m.finish) for m in episode.messages if m.role == "assistant"]
    assert ends == [
        ("", "Quota exceeded", "error"),
        ("", "Server said no", "error"),
        ("Half a sen", None, "cancelled"),
        ("", None, None),
        ("", None, "cancelled"),
        ("Fine.", None, None),
    ]


def test_regenerations_edits_and_several_models(webui):
    webui.chat(
        "c",
        [
            said("u1", "user", "Hi", models=["m"]),
            said("a1", "assistant", "First try", "u1", 1, model="m", modelIdx=0),
            said("a1b", "assistant", "Second try", "u1", 2, model="other", modelIdx=0),
            said("a1c", "assistant", "Third try", "u1", 3, model="m", modelIdx=0),
            said("u2", "user", "Compare", "a1b", 4, models=["m", "n"]),
            said("a2", "assistant", "From m", "u2", 5, model="m", modelIdx=0),
            said("b2", "assistant", "From n", "u2", 6, model="n", modelIdx=1, merged={"content": "Both"}),
            said("b2b", "assistant", "From n again", "u2", 7, model="n", modelIdx=1),
            said("u1x", "user", "Hi there", None, 8),
            said("a1x", "assistant", "Edited question", "u1x", 9, model="m"),
        ],
        "a2",
    )
    webui.rate("c", "a1c", -1)
    webui.rate("c", "a1", "1", "f2")
    webui.rate("c", "b2", 1, "f3", sibling_model_ids=["m"])
    episodes, lost = read(webui)
    assert {e.group for e in episodes} == {"c"}
    assert [(e.thread, e.messages[-1].content) for e in episodes] == [
        ("c", "From m"),
        ("c#a1", "First try"),
        ("c#a1c", "Third try"),
        ("c#b2", "From n"),
        ("c#b2b", "From n again"),
        ("c#a1x", "Edited question"),
    ]
    signals = [[(s.kind, s.value, s.message) for s in e.signals] for e in episodes]
    assert signals == [
        [],
        [("rating", 1.0, 1)],  # asked for again, but somebody liked it
        [("rating", -1.0, 1), ("retry", None, 1)],
        [("rating", 1.0, 3)],  # the older of two answers of the model that is not on screen, and liked
        [],
        [],
    ]
    assert [(v.reason, v.detail) for v in lost] == [
        ("an answer merged from those of several models", "chat.chat=c:b2")
    ]  # once, though the message could stand on several paths


def test_the_newest_of_unrated_regenerations_off_screen_is_kept(webui):
    messages = [
        said("u1", "user", "Hi"),
        said("x", "assistant", "one", "u1", 1),
        said("y", "assistant", "two", "u1", 2),
        said("u2", "user", "Other question"),
        said("z", "assistant", "three", "u2", 3),
    ]
    webui.chat("c", messages)
    episodes, _ = read(webui)
    assert {e.thread: [s.kind for s in e.signals] for e in episodes} == {"c": [], "c#x": ["retry"], "c#y": []}


def test_rows_and_json_are_one_tree(webui):
    webui.chat(
        "c",
        [
            said("u1", "user", "From the JSON"),
            said("a1", "assistant", "old", "u1", model="m", done=False, annotation={"rating": -1, "reason": "other"}),
        ],
        "a2",
    )  # fmt: skip
    webui.row("c", "a1", "assistant", "new text", "u1", model_id="m2")
    webui.row("c", "u2", "user", [{"type": "text", "text": "Only a row"}, {"type": "image_url"}], "a1")
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Row's answer"}]}]
    webui.row("c", "a2", "assistant", "", "u2", output=output, context_summary="SUMMARY", error={"detail": "late"})
    webui.rate("c", "a2", "-1")
    (episode,), lost = read(webui)
    assert [m.content for m in episode.messages] == ["From the JSON", "new text", "Only a row", "Row's answer"]
    assert episode.messages[1].finish is None  # the row says that it was done
    assert (episode.messages[1].model, episode.model) == ("m2", "m2")
    assert [a.type for a in episode.messages[2].attachments] == ["image"]
    assert (episode.messages[3].error, episode.messages[3].finish) == ("late", "error")
    assert [(s.kind, s.value, s.message, s.note) for s in episode.signals] == [
        ("rating", -1.0, 1, "other"),
        ("rating", -1.0, 3, None),
    ]
    assert [(v.reason, v.detail) for v in lost] == [("a compaction summary", "chat_message.id=c-a2")]


def test_rows_alone_are_enough(webui):
    webui.add("chat", id="c", user_id="u", chat='{"history": ', created_at=START, current_message_id="a1")
    webui.row("c", "u1", "user", "Hello")
    webui.row("c", "a1", "assistant", "Hi", "u1")
    webui.row("c", "a2", "assistant", "Newer", "u1", created_at=START + 9)
    episodes, lost = read(webui)
    assert [e.messages[-1].content for e in episodes] == ["Hi", "Newer"]
    assert [s.kind for s in episodes[1].signals] == ["retry"]
    assert [(v.reason, v.detail) for v in lost] == [("unreadable chat", "chat.chat=c")]


def test_the_flat_list_of_the_oldest_chats(webui):
    webui.add(
        "chat", id="c", user_id="u", created_at=START,
        chat={"messages": [{"role": "user", "content": "Hi"}, 7, {"role": "assistant", "content": "Yo"}]},
    )  # fmt: skip
    (episode,), lost = read(webui)
    assert [m.content for m in episode.messages] == ["Hi", "Yo"]
    assert [v.reason for v in lost] == ["unreadable message"]


def test_broken_trees(webui):
    webui.chat("gone", [said("u", "user", "Hi"), said("a", "assistant", "Yo", "u")], "nowhere")
    orphan = [said("a", "assistant", "After a deleted question", "deleted"), said("u", "user", "And?", "a")]
    webui.chat("orphan", orphan, at=START + 1)
    webui.chat("cycle", [said("u", "user", "1", "a"), said("a", "assistant", "2", "u")], at=START + 2)
    webui.chat("self", [said("u", "user", "1", "u")], at=START + 3)
    webui.chat("middle", [said("u", "user", "1"), said("a", "assistant", "2", "u")], "u", at=START + 4)
    webui.chat("empty", [], at=START + 5)
    episodes, lost = read(webui)
    assert [(e.thread, [m.content for m in e.messages]) for e in episodes] == [
        ("gone", ["Hi", "Yo"]),
        ("orphan", ["After a deleted question", "And?"]),
        ("cycle", ["1", "2"]),
        ("self", ["1"]),
        ("middle", ["1", "2"]),
    ]
    assert [(v.id, v.reason) for v in lost] == [
        ("gone", "the current message is gone"),
        ("orphan", "a missing parent in the tree of messages"),
        ("cycle", "a cycle in the tree of messages"),
        ("self", "a cycle in the tree of messages"),
        ("empty", "a conversation without messages"),
    ]


def test_copies_branches_and_internal_chats(webui):
    talk = [said("u", "user", "Hi"), said("a", "assistant", "Yo", "u")]
    webui.chat("root", talk)
    webui.chat("branch", [*talk, said("u2", "user", "More", "a")], at=START + 1, originalChatId="root")
    webui.chat("twig", talk, at=START + 2, columns={"meta": {"forked_from": "branch"}})
    webui.chat("copy", talk, at=START + 3, columns={"user_id": "shared-root"})
    webui.chat("notes", talk, at=START + 4, columns={"meta": {"internal": True}})
    episodes, lost = read(webui)
    assert [(e.thread, e.group) for e in episodes] == [("root", None), ("branch", "root"), ("twig", "root")]
    assert [(v.id, v.reason) for v in lost] == [
        ("copy", "a shared copy of another chat"),
        ("notes", "an internal chat of the app"),
    ]


def test_feedback_that_fits_nothing_or_cannot_be_read_is_reported(webui):
    webui.chat("c", answer("Yes", annotation={"rating": None, "comment": "hm"}))
    webui.rate("c", "gone", 1, "f1")
    webui.rate("deleted", "a1", 1, "f2")
    webui.rate("c", "a1", "five", "f3")
    webui.add("feedback", id="f4", data="{", meta="{}")
    (episode,), lost = read(webui)
    assert [(s.kind, s.value, s.message, s.note) for s in episode.signals] == [("annotation", "hm", 1, "by the user")]
    assert [(v.id, v.reason, v.detail) for v in lost] == [
        ("c", "unreadable feedback", "feedback.id=f3"),
        ("", "unreadable feedback", "feedback.id=f4"),
        ("c", "a rating of a message that is gone", "feedback.id=f1"),
        ("deleted", "a rating of a chat that is gone", "feedback.id=f2"),
    ]


def test_broken_cells_cost_their_cell(webui):
    webui.add("model", id="m", params="{hunter2", meta="[]")
    webui.add("tool", id="t", specs='{"a": 1}')
    webui.chat("c", [said("u1", "user", "Q"), said("a1", "assistant", "kept", "u1", model="m")], "a2")
    webui.row("c", "a1", "assistant", b"hunter2 \xff{", "u1")
    webui.row("c", "a2", "assistant", b"hunter2", "u1", output="[hunter2", files="{hunter2")
    webui.row("c", "x", "wizard", "hunter2", "a2")
    webui.db.execute("UPDATE chat_message SET content = 'hunter2 {' WHERE id = 'c-a1'")
    episodes, lost = read(webui)
    assert "hunter2" not in repr(lost) + json.dumps([to_dict(e) for e in episodes])
    assert [e.messages[-1].content for e in episodes] == ["", "kept"]
    assert episodes[0].messages[-1].error == "unreadable output"
    assert [(v.reason, v.detail) for v in lost] == [
        ("unreadable settings", "model.params=m"),
        ("unreadable settings", "model.meta=m"),
        ("unreadable tool", "tool.rowid=1"),
        ("unreadable content", "chat_message.content=c-a1"),
        ("unreadable content", "chat_message.content=c-a2"),
        ("unreadable output", "chat_message.output=c-a2"),
        ("unreadable files", "chat_message.files=c-a2"),
        ("a message of unknown role", "chat_message.id=c-x"),
    ]


KEYS = (
    "id", "parentId", "content", "timestamp", "model", "models", "modelIdx", "done", "files", "error", "output",
    "annotation", "merged", "contextSummary",
)  # fmt: skip
ODD = [None, True, 0, -1, 10**400, 1.5, "", "\x00", "x", [], [[]], [None, 1, "s"], {}, {"a": {"b": []}}, {"type": []}]


@pytest.mark.parametrize("odd", [*ODD, "deep"])
def test_no_value_stops_the_reader(webui, odd):
    if odd == "deep":
        odd = json.loads("[" * 150 + "]" * 150)
    for n, key in enumerate(KEYS):
        message = said("a", "assistant", "x", "u") | {key: odd}
        twin = said("b", "assistant", "x", "u") | {key: odd}
        asked = said("u", "user", "Hi") | {key: odd}
        tree = {"u": asked, "a": message, "b": twin}
        blob = {"history": {"messages": tree, "currentId": odd}, "params": odd, "system": odd, "originalChatId": odd}
        webui.add(
            "chat", id=f"c{n}", user_id="u", chat=blob, created_at=START, meta={"forked_from": odd, "internal": odd}
        )
    names = ("type", "status", "summary", "content", "call_id", "name", "arguments", "output", "files", "code", "lang")
    kinds = ("message", "reasoning", "function_call", "function_call_output", "open_webui:code_interpreter")
    for n, name in enumerate(names):
        items = [{"type": kind, "call_id": "k", "name": "f", "status": "failed", name: odd} for kind in kinds]
        webui.chat(f"o{n}", answer(output=items))
    for n, name in enumerate(("rating", "reason", "tags", "details", "sibling_model_ids")):
        webui.rate("o1", "a1", 1, f"f{n}", **({name: odd} if name != "rating" else {}))
    webui.add("feedback", id="x", data={"rating": odd}, meta={"chat_id": odd, "message_id": odd})
    webui.add("model", id="m", params={"system": odd}, meta={"toolIds": odd})
    webui.add("tool", id="t", specs=json.dumps(odd))
    webui.add("folder", id="f", data={"system_prompt": odd})
    webui.add("chat", id="cell", user_id="u", chat=json.dumps(odd), meta=json.dumps(odd))
    episodes, _ = read(webui)
    assert len(episodes) > 10


def test_older_databases_lack_tables_and_columns(tmp_path):
    path = tmp_path / "webui.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE chat (id TEXT, user_id TEXT, title TEXT, chat TEXT, share_id TEXT, archived INTEGER)")
        tree = {"u": {"id": "u", "role": "user", "content": "Hi", "timestamp": START * 1000}}
        db.execute("INSERT INTO chat (id, chat) VALUES ('c', ?)", (json.dumps({"history": {"messages": tree}}),))
        db.commit()
    with contextlib.closing(open_read_only(path)) as db:
        assert OpenWebUISource().recognises(db)
        (episode,) = OpenWebUISource().read(db, path, lambda verdict: None)
    assert episode.started_at == "2026-10-01T08:00:00Z"


def test_an_empty_database_and_other_formats(webui, tmp_path):
    assert read(webui) == ([], [])
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE chat (id, chat)")
        db.execute("CREATE TABLE message (id, channel_id)")
        assert not OpenWebUISource().recognises(db)


def test_places_follow_the_apps_own_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/own.db")
    assert OpenWebUISource().places()[:2] == [tmp_path / "own.db", tmp_path / "webui.db"]
