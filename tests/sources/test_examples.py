"""What holds for every reader, on its example: the golden file, threads read one by one, canaries, plain growth."""

import json
import os
from pathlib import Path

import examples
import pytest

from lunar_tune import plugins
from lunar_tune.episodes import to_dict
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources.base import owner
from lunar_tune.sources.read import open_logs

GOLDEN = Path(__file__).parent / "golden"
FORMATS = examples.names()


def read(name, path, only=None):
    lost = []
    settings = getattr(examples.example(name), "SETTINGS", HarvestSettings())
    with open_logs([path], plugins.sources(), settings) as (log,):
        assert log.name == name.replace("_", "-") or log.name == name
        threads = dict(log.threads)
        return threads, list(log.read(lost.append, only)), lost


def lines(found, lost, folder):
    """The golden form: ids left out, for they follow from the content; the folder is the test's own."""
    written = []
    for episode in found:
        line = to_dict(episode, with_id=False) | {"path": str(Path(episode.path).relative_to(folder))}
        written.append(json.dumps(line, ensure_ascii=False, sort_keys=True))
    written += [json.dumps({"lost": v.reason, "thread": v.id, "place": v.detail}, sort_keys=True) for v in lost]
    return written


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_reads_as_its_golden_file(name, tmp_path):
    path = examples.build(name, tmp_path)
    _, found, lost = read(name, path)
    got, golden = lines(found, lost, tmp_path), GOLDEN / f"{name}.jsonl"
    if os.environ.get("LUNAR_TUNE_WRITE_GOLDEN"):
        golden.write_text("\n".join(got) + "\n", encoding="utf-8")
    assert got == golden.read_text(encoding="utf-8").splitlines()
    assert found


@pytest.mark.parametrize("name", FORMATS)
def test_no_canary_comes_out(name, tmp_path):
    path = examples.build(name, tmp_path)
    assert examples.CANARY.encode() in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()) or (
        not example_has_credentials(name)
    )
    _, found, lost = read(name, path)
    assert not [e.thread for e in found if examples.CANARY in json.dumps(to_dict(e))]
    assert examples.CANARY not in repr(lost)


def example_has_credentials(name):
    return getattr(examples.example(name), "CREDENTIALS", True)


@pytest.mark.parametrize("name", FORMATS)
def test_a_thread_read_by_itself_gives_the_episodes_it_gives_among_all(name, tmp_path):
    path = examples.build(name, tmp_path)
    threads, found, _ = read(name, path)
    owners = [owner(episode, threads) for episode in found]
    assert None not in owners
    for thread in threads:
        _, alone, _ = read(name, path, {thread})
        assert alone == [episode for episode, of in zip(found, owners, strict=True) if of == thread]
    if "" not in threads:
        assert read(name, path, set())[1] == []


@pytest.mark.parametrize("name", [n for n in FORMATS if hasattr(examples.example(n), "grow")])
def test_only_the_stamps_of_threads_that_grew_differ(name, tmp_path):
    """`grow(path)` adds to the log, or changes it where it can see changes, and returns the threads concerned."""
    path = examples.build(name, tmp_path)
    before, found, _ = read(name, path)
    grown = examples.example(name).grow(path)
    after, now, _ = read(name, path)
    assert {thread for thread in after if before.get(thread) != after[thread]} == set(grown)
    old = {e.id for e in found}
    assert {owner(e, after) for e in now if e.id not in old} <= set(grown)
