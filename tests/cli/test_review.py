"""`review` without a terminal, in one, and what it does to the next harvest."""

import contextlib
import io
import json
import os
import select
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lunar_tune.cli import main
from lunar_tune.cli.keys import names
from lunar_tune.files import read_jsonl

LUNAR = """
CREATE TABLE conversations(id TEXT PRIMARY KEY, started_at TEXT, model TEXT, system TEXT, tools TEXT, meta TEXT);
CREATE TABLE messages(id INTEGER PRIMARY KEY, conversation_id TEXT, position INTEGER, role TEXT, content TEXT,
  tool_calls TEXT, tool_call_id TEXT, name TEXT, model TEXT, error TEXT, created_at TEXT);
CREATE TABLE feedback(id INTEGER PRIMARY KEY, message_id INTEGER, rating REAL, note TEXT, created_at TEXT);
"""
FIRST = ("Which river runs through Vienna?", "The Danube runs through Vienna.")
TWICE = ("How high is the tower of the town hall?", "It is 98 metres high.")
LONG = "A very long answer about bridges. " * 60


def say(db, talk, *texts, start=0):
    for position, text in enumerate(texts, start):
        role = "user" if position % 2 == 0 else "assistant"
        db.execute(
            "INSERT INTO messages (conversation_id, position, role, content, created_at) VALUES (?, ?, ?, ?, ?)",
            (talk, position, role, text, f"2026-10-01T08:{position:02d}:00Z"),
        )


@pytest.fixture
def log(tmp_path):
    db = sqlite3.connect(tmp_path / "a.db")
    db.executescript(LUNAR)
    talks = {
        "rivers": (*FIRST, "No, I meant the small one.", "That is the Wien."),
        "bridges": ("Tell me of bridges \x1b[31m and e-mail bob@example.com", LONG, "Thanks!", "With pleasure."),
        "copy": TWICE,
        "copied": TWICE,
        **{f"talk{n}": (f"Is {n} a number?", f"Yes, {n} is one.") for n in range(9)},
    }
    for day, (talk, texts) in enumerate(talks.items(), 1):
        db.execute(
            "INSERT INTO conversations VALUES (?, ?, 'llama', 'Be brief.', NULL, NULL)",
            (talk, f"2026-10-{day:02d}T08:00:00Z"),
        )
        say(db, talk, *texts)
    db.commit()
    yield db
    db.close()


@pytest.fixture
def run(tmp_path, capsys, monkeypatch, log):
    def call(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        code = main(["--home", str(tmp_path / "home"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    def harvest(*arguments):
        code, out, err = call("harvest", tmp_path / "a.db", "--json", *arguments)
        assert code == 0, err
        return json.loads(out)

    call.harvest = harvest
    return call


def items(run, *flags):
    code, out, err = run("review", "--json", *flags)
    assert code == 0, err
    return {item["thread"]: item for item in json.loads(out)["conversations"]}


def rows(manifest):
    every = (
        row for split in ("train", "valid", "test") for row in read_jsonl(Path(manifest["path"]) / f"{split}.jsonl")
    )
    return {row["meta"]["thread"]: row for row in every}


def weights(row):
    return [message["weight"] for message in row["messages"] if "weight" in message]


def test_every_conversation_is_listed_with_its_turns_and_reasons(run):
    manifest = run.harvest()
    listed = items(run)
    assert len(listed) == manifest["curation"]["conversations"]["read"]
    assert [turn["turn"] for turn in listed["rivers"]["turns"]] == [1, 3]
    first, second = listed["rivers"]["turns"]
    assert (first["learnt"], first["step"], first["reason"]) == (False, "signals", "corrected by the user")
    assert (second["learnt"], second["after_next_harvest"]) == (True, True)
    assert (listed["copied"]["kept"], listed["copied"]["step"]) == (False, "dedup")
    learnt = sum(turn["learnt"] for item in listed.values() for turn in item["turns"])
    assert learnt == manifest["curation"]["turns"]["kept"]
    assert sum(len(item["turns"]) for item in listed.values()) == manifest["curation"]["turns"]["read"]
    assert "Danube" not in json.dumps(listed)


def test_filters(run):
    run.harvest()
    assert set(items(run, "--reason", "CORRECTED")) == {"rivers"}
    assert set(items(run, "--step", "dedup")) == {"copied"}
    assert set(items(run, "--dropped")) == {"rivers", "copied"}
    assert "copied" not in items(run, "--kept")
    assert set(items(run, "--search", "of BRIDGES")) == {"bridges"}


def test_decisions_hold_in_the_next_harvest_and_survive_growth_a_move_and_a_new_name(run, tmp_path, log):
    before = run.harvest()
    listed = items(run)
    code, out, _ = run("review", "--keep", f"{listed['rivers']['id']}:1", "--drop", "talk3")
    assert code == 0
    assert "from the next harvest on" in out
    assert items(run)["talk3"]["turns"][0]["after_next_harvest"] is False
    after = run.harvest()
    assert after["id"] != before["id"]
    assert weights(rows(before)["rivers"]) == [0, 1]
    assert weights(rows(after)["rivers"]) == [1, 1]
    assert set(rows(before)) - set(rows(after)) == {"talk3"}
    assert after["curation"]["turns"]["left_out"]["review"] == {"dropped by you": 1}
    assert run.harvest()["id"] == after["id"]

    say(log, "rivers", "Thanks!", "With pleasure.", start=4)
    log.execute("UPDATE conversations SET id = 'streams' WHERE id = 'rivers'")
    log.execute("UPDATE messages SET conversation_id = 'streams' WHERE conversation_id = 'rivers'")
    log.commit()
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.db").rename(tmp_path / "moved/a.db")
    code, out, _ = run("harvest", tmp_path / "moved/a.db", "--json")
    assert weights(rows(json.loads(out))["streams"]) == [1, 1, 1]
    assert "talk3" not in rows(json.loads(out))


def test_an_edit_is_learnt_in_place_of_the_answer_and_redacted(run):
    run.harvest()
    code, out, err = run("review", "--edit", "talk1:1", "--text", "-", stdin="One is; ask ann.lee@example.org.\n")
    assert code == 0, err
    row = rows(run.harvest())["talk1"]
    assert [m["content"] for m in row["messages"] if m["role"] == "assistant"] == ["One is; ask <EMAIL_1>."]
    assert weights(row) == [1]
    code, out, _ = run("review", "--decisions", "--json")
    (told,) = json.loads(out)
    assert (told["action"], told["text"], told["thread"]) == ("edit", "One is; ask <EMAIL_1>.", "talk1")


def test_names_to_leave_out_are_left_out_of_edits_too(run):
    run.harvest()
    edit = ("--set", 'curate.names=["Zebulon"]', "review", "--edit", "talk1:1", "--text", "-")
    assert run(*edit, stdin="One is, Zebulon says.\n")[0] == 0
    _, out, _ = run("review", "--decisions", "--json")
    assert "Zebulon" not in out
    assert "<" in json.loads(out)[0]["text"]


def test_names_to_leave_out_are_not_told_by_the_dataset(run, tmp_path):
    code, out, err = run("--set", 'curate.names=["Zebulon"]', "harvest", tmp_path / "a.db", "--json")
    assert code == 0, err
    assert "Zebulon" not in out
    assert not [p.name for p in Path(json.loads(out)["path"]).iterdir() if "Zebulon" in p.read_text(encoding="utf-8")]


def test_decisions_are_listed_and_taken_back(run, tmp_path):
    before = run.harvest()
    run("review", "--drop", "talk1", "--drop", "talk2:1", "--keep", "rivers:1")
    _, out, _ = run("review", "--decisions", "--json")
    listed = {one["thread"]: one for one in json.loads(out)}
    assert {name: (one["action"], one["whole"]) for name, one in listed.items()} == {
        "talk1": ("drop", True), "talk2": ("drop", False), "rivers": ("keep", False),
    }  # fmt: skip
    assert "talk2" in run("review", "--decisions")[1]
    _, out, _ = run("review", "--undo", "talk1", "--undo", "rivers:1", "--undo", listed["talk2"]["key"])
    assert out.count("taken back, 1 turn(s)") == 3
    assert "was not decided" in run("review", "--undo", "talk1")[1]
    assert "Nothing was decided" in run("review", "--decisions")[1]
    assert run.harvest()["id"] == before["id"]


def test_a_night_depends_on_the_decisions(run, tmp_path):
    from lunar_tune import workflow
    from lunar_tune.cli.output import Talk
    from lunar_tune.nightly import night_key
    from lunar_tune.settings import Settings, overlay

    run.harvest()
    base = str(Path(__file__).parents[2] / "fixtures" / "nano")
    settings = overlay(Settings(), {"train": {"base": base}}, "test", None)

    def key():
        with workflow.open_workspace(tmp_path / "home", settings, Talk()) as space:
            return night_key(space, [str(tmp_path / "a.db")], force=False)

    before = key()
    assert key() == before
    run("review", "--drop", "talk1")
    assert key() != before
    run("review", "--undo", "talk1")
    assert key() == before


def test_what_cannot_be_learnt_is_said_when_it_is_kept(run, log):
    log.execute("UPDATE messages SET content = '' WHERE conversation_id = 'talk5' AND role = 'assistant'")
    log.commit()
    run.harvest()
    _, out, _ = run("review", "--keep", "talk5")
    assert "cannot be learnt all the same: empty" in out
    assert items(run)["talk5"]["turns"][0]["after_next_harvest"] is False
    run("review", "--edit", "talk5:1", "--text", "-", stdin="Yes.")
    assert items(run)["talk5"]["turns"][0]["after_next_harvest"] is True
    assert weights(rows(run.harvest())["talk5"]) == [1]


def test_there_is_room_for_what_is_kept(run):
    budget = ("--budget", "60")
    run.harvest(*budget)
    out = [thread for thread, item in items(run, "--step", "budget").items() if thread.startswith("talk")]
    assert len(out) > 2
    assert items(run)[out[0]]["turns"][0]["reason"] == "over the token budget"
    run("review", "--keep", out[0])
    manifest = run.harvest(*budget)
    assert out[0] in rows(manifest)
    assert out[1] not in rows(manifest)
    turns = manifest["curation"]["turns"]
    assert turns["kept"] == sum(manifest["turns"][split]["learnt"] for split in ("train", "valid", "test"))


def test_forget_takes_decisions_with_it(run, tmp_path):
    run.harvest()
    run("review", "--edit", "talk1:1", "--text", "-", stdin="One truly is.")
    _, out, _ = run("forget", "talk1")
    assert "1 decision(s)" in out
    assert "truly" not in (tmp_path / "home/decisions.jsonl").read_text()


def test_wrong_targets_are_told(run):
    assert run("review", "--json")[0] == 1  # no dataset yet
    run.harvest()
    for arguments, word in (
        (("--keep", "nothing"), "'nothing' is no conversation of ds-"),
        (("--drop", "talk1:0"), "no turn of the assistant"),
        (("--edit", "talk1"), "Which turn"),
        (("--edit", "talk1:1"), "Without a terminal there is no editor"),
        ((), "need a terminal"),
    ):
        code, _, err = run("review", *arguments)
        assert (code, word in err) == (2, True), err
    code, _, err = run("review", "--edit", "talk1:1", "--text", "-", stdin="  \n")
    assert (code, "without a word" in err) == (2, True), err
    assert run("review", "--text", "-")[0] == 2
    assert "Nothing was decided" in run("review", "--decisions")[1]


def test_a_conversation_that_changed_since_the_dataset_is_listed_without_its_text(run, log, tmp_path):
    first = run.harvest()
    say(log, "talk1", "More?", "More.", start=2)
    log.commit()
    run.harvest()
    listed = json.loads(run("review", first["id"], "--json")[1])
    (gone,) = [item for item in listed["conversations"] if "missing" in item]
    assert (gone["thread"], gone["turns"], listed["newer"]) == ("talk1", [], 1)
    code, _, err = run("review", first["id"], "--drop", "talk1")
    assert (code, "no longer in the workspace" in err) == (2, True)


# -- the screen --


@pytest.fixture
def screen(run, tmp_path, monkeypatch):
    """Return (press, text): keys go in, and what is on the screen comes back."""
    from lunar_tune import workflow
    from lunar_tune.cli.options import Context
    from lunar_tune.cli.output import Talk
    from lunar_tune.cli.review_screen import Screen
    from lunar_tune.store import EpisodeStore

    run.harvest()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    settings = Context(tmp_path / "home", None, ()).settings()
    with contextlib.ExitStack() as stack:
        space = stack.enter_context(workflow.open_workspace(tmp_path / "home", settings, Talk(), locked=False))
        episodes = stack.enter_context(contextlib.closing(EpisodeStore(space.home)))
        review = workflow.Reviewing(space, episodes)
        shown = Screen(review, review.items)
        written = []
        monkeypatch.setattr(shown, "_write", lambda lines: written.append([line.plain for line in lines]))

        def press(*keys):
            for key in keys:
                shown.press(key)
            shown.draw()
            return "\n".join(written[-1])

        press.shown, press.written = shown, written
        yield press


def test_pages_fit_the_screen_and_say_where_they_are(screen):
    text = screen()
    assert text.startswith("1 of 13  ")
    assert "2026-10-01  lunar  rivers" in text
    assert ">assistant 1  - corrected by the user (signals)" in text
    assert " assistant 3  + learnt" in text
    for _ in range(13):
        screen("n")
    assert all(len(page) == 24 for page in screen.written)
    assert screen("n").count("this is the last one") == 1
    assert "12 of 13" in screen("p")
    assert "this is the first one" in screen(*"p" * 12)


def test_keys_decide_about_the_turn_pointed_at(screen):
    assert "kept by you -> learnt" in screen("k")
    assert "dropped by you -> left out" in screen("down", "d")
    assert "taken back: 1 turn(s)" in screen("u")
    assert [turn.decision.action if turn.decision else None for turn in screen.shown.item.turns] == ["keep", None]
    assert screen("D").count("dropped by you") == 2
    assert "taken back: 2 turn(s)" in screen("U")
    assert "nothing was decided here" in screen("u")
    assert "z is no key here" in screen("z")


def test_long_texts_are_clipped_until_they_are_expanded(screen):
    text = screen("n")
    assert "more characters (x shows all)" in text
    assert "<EMAIL_1>" in text
    assert "\x1b" not in text  # nothing in a log steers the terminal
    assert len(screen.shown._page().lines) < 30
    assert "of 4" in screen("x").splitlines()[2]
    assert screen(" ") != screen("b")


def test_search_filter_and_number(screen, monkeypatch):
    def typed(text):
        monkeypatch.setattr(screen.shown.keys, "read", lambda: [*text, "enter"])

    typed("dedup")
    assert "1 of 1  left out" in screen("f")
    typed("nothing such")
    assert "no conversation has" in screen("f")
    typed("")
    assert "of 13" in screen("f")
    typed("is 4 a")
    assert "talk4" in screen("/")
    typed("with pleasure")
    assert "With pleasure." in screen("/")
    typed("2")
    assert screen("g").startswith("2 of 13")
    monkeypatch.setattr(screen.shown.keys, "read", lambda: ["x", "escape"])
    assert screen("/").startswith("2 of 13")


def test_an_edit_in_the_editor(screen, monkeypatch):
    given = []
    monkeypatch.setattr(screen.shown.keys, "paused", contextlib.nullcontext)
    monkeypatch.setattr("click.edit", lambda text, **_: given.append(text) or "The Wien, bob.ross@example.net\n")
    text = screen("e")
    assert given == [FIRST[1]]
    assert "edited by you" in text
    assert "The Wien, <EMAIL_1>" in text
    assert "was:" in text
    monkeypatch.setattr("click.edit", lambda text, **_: None)
    assert "not changed" in screen("e")
    monkeypatch.setattr("click.edit", lambda text, **_: "\n")
    assert "without a word" in screen("e")


def test_help_closes_with_any_key(screen):
    assert "Decisions are kept by what was said" in screen("?")
    assert screen("q").startswith("1 of 13")


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a POSIX terminal")
@pytest.mark.parametrize(("last", "code"), [(b"q", 0), (b"\x03", 130)])
def test_in_a_real_terminal(run, tmp_path, last, code):
    import pty

    run.harvest()
    inner, outer = pty.openpty()
    home = ["--home", str(tmp_path / "home")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    child = subprocess.Popen(
        [sys.executable, "-m", "lunar_tune", *home, "review"],
        stdin=outer, stdout=outer, stderr=outer, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(outer)
    seen = wait_for(inner, b"1 of 13")
    os.write(inner, b"nn")
    seen += wait_for(inner, b"3 of 13")
    os.write(inner, b"d")
    seen += wait_for(inner, b"dropped: turn 1")
    os.write(inner, last)
    seen += wait_for(inner, b"\x1b[?1049l")
    assert child.wait(timeout=30) == code, seen
    assert seen.count(b"\x1b[?1049h") == 1
    os.close(inner)
    assert [line["action"] for line in read_jsonl(tmp_path / "home/decisions.jsonl")] == ["drop"]


def test_keys_that_come_together_are_told_apart():
    assert names("nn\x1b[A\x1bOBx\x1b[6~\r\t") == ["n", "n", "up", "down", "x", "page down", "enter", "tab"]
    assert names("\x1b") == ["escape"]


def wait_for(terminal, what):
    seen, deadline = b"", time.monotonic() + 60
    while what not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    assert what in seen, seen
    return seen
