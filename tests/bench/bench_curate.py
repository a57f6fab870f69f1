"""From a large log to a dataset, in one process on one core. `bench_curate.py FOLDER [CONVERSATIONS]`.

Says seconds and peak memory of `harvest` (reading with redaction, curation, near-duplicates, split, writing), the
seconds of each stage, and the near-duplicate step beside rensa's and datasketch's own on the same conversations: from
their texts to the duplicates, and without the making of words or shingles. For 50,000 conversations wanted: at most
60 s, of which the dataset stage 20 s, and 1 GB.

The calibration is the time in which a fixed document is parsed: seconds of two runs compare where it is the same.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from curate_log import write

SHINGLE, PERMUTATIONS, THRESHOLD = 5, 128, 0.8
SAMPLE = 3000  # conversations that datasketch is timed on
WANTED = {"seconds": 60, "dataset": 20, "peak": 1024}  # seconds, seconds of CPU, MB: of 50,000 conversations
DATASET = "dataset: "  # what the names of the dataset stage's own steps begin with


class Silent:
    def say(self, text):
        pass

    def progress(self, stage, done, total, note=""):
        pass


class Clock:
    """Seconds of CPU by stage; what a stage draws from another is the other's."""

    def __init__(self):
        self.spent = {}
        self._open = []

    def _begin(self, name):
        self._open.append([name, time.process_time(), 0.0])

    def _end(self):
        name, began, inner = self._open.pop()
        whole = time.process_time() - began
        self.spent[name] = self.spent.get(name, 0.0) + whole - inner
        if self._open:
            self._open[-1][2] += whole

    def call(self, name, function):
        def timed(*args, **more):
            self._begin(name)
            try:
                return function(*args, **more)
            finally:
                self._end()

        return timed

    def stream(self, name, function):
        """Time a generator."""

        def timed(*args, **more):
            inner = iter(function(*args, **more))
            while True:
                self._begin(name)
                try:
                    item = next(inner)
                except StopIteration:
                    return
                finally:
                    self._end()
                yield item

        return timed


def curate(path, home):
    import lunar_tune.curate as curation
    from lunar_tune import workflow
    from lunar_tune.dataset import spool, write
    from lunar_tune.dataset.grouping import arrange, crowd, grams, near
    from lunar_tune.settings import Settings
    from lunar_tune.workflow import data

    clock = Clock()
    data.gather = clock.call("read, redact, keep", data.gather)
    data.kept_episodes = clock.stream("read what is kept", data.kept_episodes)
    curation.curate = clock.stream("curation", curation.curate)
    write.write_dataset = clock.call(DATASET + "card, manifest", write.write_dataset)
    spool.Spool.fill = clock.call(DATASET + "rows, words", spool.Spool.fill)
    near.near_pairs = clock.call(DATASET + "near-duplicates", near.near_pairs)
    crowd.crowded = clock.call(DATASET + "crowds of near-duplicates", crowd.crowded)
    grams.Grams = clock.call(DATASET + "sequences of 13 words", grams.Grams)
    write.arrange = clock.call(DATASET + "groups, split", arrange.arrange)
    write.choose = clock.call(DATASET + "caps, budget", write.choose)
    write._write_splits = clock.call(DATASET + "writing", write._write_splits)
    began = time.perf_counter()
    with workflow.open_workspace(home, Settings(), Silent()) as space:
        dataset = workflow.harvest(space, [str(path)])
    seconds = time.perf_counter() - began
    facts = {key: dataset.manifest[key] for key in ("counts", "leak", "grouping")}
    return {"seconds": seconds, "steps": clock.spent, **facts}


def texts(path):
    """Yield what is said and asked of tools in each conversation, without what the tools returned."""
    import sqlite3

    db = sqlite3.connect(path)
    query = (
        "SELECT conversation_id, group_concat(content || ' ' || coalesce(tool_calls, ''), ' ') FROM messages"
        " WHERE role IN ('user', 'assistant') GROUP BY conversation_id"
    )
    for _, text in db.execute(query):
        yield text


def conversations(path):
    """Yield the messages of each conversation."""
    import sqlite3

    from lunar_tune.episodes import Message, ToolCall

    db = sqlite3.connect(path)
    query = "SELECT conversation_id, role, content, tool_calls FROM messages ORDER BY conversation_id, position"
    for _, rows in groupby(db.execute(query), key=itemgetter(0)):
        yield [
            Message(
                role=role,
                content=content,
                tool_calls=tuple(
                    ToolCall(name=call["name"], arguments=call["arguments"]) for call in json.loads(calls or "[]")
                ),
            )
            for _, role, content, calls in rows
        ]


def ours(path, home):
    from lunar_tune.dataset.grouping.corpus import Corpus, turns_of
    from lunar_tune.dataset.grouping.near import near_pairs
    from lunar_tune.settings import DatasetSettings

    rows = list(conversations(path))
    began = time.process_time()
    corpus = Corpus()
    for row in rows:
        corpus.add(turns_of(row))
    corpus.said()
    made = time.process_time()
    pairs = near_pairs(corpus, [f"{i:08}" for i in range(len(rows))], DatasetSettings().near_duplicate, 0)
    return told(len(rows), began, made, len(set(pairs[:, 1].tolist())))


def told(documents, began, made, found):
    now = time.process_time()
    return {"documents": documents, "seconds": now - began, "own": now - made, "found": found}


def shingles(rows):
    made = []
    for text in rows:
        words = text.split()
        made.append([" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)])
    return made


def rensa(path, home):
    from rensa import RMinHash, RMinHashLSH

    rows = list(texts(path))
    began = time.process_time()
    sets = shingles(rows)
    made = time.process_time()
    index = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
    matrix = RMinHash.digest_matrix_from_token_sets(sets, num_perm=PERMUTATIONS, seed=0)
    flags = index.insert_matrix_and_query_duplicate_flags(matrix)
    return told(len(rows), began, made, sum(flags))


def datasketch(path, home):
    from datasketch import MinHash, MinHashLSH

    rows = list(islice(texts(path), SAMPLE))
    began = time.process_time()
    sets = shingles(rows)
    made = time.process_time()
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    found = 0
    for number, sketch in enumerate(MinHash.bulk([[s.encode() for s in row] for row in sets], num_perm=PERMUTATIONS)):
        found += bool(index.query(sketch))
        index.insert(number, sketch)
    return told(len(rows), began, made, found)


MEASURES = {"curate": curate, "ours": ours, "rensa": rensa, "datasketch": datasketch}


def measured(what, path, home):
    """Run one measurement in a process of its own, on one core."""
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", what, str(path), str(home)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def main(folder, number):
    folder.mkdir(parents=True, exist_ok=True)
    path, home = folder / f"curate-{number}.db", folder / "home"
    if not path.exists():
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        print(f"{write(new, number) / number:,.0f} bytes of messages a conversation")
        new.rename(path)
    shutil.rmtree(home, ignore_errors=True)
    found = measured("curate", path, home)
    print(
        f"{number:,} conversations: {found['seconds']:.1f} s of wall clock, {found['cpu']:.1f} s of CPU"
        f" (wanted {WANTED['seconds']}), {found['peak']:,.0f} MB peak (wanted {WANTED['peak']:,})"
    )
    for step, seconds in found["steps"].items():
        print(f"  {step:36s} {seconds:6.1f} s of CPU")
    own = sum(seconds for step, seconds in found["steps"].items() if step.startswith(DATASET))
    print(f"  dataset stage in all {own:21.1f} s of CPU (wanted {WANTED['dataset']})")
    print(f"  {found['counts']}; {found['grouping']}; {found['leak']}")
    print(f"  calibration {found['calibration']:.1f} ms")
    for name in ("ours", "rensa", "datasketch"):
        one = measured(name, path, home)
        number = one["documents"]
        print(
            f"{name:10s} {number / one['seconds']:8,.0f} documents/s from texts, {number / one['own']:8,.0f} from words"
            f" or shingles; {one['found']:,} found of {number:,} (calibration {one['calibration']:.1f} ms)",
            flush=True,
        )


def calibration():
    """Return the milliseconds in which a fixed document is parsed: how fast this core is now."""
    import orjson

    text = orjson.dumps([{"a": i, "b": "x" * 50, "c": [1.5 * i, None, True]} for i in range(20_000)])
    spent = []
    for _ in range(9):
        began = time.process_time()
        orjson.loads(text)
        spent.append(time.process_time() - began)
    return 1000 * sorted(spent)[4]


def child(what, path, home):
    import numpy  # noqa: F401 - what is imported is not measured

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    before, began = calibration(), time.process_time()
    told = MEASURES[what](Path(path), Path(home))
    cpu, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**told, "cpu": cpu, "peak": peak, "calibration": (before + calibration()) / 2}))


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        child(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50_000)
