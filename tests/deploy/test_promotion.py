"""The workspace as a registry, and the choice between the two."""

import json
import os
import socket

import pytest

from lunar_tune.artefacts import Model
from lunar_tune.deploy import promotion
from lunar_tune.deploy.local import LocalRegistry
from lunar_tune.deploy.ollama import OllamaRegistry
from lunar_tune.errors import ArtefactBroken, OllamaDown, RegistryError, VersionMissing
from lunar_tune.settings import DeploySettings


@pytest.fixture
def local(home):
    return LocalRegistry(home)


def test_an_empty_workspace_has_no_version(local):
    assert (local.current(), local.previous(), local.versions()) == (None, [], [])
    with pytest.raises(RegistryError, match="No version was current before"):
        promotion.rollback(local)


def test_deploying_checks_the_file(local, make_model, tmp_path):
    model = make_model(1)
    local.deploy(model)
    assert local.current() is None
    model.gguf.write_bytes(b"GGUF other")
    with pytest.raises(ArtefactBroken, match="not the file"):
        local.deploy(model)
    model.gguf.unlink()
    with pytest.raises(ArtefactBroken, match="missing"):
        local.deploy(model)
    elsewhere = Model(model.version, tmp_path, model.gguf, "Q4_K_M", model.sha256, model.created_at, model.manifest)
    with pytest.raises(RegistryError, match="not in this workspace"):
        local.deploy(elsewhere)


def test_promotion_and_rollback(local, make_model):
    first, second, third = (make_model(number).version for number in (1, 2, 3))
    for version in (first, second, third, third):
        promotion.promote(local, version)
    assert (local.current(), local.previous()) == (third, [second, first])
    assert promotion.rollback(local) == second
    assert (local.current(), local.previous()) == (second, [first])
    promotion.promote(local, third)
    assert local.previous() == [second, first]
    promotion.promote(local, first)  # by hand, two back: the same as two rollbacks
    assert (local.current(), local.previous()) == (first, [])
    with pytest.raises(RegistryError, match=first):
        promotion.rollback(local)


def test_what_is_not_there_is_not_promoted(local, make_model):
    model = make_model(1)
    local.promote(model.version)
    for version in ("v-9", "../models/" + model.version, "current.json", ""):
        with pytest.raises(VersionMissing):
            local.promote(version)
    broken = make_model(2)
    broken.gguf.unlink()
    with pytest.raises(ArtefactBroken, match="missing"):
        local.promote(broken.version)
    assert local.current() == model.version


def test_a_version_that_was_deleted_is_passed_over(local, make_model, home):
    first, second, third = (make_model(number) for number in (1, 2, 3))
    for model in (first, second, third):
        local.promote(model.version)
    (second.path / "manifest.json").unlink()
    assert promotion.rollback(local) == first.version


def test_a_crash_leaves_the_old_pointer(local, make_model, home, monkeypatch):
    first, second = make_model(1), make_model(2)
    local.promote(first.version)

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        local.promote(second.version)
    monkeypatch.undo()
    assert local.current() == first.version
    assert sorted(path.name for path in (home / "models").iterdir()) == [
        "current.json", first.version, second.version,
    ]  # fmt: skip
    pointer = json.loads((home / "models" / "current.json").read_text())
    assert set(pointer) == {"version", "previous", "since"}


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 3}'])
def test_a_damaged_pointer_is_told(local, make_model, home, text):
    make_model(1)
    (home / "models" / "current.json").write_text(text)
    with pytest.raises(ArtefactBroken, match=r"current\.json"):
        local.current()


def test_versions_newest_first(local, make_model, home):
    first, second = make_model(1), make_model(2)
    local.promote(first.version)
    newer, older = promotion.versions(local)
    assert (newer["version"], newer["current"]) == (second.version, False)
    assert older == {
        "version": first.version,
        "created_at": first.created_at,
        "current": True,
        "quant": "Q4_K_M",
        "gguf": str(first.gguf),
        "sha256": first.sha256,
        "evaluation": None,
        "registry": "local",
    }


def test_auto_takes_ollama_where_one_answers(ollama, home):
    registry, why = promotion.choose_registry(DeploySettings(host=ollama.url), home)
    assert isinstance(registry, OllamaRegistry)
    assert "0.33.0" in why
    assert ollama.url in why
    registry, why = promotion.choose_registry(DeploySettings(host=ollama.url, registry="local"), home)
    assert isinstance(registry, LocalRegistry)
    assert "as asked" in why


def test_auto_falls_back_and_says_so(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        registry, why = promotion.choose_registry(DeploySettings(host=host), home)
        assert isinstance(registry, LocalRegistry)
        assert host in why
        assert "Earlier versions" not in why
        (home / "models").mkdir(parents=True)
        (home / "models" / "ollama.json").write_text("{}")
        assert "Earlier versions" in promotion.choose_registry(DeploySettings(host=host), home)[1]
        with pytest.raises(OllamaDown):
            promotion.choose_registry(DeploySettings(host=host, registry="ollama"), home)
