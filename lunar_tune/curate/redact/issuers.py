# ruff: noqa: E501 (a rule is one line)
"""Keys that their issuers gave a shape of its own: by provider, prefix first.

Lengths are lower bounds, because issuers lengthen their keys. A checksum (GitHub, npm) is looked at only where the
shape stands inside a longer word: a wrong one does not make a key public.
"""

from __future__ import annotations

import re

from lunar_tune.curate.redact.checks import crc32_token
from lunar_tune.curate.redact.rules import END, HB, START, Rule, issued
from lunar_tune.curate.secrets import random_like

_W, _A, _U, _X = r"[\w-]", r"[A-Za-z0-9]", r"\w", r"[0-9a-f]"


def _table(kind: str, body: str, *prefixes: str, mixed: bool = False) -> list[Rule]:
    return [issued(kind, prefix, body, mixed=mixed) for prefix in prefixes]


def _random(match: re.Match[str]) -> bool:
    return random_like(match[0])


def _random_value(match: re.Match[str]) -> bool:
    return random_like(match["v"])


_PEM = r"[A-Z0-9 ]{0,40}PRIVATE KEY[ A-Z]{0,20}--"
PRIVATE = [
    Rule("PRIVATE_KEY", rf"-----BEGIN {_PEM}.*?(?:-----END {_PEM}-*|\Z|\x00)", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", flags=re.DOTALL),
    Rule("PRIVATE_KEY", r"-----BEGIN OpenVPN Static key V1-----.*?(?:-----END OpenVPN Static key V1-----|\Z|\x00)", "-----BEGIN OpenVPN Static", flags=re.DOTALL),
    Rule("PRIVATE_KEY", r"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----.*?(?:---- END SSH2 ENCRYPTED PRIVATE KEY ----|\Z|\x00)", "---- BEGIN SSH2 ENCRYPTED", flags=re.DOTALL),
    Rule("PRIVATE_KEY", r"PuTTY-User-Key-File-\d:.*?(?:Private-MAC: \w+|\Z|\x00)", "PuTTY-User-Key-File-", flags=re.DOTALL),
    Rule("PRIVATE_KEY", r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{40,}", "AGE-SECRET-KEY-", flags=re.IGNORECASE),
    Rule("PRIVATE_KEY", r"AGE-PLUGIN-[A-Z0-9]+-1[0-9A-Z]{20,}", "AGE-PLUGIN-"),
    Rule("PRIVATE_KEY", rf"{START}(?:untrusted comment: (?:minisign|rsign|signify) encrypted secret key\s+)(?P<v>[\w+/=]{{80,}})", "untrusted comment: (?:minisign|rsign|signify) encrypted"),
]  # fmt: skip

MODELS = [
    issued("API_KEY", "sk-", r"(?:(?:proj|svcacct|admin|None|ant|or|lf|helicone|live|test)-)[\w-]{16,}", hint="[a-zA-Z]{2,9}-"),
    issued("API_KEY", "sk-", r"[\w-]{16,}", hint=r"[\w-]{12}", mixed=True),
    issued("API_KEY", "pk-", r"(?:lf-)?[\w-]{16,}", hint=r"[\w-]{12}", mixed=True),
    issued("API_KEY", "rk-", r"[\w-]{16,}", hint=r"[\w-]{12}", mixed=True),
    *_table("TOKEN", r"[\w-]{16,}", "gsk_", "xai-", "hf_", "api_org_", "r8_", "pplx-", "nvapi-", "tvly-", "fw_", "tgp_v1_",
            "pcsk_", "lsv2_pt_", "lsv2_sk_", "csk-", "jina_", "rpa_", "e2b_", "llx-", "wandb_v1_", "ai21_", 
            "bb_live_", "sk_car_", "sgp_", "lpak-", "esecret_", "zpka_", "cog_", "ctx7sk-", mixed=True),
    Rule("API_KEY", r"AIza[\w-]{30,}", "AIza"),
    Rule("TOKEN", r"ya29\.[\w.-]{20,}", r"ya29\."),
    Rule("SECRET", r"GOCSPX-[\w-]{20,}", "GOCSPX-"),
    Rule("TOKEN", rf"{START}1//0[\w-]{{30,}}", HB + r"1//0[\w-]{20}"),
    Rule("TOKEN", rf"{START}4/0A[\w-]{{30,}}", HB + r"4/0A[\w-]{20}"),
    Rule("API_KEY", r"[\w-]{8,}:APA91b[\w-]{80,}", r"\b[\w-]+:APA91b"),
    Rule("API_KEY", r"AQ\.A[\w-]{40,}", r"AQ\.A[\w-]{20}"),
]  # fmt: skip

CODE = [
    *_table("TOKEN", r"[A-Za-z0-9]{16,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    Rule("TOKEN", r"gh[opsur]_[A-Za-z0-9]{36}", "gh[opsur]_[A-Za-z0-9]{8}", lambda m: crc32_token(m[0])),
    Rule("TOKEN", r"github_pat_\w{20,}", "github_pat_"),
    *_table("TOKEN", r"[\w.-]{16,}", "glpat-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-",
            "glsoat-", "glffct-", "GR1348941"),
    *_table("TOKEN", r"[A-Za-z0-9]{30,}", "npm_"),
    Rule("TOKEN", r"npm_[A-Za-z0-9]{36}", "npm_[A-Za-z0-9]{8}", lambda m: crc32_token(m[0])),
    *_table("TOKEN", r"[\w-]{30,}", "pypi-", "rubygems_", "dckr_pat_", "dckr_oat_", "CLOJARS_", "dapi", "sntrys_", "sntryu_", mixed=True),
    Rule("TOKEN", rf"{START}dckr_[a-z]+_[\w-]{{20,}}", "dckr_[a-z]"),
    issued("TOKEN", "oy2", r"[a-z0-9]{43}\b", hint="[a-z0-9]{20}"),
    issued("TOKEN", "cio", r"[A-Za-z0-9]{32}\b", hint="[A-Za-z0-9]{20}", mixed=True),
    *_table("TOKEN", r"[\w-]{20,}", "packagist_", "squ_", "sqp_", "sqa_", "CCIPAT_", "CCIPRJ_", "bkua_", "bkct_", "bkaj_", "vercel_blob_rw_",
            "vcp_", "vci_", "vca_", "vcr_", "vck_", "nfp_", "nfc_", "nfo_", "nfu_", "nfb_", "HRKU-", "rnd_", "fo1_", "fm1_", "fm2_", "sbp_", "sb_secret_",
            "sb_publishable_", "pscale_tkn_", "pscale_pw_", "pscale_oauth_", "napi_", "pul-", "ATATT3", "ATCTT3", "ATBB", "ATSTT", "ATTA",
            "lin_api_", "lin_oauth_", "ntn_", "figd_", "figo_", "figu_", "PMAK-", "PMAT-", "glc_", "glsa_", "hcaik_", "hcbik_", "hcxik_",
            "phc_", "phx_", "phs_", "phr_", "pha_", "sgd_", "slk_", "pnu_", "pnb_", "rdme_", "tskey-", "dnkey-", "dbtc_", "dbtu_", "dbts_", "essu_",
            "CFPAT-", "CFOAT-", "PTLK", "p8e-", "fio-u-", "tfp_", "tss_", "signkey-", "apify_api_", "waka_", "syt_", "mct_", "os_v2_",
            "nrk_", "ddp_", "ddpat_", "ddapp_", "dp.pt.", "mdb_sa_sk_", "mdb_sa_id_", "uploadthing_", "cal_live_", "xoxe.", "sk_prod_",
            "AKCp", "cmVmdGtu", "AstraCS:", "sha256~", "FlyV1 ", "FLWSECK", "FLWPUBK", "IGQV", "t1.", "y0_", "y1_", "y2_", "y3_", "AQVN", "YCAJ", "YCM",
            "lstk_", "tr_dev_", "tr_prod_", "tr_pat_", "ops_eyJ", "bws_", "wst_", "flb_", "airbyte_", "ory_at_", "ory_rt_", "ory_pat_",
            "cvt_", "cfut_", "cfat_", "v1.0-", "dop_v1_", "doo_v1_", "dor_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shptka_",
            mixed=True),
    *_table("TOKEN", r"(?:-[\w-]+|[\w.-]{8,})", "NRAK-", "NRJS-", "NRII-", "NRRA-", "NRAL-", "NRIQ-", "NRSP-", "NRRA-", mixed=True),
    Rule("TOKEN", rf"{START}dp\.(?:ct|pt|st|sa|scim|audit)\.(?:[a-z0-9_-]{{2,35}}\.)?[A-Za-z0-9]{{30,}}", r"dp\.[a-z]{2,5}\."),
    Rule("TOKEN", rf"{START}hv[sbr]\.[\w-]{{20,}}", r"hv[sbr]\.[\w-]{12}"),
    Rule("TOKEN", rf"{START}[A-Za-z0-9]{{14}}\.atlasv1\.[\w=-]{{40,}}", HB + r"[A-Za-z0-9]{14}\.atlasv1\."),
    Rule("TOKEN", rf"{START}pat[A-Za-z0-9]{{14}}\.[0-9a-f]{{40,}}", HB + r"pat[A-Za-z0-9]{14}\."),
    Rule("TOKEN", rf"{START}dt0[a-z]\d\d\.[A-Z0-9]{{24}}\.[A-Z0-9]{{50,}}", r"dt0[a-z]\d\d\."),
    Rule("TOKEN", rf"{START}[spt]k\.eyJ[\w-]{{20,}}\.[\w-]{{16,}}", r"[spt]k\.eyJ"),
    Rule("TOKEN", rf"{START}(?:pat|sat)\.[\w-]{{16,}}\.[\w-]{{16,}}\.[\w-]{{16,}}", HB + r"[ps]at\.[\w-]{16}"),
    Rule("TOKEN", rf"{START}[0-2]/\d{{10,}}(?:/\d{{10,}})?:[0-9a-f]{{32}}", HB + r"[0-2]/\d{10}"),
    Rule("TOKEN", rf"{START}secret_[A-Za-z0-9]{{32,}}", "secret_[A-Za-z0-9]{24}", _random),
    Rule("API_KEY", rf"{START}(?:sdk|mob|api)-[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}", r"(?:sdk|mob|api)-[0-9a-f]{8}-"),
    Rule("API_KEY", rf"{START}pk_\d{{4,9}}_[A-Z0-9]{{20,}}", r"pk_\d{4}"),
    Rule("API_KEY", rf"{START}API-[A-Z0-9]{{25,}}", HB + "API-[A-Z0-9]{20}", _random),
    Rule("API_KEY", r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}", "A3-[A-Z0-9]{6}-"),
    Rule("API_KEY", rf"{START}(?:[A-Z0-9]{{5}}-){{4}}[A-Z0-9]{{5}}(?![\w-])", HB + r"(?:[A-Z0-9]{5}-){4}", _random),
]  # fmt: skip

CLOUD = [
    Rule("API_KEY", r"(?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{12,20}(?![A-Za-z0-9])",
         "A(?:3T|KIA|SIA|GPA|IDA|ROA|IPA|NPA|NVA|BIA|CCA)[A-Z0-9]{8}"),
    Rule("API_KEY", r"ABSK[A-Za-z0-9+/]{60,}=*", "ABSK[A-Za-z0-9+/]{12}"),
    Rule("TOKEN", rf"{START}(?:FwoGZXIvYXdz|IQoJb3JpZ2lu|FQoGZXIvYXdz|FQoDYXdz)[\w+/=-]{{20,}}", "(?:FwoGZXIvYXdz|IQoJb3JpZ2lu|FQoGZXIvYXdz|FQoDYXdz)"),
    # the secret stands near the id: forty base-64 signs that are no path and no hash
    Rule("SECRET", r"(?:AKIA|ASIA)[A-Z0-9]{12,20}\b(?:(?!\x00).){1,120}?(?<![A-Za-z0-9+/])(?P<v>[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])",
         "A[KS]IA[A-Z0-9]{8}", lambda m: random_like(m["v"]) and not re.fullmatch(r"[0-9a-f]+", m["v"]), flags=re.DOTALL),
    Rule("SECRET", r"amzn\.mws\.[0-9a-f-]{32,}", r"amzn\.mws\."),
    Rule("SECRET", r"(?i:AccountKey|SharedAccessKey|SharedSecret|AccessKey)=(?P<v>[A-Za-z0-9+/]{20,}={0,2})", "(?i)(?:AccountKey|SharedAccessKey|SharedSecret|AccessKey)="),
    Rule("TOKEN", r"(?<=[?&;])sig=(?P<v>[\w%+/=-]{16,})", r"[?&;]sig=[\w%+/=-]{12}"),
    Rule("TOKEN", r"(?i:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-(?:Signature|Credential)|Signature|AWSAccessKeyId|Key-Pair-Id)=(?P<v>[\w%+/=~-]{12,})",
         "(?i)(?:X-Amz-(?:Signature|Security-Token|Credential)|X-Goog-(?:Signature|Credential)|Signature|AWSAccessKeyId|Key-Pair-Id)="),
    Rule("SECRET", rf"{START}[\w.~-]{{3}}\dQ~[\w.~-]{{30,}}", r"[\w.~-]{3}\dQ~[\w.~-]{12}"),
    Rule("API_KEY", rf"{START}[A-Za-z0-9]{{52}}JQQJ99[A-Za-z0-9]{{20,}}", HB + "[A-Za-z0-9]{52}JQQJ99"),
    Rule("API_KEY", rf"{START}[A-Za-z0-9+/]{{40,90}}(?:AzSe|AzCa|ACDb|AzFu|AIoT|APIM|\+AMC|\+ASt|\+ARm|ACRAS|\+ACR)[A-Za-z0-9+/]{{4,8}}={{0,2}}", "[A-Za-z0-9+/]+(?:AzSe|AzCa|ACDb|AzFu|AIoT|APIM|\\+AMC|\\+ASt|\\+ARm|ACRAS|\\+ACR)", _random),
    *_table("API_KEY", r"[A-Za-z0-9]{12,40}" + END, "LTAI", "AKID", "SCW", "JDCLOUD_", "AKLT", mixed=True),
    Rule("API_KEY", r"(?<![A-Za-z0-9])ocid1\.(?:credential|apikey)\.[\w.-]{20,}", r"ocid1\.(?:credential|apikey)"),
    Rule("TOKEN", r"cloudinary://\d+:(?P<v>[\w-]{10,})@", "cloudinary://"),
]  # fmt: skip

TALK = [
    Rule("TOKEN", r"xox[abceodprs](?:\.xox[bp])?-[\w-]{10,}", "xox[a-z](?:\\.xox[bp])?-"),
    Rule("TOKEN", r"xapp-\d?-?[\w-]{10,}", "xapp-"),
    Rule("TOKEN", r"xwfp-[\w-]{10,}", "xwfp-"),
    Rule("WEBHOOK", r"https?://hooks\.slack(?:-gov)?\.com/(?P<v>(?:services|workflows|triggers)/[\w/-]{16,})", r"https?://hooks\.slack"),
    Rule("WEBHOOK", r"https?://(?:\w+\.)?discord(?:app)?\.com/(?P<v>api/(?:v\d+/)?webhooks/\d{8,}/[\w-]{16,})", r"https?://(?:\w+\.)?discord(?:app)?\.com/api"),
    Rule("WEBHOOK", r"https?://(?P<v>(?:[\w-]+\.webhook\.office\.com|outlook\.office(?:365)?\.com)/webhook\w*/[^\s\"'<>\\)]{16,})", r"https?://[\w.-]+office(?:365)?\.com/webhook"),
    Rule("WEBHOOK", r"https?://(?P<v>[\w.-]+\.(?:logic\.azure\.com|powerplatform\.com)[^\s\"'<>]*sig=[^\s\"'<>&\\)]+)", r"https?://[\w.-]+\.(?:logic\.azure|powerplatform)\.com"),
    Rule("WEBHOOK", r"https?://chat\.googleapis\.com/(?P<v>v1/spaces/[\w-]+/messages\?[^\s\"'<>\\)]{16,})", r"https?://chat\.googleapis\.com/v1/spaces"),
    Rule("WEBHOOK", r"https?://hooks\.zapier\.com/(?P<v>hooks/[\w/-]{12,})", r"https?://hooks\.zapier\.com"),
    Rule("WEBHOOK", r"https?://hook\.(?:\w+\.)?(?:make|integromat)\.com/(?P<v>\w{16,})", r"https?://hook\.[\w.]*(?:make|integromat)\.com"),
    Rule("WEBHOOK", r"https?://maker\.ifttt\.com/(?P<v>(?:trigger/[\w-]+/)?(?:json/)?(?:with/)?(?:key|use)/[\w-]{16,})", r"https?://maker\.ifttt\.com"),
    Rule("WEBHOOK", r"https?://(?:oapi\.dingtalk\.com/robot/send\?access_token=|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=)(?P<v>[\w-]{16,})",
         r"https?://[\w.]+(?:dingtalk\.com/robot|/open-apis/bot|weixin\.qq\.com/cgi-bin/webhook)"),
    Rule("WEBHOOK", r"https?://(?P<v>[\w.-]+/(?:webhooks?|hooks|incoming)/[\w/-]*(?=[\w-]*\d)[\w-]{20,})", r"https?://[\w.-]+/(?:webhooks?|hooks|incoming)/[\w/-]{16}", _random_value),
    Rule("TOKEN", rf"{START}\d{{8,10}}:A[A-Za-z0-9_-]{{32,}}", HB + r"\d{8,10}:A[\w-]{20}"),
    Rule("TOKEN", rf"{START}\d{{8,10}}:[A-Za-z0-9_-]{{35}}\b", HB + r"\d{8,10}:[\w-]{30}"),
    Rule("TOKEN", rf"{START}(?:mfa\.[\w-]{{60,}}|[MNO][A-Za-z0-9]{{22,27}}\.[\w-]{{6}}\.[\w-]{{25,}})", HB + r"(?:mfa\.[\w-]{20}|[MNO][A-Za-z0-9]{22,27}\.[\w-]{6}\.)"),
    *_table("API_KEY", r"[0-9a-f]{32}" + END, "AC", "SK", "AP", "key-"),
    Rule("API_KEY", rf"{START}[0-9a-f]{{32}}-[0-9a-f]{{8}}-[0-9a-f]{{8}}" + END, HB + r"[0-9a-f]{32}-[0-9a-f]{8}-"),
    Rule("API_KEY", rf"{START}[0-9a-f]{{32}}-us\d{{1,2}}" + END, HB + r"[0-9a-f]{32}-us\d"),
    Rule("API_KEY", rf"{START}SG\.[\w-]{{16,}}\.[\w-]{{16,}}", r"SG\.[\w-]{16}"),
    issued("API_KEY", "re_", r"[A-Za-z0-9]{6,}_[A-Za-z0-9]{16,}", hint="[A-Za-z0-9]{6}", mixed=True),
    *_table("API_KEY", r"[\w-]{20,}", "xkeysib-", "xsmtpsib-", "ml_", "mlsn.", "dG9rO", "pat-na1-", "pat-eu1-", "pk_prod_", mixed=True),
    Rule("TOKEN", rf"{START}pat-[a-z]{{2,4}}\d?-[0-9a-f-]{{32,}}", "pat-[a-z]{2,4}\\d?-"),
    Rule("TOKEN", rf"{START}00D[A-Za-z0-9]{{12,15}}![\w.]{{40,}}", HB + "00D[A-Za-z0-9]{12,15}!"),
    Rule("TOKEN", rf"{START}00[A-Za-z][\w-]{{39}}(?![\w-])", HB + r"00[A-Za-z][\w-]{38}", _random),
    Rule("TOKEN", rf"{START}EAA[A-Za-z0-9]{{24,}}", HB + "EAA[A-Za-z0-9]{20}", _random),
    Rule("TOKEN", rf"{START}A{{10,}}[A-Za-z0-9%+/=]{{40,}}", HB + r"A{10}[A-Za-z0-9%]{24}", lambda m: "%" in m[0] or random_like(m[0].lstrip("A"))),
    Rule("TOKEN", rf"{START}sl\.(?:[a-z]\.)?[\w-]{{40,}}", r"sl\.(?:[a-z]\.)?[\w-]{30}"),
    Rule("TOKEN", rf"{START}(?:WPL_AP\d|LLM\|\d+\|)[\w.|-]{{10,}}", r"(?:WPL_AP|LLM\|\d)"),
]  # fmt: skip

MONEY = [
    Rule("API_KEY", rf"{START}(?:sk|rk|pk|whsec|ek|pmk|ak|tok)_(?:(?:live|test|prod)_)[A-Za-z0-9_]{{10,}}", "(?:sk|rk|pk|whsec|ek|pmk|ak|tok)_(?:live|test|prod)_"),
    Rule("API_KEY", rf"{START}(?:sk|rk|pk)_[A-Za-z0-9]{{16,}}" + END, "(?:sk|rk|pk)_[A-Za-z0-9]{12}", _random),
    Rule("SECRET", rf"{START}whsec_[A-Za-z0-9+/=]{{16,}}", "whsec_", _random),
    *_table("API_KEY", r"[\w-]{20,}", "sq0atp-", "sq0csp-", "sq0idp-", "EAAA", "EZAK", "EZTK", "pdl_live_", "pdl_sdbx_", "shippo_live_",
            "shippo_test_", "duffel_test_", "duffel_live_", "AQE", mixed=True),
    *_table("API_KEY", r"[A-Za-z0-9]{20,}" + END, "live_", "test_", "sandbox_", "mat_", "md-", "b_", "pa-", "ak-", "as-", "fc-", "rw_", mixed=True),
    *_table("API_KEY", r"[A-Za-z0-9]{10,}", "rzp_live_", "rzp_test_", "cfsk_", mixed=True),
    Rule("TOKEN", r"access_token\$(?:production|sandbox)\$[0-9a-z]{10,}\$[0-9a-f]{20,}", r"access_token\$"),
    Rule("TOKEN", rf"{START}(?:access|public|secret|link|processor)-(?:sandbox|development|production|live|test)-[\w=-]{{20,}}", "(?:access|public|secret|link|processor)-(?:sandbox|development|production|live|test)-"),
]  # fmt: skip

SIGNED = [
    Rule("TOKEN", r"eyJ[\w-]{5,}\.(?:eyJ|[\w-])[\w-]{3,}(?:\.[\w-]*){1,3}", r"eyJ[\w-]{5,}\.[\w-]"),
    Rule("TOKEN", r"eyJ[\w-]{5,}\.\.[\w-]+(?:\.[\w-]+){2}", r"eyJ[\w-]{5,}\.\."),
    Rule("TOKEN", rf"{START}v[1-4]\.(?:local|public)\.[\w-]{{20,}}(?:\.[\w-]+)?", r"v[1-4]\.(?:local|public)\."),
    Rule("PASSWORD", r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}", r"\$2[abxy]?\$\d\d\$"),
    Rule("PASSWORD", r"\$(?:argon2(?:id?|d)|scrypt|pbkdf2(?:-sha\d+)?)\$[^\s\"'<>\\:]{20,}", r"\$(?:argon2|scrypt|pbkdf2)"),
    Rule("PASSWORD", r"\$(?:1|5|6|y|7|apr1|gy)\$[^\s\"'<>:\\]{12,}", r"\$(?:1|5|6|y|7|apr1|gy)\$[^\s\"'<>:]{8}"),
    Rule("PASSWORD", r"(?:pbkdf2_sha\d+|scrypt|argon2|bcrypt_sha\d+)\$[^\s\"'<>\\]{20,}", r"(?:pbkdf2_sha|scrypt|argon2|bcrypt_sha)\d*\$"),
    Rule("PASSWORD", r"\{S?(?:SHA|MD5)(?:256|512)?\}[A-Za-z0-9+/=]{20,}", r"\{S?(?:SHA|MD5)\d*\}"),
    # up to the end of its string; one that is the value of a query up to the next
    Rule("SECRET", r"(?i)otpauth(?:-migration)?(?::(?:[^\s\"'<>\\]|\\+/|\\+u00\w\w)+|%(?:25)*3A[^\s\"'<>\\&]+)(?<![.,;:!?)\]}])", "(?i)otpauth"),
]  # fmt: skip

ISSUED = [*PRIVATE, *SIGNED, *MODELS, *CODE, *CLOUD, *TALK, *MONEY]
