import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.curate.marks import start
from lunar_tune.curate.redact import Redact, Secrets, safe_name
from lunar_tune.curate.secrets import key_kind, shapes
from lunar_tune.episodes import Attachment, Episode, Message, Signal, ToolCall, ToolSpec, to_dict

SECRETS = json.loads((Path(__file__).parents[2] / "fixtures" / "lunar_secrets.json").read_text(encoding="utf-8"))

HARMLESS = [
    "Order LX-4821 ships on 2026-10-31 at 18:30:00.",
    "max_tokens=256, temperature=0.7, 1234 tokens",
    "password = os.environ['DB_PASSWORD']",
    "def login(user, password: str, token: Optional[str] = None) -> None:",
    "token = get_token(); self.token = token",
    "The secret: patience. The secret is out! My favourite word is secret.",
    "commit cdad6e3f456ead1005b349db2665bde55739a336",
    "id 98a5a87a-7714-b404-9f8a-27ab12345678 and ISBN 978-3-16-148410-0",
    "192.168.0.1 and 10.0.0.255:8080, lat 52.520008, lon 13.404954",
    "x = a +1234567, at 1700000000, call 112 or 911, 12,345,678.90 EUR",
    "git@github.com:org/repo.git and git+https://github.com/x/y@v1.2.3",
    "@app.get('/x') foo@2x.png left-pad@1.3.0",
    'const api_key = process.env.API_KEY; api_key="YOUR_API_KEY"',
    'headers = {"Authorization": f"Bearer {token}"}; Use Bearer authentication',
    "sk-learn-pipeline-for-everyone, pk_customersordersindex, hf_transformers_something_long",
    "the odd token is <|eot_id|>",
    "if password == confirm_password: return",
    "login(name, password=secretValue, token=token)",
    "GET /users?page=2&page_token=abc",
    "No, my password is wrong. The API key is missing.",
]

SECRET = [
    ("my password is justforkicks123", "justforkicks123"),
    ("password: hunter2", "hunter2"),
    ("the wifi is password=sunshine.", "sunshine"),
    ("password=FAKEhelmxYOPTcgc", "FAKEhelmxYOPTcgc"),
    ("DB_PASSWORD=supersecret", "supersecret"),
    ('{"password": "sunshine"}', "sunshine"),
    ("the new password should be Tr0ub4dor&3.", "Tr0ub4dor&3"),
    ("my pin is 4711", "4711"),
    ("The verification code is 982003.", "982003"),
    ("call me at (415) 555-2671", "(415) 555-2671"),
    ("+49 171 2345678", "+49 171 2345678"),
    ("020 7946 0958", "020 7946 0958"),
    ("a.b+c@mail.example.co.uk", "a.b+c@mail.example.co.uk"),
    ("mongodb+srv://u:p%40ssword@c.mongodb.net", "p%40ssword"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("https://x.example/cb?token=ab12cd34ef&x=1", "ab12cd34ef"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\nAAAA", "b3BlbnNz"),
]


def redacted(*messages, **more):
    episode = Episode(source="s", path="p", thread="t", messages=messages, **more)
    secrets = Secrets()
    secrets.search(episode)
    return secrets.redact(episode)


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_and_code_stay(text):
    assert redacted(Message(role="user", content=text)).messages[0].content == text


@pytest.mark.parametrize(("text", "secret"), SECRET)
def test_secrets_go(text, secret):
    said = redacted(Message(role="user", content=f"Look: {text} - there")).messages[0].content
    assert secret not in said
    assert said.startswith("Look: ")
    assert "_1>" in said


def test_every_secret_of_the_fixture_is_gone(fixture_episodes):
    redact = Redact()
    lines = [json.dumps(to_dict(d.episode), ensure_ascii=False) for d in redact(map(start, fixture_episodes), print)]
    text = "\n".join(lines)
    survivors = [s["kind"] for s in SECRETS if s["value"] in text or json.dumps(s["value"])[1:-1] in text]
    assert survivors == []
    assert redact.counts.total() >= len({s["value"] for s in SECRETS if s["kind"] != "private_key_line"})


def test_what_is_redacted_in_the_fixture_is_a_planted_secret(fixture_episodes):
    planted = "\n".join(s["value"] for s in SECRETS)
    for episode in fixture_episodes:
        secrets = Secrets()
        secrets.search(episode)
        assert all(value in planted or json.loads(f'"{value}"') in planted for value in secrets.placeholders)


def test_a_value_has_one_placeholder_throughout_so_calls_match_the_words():
    call = ToolCall(name="send", arguments={"to": "ola@example.com", "list": [{"cc": "OLA@example.com"}]})
    episode = redacted(
        Message(role="user", content="Write to ola@example.com, not to per@example.com"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content='{"sent": "ola@example.com"}'),
    )
    assert episode.messages[0].content == "Write to <EMAIL_1>, not to <EMAIL_2>"
    assert episode.messages[1].tool_calls[0].arguments == {"to": "<EMAIL_1>", "list": [{"cc": "<EMAIL_1>"}]}
    assert episode.messages[2].content == '{"sent": "<EMAIL_1>"}'


def test_a_key_marks_its_value_everywhere_in_the_conversation():
    call = ToolCall(name="login", arguments={"username": "ann", "newPassword": "sunshine"})
    episode = redacted(
        Message(role="user", content="Make it sunshine, like sunshines"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content='{"session_token":"98a5-b404","pin":1234,"otp":"12","name":"Ann"}'),
        Message(role="assistant", content="Set to sunshine; session 98a5-b404, pin 1234."),
    )
    assert episode.messages[0].content == "Make it <PASSWORD_1>, like sunshines"
    assert episode.messages[1].tool_calls[0].arguments == {"username": "ann", "newPassword": "<PASSWORD_1>"}
    assert json.loads(episode.messages[2].content) == {
        "session_token": "<TOKEN_1>", "pin": "<PASSWORD_2>", "otp": "<CODE_1>", "name": "Ann",
    }  # fmt: skip
    assert episode.messages[3].content == "Set to <PASSWORD_1>; session <TOKEN_1>, pin <PASSWORD_2>."


def test_every_string_is_searched():
    mail = "ann@example.com"
    schema = {"type": "object", "properties": {"to": {"enum": [mail]}, "password": {"type": "string"}}}
    episode = redacted(
        Message(role="user", content="Hi", attachments=(Attachment(type="pdf", name=f"{mail}.pdf"),)),
        Message(role="assistant", content=mail, reasoning=mail, error=mail),
        Message(
            role="assistant",
            tool_calls=(ToolCall(name="t", id=mail, arguments={mail: [mail]}, arguments_raw=mail, error=mail),),
        ),
        Message(role="tool", content=mail, name=mail, tool_call_id=mail),
        system=mail,
        tools=(ToolSpec(name="t", description=mail, parameters=schema),),
        signals=(Signal(kind="annotation", value=mail, note=mail),),
        group=mail,
    )
    assert mail not in json.dumps(to_dict(episode))
    assert episode.tools[0].parameters["properties"]["password"] == {"type": "string"}


def test_escapes_in_json_text_hide_nothing():
    result = json.dumps({"password": 'pä"ss\\wört'})
    episode = redacted(
        Message(role="tool", content=result), Message(role="assistant", content='It is pä"ss\\wört, you know')
    )
    assert json.loads(episode.messages[0].content) == {"password": "<PASSWORD_1>"}
    assert episode.messages[1].content == "It is <PASSWORD_1>, you know"


def test_a_thread_named_after_an_address_gets_a_content_id():
    assert safe_name("lun-0001") == "lun-0001"
    assert safe_name("ann@example.com").startswith("thread-")
    assert safe_name("ann@example.com") != safe_name("bob@example.com")


@pytest.mark.parametrize(
    "key", ["password", "new_password", "sessionToken", "API-Key", "client_secret", "userEmail", "phone_number"]
)
def test_keys_that_hold_secrets(key):
    assert key_kind(key) is not None


@pytest.mark.parametrize(
    "key", ["max_tokens", "next_page_token", "keyboard", "passenger", "code", "email_id", "pinned"]
)
def test_keys_that_do_not(key):
    assert key_kind(key) is None


@settings(max_examples=60)
@given(st.text(alphabet=st.sampled_from('ab1@.:/=-_+ "\\{}[]<>passwordtoken'), max_size=60))
def test_redacting_twice_is_redacting_once(text):
    once = redacted(Message(role="user", content=text)).messages[0].content
    found = {value for _, value in shapes(once)}
    assert all("<" in value or value not in {v for _, v in shapes(text)} for value in found)


@given(
    st.from_regex(r"[A-Za-z0-9]{20,30}", fullmatch=True), st.sampled_from(["password", "api_key", "token", "secret"])
)
def test_a_keyed_value_is_nowhere_afterwards(value, key):
    call = ToolCall(name="t", arguments={"a": [{key: value}], "b": f"uses {value}!"})
    episode = redacted(
        Message(role="user", content=f"With {value} please"), Message(role="assistant", tool_calls=(call,))
    )
    assert value not in json.dumps(to_dict(episode, with_id=False))
