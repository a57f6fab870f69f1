import contextlib
import json
import sqlite3

import pytest
from examples import CANARY
from examples.table_map import SETTINGS, Log, build
from examples.table_map import table_map as spec

from lunar_tune.episodes import Attachment, Signal, to_dict
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.read import open_logs, readers
from lunar_tune.sources.table_map import rows
from lunar_tune.sources.table_map.source import TableMapSource

QA = {"name": "qa", "table": "qa", "prompt": "question", "answer": "reply", "model": "model", "error": "failed"}


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "bot.db")
    yield log
    log.db.close()


def read(path, of=None, only=None):
    lost, source = [], TableMapSource(of or spec())
    with contextlib.closing(open_read_only(path)) as db:
        assert source.recognises(db)
        return list(source.read(db, path, lost.append, only)), [(v.id, v.reason, v.detail) for v in lost]


def threads(path, of=None):
    with contextlib.closing(open_read_only(path)) as db:
        return dict(TableMapSource(of or spec()).threads(db))


def said(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_order_families_and_conversations_without_messages(log):
    log.add("sessions", id="a", parent=None).add("sessions", id="b", parent="a").add("sessions", id="c", parent="b")
    log.add("sessions", id="empty").add("sessions", id="d", parent="d", began="1970-01-01T00:00:01Z")
    log.add("sessions", id="e", parent="f").add("sessions", id="f", parent="e").add("sessions", id="g", parent="gone")
    log.say("b", "H", "2", ts=20).say("a", "H", "1", ts=10).say("b", "B", "3", ts=5).say("c", "H", "4", ts=30)
    log.say(None, "H", "nobody's", ts=1).say("", "H", "nobody's", ts=1).say("d", "H", "5", ts=40)
    for name in "efg":
        log.say(name, "H", name, ts=50)
    episodes, lost = read(log.path)
    assert [(e.thread, e.group, [m.content for m in e.messages]) for e in episodes] == [
        ("d", None, ["5"]), ("a", None, ["1"]), ("b", "a", ["2", "3"]), ("c", "a", ["4"]),
        ("e", None, ["e"]), ("f", "e", ["f"]), ("g", "gone", ["g"]),
    ]  # fmt: skip
    assert lost == [
        ("", "a message of no conversation", "chat_log.rowid=5"),
        ("", "a message of no conversation", "chat_log.rowid=6"),
        ("empty", "a conversation without messages", ""),
    ]
    assert set(threads(log.path)) == {*"abcdefg", "empty"}
    assert read(log.path, only={"empty"}) == ([], [("empty", "a conversation without messages", "")])


def test_the_root_of_a_fork_is_found_for_one_thread_too(log):
    for number in range(120):
        log.add("sessions", id=f"n{number}", parent=f"n{number - 1}" if number else "gone")
    log.add("sessions", id="x", parent="lost").add("sessions", id="y", parent="x")
    for name in ("n3", "n119", "x", "y"):
        log.say(name, "H", "Hi")
    groups = {"n3": "gone", "n119": "gone", "x": "lost", "y": "lost"}
    assert {e.thread: e.group for e in read(log.path)[0]} == groups
    for name, group in groups.items():
        assert [(e.thread, e.group) for e in read(log.path, only={name})[0]] == [(name, group)]
    assert {e.thread: e.group for e in read(log.path, only=set(groups))[0]} == groups


@pytest.mark.parametrize(("system", "expected"), [("Be kind to all.", "Be kind to all."), ("why", "From the row")])
def test_the_prompt_is_a_column_or_the_text_itself(log, system, expected):
    log.say("s", "H", "Hi", why="From the row").say("s", "B", "Hello").say("t", "H", "Hi")
    (episode, other), lost = read(log.path, spec(system=system, reasoning=None, threads=None))
    assert (episode.system, lost) == (expected, [])
    assert other.system == (None if system == "why" else expected)


def test_a_misspelt_column_is_told(log):
    log.say("s", "system", "Mine.").say("s", "H", "Hi")
    ((episode,), lost) = read(log.path, spec(system="promt", model="modle", threads=None))
    assert episode.system == "Mine."
    assert lost == [
        ("", "a mapped column that is not there", "chat_log.modle"),
        ("", "system is no column: taken as the prompt itself", "chat_log.promt"),
    ]
    assert read(log.path, spec(system="promt", model="modle", threads=None), {"s"})[1] == []


def test_content_blocks(log):
    image = {"type": "image", "source": {"media_type": "image/png", "data": CANARY}}
    log.say("s", "H", json.dumps([{"type": "text", "text": "Look"}, image, {"type": "hologram"}]))
    thinking = {"type": "thinking", "thinking": "Hm."}
    log.say("s", "B", json.dumps([thinking, {"type": "tool_use", "id": "c1", "name": "see", "input": {"x": 1}}]))
    results = [{"type": "tool_result", "tool_use_id": "c1", "content": "cat", "is_error": True}]
    log.say("s", "H", json.dumps(results)).say("s", "B", "[not JSON").say("s", "H", "[1, 2]")
    server = [{"type": "server_tool_use", "id": "c2", "name": "web", "input": {}}]
    server += [{"type": "web_search_tool_result", "tool_use_id": "c2", "content": "found"}]
    log.say("s", "B", json.dumps(server))
    ((episode,), lost) = read(log.path)
    assert said(episode) == [
        ("user", "Look"), ("assistant", ""), ("tool", "cat"), ("assistant", "[not JSON"), ("user", "[1, 2]"),
        ("assistant", ""), ("tool", "found"),
    ]  # fmt: skip
    assert episode.messages[0].attachments == (Attachment(type="image/png"),)
    assert (episode.messages[1].reasoning, episode.messages[1].tool_calls[0].arguments) == ("Hm.", {"x": 1})
    assert episode.signals == (Signal(kind="tool_error", message=2),)
    assert lost == [("s", "a block of unknown type", "chat_log.rowid=1")]


def test_columns_that_are_not_named_are_not_read(tmp_path):
    path = build(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        before = read(path), threads(path)
        for table, column in (("chat_log", "secret"), ("sessions", "password"), ("votes", "voter")):
            db.execute(f"UPDATE {table} SET {column} = ?", (CANARY,))
        db.commit()
    assert (read(path), threads(path)) == before
    assert CANARY not in json.dumps([to_dict(episode) for episode in read(path)[0]])


def test_words_of_roles_and_ratings(log):
    for who, stars in (("alice", None), ("Bob", "5"), ("BOT", "Good"), (1, None), (0, "x" * 200), ("h", 2.5)):
        log.say("s", who, str(who), stars=stars)
    log.say("s", None, "x").say("s", " ", "x").say("s", "z" * 101, "x")
    roles = {"*": "user", "1": "user", "0": "assistant", "H": "assistant", "h": "tool"}
    ((episode,), lost) = read(log.path, spec(roles=roles, ratings={"Good": 3}))
    assert [m.role for m in episode.messages] == ["user", "user", "assistant", "user", "assistant", "tool"]
    assert [(s.value, s.message) for s in episode.signals] == [(5.0, 1), (3.0, 2), (2.5, 5)]
    assert [reason for _, reason, _ in lost] == ["a rating that is no number", *["a message of unknown role"] * 3]


def test_times_of_any_kind_put_conversations_in_order(log):
    for name, ts in (("text", "2026-03-01 10:00:00"), ("milli", 1772359199000), ("none", None), ("sec", 1772359201)):
        log.say(name, "H", "Hi", ts=ts).say(name, "B", "Ho", ts=1)
    episodes, _ = read(log.path)
    assert [(e.thread, e.started_at) for e in episodes] == [
        ("none", "1970-01-01T00:00:01Z"), ("milli", "2026-03-01T09:59:59Z"), ("text", "2026-03-01T10:00:00Z"),
        ("sec", "2026-03-01T10:00:01Z"),
    ]  # fmt: skip


def test_an_exchange_a_row(tmp_path):
    log = Log(
        tmp_path / "x.db", "CREATE TABLE qa (question TEXT, reply TEXT, model TEXT, thumbs TEXT, failed TEXT, s TEXT);"
    )
    log.add("qa", question="Hi", reply="Hello", model="m", thumbs="down", s="1").add("qa", question="Bye", s="1")
    log.add("qa", question="More", failed="boom", s="1").add("qa", question=None, reply="Alone", s="2")
    log.add("qa", s="2").close()
    episodes, lost = read(log.path, spec(QA, rating="thumbs"))
    assert [(e.thread, said(e)) for e in episodes] == [
        ("1", [("user", "Hi"), ("assistant", "Hello")]), ("2", [("user", "Bye")]),
        ("3", [("user", "More"), ("assistant", "")]), ("4", [("assistant", "Alone")]),
    ]  # fmt: skip
    assert episodes[0].signals == (Signal(kind="rating", value=-1.0, message=1),)
    assert (episodes[2].messages[1].error, episodes[2].messages[1].finish) == ("boom", "error")
    assert lost == [("5", "a conversation without messages", "")]
    assert read(log.path, spec(QA, rating="thumbs"), {"2"}) == (episodes[1:2], [])
    threaded, _ = read(log.path, spec(QA, thread="s"))
    assert [len(e.messages) for e in threaded] == [5, 1]


def test_views_and_tables_without_row_numbers(tmp_path):
    log = Log(tmp_path / "v.db", "CREATE TABLE m (k TEXT PRIMARY KEY, s TEXT, role TEXT, text TEXT) WITHOUT ROWID;"
                                 "CREATE VIEW v AS SELECT * FROM m;")  # fmt: skip
    log.add("m", k="2", s="a", role="assistant", text="Hello").add("m", k="1", s="a", role="user", text="Hi")
    log.add("m", k="3", s="b", role="user", text="Yes").add("m", k="4", s=None, role="user", text="Lost")
    for table in ("m", "v"):
        given = {"name": "x", "table": table, "thread": "s", "role": "role", "content": "text", "order": "k", "id": "k"}
        (first, second), lost = read(log.path, spec(given))
        assert (said(first), said(second)) == ([("user", "Hi"), ("assistant", "Hello")], [("user", "Yes")])
        assert lost == [("", "a message of no conversation", f"{table}.id=4")]
        assert read(log.path, spec(given), {"a"}) == ([first], [])
        before = threads(log.path, spec(given))
        log.add("m", k=f"5{table}", s="b", role="assistant", text="No")
        after = threads(log.path, spec(given))
        assert {name for name in after if after[name] != before.get(name)} == {"b"}
        log.db.execute("DELETE FROM m WHERE k > '5'")
        log.db.commit()
        exchange = {"name": "x", "table": table, "prompt": "text", "answer": "role"}
        assert "must name thread or id" in misfit(log, spec(exchange))
        assert len(read(log.path, spec(exchange, id="k"))[0]) == 4
    log.db.close()


def test_a_column_called_rowid_is_somebodys_own(tmp_path):
    log = Log(tmp_path / "r.db", "CREATE TABLE m (rowid TEXT, s TEXT, role TEXT, text TEXT);")
    for text in ("Hi", "Hello"):
        log.add("m", rowid="same", s="a", role="user", text=text)
    log.close()
    ((episode,), _) = read(
        log.path, spec({"name": "x", "table": "m", "thread": "s", "role": "role", "content": "text"})
    )
    assert said(episode) == [("user", "Hi"), ("user", "Hello")]


def test_names_of_conversations_of_any_type_are_read_by_themselves(tmp_path):
    log = Log(tmp_path / "t.db", "CREATE TABLE m (s, role, text);CREATE INDEX i ON m (s);")
    names = [
        7,
        "7",
        "007",
        -1,
        1.5,
        "1e3",
        b"\xff\x00\x10",
        "ff0010",
        b"abc",
        2**62,
        2**63 - 1,
        float(2**63),
        1e18,
        "a\x00b",
        "é",
        "x#y",
    ]
    for name in names:
        log.add("m", s=name, role="user", text=repr(name))
    log.db.execute("INSERT INTO m VALUES (CAST(x'ff41' AS TEXT), 'user', 'no UTF-8')")
    log.db.commit()
    log.close()
    of = spec({"name": "x", "table": "m", "thread": "s", "role": "role", "content": "text"})
    episodes, _ = read(log.path, of)
    assert {e.thread for e in episodes} == set(threads(log.path, of))
    assert sum(len(e.messages) for e in episodes) == len(names) + 1
    for episode in episodes:
        assert read(log.path, of, {episode.thread}) == ([episode], [])


def test_a_thread_is_found_by_its_index(log, monkeypatch):
    for number in range(50):
        log.say(f"s{number}", "H", "Hi").say(f"s{number}", "B", "Ho")
    log.close()
    with contextlib.closing(open_read_only(log.path)) as db:
        condition, wanted = rows.among(db, '"session"', {"s1", "s2"})
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM chat_log WHERE {condition}", wanted)]
    assert any("USING INDEX by_session" in step for step in plan)


@pytest.mark.parametrize("at_once", [1, 3])
def test_few_rows_are_held_at_once(log, monkeypatch, at_once):
    for number in range(9):
        for text in range(number % 4 + 1):
            log.say(f"s{number}", "H", f"{number} {text}", ts=number + 1)
    whole = read(log.path)
    monkeypatch.setattr(rows, "AT_ONCE", at_once)
    assert read(log.path) == whole
    assert [len(e.messages) for e in whole[0]] == [1, 2, 3, 4, 1, 2, 3, 4, 1]


def test_an_empty_database_and_other_tables(log, tmp_path):
    assert read(log.path) == ([], [])
    other = Log(tmp_path / "other.db", "CREATE TABLE chat_log (session, who);")
    assert misfit(other, spec()) == "the table 'chat_log' has no column 'body'"
    assert misfit(other, spec(table="chats")) == "there is no table 'chats'"
    other.db.executescript("ALTER TABLE chat_log ADD body")
    assert misfit(other, spec()) == "there is no table 'sessions'"
    other.close()
    assert TableMapSource(spec()).name == "table_map"
    assert TableMapSource(spec()).lacks == "what the map does not name"
    assert TableMapSource(spec(threads=None, model=None)).lacks == "the system prompt, models"


def misfit(log, of):
    with contextlib.closing(open_read_only(log.path)) as db:
        assert TableMapSource(of).recognises(db) == (TableMapSource(of).misfit(db) is None)
        return TableMapSource(of).misfit(db)


def test_stamps_see_what_is_mapped_and_no_more(log):
    log.say("s", "H", "Hi").say("s", "B", None).say("t", "H", "Hi")
    log.add("sessions", id="s", prompt="p")
    marks = [threads(log.path)]

    def after(sql):
        log.db.execute(sql)
        log.db.commit()
        marks.append(threads(log.path))
        return {name for name in marks[-1] if marks[-1][name] != marks[-2].get(name)}

    assert after("UPDATE chat_log SET secret = 'other'") == set()
    for change in (
        "UPDATE chat_log SET body = 'Ho' WHERE id = 2",  # an answer that was under way
        "UPDATE chat_log SET body = 'He', edited = 5 WHERE id = 2",
        "UPDATE chat_log SET stars = 1 WHERE id = 2",
        "UPDATE chat_log SET stars = 2 WHERE id = 2",
        "INSERT INTO votes (log_id, vote) VALUES (2, 'up')",
        "UPDATE votes SET vote = 'down'",
        "UPDATE votes SET comment = 'no'",
        "UPDATE sessions SET prompt = 'q'",
        "UPDATE sessions SET parent = 't'",
        "DELETE FROM chat_log WHERE id = 1",
    ):
        assert after(change) == {"s"}, change
    assert after("UPDATE sessions SET id = 't', parent = NULL") == {"s", "t"}
    assert set(threads(log.path, spec(roles={}))) == {"s", "t"}
    assert not set(threads(log.path, spec(roles={})).items()) & set(marks[-1].items())


def test_a_rating_is_the_messages_whatever_the_type_of_its_key(tmp_path):
    log = Log(tmp_path / "k.db", "CREATE TABLE m (id, s, who, body); CREATE TABLE v (m TEXT, r);")
    log.add("m", id=1, s="a", who="user", body="Hi").add("m", id="2", s="a", who="bot", body="Ho")
    log.add("m", id=3.0, s="b", who="bot", body="Ho").add("m", id="x", s="b", who="bot", body="Ho")
    given = {"name": "x", "table": "m", "id": "id", "thread": "s", "role": "who", "content": "body"}
    of = spec(given | {"feedback": {"table": "v", "message": "m", "rating": "r"}})
    before = threads(log.path, of)
    log.add("v", m=1, r=1).add("v", m="2", r=-1).add("v", m=3, r="no").add("v", m="x", r="👍")
    after = threads(log.path, of)
    log.close()
    (first, second), lost = read(log.path, of)
    assert [[(s.message, s.value) for s in e.signals] for e in (first, second)] == [
        [(0, 1.0), (1, -1.0)], [(0, -1.0), (1, 1.0)],
    ]  # fmt: skip
    assert (before["a"] != after["a"], before["b"] != after["b"], lost) == (True, True, [])


def test_maps_are_asked_before_all_readers(log):
    log.say("s", "H", "Hi").close()
    log = Log(log.path, "CREATE TABLE conversations (id); CREATE TABLE messages (conversation_id, role, content);")
    log.close()

    class Greedy:
        name, lacks = "greedy", ""

        def recognises(self, db):
            return True

    greedy = Greedy()
    assert [reader.name for reader in readers([greedy], SETTINGS)] == ["table_map", "greedy"]
    with open_logs([log.path], [greedy], SETTINGS) as (opened,):
        assert opened.name == "table_map"
        assert [to_dict(e)["source"] for e in opened.read(lambda verdict: None)] == ["table_map"]
