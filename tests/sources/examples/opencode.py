"""opencode, both generations: parallel calls, files, what the app injected and what the user ran, a compaction, cut and
failed answers, a revert, forks, a sub-agent, broken cells."""

import json
import sqlite3

from log_database import Database

from examples import CANARY

SESSION = """
CREATE TABLE session (id TEXT PRIMARY KEY, project_id TEXT NOT NULL, parent_id TEXT, slug TEXT NOT NULL,
  directory TEXT NOT NULL, title TEXT NOT NULL, version TEXT NOT NULL, revert TEXT, permission TEXT,
  time_created INTEGER NOT NULL, time_updated INTEGER NOT NULL);
CREATE TABLE account (id TEXT PRIMARY KEY, email TEXT, access_token TEXT, refresh_token TEXT);
CREATE TABLE control_account (email TEXT, access_token TEXT, refresh_token TEXT);
CREATE TABLE credential (id TEXT PRIMARY KEY, value TEXT);
CREATE TABLE session_share (session_id TEXT PRIMARY KEY, id TEXT, secret TEXT, url TEXT);
"""
MESSAGES = """
CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, time_created INTEGER NOT NULL,
  time_updated INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT NOT NULL, session_id TEXT NOT NULL,
  time_created INTEGER NOT NULL, time_updated INTEGER NOT NULL, data TEXT NOT NULL);
CREATE INDEX message_session_time_created_id_idx ON message (session_id, time_created, id);
CREATE INDEX part_message_id_id_idx ON part (message_id, id);
CREATE INDEX part_session_idx ON part (session_id);
"""
NEWER = """
CREATE TABLE session_message (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, type TEXT NOT NULL, seq INTEGER NOT NULL,
  time_created INTEGER NOT NULL, time_updated INTEGER NOT NULL, data TEXT NOT NULL);
"""
RAN = "The following tool was executed by the user"  # the app's own words
START = 1790000000000  # 2026-09-21T14:13:20Z


def text(words, **more):
    return {"type": "text", "text": words} | more


def tool(key, name, given, **state):
    return {"type": "tool", "callID": key, "tool": name, "state": {"input": given} | state}


def done(key, name, given, output, **more):
    times = {"time": {"start": START, "end": START + 900}}
    return tool(key, name, given, status="completed", output=output, **times | more)


class Log(Database):
    """Sessions start a minute apart; messages follow each other by a second."""

    def __init__(self, path, schema=SESSION + MESSAGES + NEWER):
        super().__init__(path, schema)
        self.count = self.parts = self.sessions = 0
        for table in ("account", "control_account"):
            self.add(table, email=CANARY, access_token=CANARY, refresh_token=CANARY)
        self.add("credential", id="1", value=CANARY)
        self.add("session_share", session_id="ses_1", id="1", secret=CANARY, url=CANARY)

    def session(self, key="ses_1", **values):
        self.sessions += 1
        at = START + 60000 * self.sessions
        told = {"project_id": "p", "slug": "x", "directory": "/", "title": "t", "version": "1.18.34"}
        self.add("session", **{"id": key, "time_created": at, "time_updated": at} | told | values)

    def say(self, role, *parts, session="ses_1", at=None, **data):
        self.count += 1
        key, at = f"msg_{self.count:03}", at or START + 1000 * self.count
        body = {"role": role, "time": {"created": at}} | data
        if role == "assistant":
            ends = {"completed": at + 500} if "finish" in data or "error" in data else {}
            body = {"modelID": "kimi", "providerID": "moonshot", "time": {"created": at, **ends}} | body
            body["time"] = {"created": at, **ends}
        self.add("message", id=key, session_id=session, time_created=at, time_updated=at, data=json.dumps(body))
        for part in parts:
            self.part(key, part, session)
        return key

    def part(self, message, part, session="ses_1"):
        self.parts += 1
        data = part if isinstance(part, str) else json.dumps(part)
        key = f"prt_{self.parts:03}"
        at = START + 1000 * self.count
        self.add("part", id=key, message_id=message, session_id=session, time_created=at, time_updated=at, data=data)
        return key

    def newer(self, kind, session="ses_1", **data):
        self.count += 1
        at = START + 1000 * self.count
        self.add(
            "session_message", id=f"msg_{self.count:03}", session_id=session, type=kind, seq=self.count,
            time_created=at, time_updated=at, data=json.dumps({"time": {"created": at, "completed": at}} | data),
        )  # fmt: skip


def build(folder):
    log = Log(folder / "opencode.db")
    _talk(log)
    _app(log)
    _reverted(log)
    _forked(log)
    _newer(log)
    _broken(log)
    return log.close()


def _talk(log):
    log.session("ses_talk")
    picture = {"mime": "image/png", "filename": "plot.png", "url": "data:image/png;base64,AAAA"}
    asked = log.say("user", text("What is in a.py?"), session="ses_talk", system="Be brief.", tools={"task": False})
    log.say(
        "assistant",
        {"type": "step-start", "snapshot": "x"},
        {"type": "reasoning", "text": "Read it.", "time": {"start": START}},
        text("Let me look."),
        done("c1", "read", {"path": "a.py"}, "print(1)", attachments=[picture]),
        tool("c2", "bash", {"command": "ls /x"}, status="error", error="no such folder", time={"end": START + 950}),
        {"type": "step-finish", "reason": "tool-calls", "cost": 0, "tokens": {}},
        {"type": "patch", "hash": "x", "files": []},
        session="ses_talk",
        parentID=asked,
        finish="tool-calls",
    )
    log.say("assistant", text("It prints 1."), session="ses_talk", parentID=asked, finish="stop")
    log.say("user", text("And b.py?"), session="ses_talk")
    log.say(
        "assistant",
        text("I was go"),
        session="ses_talk",
        error={"name": "MessageAbortedError", "data": {"message": "Aborted"}},
    )
    log.say("user", text("Go on"), session="ses_talk")
    log.say("assistant", session="ses_talk", error={"name": "APIError", "data": {"message": "overloaded"}})
    log.say("assistant", text("A very long"), session="ses_talk", finish="length")
    log.say("assistant", text("Half"), tool("c3", "bash", {}, status="pending", raw='{"comm'), session="ses_talk")


def _app(log):
    """What the app wrote into messages, a compaction, what the user ran."""
    log.session("ses_app")
    log.say(
        "user",
        text("Explain @a.py and the picture"),
        text("Called the Read tool with the following input: a.py", synthetic=True),
        text("print(1)", synthetic=True),
        {"type": "file", "mime": "text/plain", "filename": "a.py", "url": "file:///a.py"},
        {"type": "file", "mime": "image/png", "filename": "b.png", "url": "data:x"},
        text("<system-reminder>Plan mode</system-reminder>", synthetic=True),
        text("a note to self", ignored=True),
        session="ses_app",
    )
    log.say("assistant", text("It prints 1; the picture shows a cat."), session="ses_app", finish="stop")
    log.say("user", {"type": "compaction", "auto": True}, session="ses_app")
    log.say("assistant", text("Summary: a.py prints 1."), session="ses_app", summary=True, finish="stop")
    log.say("user", text("Continue if you have next steps", synthetic=True), session="ses_app")
    log.say("assistant", text("Nothing left to do."), session="ses_app", finish="stop")
    ran = log.say("user", text(RAN, synthetic=True), session="ses_app")
    log.say(
        "assistant", done("c1", "bash", {"command": "ls"}, "a.py\n"), session="ses_app", parentID=ran, finish="stop"
    )
    log.say("user", text("What is there?"), session="ses_app")
    log.say("assistant", text("a.py"), session="ses_app", finish="stop")


def _reverted(log):
    log.session("ses_back")
    log.say("user", text("Name a colour"), session="ses_back")
    log.say("assistant", text("Red."), session="ses_back", finish="stop")
    back = log.say("user", text("Another"), session="ses_back")
    log.say("assistant", text("Red again."), session="ses_back", finish="stop")
    log.script(f"""UPDATE session SET revert = '{{"messageID": "{back}", "snapshot": "x"}}' WHERE id = 'ses_back'""")


def _forked(log):
    """A session, its copy, the copy's copy that the log names, and a sub-agent of the first."""
    log.script("ALTER TABLE session ADD COLUMN fork_session_id TEXT")
    for key, values in (
        ("ses_root", {}),
        ("ses_copy", {"title": "t (fork #1)"}),
        ("ses_named", {"fork_session_id": "ses_copy"}),
        ("ses_sub", {"parent_id": "ses_root"}),
    ):
        log.session(key, **values)
    at = START + 500000
    for session, words in (("ses_root", "tea"), ("ses_copy", "coffee"), ("ses_named", "milk"), ("ses_sub", "water")):
        asked = "Fetch water" if session == "ses_sub" else "What shall I drink?"
        log.say("user", text(asked), session=session, at=at if session != "ses_named" else at + 1)
        log.say("assistant", text(f"Have some {words}."), session=session, at=at + 10, finish="stop")


def _newer(log):
    log.session("ses_new")
    log.newer("model-switched", session="ses_new", model={"id": "kimi"})
    log.newer("user", session="ses_new", text="Hi", files=[{"mime": "image/png", "name": "a.png", "uri": "data:x"}])
    log.newer(
        "assistant",
        session="ses_new",
        model={"id": "kimi", "providerID": "moonshot"},
        finish="tool-calls",
        content=[
            {"type": "reasoning", "text": "Hm."},
            {"type": "text", "text": "Looking."},
            {"type": "tool", "id": "c1", "name": "read", "time": {"created": 1, "completed": START},
             "state": {"status": "completed", "input": {"p": 1}, "content": [{"type": "text", "text": "x"}]}},
            {"type": "tool", "id": "c2", "name": "bash", "time": {},
             "state": {"status": "error", "input": {}, "error": {"type": "unknown", "message": "denied"}}},
        ],
    )  # fmt: skip
    log.newer("synthetic", session="ses_new", text="Go on")
    log.newer("compaction", session="ses_new", status="completed", summary="They said hi", recent="")
    log.newer("shell", session="ses_new", command="ls", output={"output": "a.py\n"})
    log.newer("assistant", session="ses_new", model={"id": "kimi"}, content=[{"type": "text", "text": "I"}])
    log.newer("idle", session="ses_new", outcome="interrupted")


def _broken(log):
    log.session("ses_broken", revert='{"messageID')
    odd = log.say("user", text("Hi"), session="ses_broken")
    log.say("assistant", text(7), '{"type": "text", "te', {"type": "hologram"}, session="ses_broken", finish="stop")
    log.say("wizard", text("Abracadabra"), session="ses_broken")
    log.say("user", text("Who reads this?"), session="ses_gone")
    log.session("ses_empty")
    log.script(f"UPDATE message SET data = '{{' WHERE id = '{odd}'")


def grow(path):
    db = sqlite3.connect(path)
    at = START + 900000
    said = json.dumps({"role": "user", "time": {"created": at}})
    db.execute("INSERT INTO message VALUES ('msg_900', 'ses_talk', ?, ?, ?)", (at, at, said))
    db.execute("INSERT INTO part VALUES ('prt_900', 'msg_900', 'ses_talk', ?, ?, ?)", (at, at, json.dumps(text("So?"))))
    finished = json.dumps(text("Nothing is left to do."))
    edited = "WHERE session_id = 'ses_app' AND data LIKE '%Nothing left%'"
    db.execute(f"UPDATE part SET data = ?, time_updated = ? {edited}", (finished, at))
    db.execute("UPDATE session SET revert = NULL WHERE id = 'ses_back'")
    db.execute("INSERT INTO session SELECT 'ses_fork', project_id, parent_id, slug, directory, title, version, NULL,"
               " permission, ?, ?, NULL FROM session WHERE id = 'ses_root'", (at, at))  # fmt: skip
    db.execute("INSERT INTO message SELECT 'msg_901', 'ses_fork', time_created, ?, data FROM message"
               " WHERE session_id = 'ses_root' ORDER BY id LIMIT 1", (at,))  # fmt: skip
    db.execute("INSERT INTO part SELECT 'prt_901', 'msg_901', 'ses_fork', ?, ?, data FROM part"
               " WHERE session_id = 'ses_root' ORDER BY id LIMIT 1", (at, at))  # fmt: skip
    idle = json.dumps({"text": "Still there?", "time": {"created": at}})
    db.execute("INSERT INTO session_message VALUES ('msg_902', 'ses_new', 'user', 902, ?, ?, ?)", (at, at, idle))
    db.commit()
    db.close()
    return {"ses_talk", "ses_app", "ses_back", "ses_fork", "ses_new"}
