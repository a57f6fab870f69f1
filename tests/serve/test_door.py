"""The door itself: versions move under fire, workers die, clients misbehave, and it stays open."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from lunar_tune.deploy import promotion
from lunar_tune.errors import RuntimeFailure
from lunar_tune.serve import Door
from lunar_tune.settings import ServeSettings

SECRET = "the password is swordfish"
HELLO = {"messages": [{"role": "user", "content": SECRET}], "temperature": 0}


def ask(door, **fields):
    return httpx.post(f"{door.url}/v1/chat/completions", json={**HELLO, **fields}, timeout=60, trust_env=False)


def text_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def get(door, path):
    return httpx.get(door.url + path, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def steady(make_house):
    """Return a door whose version stays, and its house."""
    house = make_house()
    house.current("one")
    with Door(house.home, ServeSettings(port=0, context=1024), "lunar-custom", threads=1) as door:
        yield door, house


def test_health_models_and_an_answer(steady):
    door, house = steady
    first, second = house.registry.current(), house.add("two")
    health = get(door, "/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": first, "current": first})
    models = get(door, "/v1/models").json()
    assert [model["id"] for model in models["data"]] == [
        "lunar-custom", f"lunar-custom:{first}", f"lunar-custom:{second}",
    ]  # fmt: skip
    answer = ask(door)
    assert text_of(answer) == "one"
    assert answer.headers["x-lunar-version"] == answer.json()["system_fingerprint"] == first
    assert answer.json()["model"] == "lunar-custom"


def test_before_the_first_version_there_is_a_sentence(house, open_door, ear):
    door = open_door()
    answer = ask(door)
    assert answer.status_code == 503
    assert "no version yet" in answer.json()["error"]["message"]
    assert get(door, "/health").status_code == 503
    house.current("one")
    assert text_of(ask(door)) == "one"
    assert get(door, "/health").status_code == 200


@pytest.mark.parametrize("model", ["lunar-custom", "lunar-custom:latest", "", None])
def test_names_of_the_current_version(steady, model):
    assert text_of(ask(steady[0], model=model)) == "one"


def test_a_version_may_be_asked_for_by_name(house, open_door):
    first, second, third = house.add("one"), house.add("two"), house.current("three")
    door = open_door()
    for version, text in ((first, "one"), (second, "two"), (third, "three"), (second, "two")):
        answer = ask(door, model=f"lunar-custom:{version}")
        assert (text_of(answer), answer.headers["x-lunar-version"]) == (text, version)
    assert len(door.fleet._workers) == 2  # the current one and the last that was asked for
    assert text_of(ask(door)) == "three"
    for unknown in ("gpt-4o", "lunar-custom:v-9", "lunar-custom:../x", "other:latest"):
        answer = ask(door, model=unknown)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"


def test_versions_move_under_fire(house, open_door):
    versions = {house.current("one"): "one"}
    door = open_door(parallel=2)
    answers, stop = [], threading.Event()

    def fire(streamed):
        while not stop.is_set():
            answer = ask(door, stream=streamed)
            if streamed:
                assert answer.text.endswith("data: [DONE]\n\n")
                chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
                text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
            else:
                text = text_of(answer)
            answers.append((answer.status_code, answer.headers["x-lunar-version"], text))

    threads = [threading.Thread(target=fire, args=(streamed,)) for streamed in (False, False, True)]
    for thread in threads:
        thread.start()
    try:
        versions[house.current("two")] = "two"
        assert text_of(ask(door)) == "two"  # the next request already
        while len(answers) < 20:
            threading.Event().wait(0.01)
        promotion.rollback(house.registry)
        assert text_of(ask(door)) == "one"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(status == 200 and text == versions[version] for status, version, text in answers)
    assert list(door.fleet._workers) == [house.registry.current()]


def test_a_version_that_does_not_load_leaves_the_old_one(house, open_door, ear):
    first = house.current("one")
    door = open_door()
    broken = house.add("two")
    house.gguf(broken).write_bytes(b"nonsense")
    house.registry.promote(broken)
    assert [text_of(ask(door)) for _ in range(3)] == ["one"] * 3
    (told,) = [said for said in ear.said if broken in said]
    assert f"{first} goes on answering" in told
    assert ask(door, model=f"lunar-custom:{broken}").status_code == 503
    pointer = house.home / "models" / "current.json"
    pointer.write_text("{")
    assert text_of(ask(door)) == "one"
    assert get(door, "/health").status_code == 503
    pointer.unlink()
    third = house.current("three")
    assert ask(door).headers["x-lunar-version"] == third


def test_when_nothing_loads_the_reason_is_told(house, open_door, ear):
    version = house.current("one")
    house.gguf(version).write_bytes(b"nonsense")
    answer = ask(open_door())
    assert answer.status_code == 503
    assert version in answer.json()["error"]["message"]
    assert any(version in said for said in ear.said)


def test_a_prompt_of_a_later_release_is_told(house, open_door):
    house.current("one", prompt={"family": "llama9", "style": "tagged"})
    answer = ask(open_door())
    assert answer.status_code == 503
    assert "llama9" in answer.json()["error"]["message"]


def test_a_killed_worker_is_started_again_and_nothing_of_a_conversation_is_said(house, open_door, ear, capfd):
    version = house.current("one")
    door = open_door()
    ask(door, model=SECRET)
    os.kill(door.fleet._workers[version].server.pid, signal.SIGKILL)
    assert text_of(ask(door)) == "one"
    assert sum("started again" in said for said in ear.said) == 1
    out, err = capfd.readouterr()
    assert SECRET not in out + err + " ".join(ear.said)


def test_a_worker_killed_in_the_middle_of_a_request_costs_no_request(house, open_door):
    version = house.current()  # random weights: answers until it is cut off
    door = open_door()
    pid = door.fleet._workers[version].server.pid
    results = []
    threads = [threading.Thread(target=lambda: results.append(ask(door, max_tokens=400))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not door.fleet._workers[version].leases:
        threading.Event().wait(0.001)
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in results] == [200, 200]


def test_a_worker_killed_in_the_middle_of_a_stream_says_so(house, open_door):
    version = house.current()
    door = open_door()
    body = {**HELLO, "stream": True, "max_tokens": 900}
    with httpx.stream("POST", f"{door.url}/v1/chat/completions", json=body, timeout=60, trust_env=False) as answer:
        lines = answer.iter_lines()
        next(lines)
        os.kill(door.fleet._workers[version].server.pid, signal.SIGKILL)
        rest = [line for line in lines if line]
    assert "error" in json.loads(rest[-1].removeprefix("data: "))
    assert ask(door, max_tokens=2).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[1]", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": "hi"}', "messages"),
        (b'{"messages": ["hi"]}', "messages[0]"),
        (b'{"messages": [{"role": "king", "content": "hi"}]}', "messages[0].role"),
        (b'{"messages": [{"role": ["user"], "content": "hi"}]}', "messages[0].role"),
        (b'{"messages": [{"role": "user", "content": 3}]}', "messages[0].content"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}',
            "messages[0].content[0]",
        ),
        (b'{"messages": [{"role": "assistant", "tool_calls": {}}]}', "messages[0].tool_calls"),
        (b'{"messages": [{"role": "assistant", "tool_calls": [{}]}]}', "messages[0].tool_calls[0]"),
        (b'{"messages": [{"role": "user"}], "tools": {}}', "tools"),
        (b'{"messages": [{"role": "user"}], "tools": [{"name": "f"}]}', "tools[0]"),
        (
            b'{"messages": [{"role": "user"}], "tools": [{"function": {"name": "f", "parameters": 3}}]}',
            "tools[0].function.parameters",
        ),
        (b'{"messages": [{"role": "user"}], "stream": "yes"}', "stream"),
        (b'{"messages": [{"role": "user"}], "n": 2}', "n"),
        (b'{"messages": [{"role": "user"}], "model": 3}', "model"),
        (b'{"messages": [{"role": "user"}], "max_tokens": "many"}', "max_tokens"),
        (b'{"messages": [{"role": "user"}], "stop": [3]}', "stop"),
        (b'{"messages": [{"role": "user"}], "chat_template_kwargs": []}', "chat_template_kwargs"),
    ],
)
def test_bad_requests_are_refused_in_openais_shape(bad_request_door, body, param):
    answer = httpx.post(f"{bad_request_door.url}/v1/chat/completions", content=body, trust_env=False)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.fixture(scope="module")
def bad_request_door(tmp_path_factory):
    with Door(tmp_path_factory.mktemp("empty"), ServeSettings(port=0), "lunar-custom") as door:
        yield door


def test_what_the_worker_refuses_keeps_its_reason(steady):
    door, _ = steady
    long = ask(door, messages=[{"role": "user", "content": "x" * 3000}])
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    for fields in (
        {"top_k": "many"},
        {"tools": [{"function": {"name": "f"}}], "tool_choice": "perhaps"},
    ):
        for streamed in (False, True):
            answer = ask(door, stream=streamed, **fields)
            assert answer.status_code == 400
            assert answer.json()["error"]["type"] == "invalid_request_error"
    assert text_of(ask(door)) == "one"


def test_other_addresses_and_sizes_are_refused(bad_request_door):
    url = bad_request_door.url
    assert httpx.get(url + "/", trust_env=False).status_code == 404
    assert httpx.post(url + "/v1/embeddings", json={}, trust_env=False).status_code == 404
    for header, status in ((f"Content-Length: {1 << 40}", 413), ("Transfer-Encoding: chunked", 411)):
        raw = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n"
        assert exchange(bad_request_door, raw.encode()).startswith(f"HTTP/1.1 {status}".encode())


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:1", 200), ("localhost", 200), ("[::1]:80", 200), ("evil.example", 403), ("evil.example:11500", 403)],
)
def test_a_web_page_cannot_point_its_own_name_here(bad_request_door, host, status):
    raw = f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert exchange(bad_request_door, raw.encode()).startswith(f"HTTP/1.1 {status}".encode())


def exchange(door, raw):
    host, _, port = door.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(raw)
        return client.recv(1 << 16)


def test_clients_that_vanish_do_no_harm(house, open_door, ear):
    version = house.current()
    door = open_door(parallel=1)
    host, _, port = door.url.removeprefix("http://").rpartition(":")
    body = json.dumps({**HELLO, "stream": True, "max_tokens": 900}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for sent in (head + body[:10], head + body, b"\x00\x01\x02\r\n\r\n", b"GET"):
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(sent)
            if sent == head + body:
                assert client.recv(100)
    assert ask(door, max_tokens=2).status_code == 200
    while door.fleet._workers[version].leases:
        threading.Event().wait(0.01)
    assert not any("failed" in said for said in ear.said)


def test_an_address_for_everybody_is_warned_of(open_door, ear):
    door = open_door(host="0.0.0.0")
    assert any("open to the network" in said for said in ear.said)
    port = door.url.rpartition(":")[2]
    elsewhere = {"Host": "lunar.example"}
    assert httpx.get(f"http://127.0.0.1:{port}/v1/models", headers=elsewhere, trust_env=False).status_code == 200


def test_a_taken_address_is_told(house, bad_request_door):
    second = Door(house.home, ServeSettings(port=int(bad_request_door.url.rpartition(":")[2])), "lunar-custom")
    with pytest.raises(RuntimeFailure, match="Cannot listen") as caught:
        second.start()
    assert "--port" in caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal here")
def test_ctrl_c_ends_the_workers(house):
    house.current("one")
    code = (
        "import signal, sys\nfrom pathlib import Path\nfrom lunar_tune.serve import run_door\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job starts with it ignored
        "from lunar_tune.settings import ServeSettings\n"
        "class Talk:\n    def say(self, text): print(text, flush=True)\n"
        f"run_door(Path({str(house.home)!r}), ServeSettings(port=0), 'lunar-custom', Talk())\n"
    )
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        lines = iter(process.stdout.readline, "")
        opened = next(line for line in lines if "answers at" in line)
        url = opened.split(" at ")[1].split("/v1")[0]
        assert httpx.get(url + "/health", trust_env=False).status_code == 200
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        process.send_signal(signal.SIGINT)
        assert "closed" in process.stdout.read()
    assert process.returncode == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
