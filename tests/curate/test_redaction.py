# ruff: noqa: E501 (an example is one line)
import json
from pathlib import Path
from urllib.parse import unquote, unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.curate.marks import start
from lunar_tune.curate.redact import Redact, Secrets, safe_name
from lunar_tune.curate.redact import redacted as redact_episode
from lunar_tune.curate.redact.scan import search
from lunar_tune.curate.secrets import key_kind
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
        for form in secrets.placeholders:  # as it may be written: in an address, in JSON, in JSON within JSON
            plain = [write(form).replace("\\\\", "\\").replace("\\n", "\n") for write in (str, unquote, unquote_plus)]
            assert any(text in planted for text in plain)


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
    assert redacted(Message(role="user", content=once)).messages[0].content == once


@given(
    st.from_regex(r"[A-Za-z0-9]{20,30}", fullmatch=True), st.sampled_from(["password", "api_key", "token", "secret"])
)
def test_a_keyed_value_is_nowhere_afterwards(value, key):
    call = ToolCall(name="t", arguments={"a": [{key: value}], "b": f"uses {value}!"})
    episode = redacted(
        Message(role="user", content=f"With {value} please"), Message(role="assistant", tool_calls=(call,))
    )
    assert value not in json.dumps(to_dict(episode, with_id=False))


# One invented example a family: what is said, what must go.
FAMILIES = {
    "openai": ("key sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7", "aB3dE5fG7hJ9kL1mN3pQ5rS7"),
    "google": ("AIzaSyD3xQ9vB7nM5kL1pO8iU6yT4rE2wQ0aZsX", "AIzaSyD3xQ9vB7nM5kL1pO8iU6yT4rE2wQ0aZsX"),
    "aws pair": ("AKIAQ3EGRT7UPZL5X2MN / wJa7rXUtnFEMIzK7MDENGbPxRfiCYq3pLm9Vb2Kd", "wJa7rXUtnFEMIzK7MDENGbPxRfiCYq3pLm9Vb2Kd"),
    "stripe": ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
    "slack webhook": ("https://hooks.slack.com/services/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", "a1B2c3D4e5F6g7H8i9J0k1L2"),
    "discord webhook": ("https://discord.com/api/webhooks/123456789012345678/aB-3dE5fG7hJ9kL1mN3pQ5rS7tU9", "aB-3dE5fG7hJ9kL1mN3pQ5rS7tU9"),
    "azure": ("AccountName=a;AccountKey=q7Lx0P3vN8sR2tW5yB1cD4eF6gH9jK0mQ7Lx0P3vN8s==;", "q7Lx0P3vN8sR2tW5yB1cD4eF6gH9jK0mQ7Lx0P3vN8s=="),
    "sas": ("https://a.blob.core.windows.net/c?sv=2024-01-01&sig=q7Lx0P3vN8sR2tW5yB1cD4eF6g%3D", "q7Lx0P3vN8sR2tW5yB1cD4eF6g"),
    "age": ("AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3JN54KHCE", "QQPZRY9X8GF2"),
    "otpauth": ("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&issuer=y", "JBSWY3DPEHPK3PXP"),
    "second factor": ("the 2FA setup key is JBSW Y3DP EHPK 3PXP", "JBSW Y3DP EHPK 3PXP"),
    "recovery codes": ("recovery codes: a1b2c-d3e4f, g5h6i-j7k8l", "g5h6i-j7k8l"),
    "flag": ("deploy --db-password 'S3cr3t!pw' --dry-run", "S3cr3t!pw"),
    "mysql": ("mysql -u root -pTr0ub4dor shop", "Tr0ub4dor"),
    "curl": ("curl -u ann:Tr0ub4dor3x https://x.example", "Tr0ub4dor3x"),
    "cookie": ("Cookie: theme=dark; sessionid=8f3kd92jf8s7d6f5g4h3", "8f3kd92jf8s7d6f5g4h3"),
    "netrc": ("machine x.example login ann password Tr0ub4dor3", "Tr0ub4dor3"),
    "pgpass": ("db.example:5432:shop:ann:Tr0ub4dor3", "Tr0ub4dor3"),
    "docker auth": ('{"auths": {"r.example": {"auth": "YW5uOlRyMHViNGRvcjM="}}}', "YW5uOlRyMHViNGRvcjM="),
    "sql": ("CREATE USER ann WITH PASSWORD 'Tr0ub4dor3'", "Tr0ub4dor3"),
    "connection string": ("Server=db;User Id=sa;Password=Tr0ub4dor3;", "Tr0ub4dor3"),
    "xml": ("<db><password>Tr0ub4dor3</password></db>", "Tr0ub4dor3"),
    "named value": ("- name: DB_PASSWORD\n  value: Tr0ub4dor3", "Tr0ub4dor3"),
    "hex near a word": ("our Datadog API key (staging): 4f1d2c3b5a69788796a5b4c3d2e1f001", "4f1d2c3b5a69788796a5b4c3d2e1f001"),
    "french phone": ("appelle le 06 12 34 56 78 demain", "06 12 34 56 78"),
    "bare phone": ("text me at 4155552671 please", "4155552671"),
    "card": ("card 4111 1111 1111 1111 exp 04/29", "4111 1111 1111 1111"),
    "iban": ("pay to DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044 0532 0130 00"),
    "ssn": ("SSN 219-09-9999", "219-09-9999"),
    "dni": ("DNI 12345678Z", "12345678Z"),
    "ipv4": ("login from 81.2.69.142 failed", "81.2.69.142"),
    "ipv6": ("login from 2001:db8:85a3::8a2e:370:7334", "2001:db8:85a3::8a2e:370:7334"),
    "mac": ("device 3c:22:fb:9a:10:4e", "3c:22:fb:9a:10:4e"),
    "home": ("see /home/mreyes/notes.md", "mreyes"),
    "mac home": ("see /Users/mreyes/notes.md", "mreyes"),
    "windows home": (r"see C:\Users\mreyes\notes.md", "mreyes"),
    "bitcoin": ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    "ether": ("0x52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886E0F7030069857D2E4169EE7"),
    "seed phrase": ("my seed phrase: army van defense carry jealous true garbage claim echo media make crunch", "garbage claim"),
    "query": ("https://x.example/cb?email=ann%40corp.example&x=1", "ann%40corp.example"),
}  # fmt: skip

NUMBERS_THAT_STAY = [
    "commit 4f1d2c3b5a69788796a5b4c3d2e1f00112233445 of 2026-05-17T10:22:33Z, build 120.0.6099.129",
    "request 7f9c24e5-2a4b-4f1e-9c1d-0123456789ab took 1234567890123 ns, order 4821-7734-1120-9915",
    "version 1.2.3.4, section 4.2.1.3, 127.0.0.1:8080, fe00::, 255.255.255.0, MA 02110-1301",
    "call_aB3dE5fG7hJ9kL1mN3pQ5rS7, chatcmpl-9xYzAbCdEfGhIjKl, sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "ISBN 978-3-16-148410-0, lat 52.520008, lon 13.404954, total 12,345.67 EUR, 30/04/2026",
]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_goes_from_words_arguments_and_results(family):
    said, secret = FAMILIES[family]
    call = ToolCall(name="t", id="c", arguments={"text": said, "deep": [{"json": json.dumps({"text": said})}]})
    episode = redacted(
        Message(role="user", content=said),
        Message(role="assistant", reasoning=said, tool_calls=(call,)),
        Message(role="tool", content=json.dumps({"text": said}), error=said),
        signals=(Signal(kind="annotation", note=said),),
    )
    text = json.dumps(to_dict(episode, with_id=False), ensure_ascii=False)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text


@pytest.mark.parametrize("text", NUMBERS_THAT_STAY)
def test_ids_hashes_versions_and_dates_stay(text):
    assert redacted(Message(role="tool", content=text)).messages[0].content == text


def test_listed_names_go_whatever_their_case_and_not_inside_words():
    call = ToolCall(name="send", arguments={"to": "Maren", "file": "maren_report.txt"})
    episode, counts = redact_episode(
        Episode(
            source="s",
            path="p",
            thread="t",
            messages=(
                Message(role="user", content="Write MAREN and ola nordmann, not Marengo"),
                Message(role="assistant", tool_calls=(call,)),
            ),
        ),
        ["Maren", "Ola Nordmann"],
    )
    assert episode.messages[0].content == "Write <NAME_1> and <NAME_2>, not Marengo"
    assert episode.messages[1].tool_calls[0].arguments == {"to": "<NAME_1>", "file": "<NAME_1>_report.txt"}
    assert counts["name"] == 2
    assert safe_name("maren's plan", ("Maren",)).startswith("thread-")


def test_a_secret_in_a_long_text_is_found_wherever_it_stands():
    filler = "all is well and nothing happened here today "
    for before in (0, 90, 91, 92, 93, 94, 200, 400):
        text = filler * before + "mail ann@corp.example, password: Tr0ub4dor3\n" + filler * 300
        assert len(search(text)) == 2


PLANTED = st.one_of(
    st.from_regex(r"sk-proj-[A-Za-z0-9]{10}7[A-Za-z0-9]{10}a3", fullmatch=True),
    st.from_regex(r"ghp_[A-Za-z0-9]{36}", fullmatch=True),
    st.from_regex(r"[a-z]{4,9}@[a-z]{4,9}\.(?:com|org|io)", fullmatch=True),
    st.from_regex(r"postgres://app:[A-Za-z0-9]{9}z7@db\.example", fullmatch=True),
)
AROUND = st.text(alphabet="abc xyz.,:\n\"'\\{}()é", max_size=20)


@settings(max_examples=80)
@given(PLANTED, AROUND, AROUND)
def test_a_planted_secret_survives_nowhere_and_what_stays_is_valid(secret, before, after):
    said = f"{before} {secret} {after}"
    in_json = json.dumps({"text": said, "n": 1, "deep": json.dumps([said])})
    call = ToolCall(name="t", id="c", arguments={"a": [said, {"b": in_json}]}, arguments_raw=in_json, error=said)
    episode = redacted(
        Message(role="user", content=said, reasoning=said, error=said, name=secret),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content=in_json, tool_call_id="c"),
        system=said,
        tools=(ToolSpec(name="t", description=said, parameters={"type": "object", "description": said}),),
        signals=(Signal(kind="annotation", value=said, note=said),),
    )
    value = secret.partition("://")[2].partition("@")[0] or secret
    assert value not in json.dumps(to_dict(episode, with_id=False), ensure_ascii=False)
    result, call = json.loads(episode.messages[2].content), episode.messages[1].tool_calls[0]
    assert result["text"] == call.arguments["a"][0] == episode.messages[0].content
    assert result["n"] == 1
    assert json.loads(call.arguments["a"][1]["b"]) == json.loads(call.arguments_raw) == result
    again = redact_episode(episode)[0]
    assert again == episode
