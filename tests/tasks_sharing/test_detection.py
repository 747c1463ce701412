"""N3: what is taken for a secret, and what is not."""

import pytest

from tasks_sharing import detection
from tasks_sharing.detection import find
from tests.tasks_sharing.secret_shapes import SHAPES, SURROUNDINGS, innocent

SECRETS = {shape.name: shape.text for shape in SHAPES}


def hidden(document) -> list[str]:
    return [needle.text for secret in find(document) for needle in secret.needles]


def test_there_are_many_shapes():
    assert len(SHAPES) >= 60


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_secret_is_found_whatever_it_stands_in(shape):
    missed = [
        name
        for name, surroundings in SURROUNDINGS.items()
        if not any(
            shape.secret in text for text in hidden({"text": surroundings.format(shape.text)})
        )
    ]

    assert missed == []


def test_innocent_text_is_left_alone():
    """Code, diffs, lock files, hashes and images: a mask there would make a page unreadable."""
    texts = innocent()

    found = {name: hidden({"text": text}) for name, text in texts.items()}

    wrong = {name: texts for name, texts in found.items() if texts}
    count = sum(map(len, wrong.values()))
    size = sum(map(len, texts.values()))
    print(f"N3: {count} false positives in {size:,} characters of {len(texts)} texts: {wrong}")  # noqa: T201
    assert count <= 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SECRETS["GitHub"], "GitHub token"),
        (SECRETS["xAI"], "xAI API key"),
        (SECRETS["Anthropic"], "Anthropic API key"),
        (SECRETS["npm"], "npm token"),
        (SECRETS["RSA key"], "private key"),
        ('password = "Tr0ub4dor&3"', "password"),
        ("Authorization: Bearer aB3daB3daB3daB3d", "bearer token"),
    ],
)
def test_a_secret_is_named_as_people_would(text, kind):
    assert [secret.kind for secret in find({"text": text})] == [kind]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("<password>Xm1Secret77</password>", "Xm1Secret77"),
        ("mysql -u root -pS3cretPw9", "S3cretPw9"),
        ("docker login -u me -p D0ckerPw77", "D0ckerPw77"),
        ("my password is Gr33nTea!42", "Gr33nTea!42"),
        ("So, the password for the shop is 'Gr33nTea!42', I think.", "Gr33nTea!42"),
    ],
)
def test_a_password_is_found_where_no_sign_of_equality_says_so(text, secret):
    assert secret in hidden({"text": text})


def test_a_password_that_is_a_word_is_one_in_its_place_alone():
    for text, before, after in (
        ("postgres://app:sunshine@db/main, and sunshine all day", "postgres://app:", "@"),
        ('x = 1\npassword = "sunshine"', 'password = "', '"'),
        ("DB_PASSWORD=sunshine\n", "DB_PASSWORD=", ""),
    ):
        (secret,) = find({"text": text})
        assert secret.needles == (detection.Needle("sunshine", before, after),)


def test_the_name_of_a_value_in_json_counts():
    document = {"text": '{"tool":"x","arguments":"{\\"password\\":\\"Tr0ub4dor&3\\"}"}'}

    assert hidden(document) == ["Tr0ub4dor&3"]
    assert hidden({"text": '{"db_password":"sunshine"}'}) == ["sunshine"]
    assert hidden({"text": '{"title":"sunshine"}'}) == []


def test_each_line_of_a_private_key_is_secret_too():
    """A terminal shows the middle of it, without the line that names it."""
    key = next(shape for shape in SHAPES if shape.name == "RSA key")

    assert set(key.parts) <= set(hidden({"text": key.secret}))


HOSTILE = [
    "a", "sk-", "password=", "postgres://", "-----BEGIN PRIVATE KEY-----", "api_key = '", "eyJ", "\x1b[",
    "\\n", "{", '{"a":"', "Authorization: ", "=" * 7, "\ud83d", "\x00", "é", "ghp_" + "aB3" * 12 + " ",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_work_grows_with_the_text_alone(piece, monkeypatch):
    """F7: what the matcher is given, and what it finds, for texts of one, two and four parts."""

    class Counting:
        def __init__(self, scanner):
            self.scanner, self.given, self.found = scanner, 0, 0

        def scan(self, data):
            findings = self.scanner.scan(data)
            self.given += len(data)
            self.found += len(findings)
            return findings

    real = detection._scanner()
    costs = []
    for parts in (1, 2, 4):
        counting = Counting(real)
        monkeypatch.setattr(detection, "_scanner", lambda counting=counting: counting)
        find({"text": piece * (parts * 20_000 // len(piece))})
        costs.append((counting.given, counting.found))

    for (given, found), parts in zip(costs, (1, 2, 4), strict=True):
        assert given <= 3.1 * parts * 20_000 * len("é".encode()) + 200
        assert found <= parts * (costs[0][1] + 50)


def test_a_deep_nest_is_read_as_text():
    """F5, F7"""
    nest = "1"
    for _ in range(12):
        nest = detection.wire.dumps([nest])

    assert hidden({"text": nest}) == []
