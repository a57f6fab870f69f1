"""Readers of agents' logs: a database or JSONL in, canonical episodes out. What a log lacks is said, not guessed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from lunar_tune.hookspecs import hookimpl
from lunar_tune.seams import FileSource, Source

# The first that recognises a log reads it, so formats whose tables say little stand last.
READERS = (
    "open_webui.source.OpenWebUISource",
    "spans.mlflow.MlflowSource",
    "spans.phoenix.PhoenixSource",
    "opencode.source.OpencodeSource",
    "hermes.source.HermesSource",
    "goose.source.GooseSource",
    "openai_agents.OpenAIAgentsSource",
    "langgraph.source.LangGraphSource",
    "anythingllm.source.AnythingLLMSource",
    "agno.source.AgnoSource",
    "ollama_app.OllamaAppSource",
    "crush.CrushSource",
    "adk.source.AdkSource",
    "flowise.FlowiseSource",
    "langflow.LangflowSource",
    "zed.ZedSource",
    "mastra.MastraSource",
    "llm.source.LlmSource",
    "lunar.source.LunarSource",
    "langchain.LangChainSource",
    "claude_code.source.ClaudeCodeSource",
    "codex.source.CodexSource",
)


@hookimpl
def register_sources(register: Callable[[Source | FileSource], None]) -> None:
    """Register the built-in readers."""
    for reader in READERS:
        module, _, name = reader.rpartition(".")
        register(getattr(import_module(f"lunar_tune.sources.{module}"), name)())
