import contextlib
import json
import sqlite3

import pytest
from examples.open_webui import START, WebUI, said

from lunar_tune.sources import base
from lunar_tune.sources.open_webui.source import OpenWebUISource

TALK = [said("u", "user", "Hi"), said("a", "assistant", "Yo", "u", 1, model="m")]


@pytest.fixture
def webui(tmp_path):
    return WebUI(tmp_path / "webui.db")


def read(webui, only=None):
    webui.db.commit()
    lost = []
    with contextlib.closing(base.open_read_only(webui.path)) as db:
        threads = dict(OpenWebUISource().threads(db))
        return threads, list(OpenWebUISource().read(db, webui.path, lost.append, only)), lost


def test_a_copy_read_alone_knows_its_family(webui):
    webui.chat("root", TALK, columns={"meta": {"internal": True}})
    webui.chat("branch", TALK, at=START + 1, originalChatId="root")
    webui.chat("twig", TALK, at=START + 2, columns={"meta": {"forked_from": "branch"}})
    webui.chat("ring", TALK, at=START + 3, originalChatId="gnir")
    webui.chat("gnir", TALK, at=START + 4, originalChatId="ring")
    webui.chat("lone", TALK, at=START + 5, originalChatId="deleted")
    webui.chat("self", TALK, at=START + 6, originalChatId="self")
    threads, found, _ = read(webui)
    assert [(e.thread, e.group) for e in found] == [
        ("branch", "root"), ("twig", "root"), ("ring", "gnir"), ("gnir", "gnir"), ("lone", "deleted"), ("self", None),
    ]  # fmt: skip
    for thread in threads:
        assert read(webui, {thread})[1] == [e for e in found if e.thread == thread]


def test_some_chats_report_what_concerns_them_alone(webui):
    webui.add("tool", id="t", specs="{")
    webui.add("feedback", id="f0", data="{", meta="{}")
    for n, chat in enumerate(("a", "b")):
        webui.chat(chat, TALK, at=START + n)
        webui.rate(chat, "gone", 1, f"f-{chat}")
        webui.rate(chat, "a", "five", f"g-{chat}")
    webui.row("gone", "u", "user", "stray")
    everything = [(v.id, v.reason) for v in read(webui)[2]]
    own = [("b", "unreadable feedback"), ("b", "a rating of a message that is gone")]
    assert [(v.id, v.reason) for v in read(webui, {"b"})[2]] == own
    assert set(everything) - {*own, ("a", own[0][1]), ("a", own[1][1])} == {
        ("", "unreadable tool"),
        ("", "unreadable feedback"),
        ("", "a message of a chat that is gone"),
    }


def test_ids_that_are_no_clean_text(tmp_path):
    path = tmp_path / "webui.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE chat (id, user_id, title, chat, share_id)")
        for key in (
            "'a'",
            "'a'",
            "x'61'",
            "NULL",
            "''",
            "7",
            "'7'",
            "x'ff'",
            "'n' || char(0)",
            "CAST(x'66ff' AS TEXT)",
        ):
            blob = json.dumps({"messages": [{"role": "user", "content": key}]})
            db.execute(f"INSERT INTO chat (id, chat) VALUES ({key}, ?)", (blob,))
        db.commit()
    with contextlib.closing(base.open_read_only(path)) as db:
        threads = dict(OpenWebUISource().threads(db))
        found = list(OpenWebUISource().read(db, path, lambda verdict: None))
        assert list(threads) == ["a", "None", "''", "7", "b'\\xff'", "n\ufffd", "f\ufffd"]
        assert len(found) == 10
        for thread in threads:
            alone = list(OpenWebUISource().read(db, path, lambda verdict: None, {thread}))
            assert alone == [e for e in found if e.thread == thread]


def test_rows_without_an_id_and_with_one_that_is_taken(webui):
    webui.db.execute("DROP INDEX ix_chat_message_chat_id")  # an index is not needed
    webui.add("chat", id="c", user_id="u", chat="{}", created_at=START)
    for key in (None, None, "c-x", b"c-x"):
        webui.row("c", "", "user", "Hi", **{"id": key})
    _, found, lost = read(webui)
    assert [e.thread for e in found] == ["c", "c#rowid-1", "c#rowid-2"]
    assert [(v.reason, v.detail) for v in lost] == [("a message whose id is taken", "chat_message.rowid=4")]


@pytest.mark.parametrize("small", [True, False])
def test_what_a_stamp_sees(webui, monkeypatch, small):
    monkeypatch.setattr(base, "SMALL", base.SMALL if small else 0)
    webui.chat("c", TALK)
    webui.chat("other", TALK)
    webui.row("c", "a", "assistant", "Yo", "u")
    before = read(webui)[0]

    def changed():
        nonlocal before
        old, before = before, read(webui)[0]
        return [thread for thread in before if before[thread] != old[thread]] == ["c"]

    webui.row("c", "b", "user", "More", "a")
    assert changed()
    webui.db.execute("UPDATE chat SET chat = replace(chat, 'Yo', 'No'), updated_at = updated_at + 1 WHERE id = 'c'")
    assert changed()
    webui.rate("c", "a", 1)
    assert changed()
    webui.db.execute("UPDATE feedback SET data = replace(data, '1', '-1')")
    assert changed()
    webui.db.execute("DELETE FROM chat_message WHERE id = 'c-b'")
    assert changed()
    webui.db.execute("UPDATE chat SET chat = replace(chat, 'No', 'On') WHERE id = 'c'")  # in the same second
    assert changed() is small
    webui.db.execute("UPDATE chat_message SET content = '\"Off\"'")
    assert changed() is small
