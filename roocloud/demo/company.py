"""Who works there, and what they asked their agents to do."""

from dataclasses import dataclass

NAME = "Northwind (demo)"
REMOVED_NAME = "Northwind (demo, removed)"
#: Nobody has an address there: the domain is reserved for examples.
DOMAIN = "northwind.example"
UPSTREAM = "northwind-demo"


@dataclass(frozen=True, slots=True)
class Person:
    """pace: how many tasks they begin on a working day, about; zero for who only reads."""

    name: str
    surname: str
    role: str
    pace: float
    host: str


PEOPLE = (
    Person("Maya", "Lindqvist", "owner", 0.5, "maya-studio"),
    Person("Omar", "Haddad", "admin", 0.4, "omar-thinkpad"),
    Person("Priya", "Raman", "member", 0.9, "priya-mbp"),
    Person("Jonas", "Weber", "member", 0.6, "devbox-3"),
    Person("Lena", "Okafor", "member", 0.5, "devbox-7"),
    Person("Tom", "Baker", "readonly", 0, "tom-desk"),
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model: USD per million tokens, and how likely it is chosen."""

    model_id: str
    name: str
    input_usd: int
    output_usd: int
    weight: int


OFFERS = (
    Offer("northwind/large", "Northwind Large", 3, 15, 6),
    Offer("northwind/small", "Northwind Small", 1, 5, 3),
    Offer("northwind/reasoner", "Northwind Reasoner", 5, 25, 1),
)


@dataclass(frozen=True, slots=True)
class Job:
    """A task as somebody gives it. change: lines before and after, of ``path``."""

    prompt: str
    repository: str
    mode: str
    path: str
    change: tuple[str, str]
    command: str
    outcome: str


JOBS = (
    Job(
        "Retry the payment provider when it answers 502, at most three times",
        "northwind/payments", "code", "payments/client.py",
        ("    return send(request)\n", "    return with_retries(send, request, most=3)\n"),
        "pytest -q tests/test_client.py",
        "Requests that the provider answers with 502 are sent again, at most three times with a "
        "growing pause. A test plays an outage of two answers.",
    ),
    Job(
        "The invoice PDF cuts long product names. Wrap them.",
        "northwind/payments", "code", "invoices/layout.py",
        ("    cell(name, width=60)\n", "    cell(name, width=60, wrap=True)\n"),
        "pytest -q tests/test_layout.py",
        "Names wrap within their column, and rows grow with them.",
    ),
    Job(
        "Why does the search page ask the database 40 times?",
        "northwind/shop", "ask", "shop/search.py",
        ("    products = found.all()\n", "    products = found.select_related('brand')\n"),
        "python manage.py test shop.search",
        "Each product loaded its brand by itself. One join makes it 3 queries.",
    ),
    Job(
        "Add a dark theme to the checkout",
        "northwind/shop", "code", "static/checkout.css",
        ("  color: #222;\n", "  color: light-dark(#222, #eee);\n"),
        "npm test",
        "The checkout follows the colour scheme of the system; contrast is at least 4.5.",
    ),
    Job(
        "Plan the move from cron jobs to the queue, without code",
        "northwind/platform", "architect", "docs/queue.md",
        ("Jobs run by cron.\n", "Jobs run from a queue; cron only enqueues them.\n"),
        "npx markdownlint docs/queue.md",
        "A plan in four steps, each of which can be undone, is in docs/queue.md.",
    ),
    Job(
        "The nightly export fails since Tuesday, find out why",
        "northwind/platform", "debug", "export/nightly.py",
        ("    with open(path) as file:\n", "    with open(path, encoding='utf-8') as file:\n"),
        "python -m export.nightly --dry-run",
        "The new image has no UTF-8 locale. The export names its encoding now.",
    ),
    Job(
        "Write tests for the discount rules before we change them",
        "northwind/shop", "code", "tests/test_discounts.py",
        ("# tests follow\n", "def test_half_off_is_for_members(): ...\n"),
        "pytest -q tests/test_discounts.py",
        "Twelve tests say what the rules do today, including two oddities that are marked.",
    ),
    Job(
        "Rename customer_no to customer_id everywhere in the API",
        "northwind/payments", "code", "api/schemas.py",
        ("    customer_no: str\n", "    customer_id: str\n"),
        "pytest -q",
        "Renamed in 14 files; the old field is still read for a release.",
    ),
)  # fmt: skip
