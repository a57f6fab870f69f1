"""Ollama as a registry: a version is the immutable tag `name:<version>`, promotion copies it to `name:latest`.

A version is created from one GGUF over the JSON API, the only way that keeps every character of the system prompt, and
tried before it is kept. Tags that somebody else made are never deleted, and never overwritten without a copy.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Model
from lunar_tune.deploy.ollama_api import OllamaClient
from lunar_tune.deploy.pointer import (
    Pointer,
    evaluations_by_version,
    newest_first,
    read_pointer,
    row,
    write_pointer,
)
from lunar_tune.errors import ArtefactBroken, RegistryError, VersionMissing
from lunar_tune.files import is_artefact, read_manifest

LATEST = "latest"
KEPT = "kept-"
OURS = re.compile(r"v-[0-9a-f]{16}")  # the form of a version's content id: only such tags are ever pruned
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAME = re.compile(rf"(?:[^/\s]{{1,350}}/)?(?:[A-Za-z0-9_][A-Za-z0-9_-]{{0,79}}/)?{_PART}")
_TAG = re.compile(_PART)

FIELDS = ("template", "system", "parameters", "license", "messages", "renderer", "parser", "requires")
INTEGERS = (
    "num_ctx", "num_batch", "num_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k", "repeat_last_n",
    "main_gpu", "draft_num_predict",
)  # fmt: skip
NUMBERS = (
    "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
SWITCHES = ("use_mmap",)
TRIAL = [{"role": "user", "content": "Hello."}]
TRIAL_TOKENS = 8


class OllamaRegistry:
    """A `seams.Registry` on an Ollama server.

    Args:
        client: the server.
        name: the model's name there, without a tag.
        keep: versions kept for rollback.
        home: the workspace; the order of promotions is noted there, and what is known of a version is read there.
    """

    name = "ollama"

    def __init__(self, client: OllamaClient, name: str, keep: int, home: Path) -> None:
        if not _NAME.fullmatch(name):
            raise RegistryError(
                f"{name!r} is no name that Ollama takes.", "Set deploy.name to letters, digits, -, _ and ."
            )
        self.client, self.model, self.keep = client, name, keep
        self._home, self._record = home, self.record_of(home)

    @staticmethod
    def record_of(home: Path) -> Path:
        """Return the file that notes the order of promotions."""
        return home / "models" / "ollama.json"

    # -- seams.Registry --

    def deploy(self, model: Model) -> None:
        """Upload the GGUF, create the version's tag and try it; a tag that is there already is only tried.

        Raises:
            OllamaDown: nothing answers.
            RegistryError: Ollama refused, or does with the version what it was not trained for; nothing is left behind.
            ArtefactBroken: the GGUF is gone.
        """
        tag, fields = self._tag(model.version), self._fields(model)
        held = self._held()
        fresh = model.version not in held
        if fresh:
            if not model.gguf.is_file():
                raise ArtefactBroken(model.path, f"{model.gguf.name} is missing")
            self.client.push_blob(model.gguf, model.sha256)
            self.client.create(tag, {**fields, "files": {model.gguf.name: f"sha256:{model.sha256}"}})
        try:
            self._try(tag, fields)
        except RegistryError:
            if fresh:
                with contextlib.suppress(RegistryError):
                    self.client.delete(tag)
            raise
        if held.get(model.version, {}).get("digest") != held.get(LATEST, {}).get("digest", ""):
            self._unload(tag)  # the candidate would otherwise fill memory beside the version in use

    def promote(self, version: str) -> None:
        """Load the version, point `latest` at it, unload the one before, and delete what is older than `keep`.

        Raises:
            VersionMissing: no such tag.
            RegistryError: it cannot be loaded; the old version is still current.
        """
        held = self._held()
        if version == LATEST or version not in held:
            raise VersionMissing(version, [tag for tag in held if tag != LATEST])
        before = self._current(held)
        if before == version:
            return
        if LATEST in held and before is None:
            before = f"{KEPT}{_digest(held[LATEST])[:12]}"
            self.client.copy(self._tag(LATEST), self._tag(before))
        self.client.load(self._tag(version))
        self.client.copy(self._tag(version), self._tag(LATEST))
        write_pointer(self._record, self._noted(before).moved(version))
        if before is not None:
            self._unload(self._tag(before))
        self._prune()

    def current(self) -> str | None:
        """Return the version that `latest` is, None when it is none of them."""
        return self._current(self._held())

    def previous(self) -> list[str]:
        """Return the versions that were current before and are still held, newest first."""
        held = self._held()
        current = self._current(held)
        return [tag for tag in self._noted(current).previous if tag in held]

    def versions(self) -> list[dict[str, Any]]:
        """Return every tag but `latest` as in `versions --json`, newest first."""
        held, judged = self._held(), evaluations_by_version(self._home)
        current = self._current(held)
        rows = []
        for tag, entry in held.items():
            path = self._home / "models" / tag
            known = read_manifest(path) if is_artefact(path) else _told(entry)
            found = row(tag, known, path, judged.get(tag))
            rows.append({**found, "current": tag == current, "registry": self.name})
        return newest_first([entry for entry in rows if entry["version"] != LATEST])

    # -- parts --

    def _tag(self, version: str) -> str:
        if not _TAG.fullmatch(version):
            raise RegistryError(f"{version!r} is no tag that Ollama takes.")
        return f"{self.model}:{version}"

    def _held(self) -> dict[str, dict[str, Any]]:
        """Return the server's entries of this model by tag."""
        entries = ((str(entry.get("name", "")), entry) for entry in self.client.tags())
        return {name.removeprefix(f"{self.model}:"): e for name, e in entries if name.startswith(f"{self.model}:")}

    def _current(self, held: Mapping[str, Mapping[str, Any]]) -> str | None:
        if LATEST not in held:
            return None
        same = [tag for tag in held if tag != LATEST and _digest(held[tag]) == _digest(held[LATEST])]
        noted = read_pointer(self._record).version
        return noted if noted in same else max(same, key=lambda tag: str(held[tag].get("modified_at")), default=None)

    def _noted(self, current: str | None) -> Pointer:
        """Return the noted order of promotions, brought up to `latest` as it is: a crash or a hand may be newer."""
        noted = read_pointer(self._record)
        return noted if current in (None, noted.version) else noted.moved(str(current))

    def _fields(self, model: Model) -> dict[str, Any]:
        """Return what this server is to create; one too old for the GGUF's own template is given the Go template."""
        fields = create_fields(model.manifest.get("modelfile") or {})
        needed, here = str(fields.get("requires") or ""), self.client.version()
        if not _numbers(here) or _numbers(here) >= _numbers(needed):
            return fields
        template = model.manifest.get("go_template")
        if not template:
            raise RegistryError(
                f"The model needs Ollama {needed}; at {self.client.host} runs {here}.",
                "Update Ollama, or use --registry local.",
            )
        return {**{key: value for key, value in fields.items() if key != "requires"}, "template": template}

    def _try(self, tag: str, fields: Mapping[str, Any]) -> None:
        """Load the tag, let it say a few tokens, and compare the template that Ollama chose with the one written."""
        self.client.load(tag)
        answer = self.client.chat(tag, TRIAL, options={"num_predict": TRIAL_TOKENS})
        if not answer.get("done") or not isinstance(answer.get("message"), dict):
            raise RegistryError(f"Ollama loaded {tag!r} and got no answer from it.")
        written = fields.get("template")
        if written is not None and self.client.show(tag).get("template") != written:
            raise RegistryError(
                f"Ollama would ask {tag!r} with another template than the one it was given.",
                "Unset OLLAMA_GO_TEMPLATE, update Ollama, or use --registry local.",
            )

    def _unload(self, tag: str) -> None:
        with contextlib.suppress(RegistryError):  # it leaves memory by itself once its keep_alive has passed
            self.client.unload(tag)

    def _prune(self) -> None:
        """Delete the oldest versions beyond `keep`; never the current one, the one before, or somebody else's tag."""
        current, before = self.current(), self.previous()[:1]
        others = [entry["version"] for entry in self.versions() if entry["version"] != current]
        ours = [tag for tag in others if OURS.fullmatch(tag)]
        ours.sort(key=lambda tag: tag not in before)  # the one before first, then as they are, newest first
        for tag in ours[max(self.keep, 1) :]:
            with contextlib.suppress(RegistryError):  # the promotion is done; the next one tries again
                self.client.delete(self._tag(tag))


def create_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's Modelfile fields as /api/create takes them, which checks neither names nor types.

    Raises:
        RegistryError: a field or a parameter that Ollama does not know, or of the wrong type.
    """
    wrong = [key for key in fields if key not in FIELDS]
    if wrong:
        raise RegistryError(f"The model's manifest has unknown Modelfile fields: {', '.join(map(repr, wrong))}.")
    present = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    if "parameters" in present:
        present["parameters"] = {key: _parameter(key, value) for key, value in present["parameters"].items()}
    return present


def _parameter(key: str, value: Any) -> Any:
    try:
        if key == "stop":
            return [value] if isinstance(value, str) else [str(text) for text in value]
        if key in INTEGERS:
            return int(value)
        if key in NUMBERS:
            return float(value)
        if key in SWITCHES and isinstance(value, bool):
            return value
    except (TypeError, ValueError) as error:
        raise RegistryError(f"The parameter {key!r} of the model's manifest has the wrong type.") from error
    raise RegistryError(f"Ollama knows no parameter {key!r}.")


def _digest(entry: Mapping[str, Any]) -> str:
    return str(entry.get("digest", "")).removeprefix("sha256:")


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Ollama itself says of a tag that this workspace knows nothing of."""
    quant = (entry.get("details") or {}).get("quantization_level")
    return {"created_at": entry.get("modified_at"), "quant": quant}


def _numbers(version: str) -> tuple[int, ...]:
    """Return 0.30.0-rc2 as (0, 30, 0); a development build, 0.0.0, knows everything and is ()."""
    found = tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0])[:3])
    return found if any(found) else ()
