"""Requests in OpenAI's chat shape, checked before any work; refusals in OpenAI's error shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")

SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "presence_penalty",
    "frequency_penalty", "seed", "logit_bias",
)  # fmt: skip
"""What a request may say of how words are chosen, passed on as it is."""


class Refusal(Exception):
    """A request that is not answered: HTTP status, sentence, OpenAI's type and code, and the field at fault."""

    def __init__(
        self, status: int, message: str, kind: str = "invalid_request_error", code: str | None = None, param: str = ""
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param

    def document(self) -> dict[str, Any]:
        """Return the body of the refusal."""
        error = {"message": self.message, "type": self.kind, "param": self.param or None, "code": self.code}
        return {"error": error}


def read_request(raw: bytes) -> dict[str, Any]:
    """Return a chat request, checked as far as our own code relies on it; the worker checks the rest.

    Raises:
        Refusal: status 400; the message names the field.
    """
    request = _parse(raw)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        _refuse("messages", "must be a list of at least one message")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    tools = request.get("tools")
    if tools is not None and not isinstance(tools, list):
        _refuse("tools", "must be a list")
    for index, tool in enumerate(tools or ()):
        _check_function(tool, f"tools[{index}]")
    for name in ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"):
        value = request.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            _refuse(name, "must be a number")
    if request.get("n") not in (None, 1):
        _refuse("n", "must be 1: one answer a request")
    if not isinstance(request.get("stream", False), bool | None):
        _refuse("stream", "must be true or false")
    if not isinstance(request.get("model", ""), str | None):
        _refuse("model", "must be a text")
    if not isinstance(request.get("chat_template_kwargs", {}), dict):
        _refuse("chat_template_kwargs", "must be an object")
    stops = request.get("stop")
    stops = [] if stops is None else [stops] if isinstance(stops, str) else stops
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        _refuse("stop", "must be a text or a list of texts")
    return {**request, "stop": stops}


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        request = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON.") from None
    if not isinstance(request, dict):
        raise Refusal(400, "The body is not a JSON object.")
    text = json.dumps(request, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # an unpaired surrogate, which no server takes: it becomes U+FFFD
        repaired: dict[str, Any] = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        return repaired
    return request


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        _refuse(where, "must be an object")
    if message.get("role") not in ROLES:
        _refuse(f"{where}.role", f"must be one of {', '.join(ROLES)}")
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                _refuse(f"{where}.content[{index}]", 'must be {"type": "text", "text": …}: this model reads text only')
    elif content is not None and not isinstance(content, str):
        _refuse(f"{where}.content", "must be a text, a list of text parts or null")
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        _refuse(f"{where}.tool_calls", "must be a list")
    for index, call in enumerate(calls or ()):
        _check_function(call, f"{where}.tool_calls[{index}]")


def _check_function(value: Any, where: str) -> None:
    """Check the envelope that tools and calls share."""
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        _refuse(where, 'must be {"type": "function", "function": {"name": …}}')
    if not isinstance(function.get("parameters"), Mapping | None):
        _refuse(f"{where}.function.parameters", "must be a JSON schema")


def _refuse(param: str, what: str) -> NoReturn:
    raise Refusal(400, f"{param} {what}.", param=param)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
