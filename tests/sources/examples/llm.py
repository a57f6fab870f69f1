"""simonw/llm's log with both generations of tables: forks, an older conversation gone on with, tools, fragments."""

import json
import sqlite3

from log_database import LLM_SCHEMA, Database

from examples import CANARY

MORE = """
CREATE TABLE tool_instances (id INTEGER PRIMARY KEY, plugin TEXT, name TEXT, arguments TEXT);
CREATE TABLE tool_results_attachments (tool_result_id INTEGER, attachment_id TEXT, "order" INTEGER);
CREATE TABLE part_fragments (part_id INTEGER, fragment_id INTEGER, "order" INTEGER);
CREATE INDEX idx_turns_thread_id ON turns (thread_id);
"""
SCHEMA = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}})


def message(log, key, parent, role, *parts):
    """Add a message; parts are (type, text, payload)."""
    log.add("messages", hash=key, parent_hash=parent, role=role)
    for position, (kind, text, payload) in enumerate(parts):
        body = None if payload is None else json.dumps(payload)
        tool = (payload or {}).get("name")
        log.add("parts", message_hash=key, position=position, type=kind, tool_name=tool, text=text, payload=body)


def turn(log, key, thread, parent, tip, when):
    log.add(
        "turns", id=key, thread_id=thread, parent_message_hash=parent, tip_message_hash=tip, model="scripted",
        datetime_utc=when, options_json=json.dumps({"key": CANARY}), response_json=json.dumps({"key": CANARY}),
    )  # fmt: skip


def call(key, name, **arguments):
    return ("tool_call", None, {"name": name, "arguments": arguments, "tool_call_id": key})


def result(key, name, output, **more):
    return ("tool_result", None, {"name": name, "output": output, "tool_call_id": key, **more})


def text(said):
    return ("text", said, None)


def response(log, key, thread, prompt, said, when, **more):
    log.add(
        "responses", id=key, conversation_id=thread, model="gpt", prompt=prompt, response=said, datetime_utc=when,
        prompt_json=json.dumps({"key": CANARY}), response_json=json.dumps({"key": CANARY}), **more,
    )  # fmt: skip


def build(folder):
    log = Database(folder / "logs.db", LLM_SCHEMA + MORE)
    log.add("tools", id=1, name="get_weather", description="Weather of a city", input_schema=SCHEMA)
    log.add("tools", id=2, name="look", description="Look at a file", input_schema='{"type"')
    log.add("tool_instances", id=1, plugin="datasette", name="Datasette", arguments=json.dumps({"token": CANARY}))
    log.add("fragments", id=1, content="Be brief.")
    log.add("fragments", id=2, content="A long text.")
    log.add("attachments", id="cat", type="image/png", path="/home/me/cat.png", content=CANARY.encode())
    log.add("attachments", id="map", type="image/jpeg", url=f"https://example.org/map.jpg?signature={CANARY}")
    older(log)
    family(log)
    continued(log)
    trouble(log)
    return log.close()


def older(log):
    """A conversation with a tool, fragments, files and a change of the system prompt; a response of its own."""
    log.add("conversations", id="c1", name="Weather", model="gpt")
    response(log, "01a", "c1", "Weather in Oslo?", "", "2026-01-01T08:00:00+00:00", resolved_model="gpt-2026")
    response(log, "01b", "c1", "", "I could not look.", "2026-01-01T08:00:05+00:00", system="Be long.", reasoning="Hm.")
    log.add("system_fragments", response_id="01a", fragment_id=1, order=0)
    log.add("prompt_fragments", response_id="01a", fragment_id=2, order=0)
    log.add("prompt_attachments", response_id="01a", attachment_id="map", order=1)
    log.add("prompt_attachments", response_id="01a", attachment_id="cat", order=0)
    log.add("tool_responses", tool_id=1, response_id="01a")
    log.add(
        "tool_calls", response_id="01a", tool_id=1, name="get_weather", arguments='{"city": "Oslo"}', tool_call_id="k1"
    )
    log.add("tool_calls", response_id="01a", tool_id=1, name="get_weather", arguments='{"city"', tool_call_id="k2")
    log.add("tool_results", id=1, response_id="01b", name="get_weather", output="rain", tool_call_id="k1")
    log.add(
        "tool_results", id=2, response_id="01b", name="get_weather", output="", tool_call_id="k2", instance_id=1,
        exception="ValueError: no such city",
    )  # fmt: skip
    log.add("tool_results_attachments", tool_result_id=1, attachment_id="map", order=0)
    response(log, "01c", None, "Alone", b"\xff", "2026-01-02T08:00:00+00:00")


def family(log):
    """A thread with parallel calls, its fork, an answer given anew within it, and a fork that was not used."""
    message(log, "s", None, "system", text("You are helpful."))
    refs = {"text_ref": [{"fragment": 2}, {"literal": " Weather in Paris and Rome?"}]}
    message(log, "u1", "s", "user", ("text", None, refs), ("attachment", None, {"attachment": {"id": "cat"}}))
    log.script("INSERT INTO part_attachments SELECT id, 'cat', 0 FROM parts WHERE type = 'attachment'")
    both = (call("k1", "get_weather", city="Paris"), call("k2", "get_weather", city="Rome"))
    message(log, "a1", "u1", "assistant", ("reasoning", "Two cities.", None), text("I look."), *both)
    failed = result("k2", "get_weather", "Error: timeout", exception="TimeoutError: timeout")
    message(log, "d1", "a1", "tool", result("k1", "get_weather", "sunny"), failed)
    message(log, "a2", "d1", "assistant", text("Sunny in Paris."))
    message(log, "u2", "a2", "user", text("Thanks!"))
    message(log, "a3", "u2", "assistant", text("Gladly."))
    message(log, "a3x", "u2", "assistant", text("You are welcome."))
    message(log, "u2b", "a2", "user", text("Search for Rome."))
    served = [
        (
            "tool_call",
            None,
            {"name": "web_search", "arguments": {"q": "Rome"}, "tool_call_id": "w", "server_executed": True},
        )
    ]
    served.append(result("w", "web_search", "rainy", server_executed=True))
    message(log, "a3b", "u2b", "assistant", ("reasoning", "", {"redacted": True}), *served, text("Rainy."))
    log.add("threads", id="t1", tip_message_hash="a3x")
    log.add("threads", id="t2", tip_message_hash="a3b", forked_from="t1")
    log.add("threads", id="t3", tip_message_hash="a2", forked_from="t2")
    turn(log, "11", "t1", "u1", "a1", "2026-10-01T08:00:00.5+00:00")
    turn(log, "12", "t1", "d1", "a2", "2026-10-01T08:00:02+00:00")
    turn(log, "13", "t1", "u2", "a3", "2026-10-01T08:01:00+00:00")
    turn(log, "14", "t2", "u2b", "a3b", "2026-10-01T09:00:00+00:00")
    turn(log, "15", "t1", "u2", "a3x", "2026-10-01T10:00:00+00:00")
    for key in ("11", "12"):
        log.add("turn_tools", turn_id=key, tool_id=1, instance_id=1)
    log.add("turn_tools", turn_id="12", tool_id=2)


def continued(log):
    """An older conversation that went on as a thread of the same id, and was written to both for a while."""
    log.add("conversations", id="c2", name="Both", model="gpt")
    response(log, "02a", "c2", "q1", "r1", "2026-02-01T08:00:00+00:00")
    response(log, "21", "c2", "q2", "r2", "2026-10-02T08:00:00+00:00")
    for key, parent, role in (("q1", None, "user"), ("r1", "q1", "assistant"), ("q2", "r1", "user")):
        message(log, key, parent, role, text(key))
    message(log, "r2", "q2", "assistant", text("r2"))
    log.add("threads", id="c2", tip_message_hash="r2")
    turn(log, "21", "c2", "q2", "r2", "2026-10-02T08:00:00+00:00")


def trouble(log):
    """Messages without a turn, a turn without a thread, broken parts, a lost parent, a thread without anything."""
    message(log, "n1", None, "user", text("Noted."))
    log.add("threads", id="notes", tip_message_hash="n1")
    message(log, "o1", None, "user", ("hologram", "?", None), text("Alone?"))
    message(log, "o2", "o1", "assistant", call("x", "look", at="it"))
    log.script("""UPDATE parts SET payload = '{"name": "look", "argu' WHERE message_hash = 'o2'""")
    turn(log, "31", None, "o1", "o2", "2026-10-03T08:00:00+00:00")
    message(log, "p1", "gone", "user", text("And then?"))
    message(log, "p2", "p1", "assistant", text("Nothing."))
    message(log, "p3", "p2", "narrator", text("Silence."))
    log.add("threads", id="torn", tip_message_hash="p3")
    turn(log, "32", "torn", "p1", "p3", "2026-10-03T09:00:00+00:00")
    log.add("threads", id="empty")


def grow(path):
    log = Database.__new__(Database)
    log.path, log.db = path, sqlite3.connect(path)
    response(log, "01d", "c1", "And Bergen?", "Rain.", "2026-11-01T08:00:00+00:00")
    message(log, "u4", "a3b", "user", text("More?"))
    message(log, "a4", "u4", "assistant", text("No more."))
    turn(log, "41", "t2", "u4", "a4", "2026-11-01T09:00:00+00:00")
    log.script("UPDATE threads SET tip_message_hash = 'a4' WHERE id = 't2'")
    message(log, "n2", "n1", "user", text("Noted too."))
    log.script("UPDATE threads SET tip_message_hash = 'n2' WHERE id = 'notes'")
    message(log, "v1", None, "user", text("Hello"))
    message(log, "v2", "v1", "assistant", text("Hello!"))
    log.add("threads", id="new", tip_message_hash="v2")
    turn(log, "42", "new", "v1", "v2", "2026-11-01T10:00:00+00:00")
    log.close()
    return {"c1", "t1", "notes", "new"}
