"""Curves are where their points are, a panel shows the newest figures, and `watch` looks on without a trace."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from lunar_tune.artefacts import TrainEvent
from lunar_tune.cli import main, output
from lunar_tune.cli.curves import MARK, bounds, curve, plain
from lunar_tune.cli.panel import LOW, TALL, Course, Drawing
from lunar_tune.errors import RunMissing
from lunar_tune.train.events import METRICS, Recorder, event_line
from lunar_tune.workflow.follow import find_record, follow

STEPS = 20


def events(upto=STEPS, *, end=True, first=1):
    if first == 1:
        yield TrainEvent(kind="start", step=0, steps=STEPS, note="no end-of-turn token")
    for step in range(first, upto + 1):
        yield TrainEvent(
            kind="step", step=step, steps=STEPS, epoch=step / 10, loss=3.0 - step / 10, learning_rate=1e-4 * step,
            tokens_per_second=1234.0, memory=2_100_000_000, seconds_left=float(STEPS - step) * 60,
        )  # fmt: skip
        if step % 10 == 0:
            yield TrainEvent(kind="valid", step=step, steps=STEPS, epoch=step / 10, valid_loss=2.9 - step / 10)
    if end:
        yield TrainEvent(kind="end", step=STEPS, steps=STEPS, epoch=2.0, valid_loss=0.9, best_step=20)


def record(home, run, listed, folder="work"):
    write = Recorder(home / folder / run, lambda event: None)
    for event in listed:
        write(event)
    return write


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def drawn(course, *, width=60, height=LOW, rate=False, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=width).print(Drawing(course, height, rate=rate))
    file.seek(0)
    return file.read()


def test_a_falling_line_falls():
    rows = curve([(0, 2.0), (10, 1.0)], width=10, height=4)
    assert len(rows) == 4
    assert {len(row) for row in rows} == {10}
    first = [next(i for i, cell in enumerate(row) if cell != " ") for row in rows]
    assert first == sorted(first)
    assert rows[0][0] != " "
    assert rows[-1][-1] != " "
    assert rows[0][5:] == rows[-1][:5] == " " * 5


def test_the_highest_point_is_at_the_top_and_marks_lie_over_the_line():
    rows = curve([(0, 1.0), (10, 1.0)], [(5, 3.0)], width=11, height=3)
    assert rows[0] == " " * 5 + MARK + " " * 5
    assert rows[2].strip() == rows[2]
    assert bounds([(0, 1.0), (10, 1.0)], [(5, 3.0)], columns=22) == (1.0, 3.0)


def test_many_points_of_a_column_are_their_mean():
    assert bounds([(0, 0.0), (0.1, 4.0), (10, 2.0)], columns=2) == (2.0, 2.0)


def test_nothing_and_one_point_can_be_drawn():
    assert curve([], width=3, height=2) == ["   ", "   "]
    assert curve([(0, 1.0)], width=3, height=1)[0].strip()
    assert curve([(1, 2.0), (2, 2.0)], width=3, height=2)[1] == "   "


def test_an_unfinished_run_leaves_room_for_its_rest():
    assert curve([(0, 2.0), (10, 1.0)], width=10, height=1, last=20)[0][6:] == "    "


def test_the_panel_has_every_figure():
    course = Course("run-1")
    for event in events(15, end=False):
        course.hear(event)
    text = drawn(course, width=100)
    for figure in ("run-1", "step 15 of 20", "epoch 1.50", "loss 1.500", "valid 1.900", "rate 1.5e-03",
                   "1234 tokens/s", "2.1 GB", "5m00s left", "no end-of-turn token", MARK):  # fmt: skip
        assert figure in text
    assert any(0x2800 < ord(c) < 0x2900 for c in text)
    assert "learning rate" not in text
    assert "learning rate" in drawn(course, height=TALL, rate=True)


def test_a_terminal_without_unicode_gets_ascii():
    course = Course()
    for event in events(15, end=False):
        course.hear(event)
    text = drawn(course, height=TALL, rate=True, encoding="ascii")
    assert text.isascii()
    assert "o" in text
    assert "*" in text
    assert plain("⠁●") == "*o"


def test_steps_that_are_done_again_are_known_once():
    course = Course()
    for event in [*events(15, end=False), TrainEvent(kind="start", step=10, steps=STEPS, note="resumed")]:
        course.hear(event)
    assert [step for step, _ in course.losses] == list(range(1, 11))
    assert [step for step, _ in course.valids] == [10]
    for event in events(STEPS, first=11):
        course.hear(event)
    assert [step for step, _ in course.losses] == list(range(1, STEPS + 1))
    assert course.best == (20, pytest.approx(0.9))
    assert course.time_left() == "done"


def test_without_a_terminal_training_is_told_in_lines(monkeypatch, capsys):
    monkeypatch.setattr(output, "PLAIN_SECONDS", (0.0, 0.0))
    talk = output.Talk()
    for event in events():
        talk.training(event)
    said = capsys.readouterr().err
    assert "no end-of-turn token" in said
    assert "training: 15 of 20" in said
    assert "loss 1.500, valid 1.900" in said
    assert "\x1b" not in said


def test_on_a_terminal_there_is_one_panel(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    talk = output.Talk()
    talk.progress("tokenizing", 1, 2)
    for event in events():
        talk.training(event)
        if event.step == 3:
            talk.say("a word in between")
    talk.close()
    text = screen.getvalue()
    assert "a word in between" in text
    assert "step 20 of 20, epoch 2.00, done" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor is shown again"


def test_once_draws_a_finished_run(home, capsys):
    record(home, "run-1", events(), "runs")
    assert main(["--home", str(home), "watch", "--once"]) == 0
    out, err = capsys.readouterr()
    assert "step 20 of 20" in out
    assert "learning rate" in out
    assert err == ""


def test_the_run_written_to_last_is_shown_and_others_by_name(home, capsys):
    record(home, "run-old", events(), "runs")
    record(home, "run-new", events(5, end=False))
    record(home, "run-new.done", events())
    os.utime(home / "runs/run-old" / METRICS, (1, 1))
    assert find_record(home) == "run-new"
    assert main(["--home", str(home), "watch", "--once", "run-old"]) == 0
    assert "run-old" in capsys.readouterr().out
    assert main(["--home", str(home), "watch", "run-none"]) == 1
    err = capsys.readouterr().err
    assert "No training run 'run-none'" in err
    assert "run-new, run-old" in err


def test_an_empty_workspace_names_the_command(home, capsys):
    assert main(["--home", str(home), "watch"]) == 1
    assert "lunar-tune train" in capsys.readouterr().err
    assert not home.exists(), "looking on writes nothing"


def test_a_run_nobody_works_on_is_not_waited_for(home, capsys):
    record(home, "run-1", events(5, end=False))
    (home / "lock").write_text("999999999")
    assert main(["--home", str(home), "watch"]) == 0
    out, err = capsys.readouterr()
    assert "step 5 of 20" in out
    assert "goes on from there" in err


def test_a_run_that_another_took_the_place_of_is_not_waited_for(home):
    record(home, "run-1", events(5, end=False))
    (home / "lock").write_text(str(os.getpid()))

    def pause(seconds):
        record(home, "run-2", events(1, end=False))  # as after too little memory
        os.utime(home / "work/run-1" / METRICS, (1, 1))

    assert len(list(follow(home, "run-1", pause=pause))) == 1


def test_events_come_as_they_are_written(home):
    write = record(home, "run-1", events(5, end=False))
    (home / "lock").write_text(str(os.getpid()))
    coming = list(events(8, first=6, end=False))

    def pause(seconds):
        if coming:
            write(coming.pop(0))
        elif (home / "work").exists():
            write(TrainEvent(kind="end", step=STEPS, steps=STEPS))
            (home / "work").rename(home / "runs")  # as a finished run moves

    seen = [[event.step for event in told if event.kind == "step"] for told in follow(home, "run-1", pause=pause)]
    assert seen == [list(range(1, n + 1)) for n in (5, 6, 7, 8, 8)]


def test_json_is_one_event_a_line_and_a_rewound_record_is_told_again(home, capsys, monkeypatch):
    write = record(home, "run-1", events(5, end=False))
    (home / "lock").write_text(str(os.getpid()))
    turns = []

    def pause(seconds):
        turns.append(seconds)
        if len(turns) == 1:  # a crash, and the run goes on from step 3
            write.rewind(3)
            write(TrainEvent(kind="start", step=3, steps=STEPS, note="resumed"))
        else:
            with write.path.open("a") as handle:
                last = event_line(TrainEvent(kind="end", step=STEPS, steps=STEPS))
                handle.write(last[:-5] if len(turns) == 2 else last[-5:])  # torn, then whole

    from lunar_tune.workflow import follow as following

    monkeypatch.setattr(following.time, "sleep", pause)
    monkeypatch.setattr(following.follow, "__kwdefaults__", {"pause": pause})
    assert main(["--home", str(home), "watch", "--json"]) == 0
    out, err = capsys.readouterr()
    told = [(e["kind"], e["step"]) for e in map(json.loads, out.splitlines())]
    first = [("start", 0), *(("step", n) for n in range(1, 6))]
    assert told == [*first, ("start", 3), ("end", STEPS)]
    assert err == ""
    assert len(turns) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_the_watching_alone(home):
    record(home, "run-1", events(5, end=False))
    (home / "lock").write_text(str(os.getpid()))
    command = [sys.executable, "-m", "lunar_tune", "--home", str(home), "watch", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        for _ in range(6):
            assert process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 0
    assert err == "The training goes on.\n"


def test_a_missing_record_is_an_error_of_its_own(home):
    with pytest.raises(RunMissing):
        find_record(home, "run-1")
