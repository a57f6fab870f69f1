"""The kinds that a writer of rules does not look at: other issuers, and (in `forms`) other forms."""

# ruff: noqa: E501 - tables, an entry a line

from __future__ import annotations

import json
from random import Random
from urllib.parse import quote

import redaction_corpus_forms as forms
from redaction_corpus_formats import (
    ALNUM,
    BASE32,
    BASE64,
    DIGITS,
    HEX,
    LOWER,
    UPPER,
    UPPER_HEX,
    URLSAFE,
    WORDS,
    WORDY,
    Secret,
    armour,
    b64,
    b64json,
    bech32,
    draw,
    grouped,
    inside,
    uuid4,
    whole,
    with_crc_hex,
)  # fmt: skip


def _stripe_other(rng: Random) -> Secret:
    if rng.random() < 0.5:
        return whole("whsec_" + draw(rng, ALNUM, 32))
    return whole(f"rk_live_{draw(rng, ALNUM, 99)}")


def _slack_other(rng: Random) -> Secret:
    if rng.random() < 0.5:
        numbers = "-".join(draw(rng, DIGITS, n) for n in (12, 12, 13))
        return whole(f"xoxp-{numbers}-{draw(rng, HEX, 32)}")
    return whole(f"xapp-1-A{draw(rng, UPPER + DIGITS, 10)}-{draw(rng, DIGITS, 13)}-{draw(rng, HEX, 64)}")


def _discord_hook(rng: Random) -> Secret:
    return inside(f"https://discord.com/api/webhooks/{draw(rng, DIGITS, 19)}/@v@", draw(rng, URLSAFE, 68))


def _teams_hook(rng: Random) -> Secret:
    group, tenant, owner = uuid4(rng), uuid4(rng), uuid4(rng)
    text = f"https://contoso.webhook.office.com/webhookb2/{group}@{tenant}/IncomingWebhook/@v@/{owner}"
    return inside(text, draw(rng, HEX, 32))


def _service_account(rng: Random) -> Secret:
    key = armour("PRIVATE KEY", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" + b64(rng.randbytes(300)))
    project = f"{rng.choice(WORDS)}-{rng.randrange(100, 999)}"
    body = {
        "type": "service_account", "project_id": project, "private_key_id": draw(rng, HEX, 40), "private_key": key.text + "\n",
        "client_email": f"bot@{project}.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
    }  # fmt: skip
    return Secret(json.dumps(body, indent=2), key.parts)  # the id of a key is no secret


def _notion(rng: Random) -> Secret:
    return whole(rng.choice((f"ntn_{draw(rng, DIGITS, 11)}{draw(rng, ALNUM, 35)}", f"secret_{draw(rng, ALNUM, 43)}")))


def _grafana(rng: Random) -> Secret:
    if rng.random() < 0.6:
        return whole(with_crc_hex("glsa_", draw(rng, ALNUM, 32)))
    claims = {"o": str(rng.randrange(10**5, 10**6)), "n": "push", "k": draw(rng, ALNUM, 24), "m": {"r": "eu"}}
    return whole("glc_" + b64json(claims))


def _sentry(rng: Random) -> Secret:
    if rng.random() < 0.5:
        return whole("sntryu_" + draw(rng, HEX, 64))
    claims = {
        "iat": rng.randrange(1_700_000_000, 1_790_000_000) + 0.5,
        "url": "https://sentry.io",
        "org": rng.choice(WORDS),
    }
    return whole(f"sntrys_{b64json(claims)}_{draw(rng, BASE64, 43)}")


def _sentry_dsn(rng: Random) -> Secret:
    return inside(f"https://@v@@o{draw(rng, DIGITS, 6)}.ingest.us.sentry.io/{draw(rng, DIGITS, 7)}", draw(rng, HEX, 32))


def _onepassword(rng: Random) -> Secret:
    if rng.random() < 0.4:
        body = draw(rng, UPPER + DIGITS, 32)
        return whole("A3-" + grouped(body, (6, 6, 5), "-"))
    claims = {
        "signInAddress": "my.1password.com", "userAuth": {"method": "SRPg-4096", "iterations": 650000, "salt": draw(rng, URLSAFE, 22)},
        "email": f"{draw(rng, LOWER, 13)}@1passwordserviceaccounts.com", "srpX": draw(rng, HEX, 64), "secretKey": draw(rng, UPPER, 26),
    }  # fmt: skip
    return whole("ops_" + b64json(claims))


def _atlassian(rng: Random) -> Secret:
    body = draw(rng, URLSAFE, 172)
    return whole(f"ATATT3xFfGF0{body}={draw(rng, UPPER_HEX, 8)}")


def _gitlab_other(rng: Random) -> Secret:
    if rng.random() < 0.4:
        return whole("glptt-" + draw(rng, HEX, 40))
    return whole(rng.choice(("gldt-", "glrt-", "glft-", "glsoat-")) + draw(rng, URLSAFE, 20))


def _cloudflare_origin(rng: Random) -> Secret:
    return whole(f"v1.0-{draw(rng, HEX, 24)}-{draw(rng, HEX, 146)}")


def _model_hosts(rng: Random) -> Secret:
    return whole(
        rng.choice(
            (
                "gsk_" + draw(rng, ALNUM, 52), "pplx-" + draw(rng, ALNUM, 48), "r8_" + draw(rng, ALNUM, 37),
                "xai-" + draw(rng, ALNUM, 80), "sk-or-v1-" + draw(rng, HEX, 64), "tgp_v1_" + draw(rng, URLSAFE, 43),
                "nvapi-" + draw(rng, URLSAFE, 64), "csk-" + draw(rng, LOWER + DIGITS, 48),
            )
        )
    )  # fmt: skip


def _square(rng: Random) -> Secret:
    return whole(
        rng.choice(
            ("EAAA" + draw(rng, URLSAFE, 60), "sq0csp-" + draw(rng, URLSAFE, 43), "sq0atp-" + draw(rng, URLSAFE, 22))
        )
    )


def _mailgun(rng: Random) -> Secret:
    if rng.random() < 0.5:
        return whole("key-" + draw(rng, HEX, 32))
    return whole(f"{draw(rng, HEX, 32)}-{draw(rng, HEX, 8)}-{draw(rng, HEX, 8)}")


def _azure_ad(rng: Random) -> Secret:
    return whole(f"{draw(rng, ALNUM, 3)}8Q~{draw(rng, ALNUM + '_.~-', 34)}")


def _azure_sas(rng: Random) -> Secret:
    signature = quote(b64(rng.randbytes(32)), safe="")
    text = f"https://{rng.choice(WORDS)}.blob.core.windows.net/in/a.csv?sv=2024-11-04&se=2026-12-01T00%3A00%3A00Z&sr=b&sp=r&sig=@v@"
    return inside(text, signature)


def _aws_signed(rng: Random) -> Secret:
    credential = "ASIA" + draw(rng, BASE32, 16)
    text = (
        f"https://{rng.choice(WORDS)}.s3.eu-central-1.amazonaws.com/r.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
        f"{credential}%2F20260301%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Expires=900&X-Amz-Signature=@v@"
    )
    signature = draw(rng, HEX, 64)
    return Secret(text.replace("@v@", signature), (credential, signature))


# As in the seen half. The names here are of other issuers, and of other forms of what everybody has.
KINDS = {
    "google service account": ("block", _service_account, "", ""),
    "stripe webhook and restricted key": ("token", _stripe_other, "Stripe secret", "stripe_webhook_secret"),
    "square token": ("token", _square, "Square token", "square_access_token"),
    "mailgun key": ("token", _mailgun, "Mailgun key", "mailgun_api_key"),
    "slack user and app token": ("token", _slack_other, "Slack token", "slack_app_token"),
    "discord webhook": ("fragment", _discord_hook, "", ""),
    "teams webhook": ("fragment", _teams_hook, "", ""),
    "linear key": ("token", lambda r: whole("lin_api_" + draw(r, ALNUM, 40)), "Linear key", "linear_api_key"),
    "notion token": ("token", _notion, "Notion secret", "notion_token"),
    "figma token": ("token", lambda r: whole("figd_" + draw(r, URLSAFE, 40)), "Figma token", "figma_token"),
    "databricks token": ("token", lambda r: whole("dapi" + draw(r, HEX, 32) + r.choice(("", "-2"))), "Databricks token", "databricks_token"),
    "datadog key": ("keyed", lambda r: whole(draw(r, HEX, r.choice((32, 40)))), "Datadog API key", "dd_api_key"),
    "grafana token": ("token", _grafana, "Grafana token", "grafana_token"),
    "sentry token": ("token", _sentry, "Sentry token", "sentry_auth_token"),
    "sentry dsn": ("fragment", _sentry_dsn, "", ""),
    "vault token": ("token", lambda r: whole(r.choice(("hvs.", "hvb.")) + draw(r, URLSAFE, r.choice((92, 138)))), "Vault token", "vault_token"),
    "1password secret": ("token", _onepassword, "1Password secret", "op_service_account_token"),
    "doppler token": ("token", lambda r: whole(f"dp.{r.choice(('pt', 'st.prd', 'ct'))}.{draw(r, ALNUM, 43)}"), "Doppler token", "doppler_token"),
    "atlassian token": ("token", _atlassian, "Atlassian token", "jira_api_token"),
    "gitlab runner and deploy token": ("token", _gitlab_other, "GitLab runner token", "runner_token"),
    "cloudflare token": ("keyed", lambda r: whole(draw(r, URLSAFE, 40)), "Cloudflare API token", "cloudflare_api_token"),
    "cloudflare origin key": ("token", _cloudflare_origin, "origin CA key", "origin_ca_key"),
    "heroku key": ("token", lambda r: whole("HRKU-AA" + draw(r, URLSAFE, 58)), "Heroku key", "heroku_api_key"),
    "uuid as api key": ("keyed", lambda r: whole(uuid4(r)), "API key", "service_api_key"),
    "new relic key": ("token", lambda r: whole("NRAK-" + draw(r, UPPER + DIGITS, 27)), "New Relic key", "new_relic_api_key"),
    "okta token": ("keyed", lambda r: whole("00" + draw(r, URLSAFE, 40)), "Okta token", "okta_api_token"),
    "postman key": ("token", lambda r: whole(f"PMAK-{draw(r, HEX, 24)}-{draw(r, HEX, 34)}"), "Postman key", "postman_api_key"),
    "docker token": ("token", lambda r: whole("dckr_pat_" + draw(r, URLSAFE, 27)), "Docker token", "docker_token"),
    "pulumi token": ("token", lambda r: whole("pul-" + draw(r, HEX, 40)), "Pulumi token", "pulumi_access_token"),
    "terraform cloud token": (
        "token", lambda r: whole(f"{draw(r, ALNUM, 14)}.atlasv1.{draw(r, URLSAFE, 67)}"), "Terraform token", "tfe_token"),
    "rubygems key": ("token", lambda r: whole("rubygems_" + draw(r, HEX, 48)), "RubyGems key", "gem_host_api_key"),
    "age key": ("token", lambda r: whole(bech32("age-secret-key-", r.randbytes(32)).upper()), "age key", "sops_age_key"),
    "airtable token": ("token", lambda r: whole(f"pat{draw(r, ALNUM, 14)}.{draw(r, HEX, 64)}"), "Airtable token", "airtable_token"),
    "supabase token": ("token", lambda r: whole(r.choice(("sbp_", "sbp_v0_")) + draw(r, HEX, 40)), "Supabase token", "supabase_access_token"),
    "model host key": ("token", _model_hosts, "model key", "llm_api_key"),
    "planetscale token": ("token", lambda r: whole(r.choice(("pscale_tkn_", "pscale_pw_")) + draw(r, WORDY, 43)), "token", "pscale_token"),
    "azure application secret": ("token", _azure_ad, "client secret", "azure_client_secret"),
    "azure shared access": ("fragment", _azure_sas, "", ""),
    "aws signed url": ("fragment", _aws_signed, "", ""),
    "azure devops token": ("keyed", lambda r: whole(draw(r, LOWER + "234567", 52)), "personal access token", "ado_pat_token"),
    **forms.KINDS,
}  # fmt: skip
