"""On any registry: which one, which version is current, forward and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lunar_tune.deploy.local import LocalRegistry
from lunar_tune.deploy.ollama import OllamaRegistry
from lunar_tune.deploy.ollama_api import OllamaClient
from lunar_tune.errors import OllamaDown, RegistryError
from lunar_tune.seams import Registry
from lunar_tune.settings import DeploySettings

PROBE_TIMEOUT = 1.0  # seconds; an Ollama that is up answers at once


def choose_registry(settings: DeploySettings, home: Path) -> tuple[Registry, str]:
    """Return the registry that the settings ask for, and a sentence that says which and why.

    Raises:
        OllamaDown: Ollama was asked for by name and does not answer.
        RegistryError: the model's name is none that Ollama takes.
    """
    if settings.registry == "local":
        return LocalRegistry(
            home
        ), "Versions are kept in this workspace, as asked; `lunar-tune serve` answers with them."
    client = OllamaClient(settings.host)
    try:
        version = client.version(timeout=PROBE_TIMEOUT)
    except OllamaDown:
        if settings.registry == "ollama":
            raise
        return LocalRegistry(home), _without_ollama(home, client.host)
    registry = OllamaRegistry(client, settings.name, settings.keep, home)
    return registry, f"Versions go to Ollama {version} at {client.host} as {settings.name}."


def promote(registry: Registry, version: str) -> None:
    """Make a version current.

    Raises:
        VersionMissing: the registry does not hold it.
        RegistryError: the registry said no; the old version is still current.
    """
    registry.promote(version)


def rollback(registry: Registry) -> str:
    """Make the version current that was so before, and return it; done again it goes one further back.

    Raises:
        RegistryError: no older version was ever current, or it is no longer held.
    """
    previous = registry.previous()
    if not previous:
        raise RegistryError(
            f"No version was current before {registry.current() or 'the first one'!r} in the {registry.name} registry.",
            "`lunar-tune versions` lists what is there; `lunar-tune promote VERSION` takes any of them.",
        )
    registry.promote(previous[0])
    return previous[0]


def versions(registry: Registry) -> list[dict[str, Any]]:
    """Return what the registry holds as in `versions --json`, newest first."""
    return registry.versions()


def _without_ollama(home: Path, host: str) -> str:
    sentence = (
        f"No Ollama answers at {host}, so versions are kept in this workspace; `lunar-tune serve` answers with them."
    )
    if OllamaRegistry.record_of(home).is_file():
        sentence += " Earlier versions went to Ollama, and an agent that asks there will not see new ones."
    return sentence
