import json
from dataclasses import replace
from pathlib import Path

import pytest

from lunar_tune.artefacts import Verdict
from lunar_tune.episodes import Attachment, Message, Signal, ToolCall, ToolSpec
from lunar_tune.sources.spans.attributes import Span, kind_of
from lunar_tune.sources.spans.calls import exchange
from lunar_tune.sources.spans.feedback import EVALUATION, Judgement, signal
from lunar_tune.sources.spans.spans import episodes
from lunar_tune.sources.spans.traces import Reading, Trace

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
SPEC = ToolSpec(name="get_weather", description="W", parameters=SCHEMA)
OSLO = ToolCall(name="get_weather", arguments={"city": "Oslo"}, id="c1")
ASKED = Message(role="user", content="Weather?")
SUNNY = Message(role="tool", content="sunny", tool_call_id="c1")
FUNCTION = {"name": "get_weather", "description": "W", "parameters": SCHEMA}
OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


def bodies(request, answer, **attributes):
    return Span(
        id="s1",
        trace="t1",
        place="spans.content=t1/s1",
        kind="CHAT_MODEL",
        attributes={"mlflow.spanInputs": request, "mlflow.spanOutputs": answer, **attributes},
    )


def otel(kind="LLM", events=(), **attributes):
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return Span(id="s1", trace="t1", place="spans.id=1", kind=kind, attributes=named, events=list(events))


def openai_chat():
    request = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL], "function_call": None},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    }
    message = {"role": "assistant", "content": "Sunny.", "tool_calls": None, "reasoning_content": "Easy."}
    answer = {"model": "m-1", "choices": [{"finish_reason": "stop", "index": 0, "message": message}]}
    return bodies(request, answer)


def openai_responses():
    request = {
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        ],
        "tools": [{"type": "function", **FUNCTION}],
    }
    output = [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Easy."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Sunny."}]},
    ]
    return bodies(request, {"id": "resp_1", "model": "m-1", "status": "completed", "output": output})


def anthropic():
    request = {
        "model": "claude",
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Oslo"}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sunny"}]}
                ],
            },
        ],
        "tools": [{"name": "get_weather", "description": "W", "input_schema": SCHEMA}],
    }
    content = [{"type": "thinking", "thinking": "Easy.", "signature": "s"}, {"type": "text", "text": "Sunny."}]
    return bodies(request, {"role": "assistant", "model": "m-1", "content": content, "stop_reason": "end_turn"})


def langchain():
    call = {"name": "get_weather", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}
    request = [
        [
            {"type": "system", "content": "Be brief."},
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "HumanMessage"],
                "kwargs": {"content": "Weather?"},
            },
            {
                "type": "ai",
                "content": [{"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Oslo"}}],
                "tool_calls": [call],
            },
            {"type": "tool", "data": {"content": "sunny", "tool_call_id": "c1", "status": "success"}},
        ]
    ]
    message = {
        "type": "ai",
        "content": [{"type": "reasoning", "reasoning": "", "text": "Easy."}, {"type": "text", "text": "Sunny."}],
        "response_metadata": {"model_name": "m-1", "finish_reason": "stop"},
    }
    answer = {"generations": [[{"text": "Sunny.", "message": message}]], "llm_output": None}
    return bodies(request, answer, **{"mlflow.chat.tools": [{"type": "function", "function": FUNCTION}]})


def gemini():
    nothing = {"function_call": None, "function_response": None, "inline_data": None, "thought": None}
    request = {
        "model": "gemini",
        "contents": [
            "Weather?",
            {
                "role": "model",
                "parts": [
                    {
                        **nothing,
                        "text": None,
                        "function_call": {"id": "c1", "name": "get_weather", "args": {"city": "Oslo"}},
                    }
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        **nothing,
                        "text": None,
                        "function_response": {"id": "c1", "name": "get_weather", "response": {"output": "sunny"}},
                    }
                ],
            },
        ],
        "config": {
            "system_instruction": {"parts": [{**nothing, "text": "Be brief."}]},
            "tools": [
                {
                    "function_declarations": [
                        {
                            "name": "get_weather",
                            "description": "W",
                            "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
                        }
                    ]
                }
            ],
        },
    }
    parts = [{**nothing, "text": "Easy.", "thought": True}, {**nothing, "text": "Sunny."}]
    candidate = {"content": {"role": "model", "parts": parts}, "finish_reason": "STOP"}
    return bodies(request, {"candidates": [candidate], "model_version": "m-1"})


def bedrock():
    request = {
        "modelId": "x",
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Weather?"}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "c1", "name": "get_weather", "input": {"city": "Oslo"}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "sunny"}]}}]},
        ],
        "tools": [{"toolSpec": {"name": "get_weather", "description": "W", "inputSchema": {"json": SCHEMA}}}],
    }
    message = {"role": "assistant", "content": [{"text": "Sunny."}], "reasoning": "Easy."}
    return bodies(request, {"output": {"message": message}, "stopReason": "end_turn", "model": "m-1"})


def openinference_nested():
    """As Phoenix keeps it."""
    messages = [
        {"message": {"role": "system", "content": "Be brief."}},
        {"message": {"role": "user", "contents": [{"message_content": {"type": "text", "text": "Weather?"}}]}},
        {
            "message": {
                "role": "assistant",
                "tool_calls": [{"tool_call": {k: OPENAI_CALL[k] for k in ("id", "function")}}],
            }
        },
        {"message": {"role": "tool", "tool_call_id": "c1", "content": "sunny"}},
    ]
    answer = {
        "message": {
            "role": "assistant",
            "contents": [
                {"message_content": {"type": "reasoning", "text": "Easy."}},
                {"message_content": {"type": "text", "text": "Sunny."}},
            ],
        }
    }
    tools = [{"tool": {"json_schema": json.dumps({"type": "function", "function": FUNCTION})}}]
    llm = {
        "model_name": "m-1",
        "input_messages": messages,
        "output_messages": [answer],
        "tools": tools,
        "finish_reason": "stop",
    }
    return otel(llm=llm, input={"value": "{}"})


def openinference_flat():
    """As OpenTelemetry sends it and MLflow keeps it."""
    said = {
        "llm__input_messages__0__message__role": "system",
        "llm__input_messages__0__message__content": "Be brief.",
        "llm__input_messages__1__message__role": "user",
        "llm__input_messages__1__message__content": "Weather?",
        "llm__input_messages__2__message__role": "assistant",
        "llm__input_messages__2__message__tool_calls__0__tool_call__id": "c1",
        "llm__input_messages__2__message__tool_calls__0__tool_call__function__name": "get_weather",
        "llm__input_messages__2__message__tool_calls__0__tool_call__function__arguments": '{"city": "Oslo"}',
        "llm__input_messages__3__message__role": "tool",
        "llm__input_messages__3__message__content": "sunny",
        "llm__input_messages__3__message__tool_call_id": "c1",
        "llm__output_messages__0__message__role": "assistant",
        "llm__output_messages__0__message__contents__0__message_content__type": "reasoning",
        "llm__output_messages__0__message__contents__0__message_content__text": "Easy.",
        "llm__output_messages__0__message__contents__1__message_content__type": "text",
        "llm__output_messages__0__message__contents__1__message_content__text": "Sunny.",
        "llm__tools__0__tool__json_schema": json.dumps(
            {"name": "get_weather", "description": "W", "input_schema": SCHEMA}
        ),
        "llm__model_name": "m-1",
        "llm__finish_reason": "stop",
    }
    return otel(kind="UNKNOWN", openinference__span__kind="LLM", **said)


def genai_parts():
    given = [
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Oslo"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]},
    ]
    parts = [{"type": "reasoning", "content": "Easy."}, {"type": "text", "content": "Sunny."}]
    return otel(
        kind="",
        gen_ai__operation__name="chat",
        gen_ai__request__model="asked-for",
        gen_ai__response__model="m-1",
        gen_ai__system_instructions=json.dumps([{"type": "text", "content": "Be brief."}]),
        gen_ai__input__messages=json.dumps(given),
        gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts, "finish_reason": "stop"}]),
        gen_ai__tool__definitions=json.dumps([{"type": "function", **FUNCTION}]),
        llm={"input_messages": [{"message": {"role": "user", "content": "a poorer copy"}}]},
    )


def genai_details_event():
    """The same on an event, as structures."""
    span = genai_parts()
    named = {
        name: json.loads(value) for name, value in span.attributes.items() if isinstance(value, str) and value[0] == "["
    }
    kept = {name: value for name, value in span.attributes.items() if name not in named and name != "llm"}
    event = {"name": "gen_ai.client.inference.operation.details", "attributes": named}
    return Span(id="s1", trace="t1", place="", kind="LLM", attributes=kept, events=[event])


def genai_flattened():
    return otel(
        kind="UNKNOWN",
        gen_ai__system="openai",
        gen_ai__response__model="m-1",
        gen_ai__prompt__0__role="system",
        gen_ai__prompt__0__content="Be brief.",
        gen_ai__prompt__1__role="user",
        gen_ai__prompt__1__content=json.dumps([{"type": "text", "text": "Weather?"}]),
        gen_ai__prompt__2__role="assistant",
        gen_ai__prompt__2__tool_calls__0__id="c1",
        gen_ai__prompt__2__tool_calls__0__name="get_weather",
        gen_ai__prompt__2__tool_calls__0__arguments='{"city": "Oslo"}',
        gen_ai__prompt__3__role="tool",
        gen_ai__prompt__3__content="sunny",
        gen_ai__prompt__3__tool_call_id="c1",
        gen_ai__completion__0__role="assistant",
        gen_ai__completion__0__content="Sunny.",
        gen_ai__completion__0__reasoning="Easy.",
        gen_ai__completion__0__finish_reason="stop",
        llm__request__functions__0__name="get_weather",
        llm__request__functions__0__description="W",
        llm__request__functions__0__parameters=json.dumps(SCHEMA),
    )


def genai_events():
    events = [
        {"name": "gen_ai.system.message", "attributes": {"gen_ai.system": "openai", "content": "Be brief."}},
        {"name": "gen_ai.user.message", "attributes": {"content": "Weather?"}},
        {"name": "gen_ai.assistant.message", "attributes": {"tool_calls": json.dumps([OPENAI_CALL])}},
        {"name": "gen_ai.tool.message", "attributes": {"gen_ai.event.content": '{"content": "sunny", "id": "c1"}'}},
        {
            "name": "gen_ai.choice",
            "attributes": {
                "index": 0,
                "finish_reason": "stop",
                "message": json.dumps({"role": "assistant", "content": "<think>Easy.</think>Sunny."}),
            },
        },
    ]
    tools = json.dumps([{"type": "function", **FUNCTION}])
    return otel(events=events, gen_ai__response__model="m-1", gen_ai__tool__definitions=tools)


def genai_content_events():
    """What came before the events by role: all of a request on one event."""
    named = {"gen_ai.prompt": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "tool_calls": [OPENAI_CALL]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
    ]}  # fmt: skip
    answer = [{"role": "assistant", "content": "<think>Easy.</think>Sunny.", "finish_reason": "stop"}]
    events = [
        {"name": "gen_ai.content.prompt", "attributes": {name: json.dumps(value) for name, value in named.items()}},
        {"name": "gen_ai.content.completion", "attributes": {"gen_ai.completion": json.dumps(answer)}},
    ]
    tools = json.dumps([{"type": "function", **FUNCTION}])
    return otel(events=events, gen_ai__response__model="m-1", gen_ai__tool__definitions=tools)


SHAPES = [
    openai_chat,
    openai_responses,
    anthropic,
    langchain,
    gemini,
    bedrock,
    openinference_nested,
    openinference_flat,
    genai_parts,
    genai_details_event,
    genai_flattened,
    genai_events,
    genai_content_events,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_tells_the_same_exchange(shape):
    span = shape()
    assert kind_of(span) in ("LLM", "CHAT_MODEL")
    read = exchange(span)
    assert read.system == "Be brief."
    assert read.tools == (SPEC,)
    user, call, result = read.given
    assert user == ASKED
    assert (call.role, call.content, call.tool_calls, call.error) == ("assistant", "", (OSLO,), None)
    content = '{"output": "sunny"}' if shape is gemini else "sunny"
    assert (result.role, result.content, result.tool_call_id) == ("tool", content, "c1")
    (answer,) = read.said
    assert (answer.role, answer.content, answer.reasoning) == ("assistant", "Sunny.", "Easy.")
    assert (answer.model, answer.finish) == ("m-1", "stop")
    assert read.lost == ()


def test_attachments_keep_type_and_name_and_never_their_data():
    data = "data:image/png;base64,hunter2"
    parts = [
        {"type": "image_url", "image_url": {"url": data}},
        {"type": "input_image", "image_url": "https://x.test/a/cat.jpg?key=hunter2"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "hunter2"}},
        {"type": "file", "file": {"filename": "notes.pdf", "file_data": "hunter2"}},
        {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "hunter2"},
        {"type": "uri", "modality": "image", "uri": "gs://b/dog.png"},
        {"inline_data": {"mime_type": "video/mp4", "data": "hunter2"}, "text": None},
        {"message_content": {"type": "image", "image": {"image": {"url": data}}}},
    ]
    read = exchange(bodies({"messages": [{"role": "user", "content": parts}]}, "A cat."))
    assert read.given[0].attachments == (
        Attachment(type="image/png"),
        Attachment(type="image", name="cat.jpg"),
        Attachment(type="image/gif"),
        Attachment(type="file", name="notes.pdf"),
        Attachment(type="audio/wav"),
        Attachment(type="file", name="dog.png"),
        Attachment(type="video/mp4"),
        Attachment(type="image/png"),
    )
    assert "hunter2" not in repr(read.given)


def test_redacted_messages_are_marked_and_reported():
    hidden = "__REDACTED__"
    messages = [{"role": "user", "content": hidden}]
    read = exchange(
        bodies({"messages": messages}, {"choices": [{"message": {"role": "assistant", "content": hidden}}]})
    )
    assert read.given == (Message(role="user", error="redacted"),)
    assert read.said == ()
    assert read.lost == ("a redacted message",)
    assert exchange(otel(input__value=hidden, output__value=hidden)) is None


def test_what_cannot_be_read_is_told_in_words():
    messages = [
        {"role": "moderator", "content": "hunter2"},
        {"type": "compaction", "encrypted_content": "hunter2"},
        {"type": "item_reference", "id": "hunter2"},
        {"role": "user", "content": [{"type": "hologram", "data": "hunter2"}, 7, "Hello"]},
        9,
        {"role": "assistant", "tool_calls": ["hunter2", {"function": {"name": "a", "arguments": "{broken"}}]},
    ]
    answer = {"choices": [{"message": {"role": "assistant", "content": "Hi"}}, {"message": {"content": "Ho"}}]}
    read = exchange(bodies({"messages": messages, "tools": ["hunter2", {"type": "web_search"}]}, answer))
    assert [m.role for m in read.history] == ["user", "assistant", "assistant"]
    assert read.given[1].tool_calls[0].arguments_raw == "{broken"
    assert set(read.lost) == {
        "a message of unknown role",
        "a compaction summary",
        "an item of unknown type",
        "a part of unknown type",
        "a part that is no object",
        "a message that is no object",
        "a call that is no object",
        "an unreadable tool",
        "another choice of one call",
    }
    assert "hunter2" not in repr((read.history, read.lost, read.tools))


def test_streamed_pieces_are_put_together():
    def piece(finish=None, **delta):
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    function = [{"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": '{"city"'}}]
    more = [{"index": 0, "function": {"arguments": ': "Oslo"}'}}]
    chunks = [piece(role="assistant", content="Let me "), piece(content="see."), piece(tool_calls=function)]
    read = exchange(bodies({"messages": "Weather?"}, [*chunks, piece(tool_calls=more), piece("tool_calls")]))
    assert read.said == (Message(role="assistant", content="Let me see.", tool_calls=(OSLO,), finish="stop"),)


def test_answers_that_were_cut_or_failed():
    cut = exchange(
        bodies(
            {"input": "Hi"},
            {
                "status": "incomplete",
                "output": [
                    {
                        "type": "message",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "We"}],
                        "status": "incomplete",
                    }
                ],
            },
        )
    )
    assert cut.said[0].finish == "length"
    empty = exchange(
        bodies(
            {"messages": "Hi"},
            {"choices": [{"finish_reason": "length", "message": {"role": "assistant", "content": ""}}]},
        )
    )
    assert empty.said == (Message(role="assistant", finish="length"),)


def test_a_mcp_call_is_a_call_and_its_result():
    output = [
        {"type": "mcp_call", "id": "m1", "name": "find", "arguments": "{}", "output": "found"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "There."}]},
    ]
    read = exchange(bodies({"input": "Find it"}, {"output": output}))
    call, result, answer = read.said
    assert call.tool_calls == (ToolCall(name="find", id="m1"),)
    assert (result.content, result.tool_call_id, answer.content) == ("found", "m1", "There.")


# Conversations.


def model_span(key, messages, answer, *, trace="t1", at=1, kind="LLM", parent=None, error=None, **request):
    said = None if answer is None else {"choices": [{"message": {"role": "assistant", **answer}}]}
    return Span(
        id=key,
        trace=trace,
        place=f"spans.id={key}",
        parent=parent,
        kind=kind,
        start=1_790_841_600 + at,
        end=1_790_841_600 + at + 0.5,
        error=error,
        attributes={"mlflow.spanInputs": {"model": "m", "messages": messages, **request}, "mlflow.spanOutputs": said},
    )


def tool_span(key, name, arguments, result, *, at=1, error=None, trace="t1", parent=None):
    start = 1_790_841_600 + at
    attributes = {"mlflow.spanInputs": arguments, "mlflow.spanOutputs": result}
    return Span(
        id=key,
        trace=trace,
        place="",
        parent=parent,
        name=name,
        kind="TOOL",
        start=start,
        end=start + 0.25,
        error=error,
        attributes=attributes,
    )


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


def read(*traces, judgements=(), thread="chat"):
    lost = []
    grouped = [Trace(spans[0].trace, f"traces.id={spans[0].trace}", spans=list(spans)) for spans in traces]
    return list(episodes("x", Path("x.db"), thread, grouped, judgements, lost.append)), lost


def told(episode):
    return [(m.role, m.content) for m in episode.messages]


def test_the_longest_history_of_an_agents_loop_stands_with_every_calls_own_words():
    call = {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "no such city"}
    (episode,), lost = read(
        [
            model_span("a", [user("Weather?")], {**call, "reasoning_content": "Hm."}, at=1),
            tool_span("b", "get_weather", {"city": "Oslo"}, None, at=2, error="no such city"),
            model_span("c", [user("Weather?"), call, result], {"content": "I cannot tell."}, at=3),
        ]
    )
    assert lost == []
    assert (episode.thread, episode.group, episode.model) == ("chat", None, "m")
    asked, called, failed, answer = episode.messages
    assert asked.created_at == "2026-10-01T08:00:01Z"
    assert (called.created_at, called.reasoning, called.model) == ("2026-10-01T08:00:01.500Z", "Hm.", "m")
    assert (failed.created_at, failed.error, failed.name) == ("2026-10-01T08:00:02.250Z", "no such city", "get_weather")
    assert (answer.created_at, answer.content) == ("2026-10-01T08:00:03.500Z", "I cannot tell.")
    assert episode.signals == (Signal(kind="tool_error", message=2),)


def test_a_result_that_no_call_followed_comes_from_the_tools_span():
    call = {"content": None, "tool_calls": [OPENAI_CALL]}
    (episode,), _ = read(
        [model_span("a", [user("Weather?")], call), tool_span("b", "get_weather", {"city": "Oslo"}, "sunny", at=2)]
    )
    last = episode.messages[-1]
    assert (last.role, last.content, last.tool_call_id, last.name) == ("tool", "sunny", "c1", "get_weather")


def test_traces_of_a_session_that_repeat_or_follow_what_came_before():
    first = model_span("a", [user("1")], {"content": "one"}, trace="t1", at=1)
    repeating = model_span("b", [user("1"), said("one"), user("2")], {"content": "two"}, trace="t2", at=2)
    alone = model_span("c", [user("3")], {"content": "three"}, trace="t3", at=3)
    window = model_span("d", [user("3"), said("three"), user("4")], {"content": "four"}, trace="t4", at=4)
    (episode,), lost = read([first], [repeating], [alone], [window])
    words = [
        ("user", n) if n.isdigit() else ("assistant", n) for n in ["1", "one", "2", "two", "3", "three", "4", "four"]
    ]
    assert told(episode) == words
    assert episode.messages[1].created_at == "2026-10-01T08:00:01.500Z"
    assert lost == []


def test_a_regenerated_answer_is_a_line_of_its_own_and_the_first_is_marked():
    traces = [
        [model_span("a", [user("1")], {"content": "one"}, trace="t1", at=1)],
        [model_span("b", [user("1")], {"content": "uno"}, trace="t2", at=2)],
        [model_span("c", [user("1"), said("uno"), user("2")], {"content": "due"}, trace="t3", at=3)],
    ]
    (old, new), _ = read(*traces)
    assert (old.thread, old.group, told(old)) == ("chat#a", "chat", [("user", "1"), ("assistant", "one")])
    assert (new.thread, new.group, len(new.messages)) == ("chat", "chat", 4)
    (undone, _), _ = read(*traces[:2])
    assert old.signals == undone.signals == (Signal(kind="retry", message=1, note="answered again in t2"),)


def test_sub_agents_are_beside_the_conversation():
    outer = {"content": None, "tool_calls": [{"id": "c9", "function": {"name": "ask_expert", "arguments": "{}"}}]}
    result = {"role": "tool", "tool_call_id": "c9", "content": "42"}
    (expert, agent), _ = read(
        [
            model_span("a", [user("Q")], outer, at=1),
            tool_span("b", "ask_expert", {}, "42", at=2, parent="a"),
            model_span(
                "c", [{"role": "system", "content": "Expert."}, user("Sub")], {"content": "42"}, at=3, parent="b"
            ),
            model_span("d", [user("Q"), {"role": "assistant", **outer}, result], {"content": "It is 42."}, at=4),
        ]
    )
    assert (agent.thread, [m.role for m in agent.messages]) == ("chat", ["user", "assistant", "tool", "assistant"])
    assert (expert.thread, expert.system, told(expert)) == ("chat#c", "Expert.", [("user", "Sub"), ("assistant", "42")])
    assert {agent.group, expert.group} == {"chat"}


def test_a_call_that_two_libraries_recorded_is_one():
    (episode,), _ = read(
        [
            model_span("a", [user("newest only")], {"content": "Hello"}, at=1),
            model_span("b", [user("Hi"), said("Hey"), user("newest only")], {"content": "Hello"}, at=1, parent="a"),
        ]
    )
    assert len(episode.messages) == 4


def test_judges_calls_are_left_out_and_reported():
    judge = Span(id="e", trace="t1", place="", kind="EVALUATOR")
    (episode,), lost = read(
        [
            model_span("a", [user("Hi")], {"content": "Hello"}),
            judge,
            model_span("j", [user("Is it good?"), said("x"), user("y")], {"content": "yes"}, parent="e", at=2),
        ]
    )
    assert told(episode) == [("user", "Hi"), ("assistant", "Hello")]
    assert lost == [Verdict("chat", "read", "a judge's call", "spans.id=j")]


def test_failed_calls_stay_unless_they_were_tried_again():
    (episode,), lost = read(
        [
            model_span("a", [user("1")], None, at=1, error="overloaded"),
            model_span("b", [user("1")], {"content": "one"}, at=2),
        ]
    )
    assert told(episode) == [("user", "1"), ("assistant", "one")]
    assert lost == [Verdict("chat", "read", "a failed call that was tried again", "spans.id=a")]
    (episode,), _ = read(
        [model_span("a", [user("1")], None, trace="t1", at=1, error="overloaded")],
        [model_span("b", [user("2")], {"content": "two"}, trace="t2", at=2)],
    )
    assert [(m.role, m.content, m.error, m.finish) for m in episode.messages] == [
        ("user", "1", None, None),
        ("assistant", "", "overloaded", "error"),
        ("user", "2", None, None),
        ("assistant", "two", None, None),
    ]


def test_requests_that_name_what_the_server_keeps():
    def response(key, trace, at, given, output, before=None):
        request = {"input": given, "previous_response_id": before, "instructions": "Be brief."}
        answer = {"id": f"resp_{key}", "output": output, "status": "completed"}
        return Span(
            id=key,
            trace=trace,
            place="",
            kind="LLM",
            start=at,
            end=at,
            attributes={"mlflow.spanInputs": request, "mlflow.spanOutputs": answer},
        )

    call = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Oslo"}'}
    result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}

    def words(text):
        return [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]

    (episode,), _ = read(
        [response("a", "t1", 1, "Weather?", [call]), response("b", "t1", 2, [result], words("Sunny."))],
        [response("c", "t2", 3, "Thanks", words("Sure."), before="resp_b")],
    )
    assert [m.role for m in episode.messages] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert episode.system == "Be brief."


def test_where_no_model_call_was_recorded_the_outermost_messages_stand():
    agent = model_span("a", [user("Hi")], None, kind="AGENT")
    agent.attributes["mlflow.spanOutputs"] = {"messages": [user("Hi"), said("Hello")]}
    chain = model_span("b", [user("inner")], {"content": "x"}, kind="CHAIN", parent="a", at=2)
    (episode,), lost = read([agent, chain])
    assert (told(episode), lost) == ([("user", "Hi"), ("assistant", "Hello")], [])
    bare = Span(id="r", trace="t1", place="", kind="AGENT", attributes={"mlflow.spanInputs": {"q": "Hi"}})
    none, lost = read([bare])
    assert none == []
    assert ("a trace without a readable model call", "traces.id=t1") in {(v.reason, v.detail) for v in lost}


def judgement(**fields):
    return Judgement(**{"trace": "t1", "place": "f=1", "name": "helpful", "who": "HUMAN", "by": "ann", **fields})


@pytest.mark.parametrize(
    ("fields", "kind", "value"),
    [
        ({"value": True}, "rating", 1.0),
        ({"value": False}, "rating", -1.0),
        ({"value": "thumbs-down"}, "rating", -1.0),
        ({"value": "Yes"}, "rating", 1.0),
        ({"value": -1}, "rating", -1.0),
        ({"value": 4}, "annotation", 4.0),
        ({"value": 0}, "annotation", 0.0),
        ({"value": "formal"}, "annotation", "formal"),
        ({"value": True, "name": "is_toxic"}, "annotation", "true"),
        ({"value": True, "who": "LLM_JUDGE"}, "annotation", "true"),
        ({"value": 0.5, "who": "CODE"}, "annotation", 0.5),
        ({"value": {"answer": "x"}, "feedback": False}, "annotation", '{"answer": "x"}'),
        ({"value": True, "feedback": False}, "annotation", "true"),
        ({"value": None}, "annotation", None),
    ],
)
def test_only_a_persons_thumbs_are_a_rating(fields, kind, value):
    found = signal(judgement(**fields))
    assert (found.kind, found.value) == (kind, value)


def test_events_of_evaluations_are_annotations_of_the_span_that_has_them():
    named = {"name": "relevance", "score.value": 0.25, "score.label": "low", "explanation": "beside the point"}
    event = {"name": EVALUATION, "attributes": {f"gen_ai.evaluation.{key}": value for key, value in named.items()}}
    bare = {"name": EVALUATION, "attributes": {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 1}}
    span = replace(model_span("a", [user("Hi")], {"content": "Hello"}), events=[event, bare, 3, {"name": EVALUATION}])
    (episode,), lost = read([span])
    assert episode.signals == (
        Signal(kind="annotation", value="low", message=1, note="EVALUATION: relevance. score 0.25. beside the point"),
        Signal(kind="annotation", value=1.0, message=1, note="EVALUATION: tone"),
        Signal(kind="annotation", message=1, note="EVALUATION: "),
    )
    assert lost == []


def test_a_judges_span_may_come_after_its_calls():
    call = model_span("j", [user("Good?")], {"content": "yes"}, parent="e", at=2)
    judge = Span(id="e", trace="t1", place="", kind="EVALUATOR")
    (episode,), lost = read([model_span("a", [user("Hi")], {"content": "Hello"}), call, judge])
    assert told(episode) == [("user", "Hi"), ("assistant", "Hello")]
    assert lost == [Verdict("chat", "read", "a judge's call", "spans.id=j")]


def test_a_long_loop_holds_each_message_once():
    """Every call of the loop repeats all that came before, in texts of their own."""
    history, spans = [], []
    for n in range(30):
        history.append(user(f"{n}: " + "x" * 50))
        spans.append(model_span(f"s{n}", json.loads(json.dumps(history)), {"content": str(n)}, at=n))
        history.append(said(str(n)))
    reading = Reading()
    calls, _ = reading.calls(Trace("t1", "", spans=spans), {})
    firsts = {id(call.exchange.given[0]) for call in calls}
    assert (len(calls), len(firsts), len(calls[-1].exchange.history)) == (30, 1, 60)


def test_judgements_find_their_message():
    traces = [
        [model_span("a", [user("1")], {"content": "one"}, trace="t1", at=1)],
        [model_span("b", [user("1"), said("one"), user("2")], {"content": "two"}, trace="t2", at=2)],
    ]
    (episode,), lost = read(
        *traces,
        judgements=[
            judgement(value=True, rationale="Short."),
            judgement(trace="t2", span="b", value=False),
            judgement(trace=None, value="calm", who="LLM"),
            judgement(trace="t7", value=True),
        ],
    )
    assert episode.signals == (
        Signal(kind="annotation", value="calm", note="LLM ann: helpful"),
        Signal(kind="rating", value=1.0, message=1, note="HUMAN ann: helpful. Short."),
        Signal(kind="rating", value=-1.0, message=3, note="HUMAN ann: helpful"),
    )
    assert lost == [Verdict("chat", "read", "feedback on a trace without a conversation", "f=1")]


def test_spans_that_are_in_each_other_in_a_ring_end_the_way_up():
    ring = [
        model_span("a", [user("Hi")], {"content": "Hello"}, parent="b"),
        model_span("b", [user("Hi")], {"content": "Hello"}, parent="a"),
    ]
    found, lost = read(ring)
    assert len(found) + len(lost) > 0


@pytest.mark.parametrize("depth", [50, 300, 600, 900, 980])
def test_nesting_never_ends_the_reading(depth):
    deep: object = "x"
    for _ in range(depth):
        deep = [deep]
    function = {"name": "f", "arguments": {"deep": deep}}
    calls = {"content": None, "tool_calls": [{"id": "c", "function": function}]}
    found, lost = read(
        [model_span("a", [{"role": "user", "content": deep}], calls), tool_span("b", "f", {"deep": deep}, deep)],
        judgements=[judgement(value=deep)],
    )
    assert len(found) + len(lost) > 0
