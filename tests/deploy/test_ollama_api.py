"""Every call of the JSON API, and every way it can be refused."""

import hashlib
import socket
import threading

import pytest

from lunar_tune.deploy.ollama_api import OllamaClient, normal_host
from lunar_tune.errors import OllamaDown, RegistryError

WEIGHTS = b"GGUF F16 weights"
SHA = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {"m.gguf": f"sha256:{SHA}"}


@pytest.fixture
def weights(tmp_path, client):
    path = tmp_path / "m.gguf"
    path.write_bytes(WEIGHTS)
    client.push_blob(path, SHA)
    return path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("http://0.0.0.0", "http://127.0.0.1:11434"),
        ("example.org", "http://example.org:11434"),
        ("https://example.org/", "https://example.org:443"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("http://host:1234/prefix/", "http://host:1234/prefix"),
    ],
)
def test_a_host_may_be_short(given, meant):
    assert normal_host(given) == meant


def test_version(client):
    assert client.version(timeout=1.0) == "0.33.0"


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        client = OllamaClient(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OllamaDown, match=r"127\.0\.0\.1"):
            client.version()
        with pytest.raises(OllamaDown):
            client.tags()
        with pytest.raises(OllamaDown):
            client.create("m", {"files": FILES})


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"not http", b""])
def test_somebody_else_there(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once():
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        client = OllamaClient(f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(OllamaDown):
            client.version()
        with pytest.raises(RegistryError):
            client.tags()
        thread.join()


def test_a_silent_server_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = OllamaClient(f"127.0.0.1:{server.getsockname()[1]}", timeout=0.05)
        with pytest.raises(RegistryError, match="fell silent"):
            client.tags()
        with pytest.raises(OllamaDown):
            client.version(timeout=0.05)


def test_a_blob_is_uploaded_once(ollama, client, weights):
    assert client.has_blob(SHA)
    assert client.push_blob(weights, SHA) is False
    assert ollama.uploaded == len(WEIGHTS)
    assert [method for method, path in ollama.calls if path.startswith("/api/blobs")] == [
        "HEAD",
        "POST",
        "HEAD",
        "HEAD",
    ]


def test_a_blob_that_is_something_else_is_refused(client, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF other")
    with pytest.raises(RegistryError, match="digest mismatch"):
        client.push_blob(path, SHA)
    with pytest.raises(RegistryError, match="status 400"):
        client.has_blob("no digest")


def test_create_tells_its_statuses(client, weights):
    statuses = []
    client.create("m:1", {"files": FILES}, statuses.append)
    assert statuses[0] == "parsing GGUF"
    assert statuses[-1] == "success"
    assert [entry["name"] for entry in client.tags()] == ["m:1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "neither 'from' or 'files' was specified"),
        ({"path": "Modelfile"}, "unknown fields"),
        ({"modelfile": "FROM x"}, "unknown fields"),
        ({"files": {"../m.gguf": f"sha256:{SHA}"}}, "invalid file name"),
        ({"files": {"/m.gguf": f"sha256:{SHA}"}}, "invalid file name"),
        ({"files": {"m.gguf": "sha256:" + "0" * 64}}, "not found"),
        ({"files": FILES, "quantize": "Q5_K_M"}, "unsupported quantization type Q5_K_M"),
        ({"from": "absent"}, "not found"),
    ],
)
def test_create_is_refused_at_once(client, weights, fields, reason):
    with pytest.raises(RegistryError, match=reason):
        client.create("m:1", fields)
    assert client.tags() == []


def test_create_is_refused_in_the_middle(ollama, client, weights, tmp_path):
    ollama.create_breaks = "error"
    with pytest.raises(RegistryError, match="no space left"):
        client.create("m:1", {"files": FILES})
    ollama.create_breaks = "silence"
    with pytest.raises(RegistryError, match="broke off"):
        client.create("m:1", {"files": FILES})
    ollama.create_breaks = ""
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"junk")
    digest = hashlib.sha256(b"junk").hexdigest()
    client.push_blob(junk, digest)
    with pytest.raises(RegistryError, match="invalid file magic"):
        client.create("m:1", {"files": {"junk.gguf": f"sha256:{digest}"}})
    assert client.tags() == []


def test_quantizing_takes_full_precision_only(client, weights):
    client.create("m:q", {"files": FILES, "quantize": "Q4_K_M"})
    assert client.show("m:q")["details"]["quantization_level"] == "Q4_K_M"
    with pytest.raises(RegistryError, match="only supported for F16"):
        client.create("m:qq", {"from": "m:q", "quantize": "Q8_0"})


def test_a_bad_name_is_refused(client, weights):
    with pytest.raises(RegistryError, match="invalid model name"):
        client.create("m:a b", {"files": FILES})
    client.create("m:1", {"files": FILES})
    with pytest.raises(RegistryError, match="invalid model name"):
        client.copy("m:1", "m:")


def test_copy_show_delete(client, weights):
    client.create("m:1", {"files": FILES, "template": "T", "system": "S"})
    client.copy("m:1", "m:latest")
    first, second = client.tags()
    assert first["digest"] == second["digest"]
    assert client.show("m")["template"] == "T"
    client.delete("m:1")
    client.delete("m")
    assert client.tags() == []
    for call in (lambda: client.copy("m:1", "m:2"), lambda: client.show("m:1"), lambda: client.delete("m:1")):
        with pytest.raises(RegistryError, match="not found"):
            call()


def test_a_model_is_loaded_listed_and_unloaded(client, weights):
    client.create("m:1", {"files": FILES})
    assert client.running() == []
    client.load("m:1", keep_alive="5m")
    assert [entry["name"] for entry in client.running()] == ["m:1"]
    client.unload("m:1")
    assert client.running() == []


def test_chat_and_its_refusals(ollama, client, weights):
    client.create("m:1", {"files": FILES, "parameters": {"stop": "<|eot_id|>"}})
    with pytest.raises(RegistryError, match="must be of type array"):
        client.chat("m:1", [{"role": "user", "content": "hi"}])
    client.create("m:1", {"files": FILES, "template": "{{ .Prompt }}"})
    assert client.chat("m:1", [{"role": "user", "content": "hi"}])["message"]["content"].startswith("I am")
    with pytest.raises(RegistryError, match="does not support tools"):
        client.chat("m:1", [{"role": "user", "content": "hi"}], tools=[{"type": "function"}])
    ollama.unloadable.add(f"sha256:{SHA}")
    with pytest.raises(RegistryError, match="terminated"):
        client.load("m:1")


def test_the_prompt_that_ollama_makes_can_be_seen(ollama, client, weights):
    client.create("m:1", {"files": FILES, "template": "{{ .Tools }}"})
    messages = [{"role": "user", "content": "hi"}]
    assert client.render("m:1", messages, [{"type": "function"}]) == "{{ .Tools }}hi"
    ollama.chat = lambda body: {"done": True, "message": {"role": "assistant", "content": "hello"}}
    with pytest.raises(RegistryError, match="cannot show"):
        client.render("m:1", messages)
