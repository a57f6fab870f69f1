"""Conversations of a household agent with planted cousins, for bench_leak: which rows are the same task is known.

Every intent has several wordings that people might choose. A row is an intent, one of its wordings and values; a cousin
has the same values in another wording, order, case, spelling or wrapping, with the answer retold; a decoy has the same
wording and other values, and is no cousin.
"""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lunar_tune.artefacts import Draft
from lunar_tune.episodes import Episode, Message, ToolCall

FIRST = """Amara Beatrix Caspian Delphine Emeka Farida Gideon Henrike Ignatius Jocasta Kenji Leocadia Marguerite Nnamdi
Octavia Percival Quentin Rosalind Sigrun Thaddeus Ulrike Valentina Wendelin Xiomara Yevgenia Zbigniew Anselm Brunhilde
Cordelia Dmitri""".split()  # noqa: SIM905
LAST = """Abernathy Brockhaus Castellano Dragomir Eriksen Fitzwilliam Goldberg Hallorann Ivanova Jaramillo Kowalczyk
Lindqvist Montague Nakamura Okonkwo Pettersson Quiroga Rasmussen Santamaria Thistlewood Umarov Vandermeer Whitcombe
Yamaguchi Zimmermann""".split()  # noqa: SIM905
ADJECTIVES = """copper velvet antique folding ceramic waterproof embroidered wooden magnetic inflatable striped marble
cordless vintage leather quilted enamel wicker bronze transparent""".split()  # noqa: SIM905
NOUNS = """kettle armchair telescope bicycle tablecloth barometer typewriter wheelbarrow accordion birdcage hammock
saucepan chandelier rucksack compass thermos bookcase lantern trombone umbrella skateboard microscope footstool
suitcase greenhouse""".split()  # noqa: SIM905
PLACES = """Reykjavik Ljubljana Marrakesh Valparaiso Tashkent Edinburgh Cartagena Nagasaki Thessaloniki Winnipeg
Casablanca Gothenburg Montevideo Samarkand Trondheim Antananarivo Brisbane Heidelberg Kathmandu Salamanca""".split()  # noqa: SIM905
DISHES = """goulash ratatouille moussaka pierogi paella bouillabaisse shakshuka gnocchi tagine ceviche risotto
stroganoff""".split()  # noqa: SIM905
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905
ANSWERS = (
    "That is done: {gist}. Tell me if anything about it should be different.",
    "All set. {gist}, and I have made a note of it for later.",
    "I took care of it, {gist}. Is there more that I can do today?",
)
INTENTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "send_message": (
        "{person} knows about the {item} that waits in {place} until {day}",
        "to person,text item",
        (
            "Write to {person} that the {item} can be fetched in {place} until {day}.",
            "Let {person} know: until {day} the {item} can be picked up in {place}.",
            "Could you message {person}? The {item} is ready for collection in {place}, by {day} at the latest.",
            "tell {person} the {item} is waiting in {place} and has to be gone after {day}",
        ),
    ),
    "find_order": (
        "order {code} with the {item} left {place} and should arrive on {day}",
        "number code",
        (
            "Where is order {code}? The {item} was sent from {place} and should have come on {day}.",
            "My {item} from {place} has not arrived, it was due on {day}; please look up order {code}.",
            "Track {code} for me, that is the {item} that {place} shipped and promised for {day}.",
            "I am still waiting for the {item} ({code}), {place} said {day}. What happened to it?",
        ),
    ),
    "book_table": (
        "a table in {place} for {number} on {day} is booked under {person} with {dish} for all",
        "place place,people number,day day",
        (
            "Book a table for {number} in {place} on {day} in the name of {person}; we all want {dish}.",
            "We would like to eat {dish} on {day}, {number} of us, in {place}. Reserve under {person}.",
            "Get {person} a reservation in {place} for {day}, party of {number}, and say that everybody has {dish}.",
            "On {day} {person} invites {number} people to {dish} in {place}: please arrange the table.",
        ),
    ),
    "save_note": (
        "the note says that {person} lends you the {item} for {place} from {day} on",
        "text item,who person",
        (
            "Remember that {person} lends me the {item} for the trip to {place}, from {day} on.",
            "Note: from {day} I may use the {item} of {person} on my journey to {place}.",
            "Please write down that the {item} which I take to {place} on {day} belongs to {person}.",
            "keep in mind, {person}'s {item} comes with me to {place} starting {day}",
        ),
    ),
    "set_reminder": (
        "you will be reminded on {day} to ask {person} about the {item} and the {dish}",
        "text item,day day",
        (
            "Remind me on {day} to ask {person} whether the {item} is repaired and who brings the {dish}.",
            "On {day} I must not forget to talk to {person} about the repaired {item} and about bringing {dish}.",
            "I want a nudge on {day}: call {person}, {item} repair, plus the question who makes the {dish}.",
            "Set something for {day} so that I speak with {person} on the {item} being mended and the {dish}.",
        ),
    ),
    "": (
        "take the {item}, pack light for {place}, and ask {person} about {dish} there in {number} days",
        "",
        (
            "What should I know before I carry a {item} to {place} for {number} days to cook {dish} with {person}?",
            "I travel to {place} with {person} for {number} days to make {dish}, and we bring a {item}. Any advice?",
            "Any tips for {number} days in {place}? {person} and I plan on cooking {dish} and own only a {item}.",
            "Give me advice on cooking {dish} in {place}: {number} days, {person} comes too, and we have one {item}.",
        ),
    ),
}
WRAPPERS = (
    "{}", "Hello! {}", "{} Thanks a lot!", "Hi there, I hope you are well. {}", "{} Whenever you have a moment.",
    "Sorry to bother you again, but: {}", "Quick one. {} Much appreciated.",
)  # fmt: skip
SYNONYMS = {
    "please": "kindly", "fetched": "collected", "ready": "prepared", "journey": "trip", "Book": "Reserve",
    "arrange": "organise", "look up": "check", "people": "guests", "advice": "suggestions", "tips": "hints",
    "Remember": "Keep in mind", "brings": "takes along", "waiting": "standing ready", "promised": "announced",
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What makes a task: its intent and values."""

    intent: str
    values: tuple[tuple[str, str], ...]

    def say(self, wording: int) -> str:
        wordings = INTENTS[self.intent][2]
        return wordings[wording % len(wordings)].format_map(dict(self.values))


def task(chance: random.Random) -> Task:
    values = {
        "person": f"{chance.choice(FIRST)} {chance.choice(LAST)}",
        "item": f"{chance.choice(ADJECTIVES)} {chance.choice(NOUNS)}",
        "place": chance.choice(PLACES),
        "dish": chance.choice(DISHES),
        "day": f"{chance.choice(DAYS)} the {chance.randint(1, 28)}th",
        "number": str(chance.randint(2, 30)),
        "code": f"{chance.choice('ABCDEF')}{chance.choice('KLMNP')}-{chance.randrange(10**5):05}",
    }
    return Task(chance.choice(list(INTENTS)), tuple(values.items()))


def exchange(one: Task, wording: int, telling: int, moment: str) -> list[Message]:
    """Return request, call with its result, and answer."""
    values = dict(one.values)
    gist, shape, _ = INTENTS[one.intent]
    said = [Message(role="user", content=one.say(wording), created_at=moment)]
    if one.intent:
        given = dict(pair.split(" ") for pair in shape.split(","))
        call = ToolCall(id="c", name=one.intent, arguments={key: values[name] for key, name in given.items()})
        said.append(Message(role="assistant", tool_calls=(call,), created_at=moment))
        said.append(Message(role="tool", content='{"ok": true}', tool_call_id="c", name=one.intent, created_at=moment))
    answer = ANSWERS[telling % len(ANSWERS)].format(gist=gist.format_map(values))
    return [*said, Message(role="assistant", content=answer, created_at=moment)]


def passage(chance: random.Random) -> str:
    """Return a text that stands nowhere else."""
    return " ".join(f"{chance.choice(ADJECTIVES)} {chance.choice(LAST)} {chance.choice(NOUNS)}" for _ in range(8))


def misspelt(text: str, chance: random.Random) -> str:
    """Return the text with one letter wrong in every ninth word or so."""
    words = text.split(" ")
    for place in chance.sample(range(len(words)), max(1, len(words) // 9)):
        word = words[place]
        if len(word) > 5 and word.isalpha():
            at = chance.randrange(1, len(word) - 2)
            before, one, after = word[:at], word[at], word[at + 1 :]
            words[place] = chance.choice(
                (before + after, before + after[0] + one + after[1:], before + one + one + after)
            )
    return " ".join(words)


def synonyms(text: str) -> str:
    for word, other in SYNONYMS.items():
        text = text.replace(word, other)
    return text


def clauses(text: str, chance: random.Random) -> str:
    """Return the clauses of a text in another order."""
    parts = [part.strip(" .?!:") for part in text.replace(";", ",").replace(":", ",").split(",")]
    if len(parts) < 2:
        half = len(words := text.strip(".?!").split(" ")) // 2
        return " ".join(words[half:] + words[:half])
    chance.shuffle(parts)
    return ", ".join(parts)


QUOTED = " As the manual says: "
KINDS = ("copy", "fork", "wording", "order", "synonyms", "polite", "case", "typos", "inside", "passage")


def cousin(one: Task, said: list[Message], kind: str, chance: random.Random, moment: str) -> list[Message]:
    """Return a cousin of a conversation, of a kind."""
    told = chance.randrange(3)
    if kind in ("copy", "fork"):
        return [replace(message, created_at=moment) for message in said]
    if kind == "inside":  # as the second thing that is asked in a conversation about something else
        return [*exchange(task(chance), 0, told, moment), *exchange(one, 0, told, moment)]
    if kind == "wording":
        return exchange(one, chance.randint(1, 3), told, moment)
    if kind == "passage":  # another request, the same quotation in the answer
        other = exchange(task(chance), 0, told, moment)
        return [*other[:-1], replace(other[-1], content=f"{other[-1].content} {said[-1].content.partition(QUOTED)[2]}")]
    made = exchange(one, 0, told, moment)
    change = {
        "order": lambda text: clauses(text, chance),
        "synonyms": synonyms,
        "polite": lambda text: chance.choice(WRAPPERS[1:]).format(text),
        "case": lambda text: text.upper() if chance.random() < 0.5 else text.lower().replace(".", ""),
        "typos": lambda text: misspelt(text, chance),
    }[kind]
    made[0] = replace(made[0], content=change(made[0].content))
    return made


def corpus(rows: int, seed: int = 0) -> tuple[list[Draft], list[tuple[int, int, str]]]:
    """Return drafts, oldest first, and the planted pairs (indices, kind): a third of the rows are cousins."""
    chance = random.Random(seed)
    entries: list[tuple[datetime, str, str | None, list[Message], int, str]] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    number = rows * 3 // 4
    for index in range(number):
        one, when = task(chance), start + timedelta(minutes=chance.randrange(300 * 1440))
        moment = when.strftime("%Y-%m-%dT%H:%M:%SZ")
        said = exchange(one, 0 if index % 3 == 0 else chance.randrange(4), chance.randrange(3), moment)
        entries.append((when, f"t{index}", None, said, index, ""))
        if index % 3 == 0:
            kind = KINDS[index // 3 % len(KINDS)]
            if kind == "passage":
                said[-1] = replace(said[-1], content=said[-1].content + QUOTED + passage(chance))
            when = start + timedelta(minutes=chance.randrange(300 * 1440))
            moment = when.strftime("%Y-%m-%dT%H:%M:%SZ")
            made = cousin(one, said, kind, chance, moment)
            if kind == "fork":
                made = [*made, *exchange(task(chance), 0, 0, moment)]
            entries.append((when, f"t{index}-c", f"t{index}" if kind == "fork" else None, made, index, kind))
    entries.sort(key=lambda entry: entry[:2])
    drafts, place, planted = [], {}, []
    for at, (when, thread, group, said, index, kind) in enumerate(entries):
        moment = when.strftime("%Y-%m-%dT%H:%M:%SZ")
        episode = Episode(
            source="bench", path="log.db", thread=thread, messages=tuple(said), started_at=moment, group=group
        )
        weights = tuple(int(message.role == "assistant") for message in said)
        drafts.append(Draft(episode, weights, episode.id))
        place.setdefault(index, []).append((at, kind))
    for found in place.values():
        if len(found) == 2:
            (a, first), (b, second) = found
            planted.append((a, b, first or second))
    return drafts, planted
