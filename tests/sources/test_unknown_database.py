"""A database that no reader knows: the error shows the TOML that maps it, and the TOML works as it is shown."""

import contextlib
import json
import subprocess
import sys
import tomllib

import pytest
from examples import CANARY
from examples.table_map import Log
from examples.table_map import table_map as spec

from lunar_tune.cli import main
from lunar_tune.errors import UnknownSchema
from lunar_tune.sources.base import open_read_only
from lunar_tune.sources.log import open_log
from lunar_tune.sources.lunar.source import LunarSource
from lunar_tune.sources.table_map.source import TableMapSource
from lunar_tune.sources.table_map.suggest import suggest

CHATS = """
CREATE TABLE users (id INTEGER, name TEXT, password TEXT);
CREATE TABLE notes (id INTEGER, role TEXT, text TEXT);
CREATE TABLE conversations (id INTEGER PRIMARY KEY, system_prompt TEXT, created_at TEXT, started_at TEXT);
CREATE TABLE "chat messages" (id INTEGER PRIMARY KEY, conversation_id INTEGER REFERENCES conversations(id),
  content INTEGER, sender TEXT, message_text TEXT, created_at TEXT, updated_at TEXT, position INTEGER, model TEXT,
  tool_calls TEXT);
"""
BOT = """
CREATE TABLE msgs (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER, sender TEXT, body TEXT, created_at TEXT);
CREATE TABLE chats (id INTEGER PRIMARY KEY, system_prompt TEXT, token TEXT);
"""


def suggested(tmp_path, schema, rows=()):
    log = Log(tmp_path / "unknown.db", schema)
    for table, values in rows:
        log.add(table, **values)
    log.close()
    with contextlib.closing(open_read_only(log.path)) as db:
        text = suggest(db)
        for (only,) in (tomllib.loads(text)["harvest"]["table_map"],) if text else ():
            guess = spec(only)
            assert TableMapSource(guess).recognises(db)
            return guess, text
    return None, text


def test_a_map_is_suggested_from_the_names_of_columns(tmp_path):
    said = [('"chat messages"', {"sender": f"{CANARY} {n}", "message_text": CANARY}) for n in range(3)]
    guess, text = suggested(tmp_path, CHATS, said)
    assert guess == spec(
        {
            "name": "mybot", "table": "chat messages", "thread": "conversation_id", "role": "sender",
            "content": "message_text", "time": "created_at", "updated": "updated_at", "order": "position",
            "model": "model", "tool_calls": "tool_calls", "roles": {"*": "user"},
            "threads": {"table": "conversations", "id": "id", "system": "system_prompt", "started_at": "started_at"},
        }
    )  # fmt: skip
    assert '# check: which word of "sender" means "user", which "assistant"' in text
    assert CANARY not in text


def test_usual_roles_and_exchanges_need_no_more(tmp_path):
    schema = """
    CREATE TABLE sessions (id TEXT, "System" TEXT);
    CREATE TABLE log (Session TEXT, Role TEXT, Text, ts REAL);
    INSERT INTO log VALUES ('s', 'Human', 'x', 1), ('s', 'bot', 'y', 2);
    """
    guess, text = suggested(tmp_path, schema)
    names = ("log", "Role", "Text", "Session", "ts")
    assert (guess.table, guess.role, guess.content, guess.thread, guess.time) == names
    assert (guess.threads.table, guess.threads.system, "roles" in text) == ("sessions", "System", False)
    (tmp_path / "unknown.db").unlink()
    guess, _ = suggested(tmp_path, "CREATE TABLE history (question TEXT, response TEXT, model TEXT, rating INTEGER);")
    assert (guess.prompt, guess.answer, guess.rating, guess.thread) == ("question", "response", "rating", None)


def test_who_speaks_first_is_the_user(tmp_path):
    rows = [("m", {"chat": chat, "who": who, "body": "x"}) for chat in (1, 2) for who in ("Q", "A", "Q", "A")]
    guess, _ = suggested(tmp_path, "CREATE TABLE m (chat, who, body);", rows)
    assert guess.roles == {"Q": "user", "A": "assistant"}
    (tmp_path / "unknown.db").unlink()
    rows = [("m", {"chat": chat, "who": who, "body": "x"}) for chat in (1, 2) for who in ("alice", "bob", "bot")]
    guess, _ = suggested(tmp_path, "CREATE TABLE m (chat, who, body);", rows)
    assert guess.roles == {"alice": "user"}  # "bot" is a usual word, and who "bob" is only somebody can say
    (tmp_path / "unknown.db").unlink()
    rows = [("m", {"chat": 1, "who": who, "body": "x"}) for who in ("narrator", "user", "bot")]
    guess, text = suggested(tmp_path, "CREATE TABLE m (chat, who, body);", rows)
    assert (guess.roles, "narrator" in text) == ({}, False)


@pytest.mark.parametrize(("column", "one"), [("is_user", "user"), ("isBot", "assistant"), ("from_user", "user")])
def test_sides_of_a_conversation_as_yes_and_no(tmp_path, column, one):
    guess, _ = suggested(tmp_path, f"CREATE TABLE m (chat TEXT, {column} BOOLEAN, body TEXT);")
    other = {"user": "assistant", "assistant": "user"}[one]
    assert (guess.role, guess.roles) == (column, {"1": one, "0": other})


def test_nothing_is_suggested_where_nothing_fits(tmp_path):
    schema = "CREATE TABLE orders (id INTEGER, price REAL, role TEXT); CREATE VIEW broken AS SELECT * FROM gone;"
    assert suggested(tmp_path, schema) == (None, "")


def test_a_broken_view_does_not_hide_the_tables(tmp_path):
    log = Log(tmp_path / "x.db", "CREATE TABLE m (chat, role, body); CREATE VIEW broken AS SELECT * FROM gone;")
    with pytest.raises(UnknownSchema) as caught, open_log(log.close(), [LunarSource()]):
        pass
    assert 'table = "m"' in caught.value.suggestion


def test_many_tables_are_named_in_part_and_maps_that_do_not_fit_with_the_reason(tmp_path):
    log = Log(tmp_path / "x.db", "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT);")
    for number in range(40):
        log.db.execute(f"CREATE TABLE t{number:02} (x)")
    with pytest.raises(UnknownSchema) as caught, open_log(log.close(), [TableMapSource(spec()), LunarSource()]):
        pass
    first, second = caught.value.message.splitlines()
    assert first.endswith("its tables: 'a', " + ", ".join(f"'t{n:02}'" for n in range(19)) + " and 21 more.")
    assert second == "The table map 'table_map' of the settings does not fit: there is no table 'chat_log'."
    assert caught.value.hint.startswith("Readers here: table_map, lunar. A plugin")


def bot(path, roles=("visitor", "robo")):
    """A database as somebody wrote it: unusual names of roles, a quoted name, tokens beside."""
    log = Log(path, BOT)
    log.add("chats", id=1, system_prompt="Be kind.", token=CANARY)
    for chat in (1, 2):
        for who, body in zip(roles, ("How are you?", "Fine."), strict=True):
            log.add("msgs", chat_id=chat, sender=who, body=body, created_at="2026-10-01 08:00:00")
    return log.close()


def pasted(stderr):
    """What stands between the blank lines, as a person copies it."""
    assert "lunar.toml in the workspace" in stderr
    return stderr.split("\n\n")[1] + "\n"


@pytest.mark.parametrize("place", ["alone", "after init", "config"])
def test_a_suggestion_that_is_pasted_works(tmp_path, place, capfdbinary):
    home, path = tmp_path / "home", bot(tmp_path / 'my "bot".db')
    settings = tmp_path / "my.toml" if place == "config" else home / "lunar.toml"
    flags = ["--home", str(home)]
    if place == "config":
        settings.write_text("[train]\nrank = 4\n")
        flags += ["--config", str(settings)]
    elif place == "after init":
        assert main([*flags, "init"]) == 0
    else:
        home.mkdir()
    capfdbinary.readouterr()
    assert main([*flags, "episodes", str(path)]) == 1
    told = capfdbinary.readouterr()
    assert (told.out, CANARY.encode() in told.err, b"Traceback" in told.err) == (b"", False, False)
    assert "'chats', 'msgs'" in told.err.decode()
    with settings.open("a", encoding="utf-8") as file:
        file.write(pasted(told.err.decode()))
    assert main([*flags, "episodes", str(path)]) == 0
    out = capfdbinary.readouterr().out.decode()
    first, second = map(json.loads, out.splitlines())
    assert (first["source"], first["system"], second.get("system")) == ('my "bot"', "Be kind.", None)
    for episode in (first, second):
        assert [(m["role"], m["content"]) for m in episode["messages"]] == [
            ("user", "How are you?"), ("assistant", "Fine."),
        ]  # fmt: skip


def test_the_program_says_so_in_a_terminal(tmp_path):
    command = [sys.executable, "-m", "lunar_tune", "--home", str(tmp_path), "episodes", str(bot(tmp_path / "X.db"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (tmp_path / "lunar.toml").write_text(pasted(done.stderr), encoding="utf-8")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 2)
