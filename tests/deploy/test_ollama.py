"""Ollama as a registry: versions come whole or not at all, and the swap never leaves the agent without a model."""

import hashlib
import json

import pytest

from lunar_tune.deploy import promotion
from lunar_tune.deploy.ollama import OllamaRegistry, create_fields
from lunar_tune.errors import ArtefactBroken, OllamaDown, RegistryError, VersionMissing
from lunar_tune.files import finish_artefact


def tags(ollama):
    return {name.partition(":")[2] for name in ollama.models}


def deployed(registry, make_model, *numbers):
    models = [make_model(number) for number in numbers]
    for model in models:
        registry.deploy(model)
    return [model.version for model in models]


def test_a_version_is_created_as_its_manifest_says(ollama, registry, make_model):
    model = make_model(1)
    registry.deploy(model)
    manifest = ollama.models[f"lunar-custom:{model.version}"]
    written = model.manifest["modelfile"]
    assert {key: manifest[key] for key in written} == written
    assert manifest["blob"] == f"sha256:{model.sha256}"
    assert registry.current() is None
    assert ollama.runners == {}  # the trial is over


def test_deploying_again_uploads_and_creates_nothing(ollama, registry, make_model):
    model = make_model(1)
    registry.deploy(model)
    before, uploaded = dict(ollama.models), ollama.uploaded
    registry.deploy(model)
    assert (ollama.models, ollama.uploaded) == (before, uploaded)
    assert ("POST", "/api/create") in ollama.calls
    assert sum(call == ("POST", "/api/create") for call in ollama.calls) == 1


def test_an_interrupted_deployment_is_taken_up(ollama, registry, make_model):
    model = make_model(1)
    registry.client.push_blob(model.gguf, model.sha256)
    uploaded = ollama.uploaded
    registry.deploy(model)
    assert ollama.uploaded == uploaded
    assert tags(ollama) == {model.version}


def test_a_version_that_cannot_be_loaded_is_taken_away(ollama, registry, make_model):
    model = make_model(1)
    ollama.unloadable.add(f"sha256:{model.sha256}")
    with pytest.raises(RegistryError, match="terminated"):
        registry.deploy(model)
    assert ollama.models == {}


def test_a_template_that_ollama_ignores_is_found_out(ollama, registry, make_model):
    ollama.ignore_templates = True
    with pytest.raises(RegistryError, match="another template"):
        registry.deploy(make_model(1))
    assert ollama.models == {}
    registry.deploy(make_model(2, modelfile={"system": "S"}))  # none was written: the GGUF's own is meant
    assert len(ollama.models) == 1


def test_a_gguf_that_changed_or_went_is_refused(ollama, registry, make_model):
    changed, gone = make_model(1), make_model(2)
    changed.gguf.write_bytes(b"GGUF Q4_K_M other")
    with pytest.raises(RegistryError, match="digest mismatch"):
        registry.deploy(changed)
    gone.gguf.unlink()
    with pytest.raises(ArtefactBroken, match="missing"):
        registry.deploy(gone)
    assert ollama.models == {}


def test_an_old_server_is_told_of(ollama, registry, make_model):
    model = make_model(1, modelfile={"requires": "0.30.0"})
    ollama.version = "0.29.1"
    with pytest.raises(RegistryError, match=r"needs Ollama 0\.30\.0; .* runs 0\.29\.1"):
        registry.deploy(model)
    for version in ("0.30.0-rc2", "0.34.1", "0.0.0"):
        ollama.version = version
        registry.deploy(model)


def test_the_swap(ollama, registry, make_model):
    first, second = deployed(registry, make_model, 1, 2)
    registry.promote(first)
    assert registry.current() == first
    assert [entry["name"] for entry in registry.client.running()] == [f"lunar-custom:{first}"]
    ollama.calls.clear()
    registry.promote(second)
    assert registry.current() == second
    assert [entry["name"] for entry in registry.client.running()] == [f"lunar-custom:{second}"]
    order = [path for _, path in ollama.calls if path in ("/api/chat", "/api/copy")]
    assert order == ["/api/chat", "/api/copy", "/api/chat"]  # load, point, unload
    assert registry.client.show("lunar-custom")["system"]


def test_a_version_that_does_not_load_any_more_is_not_promoted(ollama, registry, make_model):
    first, second = deployed(registry, make_model, 1, 2)
    registry.promote(first)
    ollama.unloadable.add(ollama.models[f"lunar-custom:{second}"]["blob"])
    with pytest.raises(RegistryError):
        registry.promote(second)
    assert registry.current() == first


def test_promoting_what_is_current_does_nothing(ollama, registry, make_model):
    (first,) = deployed(registry, make_model, 1)
    registry.promote(first)
    ollama.calls.clear()
    registry.promote(first)
    assert ollama.calls == [("GET", "/api/tags")]


@pytest.mark.parametrize("version", ["v-0000000000000009", "latest", "no tag"])
def test_promoting_what_is_not_there(registry, make_model, version):
    deployed(registry, make_model, 1)
    with pytest.raises(VersionMissing, match="v-0000000000000001"):
        registry.promote(version)


def test_rollback_goes_back_one_by_one(registry, make_model):
    first, second, third = deployed(registry, make_model, 1, 2, 3)
    for version in (first, second, third):
        promotion.promote(registry, version)
    assert registry.previous() == [second, first]
    assert promotion.rollback(registry) == second
    assert registry.current() == second
    assert promotion.rollback(registry) == first
    with pytest.raises(RegistryError, match="No version was current before"):
        promotion.rollback(registry)
    assert registry.current() == first


def test_the_order_survives_a_crash_between_swap_and_note(registry, make_model, home):
    first, second, third = deployed(registry, make_model, 1, 2, 3)
    registry.promote(first)
    note = (home / "models" / "ollama.json").read_text()
    registry.promote(second)
    (home / "models" / "ollama.json").write_text(note)
    assert registry.current() == second
    assert registry.previous() == [first]
    registry.promote(third)
    assert registry.previous() == [second, first]


def test_without_a_note_latest_still_says_what_is_current(registry, make_model, home):
    (first,) = deployed(registry, make_model, 1)
    registry.promote(first)
    (home / "models" / "ollama.json").unlink()
    assert registry.current() == first
    assert registry.previous() == []


def test_only_old_versions_of_ours_are_pruned(ollama, registry, make_model):
    made = deployed(registry, make_model, 1)
    registry.client.copy(f"lunar-custom:{made[0]}", "lunar-custom:mine")
    registry.client.copy(f"lunar-custom:{made[0]}", "other:v-00000000000000aa")
    for number in range(2, 6):
        made += deployed(registry, make_model, number)
        registry.promote(made[-1])
    assert tags(ollama) == {"latest", "mine", "v-00000000000000aa", *made[2:]}  # the current one and two more
    promotion.rollback(registry)
    promotion.rollback(registry)
    made += deployed(registry, make_model, 6, 7, 8)
    registry.promote(made[-1])
    assert registry.current() == made[-1]
    assert registry.previous() == [made[2]]  # the one before stays, however old
    assert {made[2], made[-1], made[-2]} <= tags(ollama)
    assert made[4] not in tags(ollama)


def test_a_model_that_somebody_made_by_hand_is_kept(ollama, registry, make_model):
    model = make_model(1)
    registry.client.push_blob(model.gguf, model.sha256)
    registry.client.create("lunar-custom", {"files": {"m.gguf": f"sha256:{model.sha256}"}, "system": "by hand"})
    (second,) = deployed(registry, make_model, 2)
    assert registry.current() is None
    registry.promote(second)
    (kept,) = (tag for tag in tags(ollama) if tag.startswith("kept-"))
    assert ollama.models[f"lunar-custom:{kept}"]["system"] == "by hand"
    assert promotion.rollback(registry) == kept
    assert ollama.models["lunar-custom:latest"]["system"] == "by hand"


def test_versions_have_the_shape_of_the_contract(registry, make_model, home, tmp_path):
    first, second = deployed(registry, make_model, 1, 2)
    registry.promote(first)
    registry.client.copy(f"lunar-custom:{first}", "lunar-custom:mine")
    work = tmp_path / "evaluation"
    work.mkdir()
    finish_artefact(work, home / "evaluations" / "e-1", {"version": second, "verdict": "promote"})
    mine, newer, older = registry.versions()
    assert older == {
        "version": first,
        "created_at": "2026-11-01T00:01:00+00:00",
        "current": True,
        "quant": "Q4_K_M",
        "gguf": str(home / "models" / first / "lunar-custom.Q4_K_M.gguf"),
        "sha256": hashlib.sha256(b"GGUF Q4_K_M weights of " + first.encode()).hexdigest(),
        "evaluation": None,
        "registry": "ollama",
    }
    assert (newer["version"], newer["current"], newer["evaluation"]) == (second, False, "e-1")
    assert (mine["version"], mine["gguf"], mine["quant"]) == ("mine", None, "Q4_K_M")
    json.dumps([mine, newer, older])


@pytest.mark.parametrize("name", ["lunar custom", "lunar:latest", "", "-x", "a" * 81, "a/b/c/d"])
def test_a_name_that_ollama_would_refuse(client, home, name):
    with pytest.raises(RegistryError, match="no name"):
        OllamaRegistry(client, name, 2, home)


@pytest.mark.parametrize("name", ["lunar-custom", "me/lunar.2", "registry.example.org:5000/me/lunar"])
def test_a_name_that_ollama_takes(client, home, make_model, name):
    registry = OllamaRegistry(client, name, 2, home)
    model = make_model(1)
    registry.deploy(model)
    registry.promote(model.version)
    assert registry.current() == model.version


def test_parameters_are_sent_in_the_types_that_ollama_needs():
    fields = create_fields({"parameters": {"stop": "<|eot_id|>", "num_ctx": "4096", "temperature": 1}, "system": ""})
    assert fields == {"parameters": {"stop": ["<|eot_id|>"], "num_ctx": 4096, "temperature": 1.0}}
    for wrong in ({"num_ctx": "many"}, {"num_cxt": 1}, {"temperature": None}, {"stop": 3}):
        with pytest.raises(RegistryError, match="parameter"):
            create_fields({"parameters": wrong})
    with pytest.raises(RegistryError, match="'path'"):
        create_fields({"path": "Modelfile"})


def test_a_server_that_goes_away_is_told(ollama, registry, make_model):
    model = make_model(1)
    registry.deploy(model)
    ollama.__exit__()
    for call in (lambda: registry.promote(model.version), registry.current, registry.versions):
        with pytest.raises(OllamaDown):
            call()
    ollama._http.shutdown = lambda: None
