"""The tree's branches on constructed logs, from the log to the printed verdict."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from lunar_tune.advise import Evidence, decide
from lunar_tune.cli import main

ROOT = Path(__file__).parents[1]
LUNAR = """
CREATE TABLE conversations(id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT, meta TEXT);
CREATE TABLE messages(id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT, content TEXT,
  tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);
CREATE TABLE feedback(id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);
"""
HALF = ("--set", "dataset.near_duplicate=1.0", "--set", "dataset.test=0.5")
NAMES = ("Ada", "Bela", "Cem", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kim", "Lea", "Max", "Nora", "Otto")
THINGS = ("lamp", "boat", "kettle", "saddle", "mirror", "basket", "ladder", "clock", "radio", "coat")
TOOL = {
    "type": "function",
    "function": {
        "name": "send_message",
        "parameters": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "text": {"type": "string"}},
            "required": ["to", "text"],
        },
    },
}
READY = Evidence(
    read=500, learnt=450, distinct=200, templates=60, repeated=100, consistency=0.95, gaps=5, faults=20, unliked=5,
    ignorant=0, rated=10, calls=0.4, prompt_tokens=600, estimated=False, test_turns=100, test_groups=40,
    smallest_gain=0.2, smallest_gain_of_groups=0.3, needed_tasks=50, needed_turns=42,
    needed_groups=10,
)  # fmt: skip


def log(path, conversations, system="Be brief.", tools=None):
    """A Lunar log of conversations, each a list of (role, text) or of (role, text, name and arguments of a call)."""
    db = sqlite3.connect(path)
    db.executescript(LUNAR)
    for number, said in enumerate(conversations):
        day = f"2026-{1 + number // 280:02d}-{1 + number // 10 % 28:02d}T08:00:00Z"
        offered = json.dumps(tools) if tools else None
        db.execute("INSERT INTO conversations VALUES (?, ?, 'm', ?, ?, NULL)", (f"c{number}", day, system, offered))
        for position, (role, text, *call) in enumerate(said):
            calls = None
            if call and role == "assistant":
                function = {"name": call[0][0], "arguments": call[0][1]}
                calls = json.dumps([{"id": f"{number}-{position}", "type": "function", "function": function}])
            answered = f"{number}-{position - 1}" if role == "tool" else None
            db.execute(
                "INSERT INTO messages (conversation_id, position, role, content, tool_calls, tool_call_id, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (f"c{number}", position, role, text, calls, answered, day),
            )
    db.commit()
    db.close()
    return path


def message(name, thing):
    return [
        ("user", f"Tell {name} that the {thing} of {name} is ready."),
        ("assistant", "", ("send_message", {"to": name, "text": f"The {thing} is ready."})),
        ("tool", '{"sent": true}'),
        ("assistant", f"{name} knows about the {thing}."),
    ]


def chat(name, thing):
    return [("user", f"Where did {name} leave the {thing} of the house?"), ("assistant", f"{name} knows the {thing}.")]


@pytest.fixture
def advised(tmp_path, capsys):
    def call(*arguments):
        code = main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def verdict_of(advised, path):
    code, out, err = advised(*HALF, "advise", "--json", path)
    assert code == 0, err
    return json.loads(out)


def test_few_tasks_come_to_collecting(advised, tmp_path):
    path = log(tmp_path / "a.db", [chat(name, "lamp") for name in NAMES])
    document = verdict_of(advised, path)
    assert document["verdict"] == "collect"
    assert document["evidence"]["distinct"] <= 15
    assert "at least 50" in document["reasons"][0]
    assert "42 would show 30%" in document["reasons"][1]


def test_calls_in_every_conversation_come_to_fine_tuning(advised, tmp_path):
    path = log(tmp_path / "a.db", [message(n, t) for n in NAMES for t in THINGS], tools=[TOOL])
    document = verdict_of(advised, path)
    assert document["verdict"] == "fine-tune", document
    assert document["evidence"]["calls"] == pytest.approx(0.5)
    assert document["evidence"]["consistency"] == 1.0
    assert document["evidence"]["rated"] == 0
    assert document["next"] == "lunar-tune nightly"


def test_chat_without_faults_comes_to_the_prompt(advised, tmp_path):
    path = log(tmp_path / "a.db", [chat(n, t) for n in NAMES for t in THINGS])
    document = verdict_of(advised, path)
    assert document["verdict"] == "prompt", document
    assert "little that fine-tuning would change" in document["reasons"][0]


def test_answers_that_know_nothing_come_to_retrieval(advised, tmp_path):
    ignorant = [[chat(n, t)[0], ("assistant", f"I don't know where {n} left it.")] for n in NAMES for t in THINGS[:5]]
    path = log(tmp_path / "a.db", ignorant + [chat(n, t) for n in NAMES for t in THINGS[5:]])
    document = verdict_of(advised, path)
    assert document["verdict"] == "retrieve", document
    assert document["evidence"]["ignorant"] > 40


def test_the_newest_dataset_is_asked_when_no_log_is_named(advised, tmp_path):
    path = log(tmp_path / "a.db", [chat(n, t) for n in NAMES for t in THINGS])
    assert advised(*HALF, "harvest", path)[0] == 0
    path.unlink()
    code, out, err = advised("advise")
    assert code == 0, err
    assert out.startswith("prompt: ")
    assert "distinct tasks to train on" in out
    assert out.strip().splitlines()[-1].startswith("next: ")


def test_nothing_to_ask(advised, tmp_path):
    code, _, err = advised("advise", tmp_path / "none.db")
    assert code == 1
    assert "No log at" in err


@pytest.mark.parametrize(
    ("changed", "verdict", "word"),
    [
        ({}, "fine-tune", "4% of the answers were calls gone wrong"),
        ({"distinct": 49}, "collect", "49 distinct tasks"),
        ({"smallest_gain": 0.31, "test_turns": 38}, "collect", "38 answers to judge on"),
        (
            {"smallest_gain": 0.28, "test_turns": 50, "needed_turns": 60},
            "collect",
            "50 answers to judge on, and at least 60",
        ),
        ({"test_groups": 9}, "collect", "from 9 groups of conversations, and the gate wants at least 10"),
        ({"test_groups": 9, "needed_groups": 5}, "fine-tune", "calls gone wrong"),
        ({"gaps": 60}, "retrieve", "facts belong where they can be looked up"),
        ({"gaps": 25, "ignorant": 30}, "retrieve", "11% of the answers"),
        ({"gaps": 60, "faults": 80}, "fine-tune", "16% of the answers were calls gone wrong"),
        ({"consistency": 0.5}, "prompt", "50% of cases"),
        ({"consistency": None, "repeated": 0}, "fine-tune", "40% of the answers are calls"),
        ({"faults": 0, "prompt_tokens": 80, "calls": 0.0}, "prompt", "little"),
        ({"faults": 0, "prompt_tokens": 2000, "calls": 0.0}, "fine-tune", "2000 tokens of prompt"),
        ({"faults": 0, "prompt_tokens": None, "calls": None}, "prompt", "little"),
        ({"read": 0, "learnt": 0, "distinct": 0}, "collect", "0 distinct"),
    ],
)
def test_each_branch_of_the_tree(changed, verdict, word):
    found, reasons = decide(replace(READY, **changed))
    assert found == verdict
    assert word in " ".join(reasons)


def test_copies_of_one_request_are_one_task(advised, tmp_path):
    path = log(tmp_path / "a.db", [[("user", "Is IT time!"), ("assistant", f"Yes, number {n}.")] for n in range(80)])
    assert advised("harvest", path)[0] == 0
    code, _, err = advised("train", "--base", ROOT / "fixtures/nano")
    assert code == 3
    assert "1 usable distinct tasks" in err
    assert "lunar-tune advise" in err
    assert "--force" in err


def test_answers_of_few_conversations_come_to_collecting(advised, tmp_path):
    said = [message(n, t) for n in NAMES for t in THINGS]
    together = [[turn for talk in said[start : start + 10] for turn in talk] for start in range(0, 150, 10)]
    path = log(tmp_path / "a.db", together, tools=[TOOL])
    document = verdict_of(advised, path)
    assert document["verdict"] == "collect", document
    assert document["evidence"]["test_turns"] > document["evidence"]["needed_turns"]
    assert document["evidence"]["test_groups"] < document["evidence"]["needed_groups"] == 10
    assert document["reasons"] == [reason for reason in document["reasons"] if "groups of conversations" in reason]
