import pytest
from real_logs import changed, read, signals, stamps, told

pytest.importorskip("langgraph.checkpoint.sqlite", reason="langgraph-checkpoint-sqlite is not installed")

from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
)
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from lunar_tune.sources.langgraph.source import LangGraphSource

pytestmark = pytest.mark.real


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return {"Oslo": "rain", "Rome": "sun"}[city]


def call(key, city):
    return {"name": "weather", "args": {"city": city}, "id": key, "type": "tool_call"}


def answer(text, *calls):
    about = {"model_name": "tiny-1", "finish_reason": "tool_calls" if calls else "stop"}
    return AIMessage(text, tool_calls=list(calls), response_metadata=about)


def agent(saver, *answers):
    """A graph of a scripted model and its tools; an exception among the answers is raised."""
    waiting = list(answers)

    def model(state):
        said = waiting.pop(0)
        if isinstance(said, Exception):
            raise said
        return {"messages": [said]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([weather], handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=saver)


def on(thread):
    return {"configurable": {"thread_id": thread}}


def say(graph, thread, *messages):
    return graph.invoke({"messages": list(messages)}, on(thread))


def write(path):
    """A thread whose second answer is given anew; one that forgets its beginning; one whose model fails."""
    with SqliteSaver.from_conn_string(str(path)) as saver:
        graph = agent(
            saver,
            answer("I look it up.", call("c1", "Oslo"), call("c2", "Rome")),
            answer("Rain in Oslo, sun in Rome."),
            answer("No idea."),
            answer("The same."),
        )
        say(graph, "t1", SystemMessage("Be brief."), HumanMessage("Weather in Oslo and Rome?"))
        say(graph, "t1", HumanMessage("And tomorrow?"))
        history = list(graph.get_state_history(on("t1")))
        before = next(state for state in history if state.next == ("model",))  # the newest with the model still to come
        graph.invoke(None, before.config)

        blocks = AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A moment."}])
        blocks.tool_calls = [call("c3", "Atlantis")]
        graph = agent(saver, blocks, answer("There is none."), answer("Bye!"))
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        state = say(graph, "t2", HumanMessage([{"type": "text", "text": "And there?"}, picture]))
        graph.update_state(on("t2"), {"messages": [RemoveMessage(id=m.id) for m in state["messages"][:3]]})
        say(graph, "t2", HumanMessage("Bye"))

        graph = agent(saver, ConnectionError("no route"))
        with pytest.raises(ConnectionError):
            say(graph, "t3", HumanMessage("Are you there?"))


TURN = [
    ("user", "Weather in Oslo and Rome?"),
    ("assistant", "I look it up.", [("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})]),
    ("tool", "rain", ("weather", {"city": "Oslo"})),
    ("tool", "sun", ("weather", {"city": "Rome"})),
    ("assistant", "Rain in Oslo, sun in Rome."),
    ("user", "And tomorrow?"),
]


def test_what_langgraph_writes_is_read_whole(tmp_path):
    path = tmp_path / "checkpoints.db"
    write(path)
    episodes, lost = read(path, LangGraphSource())
    assert lost == []
    (branch,) = set(episodes) - {"t1", "t2", "t3"}
    assert branch.startswith("t1#")

    assert told(episodes["t1"]) == [*TURN, ("assistant", "The same.")]
    assert told(episodes[branch]) == [*TURN, ("assistant", "No idea.")]
    for name in ("t1", branch):
        assert (episodes[name].system, episodes[name].model, episodes[name].group) == ("Be brief.", "tiny-1", "t1")
        assert all(message.created_at for message in episodes[name].messages)
        assert episodes[name].messages[-1].finish == "stop"
    assert signals(episodes["t1"]) == []
    assert signals(episodes[branch]) == [("retry", None, 6)]

    told_all = told(episodes["t2"])
    failed = episodes["t2"].messages[2]
    assert "no such city" in (failed.error or "")
    assert told_all == [
        ("user", "And there?"),
        ("assistant", "A moment.", [("weather", {"city": "Atlantis"})]),
        ("tool", failed.content, ("weather", {"city": "Atlantis"})),
        ("assistant", "There is none."),
        ("user", "Bye"),
        ("assistant", "Bye!"),
    ]
    assert len(episodes["t2"].messages[0].attachments) == 1
    assert episodes["t2"].messages[1].reasoning == "Hm."
    assert signals(episodes["t2"]) == [("tool_error", None, 2)]

    assert told(episodes["t3"]) == [("user", "Are you there?"), ("assistant", "")]
    assert episodes["t3"].messages[1].finish == "error"
    assert "no route" in episodes["t3"].messages[1].error


def test_a_turn_changes_the_stamp_of_its_thread_only(tmp_path):
    path = tmp_path / "checkpoints.db"
    write(path)
    before = stamps(path, LangGraphSource())
    with SqliteSaver.from_conn_string(str(path)) as saver:
        say(agent(saver, answer("Hello!")), "t2", HumanMessage("Hi"))
    assert changed(before, stamps(path, LangGraphSource())) == {"t2"}
