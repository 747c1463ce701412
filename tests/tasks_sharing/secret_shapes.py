"""Secrets of every shape that the share guard knows, made up anew by a fixed seed, and text that only
looks like one."""

import base64
import json
import random
import string
import uuid
from dataclasses import dataclass
from pathlib import Path

_random = random.Random(7)  # noqa: S311 - made-up secrets
_HEX = "0123456789abcdef"
_UPPER = string.ascii_uppercase + string.digits
_LOWER = string.ascii_lowercase + string.digits
_WORD = string.ascii_letters + string.digits
_BASE32 = string.ascii_uppercase + "234567"
_BASE64 = _WORD + "+/"
_URL = _WORD + "-_"
_ROOT = Path(__file__).resolve().parents[2]


def some(count: int, letters: str = _WORD) -> str:
    return "".join(_random.choice(letters) for _ in range(count))


@dataclass(frozen=True)
class Shape:
    """A secret, and the text that it stands in."""

    name: str
    before: str
    secret: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.secret + self.after

    @property
    def parts(self) -> list[str]:
        """What must not be read anywhere: of a private key each line."""
        return [line for line in self.secret.split("\n") if not line.startswith("-----")]


def _jwt() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": some(8), "exp": 1_900_000_000}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{some(43, _URL)}"


def _pem(kind: str) -> str:
    lines = [some(64, _BASE64) for _ in range(5)] + [some(30, _BASE64) + "=="]
    return "\n".join(
        [f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"]
    )


def _basic() -> str:
    return base64.b64encode(f"admin:{some(12)}".encode()).decode()


def _uuid() -> str:
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))


#: name: the secret, or what stands before, the secret, and what stands after.
_MADE: dict[str, str | tuple[str, str, str]] = {
    "OpenAI": f"sk-{some(20)}T3BlbkFJ{some(20)}",
    "OpenAI, of a project": f"sk-proj-{some(74, _URL)}T3BlbkFJ{some(74, _URL)}",
    "OpenAI, of a service": f"sk-svcacct-{some(60)}",
    "OpenAI compatible": f"sk-{some(48)}",
    "Anthropic": f"sk-ant-api03-{some(93, _URL)}AA",
    "Anthropic, admin": f"sk-ant-admin01-{some(93, _URL)}AA",
    "Anthropic, OAuth": f"sk-ant-oat01-{some(93, _URL)}AA",
    "OpenRouter": f"sk-or-v1-{some(64, _HEX)}",
    "xAI": f"xai-{some(80)}",
    "Gemini": f"AIza{some(35, _URL)}",
    "Groq": f"gsk_{some(52)}",
    "Hugging Face": f"hf_{some(34, string.ascii_letters)}",
    "Replicate": f"r8_{some(37)}",
    "Perplexity": f"pplx-{some(48)}",
    "DeepSeek": f"sk-{some(32, _HEX)}",
    "GitHub": f"ghp_{some(36)}",
    "GitHub, fine grained": f"github_pat_{some(22)}_{some(59)}",
    "GitHub, OAuth": f"gho_{some(36)}",
    "GitHub, app": f"ghs_{some(36)}",
    "GitHub, refresh": f"ghr_{some(36)}",
    "GitLab": f"glpat-{some(20, _URL)}",
    "AWS": f"AKIA{some(16, _BASE32)}",
    "AWS, session": f"ASIA{some(16, _BASE32)}",
    "AWS, secret": ("aws_secret_access_key = ", some(40, _BASE64), ""),
    "Azure storage": (
        "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=",
        some(86, _BASE64) + "==",
        ";EndpointSuffix=core.windows.net",
    ),
    "Google, OAuth": f"GOCSPX-{some(28, _URL)}",
    "Google, access": f"ya29.{some(80, _URL)}",
    "Stripe": f"sk_live_{some(24)}",
    "Stripe, restricted": f"rk_live_{some(24)}",
    "Stripe, test": f"sk_test_{some(24)}",
    "Stripe, webhook": f"whsec_{some(32)}",
    "Slack": f"xoxb-{some(12, string.digits)}-{some(12, string.digits)}-{some(24)}",
    "Slack, webhook": (
        "",
        f"https://hooks.slack.com/services/T{some(8, _UPPER)}/B{some(8, _UPPER)}/{some(24)}",
        "",
    ),
    "Discord": ("DISCORD_BOT_TOKEN=", f"MTA{some(21)}.{some(6)}.{some(38, _URL)}", ""),
    "Telegram": ("TELEGRAM_TOKEN=", f"{some(10, '123456789')}:AA{some(33, _URL)}", ""),
    "Twilio": f"SK{some(32, _HEX)}",
    "SendGrid": f"SG.{some(22, _URL)}.{some(43, _URL)}",
    "Mailgun": ("MAILGUN_KEY=", f"key-{some(32, _HEX)}", ""),
    "npm": f"npm_{some(36)}",
    "npm, in its settings": ("//registry.npmjs.org/:_authToken=", _uuid(), ""),
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{some(100, _URL)}",
    "RubyGems": f"rubygems_{some(48, _HEX)}",
    "Docker Hub": f"dckr_pat_{some(27, _URL)}",
    "DigitalOcean": f"dop_v1_{some(64, _HEX)}",
    "Doppler": f"dp.pt.{some(43)}",
    "Shopify": f"shpat_{some(32, _HEX)}",
    "Linear": f"lin_api_{some(40)}",
    "Notion": f"ntn_{some(11, string.digits)}{some(35)}",
    "Vault": f"hvs.{some(95, _URL)}",
    "Sentry": f"sntryu_{some(64, _HEX)}",
    "Databricks": f"dapi{some(32, _HEX)}",
    "age": f"AGE-SECRET-KEY-1{some(58, 'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L')}",
    "JWT": _jwt(),
    "our API key": f"rk_{some(43, _URL)}",
    "our client token": f"ct_{some(43, _URL)}",
    "our share link": ("https://cloud.example/share/", f"s_{some(43, _URL)}", ""),
    "RSA key": _pem("RSA "),
    "EC key": _pem("EC "),
    "PKCS 8 key": _pem(""),
    "OpenSSH key": _pem("OPENSSH "),
    "PostgreSQL": ("postgres://app:", some(14), "@db.internal:5432/main"),
    "MySQL": ("mysql+pymysql://root:", some(12) + "!", "@10.0.0.5/shop"),
    "Redis": ("redis://:", some(20), "@cache:6379/0"),
    "MongoDB": ("mongodb+srv://admin:", some(16), "@cluster0.ab1cd.mongodb.net/"),
    "AMQP": ("amqps://svc:", some(18), "@mq.internal//"),
    "ADO.NET": ("Server=tcp:db,1433;User ID=sa;Password=", "Xk9!" + some(9), ";Encrypt=True"),
    "JDBC": ("jdbc:postgresql://db/app?user=app&password=", some(12), "&ssl=true"),
    "Git remote": ("https://bot:", some(20), "@git.example.com/acme/app.git"),
    "environment, password": ("DB_PASSWORD=", f"hunter{some(2, string.digits)}", ""),
    "environment, secret": ("SECRET_KEY=", "q9" + some(48, _WORD + "!@#%^*-_=+"), ""),
    "environment, token": ("export API_TOKEN=", some(32, _HEX), ""),
    "password in quotes": ('password = "', "Tr0ub4dor&3", '"'),
    "password in YAML": ("  password: ", f"s3cr3t-{some(6)}", ""),
    "key in JSON": ('"apiKey": "', some(32, _HEX), '"'),
    "client secret": ("client_secret: '", some(36), "'"),
    "Django": ("SECRET_KEY = 'django-insecure-", "k3" + some(48, _LOWER + "!@#$%^&*-_=+"), "'"),
    "bearer": ("Authorization: Bearer ", some(40), ""),
    "basic": ("Authorization: Basic ", _basic(), ""),
    "key header": ("X-Api-Key: ", some(32), ""),
    "curl": ("curl -u admin:", some(14), " https://api.internal/v1"),
    "flag": ("deploy --password ", "9" + some(11), ""),
    "netrc": ("machine api.example.com login ci password ", "4" + some(15), ""),
    "cookie": ("Cookie: sessionid=", "7" + some(31, _LOWER), ""),
    "one-time password": ("otpauth://totp/A:me?secret=", "22" + some(30, _BASE32), "&issuer=A"),
    "sshpass": ("sshpass -p '", "5" + some(11), "' ssh root@10.0.0.1"),
    "Kubernetes": (
        "kind: Secret\ndata:\n  token: ",
        base64.b64encode(f"8{some(23)}".encode()).decode(),
        "",
    ),
    "element": ("<password>", f"Xm{some(2, string.digits)}{some(7)}", "</password>"),
    "element with attributes": (
        '<db:userPassword type="text">\n  ', f"n{some(9)}7!", "\n</db:userPassword>",
    ),
    "mysql": ("mysql -u root -p", f"S3{some(8)}q", " shop"),
    "mysqldump": ("mysqldump --single-transaction \\\n  -uroot -p'", f"k{some(10)}", "' shop > x.sql"),
    "docker login": ("docker login registry.example -u me -p ", f"D0{some(8)}r", ""),
    "mongosh": ("mongosh -u admin -p '", f"m4{some(9)}x", "' db.internal"),
    "redis-cli": ("redis-cli -h cache -a ", f"r5{some(14)}", " ping"),
    "told": ("my password is ", f"Gr33n{some(4)}!42", ""),
    "told of a thing": ("The password for the staging database is: ", f"w8-{some(8)}", ""),
}  # fmt: skip
SHAPES = [
    Shape(name, *(("", made, "") if isinstance(made, str) else made))
    for name, made in _MADE.items()
]

#: What tokens stand in, in prose, code and terminals.
SURROUNDINGS = {
    "alone": "{}",
    "prose": "Use ({}), and then go on.",
    "end of a sentence": "It is {}.",
    "markdown": "**{}** x",
    "code": "`{}`",
    "diff": "@@ -1 +1 @@\n+{}\n",
    "HTML": "<b>{}</b>",
    "escaped line": "one\\n{}\\n",
    "colour": "\x1b[32m{}\x1b[0m",
    "after other letters": "naïve 🙂 {}",
    "lone surrogate": "\ud83d {}",
}


def innocent() -> dict[str, str]:
    """Text without a secret, by where it is from."""
    png = base64.b64encode(_random.randbytes(200_000)).decode()
    lines = {
        "hashes": [some(count, _HEX) for count in (32, 40, 64, 96, 128) for _ in range(200)],
        "commits": [f"commit {some(40, _HEX)} (HEAD -> main)" for _ in range(200)],
        "UUIDs": [f"id: {_uuid()}" for _ in range(300)],
        "integrity": [f'"integrity": "sha512-{some(86, _BASE64)}=="' for _ in range(300)],
        "pins": [f"    --hash=sha256:{some(64, _HEX)} \\" for _ in range(300)],
        "image": [f"data:image/png;base64,{png}"],
        "styles": [f".c{some(5, _HEX)}{{color:#{some(6, _HEX)}}}" for _ in range(300)],
        "code": [
            "password = request.POST['password']", "token: str = settings.TOKEN",
            "def check_password(password: str) -> bool:", "api_key=os.environ['OPENAI_API_KEY']",
            'password: "Enter your password"', "const token = await getToken(user)",
            "secret = secrets.token_urlsafe(32)", "PASSWORD=${DB_PASSWORD}", "TOKEN=$(cat token)",
            "Authorization: Bearer <token>", "Authorization: Bearer $TOKEN", "token = tokens[0]",
            "postgres://user:password@localhost:5432/db", "DATABASE_URL=postgres://postgres:postgres@db",
            "API_KEY=your-api-key-here", "api_key: sk-...", "export TOKEN=xxxxxxxxxxxx",
            "-----BEGIN PUBLIC KEY-----", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@laptop",
            "<password>your-password</password>", "<password>${env.DB_PASSWORD}</password>",
            "<password></password>", "<Password>Forgotten?</Password>", "<tokens>120000</tokens>",
            "<passwordLength>1234567</passwordLength>", "<label for=password>Password 1</label>",
            "<PasswordInput minLength={12} />", "<secretName>web-tls-2</secretName>",
            "mysql -u root -p shop", "mysql -u root -p$MYSQL_PWD shop", "mysql -P 3306 -h db1 shop",
            "docker run --name mysql -p3306:3306 mysql:8", "docker run -p 127.0.0.1:3306:3306 mysql",
            "mysqldump -u root -p < dump1.sql", "docker login -u me --password-stdin",
            "docker login -u me -p $TOKEN1", "docker login -u me -p <token1>", "docker run -p 8080:80 web1",
            "redis-cli -a $REDIS1 ping", "redis-cli -h cache -p 6379", "mongosh -p 27017",
            "mkdir -p build1/output2", "docker login; mkdir -p build1/output2", "mysql; mkdir -pv build1",
            "The password is SHA256-hashed.", "The password is base64-encoded", "A password is 8-64 characters",
            "the password is at least 12 characters long", "Your password was changed 3 days ago",
            "The password for user1 is required", "the password is stored in config/db2.yml",
            "the password is hash.sha256(value)", "the password is PBKDF2 with 100000 rounds",
            "set the password to settings.DB2_PASSWORD", "The password of a user2 is never logged1",
            "max_tokens=4096, tokens_in=120000", "tokenizer = AutoTokenizer.from_pretrained(name)",
        ],
    }  # fmt: skip
    files = ["package-lock.json", "requirements.txt", "requirements-dev.txt", "CHANGELOG.md"]
    rooms = ["accounts", "orgs", "credits", "proxy", "telemetry", "bridge", "audit", "roocloud"]
    code = [path for room in rooms for path in sorted((_ROOT / room).rglob("*.py"))]
    return {
        **{name: "\n".join(made) for name, made in lines.items()},
        **{name: (_ROOT / name).read_text() for name in files},
        **{str(path.relative_to(_ROOT)): path.read_text() for path in code},
    }
