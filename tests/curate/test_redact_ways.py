# ruff: noqa: E501 (an example is one line)
"""Ways in which secrets are written: each example is said, given to a tool, returned by it and put in an address."""

import base64
import json
from urllib.parse import quote

import pytest

from lunar_tune.curate.redact import redacted
from lunar_tune.curate.redact.reading import said as texts_of
from lunar_tune.episodes import Episode, Message, ToolCall, to_dict

PEM = base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nMIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6\n-----END").decode()
TOLD = {
    "quoted in JSON": ("my password is Mustard7382*", "Mustard7382*"),
    "a word later": ("log in as admin with password pebblemarble139 (not checked)", "pebblemarble139"),
    "with a dash": ("log in as admin with password orbit_sunshine57", "orbit_sunshine57"),
    "bold": ("**Password:** Nimbuslantern?51", "Nimbuslantern?51"),
    "possessive": ("the password's Mustard7862*", "Mustard7862*"),
    "asked for": ("enter Velvetgranite?37 when it asks for the password", "Velvetgranite?37"),
    "spanish": ("la clave del wifi es biscuit_tundra46", "biscuit_tundra46"),
    "swedish": ("lösenordet är lantern_tundra89", "lantern_tundra89"),
    "danish": ("adgangskoden er harbor4316*", "harbor4316*"),
    "french": ("mon mdp : uk%kUUi#UYJbm", "uk%kUUi#UYJbm"),
    "russian": ("мой пароль f@lc0n69", "f@lc0n69"),
    "chinese": ("密码：0rbit40", "0rbit40"),
    "japanese": ("パスワードは Saddle_walrus16 です", "Saddle_walrus16"),
    "korean": ("비밀번호는 h73c9fczvpmo", "h73c9fczvpmo"),
    "after a remark": ("password reset to otterorbit?46 as you asked", "otterorbit?46"),
    "further on": ("the password was refused again, now try granite9414", "granite9414"),
    "wifi": ("WiFi: HomeNet / Nimbusmonkey?42", "Nimbusmonkey?42"),
}
CODED = {
    "otherwise": ("password = os.environ.get('X') or 'sunshine49x'", "sunshine49x"),
    "if unset": ("db_password ||= 't5i9guvf2fy9'", "t5i9guvf2fy9"),
    "wrapped": ('password = SecretStr("graniteorbit?12")', "graniteorbit?12"),
    "in brackets": ('password = ("otter84velvet")', "otter84velvet"),
    "typed": ('pub const PASSWORD: &str = "cobalt6859#";', "cobalt6859#"),
    "defined": ('#define DB_PASSWORD "bggr7wmpj77k"', "bggr7wmpj77k"),
    "put": ('cfg.put("passwd", "cactuspepper703");', "cactuspepper703"),
    "default of an option": ('parser.add_argument("--password", default="orbit7640#")', "orbit7640#"),
    "default in braces": ("url: ${DB_PASSWORD:lantern-orbit-11x}", "lantern-orbit-11x"),
    "terraform": ('variable "db_password" { default = "lantern_monkey20" }', "lantern_monkey20"),
    "form": ('page.locator("#password").fill("saddlefalcon741")', "saddlefalcon741"),
    "login": ('smtp.login("kai", "harbor5230?x")', "harbor5230?x"),
    "beside a comment": ('connect("db", "kailash", "l@ntern4837")  # the password', "l@ntern4837"),
    "inserted": ("INSERT INTO users (name, password) VALUES ('kai', 'velvetpepper820');", "velvetpepper820"),
    "table": ("name,url,username,password\nshop,https://x.example,kai,tundra-Otter-91\n", "tundra-Otter-91"),
    "argument": ('["app", "--password", "tundra5275*"]', "tundra5275*"),
    "sudo": ('echo "saddle-maple-otter-19" | sudo -S ls', "saddle-maple-otter-19"),
    "chpasswd": ("printf 'kai:mapleVelvet?29' | chpasswd", "mapleVelvet?29"),
    "secret of a repository": ("gh secret set DB_PASSWORD --body dragontundra729", "dragontundra729"),
    "sed": ("sed -i 's/^DB_PASSWORD=.*/DB_PASSWORD=cobaltotter148/' .env", "cobaltotter148"),
    "setx": ("setx DB_PASSWORD walruslantern60", "walruslantern60"),
    "set to": ("INFO set newPassword to falconsunshine357", "falconsunshine357"),
}
_UP = base64.b64encode(b"kai:orbit-lantern-31").decode()
_P = base64.b64encode(b"orbitlantern31").decode()
ENCODED = {
    "basic": (f"header: basic {_UP}", _UP),
    "docker": (f'{{"auths": {{"r.example": {{"auth": "{_UP}"}}}}}}', _UP),
    "npm": (f"//registry.example/:_auth={_UP}", _UP),
    "variable": (f"REGISTRY_AUTH={_UP}", _UP),
    "decoded": (f"echo {_UP} | base64 -d", _UP),
    "password alone": (f'echo "{_P}" | base64 --decode', _P),
    "about to be encoded": ("echo -n kai:orbit-lantern-31 | base64", "orbit-lantern-31"),
    "kubernetes": (f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\ndata:\n  value: {_P}\n", _P),
    "kind below": (f"data:\n  db-url: {base64.b64encode(b'pg://kai:p4ss@db/x').decode()}\nkind: Secret\n", "cGc6Ly9rYWk6cDRz"),
    "key of a cluster": (f"client-key-data: {PEM}", PEM),
    "sasl": ("AUTH PLAIN AGthaQBoYXJib3I0MzE2Kg==", "AGthaQBoYXJib3I0MzE2Kg=="),
    "otpauth": ("otpauth://totp/Acme?issuer=A&secret=3SNZ4F3ALLRBBEOD", "3SNZ4F3ALLRBBEOD"),
    "otpauth in an address": (f"https://qr.example/?data={quote('otpauth://totp/A?secret=3SNZ4F3ALLRBBEOD', safe='')}&size=9", "3SNZ4F3ALLRBBEOD"),
}  # fmt: skip
PHONES = [
    "+49 (0) 30 329959", "030/329959", "0 30 / 328 50 25", "030 / 95474141", "0176 5298 1851", "0151 69 80 74 73", "017615665231", "0171.2716105",
    "030.7242.0151", "+44 (0) 20 3927 9024", "020 7946 0958", "07700900123", "07386.448.793", "+33 (0)6 18 26 20 37", "0033 (0)1 22 59 25 67", "06.12.34.56.78", "06/12/34/56/78",
    "(0)6 66 16 20 22",
]  # fmt: skip
CALLED = [
    ("Ruf mich an: @", "02035381388"), ("appelle-moi au @", "0613944237"), ("tél : @", "447386899607"),
    ("WhatsApp @", "0 800 349 323"),
]  # fmt: skip
HARMLESS = [
    "pass the token to build_url('x1') and pass 'orbit_v2' on; PASS test_orbit_v2",
    "the cursor is Y3Vyc29yOjEyMzQ= (base64), the id VXNlcjoxMjM0NQ== of auth",
    "kind: ConfigMap\ndata:\n  color: Ymx1ZWdyZWVu\n",
    'password = config["key1"]; token = get("x-token-2"); secret: Optional[str] = None',
    "01.02.2024, 0.7125.3312, 10:30 0171, 2026/01 22 33 44, 0612345678 and 007 is a film",
    "`password` (string, required), password: <your password>, password=(optional)",
    "name,token_type,count\nbert,wordpiece,30522\n",
]


def everywhere(said: str) -> str:
    """Return what is left of a conversation that has a text in all its places."""
    inner = json.dumps({"text": said, "size": 3})
    call = ToolCall(name="t", arguments={"text": said, "to": "ops", "deep": [inner]})
    messages = (
        Message(role="user", content=f"Look: {said}"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content=json.dumps({"stdout": inner, "n": 1})),
        Message(role="assistant", content=f"https://x.example/?next={quote(said, safe='')}&n=1"),
        Message(role="tool", content=json.dumps({"lines": f"one\n{said}\ntwo"}, separators=(",", ":"))),
    )
    episode = redacted(Episode(source="s", path="p", thread="t", messages=messages))[0]
    return json.dumps(to_dict(episode, with_id=False), ensure_ascii=False)


EXAMPLES = {**TOLD, **CODED, **ENCODED}


@pytest.mark.parametrize("way", EXAMPLES)
def test_a_secret_goes_in_whatever_way_it_is_written(way):
    said, secret = EXAMPLES[way]
    left = everywhere(said)
    assert secret not in left
    assert quote(secret, safe="") not in left
    assert json.dumps(secret)[1:-1] not in left


@pytest.mark.parametrize("number", PHONES)
def test_national_and_foreign_numbers_need_no_word(number):
    left = everywhere(f"{number} is new")
    assert number not in left
    assert quote(number, safe="") not in left


@pytest.mark.parametrize(("said", "number"), CALLED)
def test_bare_numbers_need_a_word(said, number):
    assert number not in everywhere(said.replace("@", number))
    assert number in everywhere(f"Order {number} is sent")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text):
    episode = Episode(source="s", path="p", thread="t", messages=(Message(role="tool", content=text),))
    assert redacted(episode)[0].messages[0].content == text


def told(*messages: Message) -> tuple[Message, ...]:
    return redacted(Episode(source="s", path="p", thread="t", messages=messages))[0].messages


def test_a_form_that_is_filled_in_tells_its_password_in_any_order():
    for field in ({"element": "Password input", "ref": "e12"}, {"selector": "#password"}, {"field": "password"}):
        for given in ("text", "value", "new_value"):
            call = ToolCall(name="type", arguments={given: "harbor-Nimbus-47", **field})
            said, called = told(
                Message(role="user", content="Take harbor-Nimbus-47."), Message(role="assistant", tool_calls=(call,))
            )
            assert said.content == "Take <PASSWORD_1>."
            assert called.tool_calls[0].arguments == {given: "<PASSWORD_1>", **field}


def test_what_was_found_with_more_around_it_goes_alone_too():
    messages = told(
        Message(role="user", content="try nimbus71-otter"),
        Message(role="tool", content="DEBUG auth kai:nimbus71-otter"),
        Message(role="assistant", content=base64.b64encode(b"kai:nimbus71-otter").decode()),
    )
    left = "\n".join(message.content for message in messages)
    assert "nimbus71" not in left
    assert "a2Fp" not in left


def test_the_key_of_a_second_factor_goes_where_it_stands_alone():
    messages = told(
        Message(role="tool", content="otpauth://totp/A:kai?secret=3SNZ4F3ALLRBBEOD&issuer=A"),
        Message(role="assistant", content="Type 3SNZ4F3ALLRBBEOD."),
    )
    assert messages[1].content == "Type <SECRET_2>."


def test_a_value_after_a_percent_sign_stands_alone():
    said, link = told(
        Message(role="user", content="my password is Velvet37*"),
        Message(
            role="assistant", content="https://x.example/?q=is%20Velvet37%2A&n=1 https://x.example/?u=%253AVelvet37"
        ),
    )
    assert "Velvet37" not in said.content + link.content


def test_texts_are_searched_as_they_are_meant():
    inner = json.dumps({"a": "x\ny", "b": 'say "é"'})
    episode = Episode(
        source="s", path="p", thread="t",
        messages=(Message(role="tool", content=json.dumps({"out": inner, "k": 1})), Message(role="user", content="C:\\new \\u00e9")),
    )  # fmt: skip
    pairs = list(texts_of(episode))
    assert [raw for raw, _ in pairs] == [message.content for message in episode.messages]
    assert pairs[0][1] == '{"out": {"a": "x\ny", "b": "say "é""}, "k": 1}'
    assert pairs[1][1] == "C:\\new é"


def test_an_object_that_has_a_key_twice_is_searched_whole():
    twice = '{"note": "my password is harbor4316*", "note": "nothing", "é": "\\u00e9"}'
    assert "harbor4316" not in told(Message(role="tool", content=twice))[0].content
