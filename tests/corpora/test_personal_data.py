"""What is taken out as personal data, and what only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.personal_data import Redacted, redact_personal_data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail joe.doe+x@mail.example.co.uk now", Redacted("mail <email> now", 1, 0)),
        ("(joe@example.com), jane@example.org.", Redacted("(<email>), <email>.", 2, 0)),
        ("from 8.8.8.8.", Redacted("from <ip>.", 0, 1)),
        ("from 2001:4860:4860::8888 on", Redacted("from <ip> on", 0, 1)),
        ("10.0.0.1, 127.0.0.1, 192.168.1.1, 203.0.113.7 and ::1", None),
        ("version 1.2.3.4.5 and 300.1.1.1", None),
        ("at 12:30:45, @joe, joe@localhost, 5 @ 3.50", None),
    ],
)
def test_only_what_is_surely_personal_is_replaced(text: str, expected: Redacted | None) -> None:
    assert redact_personal_data(text) == (expected or Redacted(text, 0, 0))


@given(st.text() | st.text(alphabet="a1.:@8-f ", max_size=60))
def test_redaction_is_idempotent_and_never_raises(text: str) -> None:
    once = redact_personal_data(text).text
    assert redact_personal_data(once).text == once
