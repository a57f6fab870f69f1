"""Lunar's own schema: calls in a column and in the text, ratings, a fork, failed and cut turns, broken cells."""

import json
import sqlite3

from log_database import LunarLog

CREDENTIALS = False
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def build(folder):
    log = LunarLog(folder / "lunar.db")
    log.conversation("a", system="You are Lunar.", tools=json.dumps(TOOLS), started_at="2026-10-01T08:00:00Z")
    log.say("a", "user", "Is it raining in Bonn?", created_at="2026-10-01T08:00:01Z")
    call = [{"id": "c1", "name": "get_weather", "arguments": '{"city": "Bonn"}'}]
    log.say("a", "assistant", "Let me look.", tool_calls=json.dumps(call), model="llama3.2:3b")
    log.say("a", "tool", '{"sky": "rain"}', tool_call_id="c1", name="get_weather")
    answer = log.say("a", "assistant", "Yes, it is.", created_at="2026-10-01T08:00:09Z", model="llama3.2:3b")
    log.add("feedback", message_id=answer, rating=1, note="quick")
    log.conversation("b", system="You are Lunar.", tools=json.dumps(TOOLS), started_at="2026-10-01T09:00:00Z")
    log.say("b", "user", "And in Rome and Oslo?")
    tag = '<tool_call>{{"name": "get_weather", "args": {{"city": "{}"}}}}</tool_call>'
    log.say("b", "assistant", "Two cities. " + tag.format("Rome") + tag.format("Oslo"))
    log.say("b", "tool", '{"sky": "sun"}')
    log.say("b", "tool", '{"error": "no such city"}')
    log.say("b", "assistant", "Rome is sunny; I could not", error="length")
    log.conversation("c", meta=json.dumps({"parent": "a"}), started_at="2026-10-01T10:00:00Z")
    log.say("c", "user", "Hello")
    log.say("c", "assistant", "", error="connection refused")
    log.conversation("d", started_at="yesterday", tools="[")
    log.say("d", "narrator", "Once upon a time")
    log.say("d", "user", "Hi")
    log.say("d", "assistant", "Hi!", tool_calls="[{")
    log.conversation("empty", started_at="2026-10-02T08:00:00Z")
    return log.close()


def grow(path):
    db = sqlite3.connect(path)
    rows = (("a", 4, "user", "Thank you"), ("e", 0, "user", "Good morning"), ("e", 1, "assistant", "Good morning!"))
    db.executemany("INSERT INTO messages (conversation_id, position, role, content) VALUES (?, ?, ?, ?)", rows)
    db.execute("INSERT INTO feedback (message_id, rating) SELECT max(id), -1 FROM messages WHERE conversation_id = 'b'")
    db.execute("UPDATE conversations SET system = 'Be brief.' WHERE id = 'c'")
    db.commit()
    db.close()
    return {"a", "b", "c", "e"}
