"""An agent that commits 200 times a second while its log is harvested. `python tests/bench/bench_live.py`.

The writer adds a question and its answer in one transaction and notes how long that took; it has no busy timeout, so
that a lock it meets is an error. Printed: its commits alone and during harvests, and whether every harvest saw whole
transactions of one moment.
"""

import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harvest_logs import write

RATE = 200  # commits a second
SECONDS = 8.0


def writer(path: str, seconds: str) -> None:
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    db.execute("PRAGMA synchronous = NORMAL")
    took, failed, number = [], 0, 0
    end = time.perf_counter() + float(seconds)
    while (now := time.perf_counter()) < end:
        number += 1
        try:
            db.execute("BEGIN IMMEDIATE")
            for position, role in enumerate(("user", "assistant")):
                db.execute(
                    "INSERT INTO messages (conversation_id, position, role, content) VALUES (?, ?, ?, ?)",
                    (f"live-{number}", position, role, f"said {number}"),
                )
            db.execute("COMMIT")
        except sqlite3.OperationalError:
            failed += 1
            if db.in_transaction:
                db.execute("ROLLBACK")
        took.append(time.perf_counter() - now)
        time.sleep(max(0.0, 1 / RATE - (time.perf_counter() - now)))
    db.close()
    print(json.dumps({"took": took, "failed": failed}))


def harvests(path: Path, seconds: float) -> tuple[int, int, int]:
    """Read the log again and again; return how often, how often it was refused, and how many were torn."""
    from lunar_tune.errors import SourceLocked
    from lunar_tune.settings import HarvestSettings
    from lunar_tune.sources.lunar.source import LunarSource
    from lunar_tune.sources.read import open_logs, read_logs

    done = refused = torn = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            with open_logs([path], [LunarSource()], HarvestSettings()) as logs:
                found = list(read_logs(logs, HarvestSettings(), lambda verdict: None))
        except SourceLocked:
            refused += 1
            continue
        live = [e for e in found if e.thread.startswith("live-")]
        numbers = sorted(int(e.thread[5:]) for e in live)
        whole = all(len(e.messages) == 2 for e in live) and numbers == list(range(1, len(numbers) + 1))
        done, torn = done + 1, torn + (not whole)
    return done, refused, torn


def told(what: str, took: list[float], failed: int) -> str:
    ordered = sorted(1000 * one for one in took)
    most = ordered[int(0.999 * len(ordered))]
    return (
        f"{what}: {len(took)} commits, median {statistics.median(ordered):.2f} ms, 99.9 % {most:.2f} ms,"
        f" longest {ordered[-1]:.2f} ms, {failed} failed"
    )


def main() -> None:
    for mode, count in (("wal", 20_000), ("delete", 400)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lunar.db"
            write("lunar", path, 0, count)
            with sqlite3.connect(path) as db:
                db.execute(f"PRAGMA journal_mode = {mode}")
            db.close()
            print(f"{mode}: {path.stat().st_size / 1e6:.0f} MB, {count:,} conversations")
            for what in ("alone", "harvested"):
                command = [sys.executable, __file__, "--write", str(path), str(SECONDS)]
                with sqlite3.connect(path) as db:
                    db.execute("DELETE FROM messages WHERE conversation_id LIKE 'live-%'")
                db.close()
                child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                time.sleep(0.5)
                done, refused, torn = harvests(path, SECONDS - 1.5) if what == "harvested" else (0, 0, 0)
                out = json.loads(child.communicate()[0])
                print("  " + told(what, out["took"], out["failed"]))
                if done or refused:
                    print(f"  {done} harvests, {torn} torn, {refused} refused because the log kept changing")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        writer(*sys.argv[2:])
    else:
        main()
