import contextlib
import json
import sys
from pathlib import Path

import pytest
from examples.zed import Log, agent, result, use, user

from lunar_tune.episodes import Attachment, to_dict
from lunar_tune.errors import MissingExtra
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.zed import ZedSource


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "threads.db")
    yield log
    log.db.close()


def read(path):
    lost = []
    with contextlib.closing(open_read_only(path)) as db:
        assert ZedSource().recognises(db)
        return list(ZedSource().read(db, path, lost.append)), [(v.id, v.reason, v.detail) for v in lost]


def said(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_a_thread_whole(log):
    mention = {"Mention": {"uri": {"File": {"abs_path": "/home/x/a.txt"}}, "content": "CANARY"}}
    log.thread(
        "t1",
        user("Look at ", mention, " please", {"Image": {"source": "CANARY"}}),
        agent(
            {"Thinking": {"text": "Search.", "signature": "s"}}, {"RedactedThinking": "x"}, "I will.",
            use("c1", q="a"), use("c2"),
            results=result("c2", [{"Text": "two"}, {"Image": {"source": "CANARY"}}])
            | result("c1", {"Text": "one"}, True),
        ),
        "Resume",
        agent("Found.", "It is there."),
        model={"provider": "anthropic", "model": "claude-x"},
    )  # fmt: skip
    ((episode,), lost) = read(log.path)
    assert lost == []
    assert to_dict(episode, with_id=False) == {
        "source": "zed",
        "path": str(log.path),
        "thread": "t1",
        "started_at": "2026-03-01T10:00:00Z",
        "model": "claude-x",
        "tools": [],
        "messages": [
            {
                "role": "user",
                "content": "Look at @a.txt please",
                "attachments": [{"type": "file", "name": "a.txt"}, {"type": "image"}],
            },
            {
                "role": "assistant",
                "content": "I will.",
                "reasoning": "Search.",
                "tool_calls": [
                    {"id": "c1", "name": "grep", "arguments": {"q": "a"}},
                    {"id": "c2", "name": "grep", "arguments": {}},
                ],
            },
            {
                "role": "tool",
                "content": "one",
                "error": "the tool reported an error",
                "tool_call_id": "c1",
                "name": "grep",
            },
            {
                "role": "tool",
                "content": "two",
                "attachments": [{"type": "image"}],
                "tool_call_id": "c2",
                "name": "grep",
            },
            {"role": "assistant", "content": "Found.\nIt is there."},
        ],
        "signals": [{"kind": "tool_error", "value": None, "message": 2}],
    }
    assert "CANARY" not in json.dumps(to_dict(episode))


def test_a_call_that_was_cut(log):
    log.thread("t1", user("Go"), agent(use("c1", complete=False, q="a")))
    ((episode,), lost) = read(log.path)
    answer = episode.messages[1]
    call = answer.tool_calls[0]
    assert (answer.finish, call.arguments, call.arguments_raw, call.error) == (
        "cancelled",
        {},
        '{"q": "',
        "the call was cut",
    )
    assert lost == []


def test_subagents_are_of_the_group_of_their_parents(log):
    log.thread("a", user("Hi"), agent("Hello"), created="2026-03-01T12:00:00Z")
    log.thread("b", user("Find"), agent("Found"), parent="a", created="2026-03-01T12:01:00Z")
    log.thread("c", user("More"), agent("Found"), parent="b", created="2026-03-01T12:02:00Z")
    log.thread("d", user("Alone"), agent("Yes"), created="2026-03-01T11:00:00Z")
    log.thread("e", user("Ring"), agent("Yes"), parent="e", created="2026-03-01T13:00:00Z")
    episodes, _ = read(log.path)
    assert [(e.thread, e.group) for e in episodes] == [("d", None), ("a", "a"), ("b", "a"), ("c", "a"), ("e", None)]


def test_the_versions_before(log):
    log.thread(
        "t1",
        {"id": 0, "role": "system", "segments": [{"type": "text", "text": "Be kind."}]},
        {"id": 1, "role": "user", "segments": [{"type": "text", "text": "Hi"}], "context": "CANARY"},
        {
            "id": 2,
            "role": "assistant",
            "segments": [{"type": "thinking", "text": "Greet."}, {"type": "text", "text": "Hello"}],
            "tool_uses": [{"id": "c1", "name": "now", "input": {"zone": "utc"}}],
        },
        {
            "id": 3,
            "role": "user",
            "text": "And?",
            "tool_results": [{"tool_use_id": "c1", "is_error": False, "content": "12:00"}],
        },
        {"id": 4, "role": "narrator", "segments": []},
        version="0.1.0",
    )
    ((episode,), lost) = read(log.path)
    assert episode.system == "Be kind."
    assert said(episode) == [("user", "Hi"), ("assistant", "Hello"), ("tool", "12:00"), ("user", "And?")]
    assert (episode.messages[1].reasoning, episode.messages[2].name) == ("Greet.", "now")
    assert lost == [("t1", "a message of unknown role", "threads.data=t1 message 4")]


def test_older_tables_lack_columns(tmp_path):
    log = Log(tmp_path / "old.db", "CREATE TABLE threads (id TEXT PRIMARY KEY, summary TEXT, updated_at TEXT,"
                                   " data_type TEXT, data BLOB);")  # fmt: skip
    document = json.dumps({"version": "0.3.0", "messages": [user("Hi"), agent("Hello")]})
    log.db.execute("INSERT INTO threads VALUES ('t', 's', '2026-03-02T00:00:00Z', 'json', ?)", (document,))
    log.db.commit()
    log.db.close()
    ((episode,), lost) = read(log.path)
    assert (episode.started_at, episode.group, lost) == ("2026-03-02T00:00:00Z", None, [])


def test_broken_threads_cost_themselves(log):
    log.thread("1", data=b"{SECRET").thread("2", data=b"[1]").thread("3", kind="lzma").thread("4", data=b"\xff\xfe")
    log.thread("5", data=b'{"messages": {}}').thread("6", user("Hi"), 5, {"New": {}}, {"User": {"content": 5}},
        agent({"Hologram": 1}, {"ToolUse": 5}, 7), {"Agent": {"content": None}}, agent("Bye", results={"x": 5}),
        agent(use("c1"), results=result("c1", [{"Video": 1}, 5], output="raw")), model=5)  # fmt: skip
    log.thread("7").thread("8", data=b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "Hi"), ("user", ""), ("assistant", "Bye"), ("assistant", ""), ("tool", "raw")]
    assert [(key, reason) for key, reason, _ in lost if key != "6"] == [
        ("1", "an unreadable thread"), ("2", "an unreadable thread"), ("3", "data of unknown type"),
        ("4", "an unreadable thread"), ("5", "an unreadable thread"), ("7", "a conversation without messages"),
        ("8", "an unreadable thread"),
    ]  # fmt: skip
    assert [reason for key, reason, _ in lost if key == "6"] == [
        "an unreadable message", "a message of unknown type", "a part of unknown type", "a part of unknown type",
        "a part of unknown type", "a part of unknown type", "an empty message", "a part of unknown type",
        "an empty message", "an unreadable result", "a part of unknown type", "a part of unknown type",
    ]  # fmt: skip
    assert "SECRET" not in str(lost)


def test_an_empty_database(log):
    assert read(log.path) == ([], [])


def test_compressed_threads_need_their_library(log, monkeypatch):
    log.thread("t1", data=b"(\xb5/\xfd", kind="zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match="zstandard"):
        read(log.path)


def test_compressed_threads(log):
    zstandard = pytest.importorskip("zstandard")
    document = json.dumps({"version": "0.3.0", "messages": [user("Hi"), agent("Hello")]}).encode()
    packer = zstandard.ZstdCompressor().compressobj()  # without the size of the content, as Zed writes
    packed = packer.compress(document) + packer.flush()
    log.thread("t1", data=packed, kind="zstd").thread("t2", data=packed[:-9], kind="zstd").thread(
        "t3", data=b"x", kind="zstd"
    )
    ((episode,), lost) = read(log.path)
    assert said(episode) == [("user", "Hi"), ("assistant", "Hello")]
    assert [(key, reason) for key, reason, _ in lost] == [
        ("t2", "an unreadable thread"),
        ("t3", "an unreadable thread"),
    ]


def test_a_thread_is_read_with_its_subagents(log):
    log.thread("a", user("Hi"), agent("Hello"))
    log.thread("b", user("Find"), agent("Found"), parent="a", created="2026-03-01T11:00:00Z")
    log.thread("c", user("More"), agent("Found"), parent="gone")
    log.thread("x", user("Round"), agent("Yes"), parent="y").thread("y", user("Go"), agent("No"), parent="x")

    def threads():
        with contextlib.closing(open_read_only(log.path)) as db:
            return dict(ZedSource().threads(db))

    first = threads()
    assert set(first) == {"a", "gone", "x"}
    log.db.execute("UPDATE threads SET data = '{}', updated_at = '2026-03-03' WHERE id = 'b'")
    log.db.commit()
    second = threads()
    assert {thread for thread in second if second[thread] != first[thread]} == {"a"}
    lost = []
    with contextlib.closing(open_read_only(log.path)) as db:
        episodes = list(ZedSource().read(db, log.path, lost.append, {"x", "gone"}))
        everything = list(ZedSource().read(db, log.path, lambda verdict: None))
    assert [(e.thread, e.group) for e in episodes] == [("c", "gone"), ("x", "x"), ("y", "x")]
    assert (lost, episodes) == ([], [e for e in everything if e.thread != "a"])


def test_places_are_named():
    (place,) = ZedSource().places()
    assert place.parts[-2:] == ("threads", "threads.db")
    assert isinstance(place, Path)


def test_other_tables_are_not_recognised(tmp_path):
    log = Log(tmp_path / "other.db", "CREATE TABLE threads (id TEXT, title TEXT);")
    log.db.close()
    with contextlib.closing(open_read_only(log.path)) as db:
        assert not ZedSource().recognises(db)


def test_mentions_of_every_kind(log):
    uris = [
        {"Symbol": {"abs_path": "/a/b.rs", "name": "main"}}, {"Fetch": {"url": "https://x.y/z"}},
        {"Selection": {"abs_path": None}}, {"Directory": {"abs_path": "C:\\a\\b\\"}}, "PastedImage", None,
    ]  # fmt: skip
    log.thread("t1", user(*({"Mention": {"uri": uri, "content": ""}} for uri in uris)))
    ((episode,), _) = read(log.path)
    assert episode.messages[0].attachments == (
        Attachment(type="symbol", name="main"), Attachment(type="fetch", name="https://x.y/z"),
        Attachment(type="selection"), Attachment(type="directory", name="b"), Attachment(type="pastedimage"),
        Attachment(type="mention"),
    )  # fmt: skip
    assert episode.signals == ()
