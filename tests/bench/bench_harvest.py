"""Harvesting 1M messages in three formats beside the raw floor. `bench_harvest.py FOLDER [MESSAGES [FORMAT]]`.

The floor is a plain SELECT of the same rows plus orjson of their JSON cells. `episodes` reads them and writes canonical
JSONL; `harvest` also redacts and keeps the episodes in a workspace; then 1 % new conversations are added and harvested.
Every measurement is a process of its own; the databases (about 2 GB each) are kept in FOLDER.
"""

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from harvest_logs import FLOORS, FORMATS, write

SPOKEN = 5  # messages of a conversation


def floor(name: str, path: Path, work: Path) -> dict[str, float]:
    import orjson

    query, cells = FLOORS[name]
    db = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
    size = 0
    for row in db.execute(query):
        for index, cell in enumerate(row):
            if isinstance(cell, str):
                size += len(cell)
                if index in cells:
                    orjson.loads(cell)
    return {"bytes": size}


def episodes(name: str, path: Path, work: Path) -> dict[str, float]:
    from lunar_tune import workflow
    from lunar_tune.settings import Settings

    count = 0
    with (work / "episodes.jsonl").open("wb", buffering=1 << 20) as out:
        for line in workflow.episode_lines(Settings(), [str(path)], lost := []):
            out.write(line)
            out.write(b"\n")
            count += 1
    return {"conversations": count, "lost": len(lost)}


def harvest(name: str, path: Path, work: Path) -> dict[str, float]:
    import contextlib

    from lunar_tune import plugins, workflow
    from lunar_tune.settings import Settings
    from lunar_tune.sources.read import open_logs
    from lunar_tune.store import EpisodeStore
    from lunar_tune.workflow.gather import gather

    class Silent:
        def say(self, text: str) -> None:
            pass

        def progress(self, stage: str, done: float, total: float, note: str = "") -> None:
            pass

    settings = Settings()
    with (
        workflow.open_workspace(work / "home", settings, Silent()) as space,
        contextlib.closing(EpisodeStore(space.home)) as kept,
        open_logs([path], plugins.sources(), settings.harvest) as logs,
    ):
        (told,) = gather(space, logs, kept)
    return {"conversations": told.threads}


def measured(what: str, name: str, path: Path, work: Path) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--measure", what, name, str(path), str(work)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main(folder: Path, messages: int, formats: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = messages // SPOKEN
    for name in formats or FORMATS:
        path, work = folder / f"{name}-{messages}.db", folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        if not path.exists():
            new = path.with_suffix(".new")
            new.unlink(missing_ok=True)
            write(name, new, 0, count)
            new.rename(path)
        measured("floor", name, path, work)  # warms the page cache
        raw = measured("floor", name, path, work)
        read = measured("episodes", name, path, work)
        (work / "episodes.jsonl").unlink()
        grown = work / path.name
        shutil.copyfile(path, grown)
        first = measured("harvest", name, grown, work)
        write(name, grown, count, count // 100)
        second = measured("harvest", name, grown, work)
        size = raw["bytes"] / 1e6
        print(f"{name}: {messages:,} messages, {size:,.0f} MB of text")
        print(f"  floor    {raw['seconds']:7.1f} s {size / raw['seconds']:8.0f} MB/s {raw['peak']:6.0f} MB peak")
        for what, one in (("episodes", read), ("harvest", first)):
            rate = size / one["seconds"]
            print(
                f"  {what:8s} {one['seconds']:7.1f} s {rate:8.0f} MB/s {one['peak']:6.0f} MB peak,"
                f" {messages / one['seconds']:,.0f} messages/s, {raw['seconds'] / one['seconds']:.1%} of the floor"
            )
        print(
            f"  again    {second['seconds']:7.1f} s after 1 % new rows, {second['conversations']:,.0f} read,"
            f" {second['seconds'] / first['seconds']:.1%} of the first harvest,"
            f" {second['seconds'] / read['seconds']:.1%} of episodes",
            flush=True,
        )
        shutil.rmtree(work)


def child(what: str, name: str, path: str, work: str) -> None:
    import orjson  # noqa: F401 - what is imported is not measured

    from lunar_tune import nightly, plugins

    assert plugins.sources()
    assert nightly
    began = time.perf_counter()
    told = {"floor": floor, "episodes": episodes, "harvest": harvest}[what](name, Path(path), Path(work))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**told, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        child(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000, sys.argv[3:])
