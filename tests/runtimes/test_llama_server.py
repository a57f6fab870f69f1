"""llama-server in a process of its own: answers, refusals, deaths, and that nothing of a request is ever told."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from lunar_tune.errors import MissingExtra, RuntimeFailure
from lunar_tune.runtimes.llama_server import LlamaServer

pytest.importorskip("xllamacpp")
SECRET = "the password is swordfish"
HELLO = [{"role": "user", "content": SECRET}]


@pytest.fixture(scope="module")
def parrot(tmp_path_factory, write_tiny_gguf):
    gguf = write_tiny_gguf(tmp_path_factory.mktemp("parrot") / "p.gguf", "Hello", "<|python_tag|>", " there.")
    with LlamaServer(gguf, context=256, parallel=2, threads=1, name="lunar-custom") as server:
        yield server


@pytest.fixture(scope="module")
def random_gguf(tmp_path_factory, write_tiny_gguf):
    return write_tiny_gguf(tmp_path_factory.mktemp("random") / "r.gguf")


@pytest.fixture
def prompt(parrot):
    return parrot.tokenize("<|begin_of_text|>hi\n\n")


def test_special_tokens_are_tokens_and_none_is_added(parrot):
    ids = parrot.tokenize("<|begin_of_text|>a\n\n")
    assert len(ids) == 3
    assert ids[1:] == parrot.tokenize("a\n\n")


def test_answers_come_in_order_with_control_tokens_shown(parrot, prompt):
    empty = parrot.tokenize("<|begin_of_text|>Hello")
    first, second, third = parrot.complete([prompt, empty, prompt], max_tokens=8, stops=["<|eot_id|>"])
    assert first == third
    assert (first.text, first.finish) == ("Hello<|python_tag|> there.", "stop")
    assert second.text != first.text


@pytest.mark.parametrize("stop", ["<|python_tag|>", " there."])
def test_a_stop_may_be_text_or_a_control_token(parrot, prompt, stop):
    (answer,) = parrot.complete([prompt], max_tokens=8, stops=[stop])
    assert answer.text == "Hello" + ("" if stop == "<|python_tag|>" else "<|python_tag|>")
    assert answer.finish == "stop"


def test_an_answer_cut_off_says_so(parrot, prompt):
    (answer,) = parrot.complete([prompt], max_tokens=1, stops=[])
    assert (answer.text, answer.finish) == ("Hello", "length")


def test_nothing_asked_nothing_answered(parrot):
    assert parrot.complete([], max_tokens=8, stops=[]) == []


def test_each_slot_has_the_whole_context(parrot, prompt):
    long = prompt[:1] * 200 + prompt
    answers = parrot.complete([long] * 4, max_tokens=8, stops=["<|eot_id|>"])
    assert [answer.text for answer in answers] == ["Hello<|python_tag|> there."] * 4


def test_a_prompt_without_room_is_refused_before_any_work(parrot, prompt):
    with pytest.raises(RuntimeFailure, match=r"256 tokens leaves no room.* context of 256"):
        parrot.complete([prompt, prompt[:1] * 256], max_tokens=8, stops=[])


def test_the_template_is_the_one_in_the_gguf(parrot):
    text = parrot.apply_template([{"role": "user", "content": "hi"}], [], "26 Jul 2024")
    assert text == (
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_template_given_replaces_it_and_gets_date_and_tools(random_gguf):
    template = "{{ date_string }}:{{ tools | length }}:{{ messages[0].content }}"
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with LlamaServer(random_gguf, context=256, threads=1, chat_template=template) as server:
        assert server.apply_template([{"role": "user", "content": "hi"}], [tool], "26 Jul 2024") == "26 Jul 2024:1:hi"


def test_chat_gives_status_and_body(parrot):
    status, body = parrot.chat({"messages": HELLO, "temperature": 0})
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "Hello there."
    assert body["model"] == "lunar-custom"
    status, body = parrot.chat({"messages": "no list"})
    assert status >= 400
    assert "error" in body


def test_chat_streams_events(parrot):
    with parrot.stream({"messages": HELLO, "temperature": 0}) as (status, events):
        deltas = [event["choices"][0]["delta"].get("content") or "" for event in events]
    assert (status, "".join(deltas)) == (200, "Hello there.")
    with parrot.stream({"messages": "no list"}) as (status, events):
        assert status >= 400
        assert "error" in next(events)


def test_greedy_answers_do_not_depend_on_what_was_asked_before(random_gguf):
    prompts = [[1 + (7 * i + j * j) % 200 for j in range(20 + 9 * i)] for i in range(6)]
    with LlamaServer(random_gguf, context=512, threads=1) as server:
        forward = server.complete(prompts, max_tokens=24, stops=[])
        backward = server.complete(prompts[::-1], max_tokens=24, stops=[])
    assert forward == backward[::-1]
    assert len({answer.text for answer in forward}) > 1


def test_only_the_holder_of_the_key_is_answered(parrot):
    assert httpx.post(parrot.url + "/completion", json={"prompt": "hi"}, trust_env=False).status_code == 401
    assert httpx.get(parrot.url + "/", trust_env=False).status_code in (401, 404)
    assert parrot.url.startswith("http://127.0.0.1:")


def test_a_missing_file_and_a_broken_file_are_told(tmp_path):
    with pytest.raises(RuntimeFailure, match="no model file"), LlamaServer(tmp_path / "none.gguf", context=256):
        pass
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nonsense")
    server = LlamaServer(broken, context=256)
    with pytest.raises(RuntimeFailure, match="could not be loaded") as caught:
        server.start()
    assert "invalid magic" in caught.value.hint
    assert server.pid is None


def test_a_missing_package_is_told(monkeypatch, random_gguf):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="xllamacpp"):
        LlamaServer(random_gguf, context=256).start()


def test_a_model_that_loads_too_slowly_is_given_up(random_gguf):
    server = LlamaServer(random_gguf, context=256, load_timeout=0.001)
    with pytest.raises(RuntimeFailure, match="not loaded within"):
        server.start()
    assert server.pid is None


def test_a_dead_child_is_told_without_the_prompt(random_gguf):
    with LlamaServer(random_gguf, context=256, threads=1) as server:
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(RuntimeFailure, match="signal 9") as caught:
            server.chat({"messages": HELLO})
        assert server.pid is None
    assert SECRET not in str(caught.value)
    with pytest.raises(RuntimeFailure, match="not running"):
        server.tokenize("a")


def test_refusals_do_not_quote_the_request(parrot):
    with pytest.raises(RuntimeFailure, match="refused /apply-template with status 4") as caught:
        parrot.apply_template([{"role": "user", "content": {"odd": SECRET}}], [], "26 Jul 2024")
    assert SECRET not in str(caught.value)


def test_a_server_started_in_a_thread_outlives_it(random_gguf):
    servers = []
    thread = threading.Thread(target=lambda: servers.append(LlamaServer(random_gguf, context=256, threads=1).start()))
    thread.start()
    thread.join()
    try:
        assert servers[0].tokenize("a")
    finally:
        servers[0].stop()


@pytest.mark.skipif(sys.platform == "win32", reason="processes are looked up with kill 0")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_the_child_ends_when_its_parent_is_killed(random_gguf, where):
    code = (
        "import sys, threading, time\nfrom pathlib import Path\n"
        "from lunar_tune.runtimes.llama_server import LlamaServer\n"
        f"server = LlamaServer(Path({str(random_gguf)!r}), context=256, threads=1)\n"
        f"starter = threading.Thread(target=server.start) if {where == 'thread'} else None\n"
        "starter.start() or starter.join() if starter else server.start()\n"
        "print(server.pid, flush=True)\ntime.sleep(600)\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    ended = threading.Event()
    for _ in range(200):
        if not _alive(child):
            ended.set()
            break
        ended.wait(0.05)
    assert ended.is_set()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
