"""The Agents SDK's sessions, plain and of `AdvancedSQLiteSession`, in one file: server tools, branches, cut turns."""

import json
import sqlite3

from examples import CANARY

SESSIONS = """
CREATE TABLE {0} (session_id TEXT PRIMARY KEY, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE {1} (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, message_data TEXT NOT NULL,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (session_id) REFERENCES {0} (session_id) ON DELETE CASCADE);
CREATE INDEX idx_{1}_session_id ON {1} (session_id, id);
"""
BRANCHES = """
CREATE TABLE message_structure (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
  message_id INTEGER NOT NULL, branch_id TEXT NOT NULL DEFAULT 'main', message_type TEXT NOT NULL,
  sequence_number INTEGER NOT NULL, user_turn_number INTEGER, branch_turn_number INTEGER, tool_name TEXT,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (session_id) REFERENCES agent_sessions(session_id) ON DELETE CASCADE,
  FOREIGN KEY (message_id) REFERENCES agent_messages(id) ON DELETE CASCADE);
CREATE INDEX idx_structure_session_seq ON message_structure (session_id, sequence_number);
CREATE TABLE turn_usage (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
  branch_id TEXT NOT NULL DEFAULT 'main', user_turn_number INTEGER NOT NULL, total_tokens INTEGER DEFAULT 0);
"""
USUAL = ("agent_sessions", "agent_messages")


class Log:
    """A database of sessions under construction."""

    def __init__(self, path):
        self.path, self.db = path, sqlite3.connect(path)
        if not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self.db.executescript(SESSIONS.format(*USUAL))

    def branches(self):
        self.db.executescript(BRANCHES)

    def add(self, session, item, at="2026-11-20 18:18:27", tables=USUAL):
        """Add an item, as an object or as the cell itself, and return its id."""
        data = item if isinstance(item, (str, bytes)) else json.dumps(item)
        self.db.execute(f"INSERT OR IGNORE INTO {tables[0]} VALUES (?, ?, ?)", (session, at, at))
        self.db.execute(f"UPDATE {tables[0]} SET updated_at = ? WHERE session_id = ?", (at, session))
        row = (session, data, at)
        return self.db.execute(
            f"INSERT INTO {tables[1]} (session_id, message_data, created_at) VALUES (?, ?, ?)", row
        ).lastrowid

    def place(self, session, branch, *messages):
        """Put messages at the end of a branch."""
        for message in messages:
            self.db.execute(
                "INSERT INTO message_structure (session_id, message_id, branch_id, message_type, sequence_number)"
                " SELECT ?, ?, ?, 'x', count(*) + 1 FROM message_structure",
                (session, message, branch),
            )

    def close(self):
        self.db.commit()
        self.db.close()
        return self.path


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": content, **more}


def reasoning(*summary):
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": "r", "summary": parts, "encrypted_content": CANARY}


def call(key, name="get_weather", arguments='{"city":"Paris"}', **more):
    return {"type": "function_call", "call_id": key, "name": name, "arguments": arguments, "id": f"fc_{key}", **more}


def output(key, value):
    return {"type": "function_call_output", "call_id": key, "output": value}


def build(folder):
    log = Log(folder / "conversations.db")
    log.branches()
    plain(log)
    server_tools(log)
    trouble(log)
    advanced(log)
    log.db.executescript(SESSIONS.format("chats", "chat_lines"))
    log.add("weather", user("Another agent's table."), "2026-11-19 08:00:00", ("chats", "chat_lines"))
    log.add("weather", answer("With a session of the same id."), "2026-11-19 08:00:02", ("chats", "chat_lines"))
    return log.close()


def plain(log):
    """Parallel calls with reasoning, a picture, a handoff to another agent."""
    look = [
        {"type": "input_text", "text": "And where is this?"},
        {"type": "input_image", "image_url": f"data:{CANARY}"},
    ]
    for second, item in enumerate(
        (
            {"role": "developer", "content": "Be brief."},
            user("Weather in Paris and Rome?"),
            reasoning("Two cities.", "Two calls."),
            call("c1"),
            call("c2", arguments='{"city":"Rome"}'),
            output("c1", "sunny"),
            output("c2", [{"type": "input_text", "text": "rain"}]),
            answer("Sunny in Paris, rain in Rome.", provider_data={"model": "gpt-x"}),
            user(look),
            answer("I ask the guide."),
            call("c3", "transfer_to_guide", "{}"),
            output("c3", '{"assistant": "guide"}'),
            answer("Bonn. 🌧"),
        )
    ):
        log.add("weather", item, f"2026-11-20 18:00:{second:02}")


def server_tools(log):
    """What the provider runs itself, with and without a stored result, and a call that the user refused."""
    offered = {"type": "function", "name": "roll", "description": "Roll dice.", "parameters": {"type": "object"}}
    hosted = {"type": "mcp", "server_label": "dice", "server_url": "https://x", "authorization": CANARY}
    mcp = {"type": "mcp_call", "id": "mcp_1", "server_label": "dice", "name": "roll", "arguments": '{"n":2}'}
    asked = {"type": "mcp_approval_request", "id": "a1", "server_label": "dice", "name": "burn", "arguments": "{}"}
    code = {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "container_id": "cntr_1"}
    shot = {"type": "computer_screenshot", "image_url": f"data:{CANARY}"}
    for second, item in enumerate(
        (
            user("Roll the dice."),
            {"type": "tool_search_call", "call_id": "s1", "arguments": {"query": "dice"}},
            {"type": "tool_search_output", "call_id": "s1", "tools": [offered, hosted]},
            {**mcp, "output": "7"},
            {**mcp, "id": "mcp_2", "output": None, "error": "no dice", "status": "failed"},
            asked,
            {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": False, "reason": "Never!"},
            {**code, "outputs": [{"type": "logs", "logs": "2"}]},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "dice"}},
            answer("Seven."),
            user("Click it."),
            {"type": "computer_call", "call_id": "k1", "action": {"type": "click", "x": 1}},
            {"type": "computer_call_output", "call_id": "k1", "output": shot},
            {"type": "shell_call", "call_id": "k2", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "k2", "output": [{"stdout": "a", "stderr": ""}]},
            {"type": "image_generation_call", "id": "ig_1", "revised_prompt": "A die", "result": CANARY},
            answer("Done."),
        )
    ):
        log.add("dice", item, f"2026-11-20 18:10:{second:02}")


def trouble(log):
    """Failed and refused tools, an answer cut off, thought that led nowhere, compaction, broken and encrypted rows."""
    for second, item in enumerate(
        (
            {"type": "compaction", "encrypted_content": CANARY},
            user("Go"),
            call("c1", arguments='{"city":'),
            output("c1", "An error occurred while running the tool. Please try again. Error: boom"),
            call("c2"),
            output("c2", "Tool execution was not approved."),
            answer("It is half", status="incomplete"),
            '{"type": "message", "role": "assist',
            {"type": "item_reference", "id": "m"},
            user("And?"),
            reasoning("Hm."),
        )
    ):
        log.add("trouble", item, f"2026-11-20 18:20:{second:02}")
    for _ in range(2):
        log.add("locked", {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": CANARY}, "2026-11-20 18:21:00")
    log.db.execute("INSERT INTO agent_sessions VALUES ('empty', '2026-11-20 18:22:00', '2026-11-20 18:22:00')")


def advanced(log):
    """Branches: one told anew, one with another question, one that nobody went on from."""
    at = "2026-11-20 18:30:00"
    first = [log.add("tale", item, at) for item in (user("Tell me a tale."), answer("Once upon a time."))]
    second = [log.add("tale", item, at) for item in (user("Go on."), answer("A king lived."))]
    log.place("tale", "main", *first, *second)
    anew = [log.add("tale", item, "2026-11-20 18:31:00") for item in (user("Go on."), answer("A queen lived."))]
    log.place("tale", "branch_from_turn_2", *first, *anew)
    other = [log.add("tale", item, "2026-11-20 18:32:00") for item in (user("Stop."), answer("The end."))]
    log.place("tale", "other", *first, *other)
    log.place("tale", "stub", *first)
    log.add("tale", user("In no branch."), "2026-11-20 18:33:00")
    log.place("tale", "other", 999)


def grow(path):
    log = Log(path)
    log.add("weather", user("Thanks."), "2026-11-21 09:00:00")
    log.db.execute(
        "DELETE FROM agent_messages WHERE session_id = 'dice' AND id = (SELECT max(id) FROM agent_messages"
        " WHERE session_id = 'dice')"
    )  # `pop_item`
    more = [log.add("tale", item, "2026-11-21 09:01:00") for item in (user("More!"), answer("And then."))]
    log.place("tale", "other", *more)
    log.add("new", user("Hello"), "2026-11-21 09:02:00")
    log.add("weather", user("Bye."), "2026-11-21 09:03:00", ("chats", "chat_lines"))
    log.close()
    return {"weather", "dice", "tale", "new", "chat_lines/weather"}
