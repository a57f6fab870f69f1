"""What Ollama holds in memory is unloaded before training, and that is said; no Ollama is no error."""

from types import SimpleNamespace

import pytest

from lunar_tune.settings import DeploySettings, Settings
from lunar_tune.workflow import fitting


@pytest.fixture
def space(ollama):
    said = []
    settings = Settings(deploy=DeploySettings(registry="auto", host=ollama.url))
    return SimpleNamespace(settings=settings, talk=SimpleNamespace(say=said.append, said=said))


def holding(ollama, client, *names):
    data = b"GGUF F16 "
    for name in names:
        blob = f"sha256:{name}"
        ollama.blobs[blob] = data + name.encode()
        ollama.put(f"{name}:latest", {"blob": blob, "parameters": {}, "quant": "F16"})
        client.load(name)


def test_every_loaded_model_is_unloaded_and_said(ollama, client, space):
    holding(ollama, client, "lunar", "other")
    fitting.release_memory(space)
    assert ollama.runners == {}
    assert [line.split()[2] for line in space.talk.said] == ["lunar:latest", "other:latest"]
    assert all("unloaded for the training" in line for line in space.talk.said)


def test_a_model_that_stays_is_said_and_nothing_breaks(ollama, client, space, monkeypatch):
    holding(ollama, client, "lunar")
    monkeypatch.setattr(fitting, "_UNLOADING", 0.3)
    del ollama.models["lunar:latest"]
    monkeypatch.setattr(fitting, "loaded_models", lambda space: [{"name": "lunar:latest"}])
    fitting.release_memory(space)
    assert space.talk.said[0].startswith("Ollama keeps lunar:latest in memory: ")


def test_nothing_is_said_where_nothing_is_held_or_nobody_answers(ollama, space):
    fitting.release_memory(space)
    away = DeploySettings(registry="auto", host="http://127.0.0.1:9")
    fitting.release_memory(SimpleNamespace(settings=Settings(deploy=away), talk=space.talk))
    assert space.talk.said == []


@pytest.mark.parametrize("change", [{"registry": "local"}, {"host": "http://ollama.example:11434"}])
def test_a_local_registry_or_another_machine_s_ollama_is_left_alone(ollama, client, space, change):
    holding(ollama, client, "lunar")
    before = len(ollama.calls)
    settings = Settings(deploy=DeploySettings(**{"registry": "auto", "host": ollama.url} | change))
    fitting.release_memory(SimpleNamespace(settings=settings, talk=space.talk))
    assert len(ollama.calls) == before
    assert len(ollama.runners) == 1
