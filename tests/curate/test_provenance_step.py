import pytest

from lunar_tune.curate.provenance import Provenance
from lunar_tune.settings import CurateSettings

VERSION = "v-1d30aa0b1c2d3e4f"


def learnt(make, model, own="lunar-custom"):
    (draft,), _ = make.run(
        Provenance(CurateSettings(own_model=own)), make.episode(make.user("a"), make.says("b", model=model))
    )
    return draft.weights[1] == 1


@pytest.mark.parametrize(
    "model",
    ["lunar-custom", "lunar-custom:latest", f"lunar-custom:{VERSION}", "Lunar-Custom:2026-10-01",
     "localhost/lunar-custom",
     f"library/lunar-custom:{VERSION}", "localhost:5000/me/lunar-custom", "ollama/lunar-custom", "openai:lunar-custom",
     "lunar-custom-q8", "lunar-custom2", VERSION, f"other-name:{VERSION}", f"/home/a/models/{VERSION}/model.gguf",
     f"C:\\models\\{VERSION}\\model.gguf", "lunar-custom@sha256:ab"],
)  # fmt: skip
def test_names_of_our_own_models(make, model):
    assert not learnt(make, model)


@pytest.mark.parametrize(
    "model",
    ["llama3.2:3b", "lunar-customer-service", "my-lunar-custom", "v-1d30", "gpt-4o", "", "v-1d30aa0b1c2d3e4f5a"],
)
def test_names_of_others(make, model):
    assert learnt(make, model)


def test_several_names_and_none(make):
    assert not learnt(make, "moon:latest", own="lunar-custom me/moon moon")
    assert not learnt(make, "me/moon", own="me/moon:latest")
    assert learnt(make, "lunar-custom", own="")
