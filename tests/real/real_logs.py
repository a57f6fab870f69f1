"""Reading a log as the program does, and the short form that expectations are written in."""

from lunar_tune.sources.base import owner
from lunar_tune.sources.log import open_log


def read(path, source):
    """Return (episodes by thread, what was lost); every thread read by itself gives the same."""
    lost = []
    with open_log(path, [source]) as log:
        found = list(log.read(lost.append))
        for thread in log.threads:
            alone = list(log.read(lambda verdict: None, {thread}))
            assert alone == [episode for episode in found if owner(episode, log.threads) == thread]
    episodes = {episode.thread: episode for episode in found}
    assert len(episodes) == len(found)
    return episodes, [(verdict.id, verdict.reason) for verdict in lost]


def stamps(path, source):
    with open_log(path, [source]) as log:
        return dict(log.threads)


def changed(before, after):
    """Return the threads that are new or whose stamps differ."""
    return {thread for thread, stamp in after.items() if before.get(thread) != stamp}


def told(episode):
    """Return the messages as (role, text, calls), a result as (tool, text, name and arguments of its call)."""
    calls, lines = {}, []
    for message in episode.messages:
        made = [(call.name, call.arguments) for call in message.tool_calls]
        calls.update(zip([call.id for call in message.tool_calls], made, strict=True))
        line = [message.role, message.content]
        if made:
            line.append(made)
        if message.role == "tool":
            line.append(calls.get(message.tool_call_id, "answers no call"))
        lines.append(tuple(line))
    return lines


def signals(episode):
    return [(signal.kind, signal.value, signal.message) for signal in episode.signals]
