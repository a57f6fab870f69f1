"""A large Lunar log for bench_curate: conversations of an agent with tools, about 3 KB of messages each.

Sentences come from templates with values and from a vocabulary whose words are as unequally frequent as those of a
language; the same number of conversations is the same log. Of 100, about two are copies, two are the same task in other
words, one is a fork; some hold an address or a key, are corrected, thanked for, rated, or met an error.
"""

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

START = datetime(2025, 10, 1, tzinfo=UTC)
SYLLABLES = [
    "ba",
    "be",
    "bi",
    "bo",
    "da",
    "de",
    "do",
    "fa",
    "fe",
    "ga",
    "go",
    "ha",
    "he",
    "ka",
    "ke",
    "ko",
    "la",
    "le",
    "li",
    "lo",
    "ma",
    "me",
    "mi",
    "mo",
    "na",
    "ne",
    "no",
    "pa",
    "pe",
    "po",
    "ra",
    "re",
    "ri",
    "ro",
    "sa",
]
ENDINGS = ["n", "r", "s", "t", "l", "m", "d", "ck", "st", "nd"]
CITIES = [
    "Oslo",
    "Bergen",
    "Kyoto",
    "Lima",
    "Porto",
    "Ghent",
    "Turin",
    "Malmo",
    "Cork",
    "Graz",
    "Basel",
    "Leeds",
    "Riga",
    "Tartu",
    "Split",
    "Varna",
    "Bruges",
]
SYSTEM = (
    "You are Mira, the assistant of a small household. Use a tool where one fits the request and copy values exactly. "
    "Say what you did in plain words, name what is missing, and never invent an order, a date or an address. "
) * 2


def tool(name: str, **parameters: str) -> dict[str, object]:
    shape = {key: {"type": kind} for key, kind in parameters.items()}
    body = {"type": "object", "properties": shape, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": f"{name}, as asked", "parameters": body}}


TOOLS = [
    tool("find_order", number="string"),
    tool("get_weather", city="string", day="string"),
    tool("save_note", title="string", text="string"),
    tool("search_notes", query="string"),
    tool("book_table", place="string", people="integer", time="string"),
    tool("send_mail", to="string", text="string"),
    tool("convert", amount="number", unit="string"),
    tool("plan_trip", start="string", end="string", day="string"),
]
REQUESTS = {
    "find_order": "Where is my order {number}? It should have come {day} and the shop says nothing about {words}.",
    "get_weather": "What will the weather in {city} be like {day}? I have to carry {words}.",
    "save_note": "Please keep a note called {title}: {sentence}",
    "search_notes": "Did I write anything down about {words}, perhaps last {day}?",
    "book_table": "Book a table at {place} for {people} at {time}, and ask whether they have {words}.",
    "send_mail": "Write to {name} that {sentence}",
    "convert": "How much is {amount} {unit} in the old measure? It is for {words}.",
    "plan_trip": "I want to go from {city} to {end} on {day}; find me a way that avoids {words}.",
}
FOLLOW_UPS = (
    "Thanks!",
    "Thank you, that helps.",
    "No, that is wrong.",
    "And what about {words}?",
    "Tell me more on {words}.",
)


class Writer:
    """Makes texts; `chance` is seeded by the conversation, the vocabulary is that of the log."""

    def __init__(self, size: int = 30_000) -> None:
        chance = random.Random(7)
        known: dict[str, None] = {}
        while len(known) < size:
            known["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) + chance.choice(ENDINGS)] = None
        self.known = list(known)
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(size)))

    def words(self, chance: random.Random, number: int) -> str:
        return " ".join(chance.choices(self.known, cum_weights=self.weights, k=number))

    def prose(self, chance: random.Random, size: int) -> str:
        said, length = [], 0
        while length < size:
            sentence = self.words(chance, chance.randint(6, 16)).capitalize() + "."
            said.append(sentence)
            length += len(sentence) + 1
        return " ".join(said)

    def values(self, chance: random.Random) -> dict[str, object]:
        return {
            "number": f"{chance.choice('ABCDEFGH')}{chance.choice('KLMNP')}-{chance.randrange(10**6):06}",
            "city": chance.choice(CITIES), "end": chance.choice(CITIES),
            "day": (START + timedelta(days=chance.randrange(400))).strftime("%A %d %B"),
            "words": self.words(chance, 4), "title": self.words(chance, 2), "sentence": self.prose(chance, 90),
            "place": self.words(chance, 2).title(), "people": chance.randint(2, 9),
            "time": f"{chance.randint(17, 21)}:30",
            "name": self.words(chance, 1).title(), "to": f"{self.words(chance, 1)}@{self.words(chance, 1)}.example",
            "text": self.prose(chance, 60), "amount": chance.randint(1, 999),
            "unit": chance.choice(["miles", "pounds"]),
            "query": self.words(chance, 3), "start": chance.choice(CITIES),
        }  # fmt: skip


def conversation(writer: Writer, chance: random.Random) -> list[dict[str, object]]:
    """Return the messages of a conversation of one to three tasks."""
    said: list[dict[str, object]] = []
    for task in range(chance.choice((1, 1, 2, 2, 3))):
        name, values = chance.choice(list(REQUESTS)), writer.values(chance)
        asked = REQUESTS[name].format_map(values)
        if chance.random() < 0.05:
            asked += f" My address is {values['to']}, my key sk-proj-{chance.getrandbits(160):040x}."
        function = next(t["function"] for t in TOOLS if t["function"]["name"] == name)
        arguments = {key: values[key] for key in function["parameters"]["properties"]}
        call = [{"id": f"c{task}", "name": name, "arguments": arguments}]
        result = {"ok": chance.random() > 0.03, "ref": chance.randrange(10**8), "note": writer.prose(chance, 350)}
        said.append({"role": "user", "content": asked})
        said.append({"role": "assistant", "content": "", "tool_calls": json.dumps(call)})
        said.append({"role": "tool", "content": json.dumps(result), "tool_call_id": f"c{task}", "name": name})
        said.append({"role": "assistant", "content": f"Done, as you asked. {writer.prose(chance, 700)}"})
        if chance.random() < 0.6:
            said.append({"role": "user", "content": chance.choice(FOLLOW_UPS).format_map(values)})
            said.append({"role": "assistant", "content": f"Of course. {writer.prose(chance, 500)}"})
    return said


def reworded(said: list[dict[str, object]], chance: random.Random) -> list[dict[str, object]]:
    """Return the same conversation with requests and answers in slightly other words."""
    polite = chance.choice(("Could you help me? {}", "Hello Mira, {}", "{} Thank you very much.", "Quickly please: {}"))
    changed = []
    for message in said:
        text = str(message["content"])
        if message["role"] == "user":
            text = polite.format(text.lower() if chance.random() < 0.5 else text)
        elif message["role"] == "assistant" and text:
            sentences = text.split(". ")
            text = ". ".join(sentences[:1] + chance.sample(sentences[1:], len(sentences) - 1))
        changed.append({**message, "content": text})
    return changed


def write(path: Path, number: int) -> int:
    """Write a log of `number` conversations; return the bytes of their messages."""
    db = sqlite3.connect(path)
    db.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        "CREATE TABLE conversations (id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT,"
        " meta TEXT);"
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT,"
        " content TEXT,"
        " tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);"
        "CREATE INDEX messages_by_conversation ON messages (conversation_id, position);"
        "CREATE TABLE feedback (id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);"
    )
    writer, size, tools = Writer(), 0, json.dumps(TOOLS)
    earlier: list[list[dict[str, object]]] = []
    for index in range(number):
        chance = random.Random(index)
        kind, said = chance.random(), conversation(writer, chance)
        if earlier and kind < 0.05:
            said = chance.choice(earlier)
            said = (
                said
                if kind < 0.02
                else reworded(said, chance)
                if kind < 0.04
                else said[:2] + conversation(writer, chance)
            )
        elif len(earlier) < 500 or kind < 0.1:
            earlier = [*earlier[-499:], said]
        key, start = f"conv-{index:06}", START + timedelta(minutes=10 * index)
        moment = start.strftime("%Y-%m-%dT%H:%M:%SZ")
        db.execute("INSERT INTO conversations VALUES (?, ?, 'llama3.2:3b', ?, ?, NULL)", (key, moment, SYSTEM, tools))
        rows = [
            (key, place, m["role"], m["content"], m.get("tool_calls"), m.get("tool_call_id"), m.get("name"), moment)
            for place, m in enumerate(said)
        ]
        db.executemany(
            "INSERT INTO messages (conversation_id, position, role, content, tool_calls, tool_call_id, name,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        size += sum(len(str(row[3])) + len(str(row[4] or "")) for row in rows)
    db.commit()
    db.close()
    return size
