"""`wf.email`: one message, to all of its recipients or to none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.builtin.servers import CERTIFICATE, Mail, mail_server
from wfcelery.authoring.context import StepContext, step_context
from wfcelery.builtin import Attachment, Sent, email
from wfcelery.builtin.failures import InvalidCall, MailDeferred, MailRefused, NotConfigured
from wfcelery.errors import GiveUp


def test_a_message_has_both_its_forms_its_files_and_the_steps_key(mail: Mail) -> None:
    with step_context(StepContext("the-key", 2, "run")):
        sent = email.fn(
            ["Ann Möller <ann@example.com>", "bob@example.com"],
            "Grüße",
            "Hello\n.\nBye",
            html="<p>Hello</p>",
            cc="carl@bücher.example",
            bcc="dora@example.com",
            reply_to="help@example.com",
            attachments=[Attachment(name="figures.csv", content="a;ü\n", type="text/csv"), Attachment(name="x.bin", content=b"\x00\xff")],
        )
    assert sent == Sent(message_id="<the-key@example.com>", recipients=4)
    (recipients, content), (message,) = mail.taken[0], mail.messages
    assert recipients == ["ann@example.com", "bob@example.com", "carl@xn--bcher-kva.example", "dora@example.com"]
    assert (message["From"], message["To"]) == ("Shop <shop@example.com>", "Ann Möller <ann@example.com>, bob@example.com")
    assert (message["Subject"], message["Message-ID"], message["Reply-To"]) == ("Grüße", "<the-key@example.com>", "help@example.com")
    assert message["Date"]
    assert b"dora" not in content
    assert content.isascii(), "no server need know of eight bits"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert (plain.get_content().splitlines(), html.get_content().strip()) == (["Hello", ".", "Bye"], "<p>Hello</p>")
    files: list[Any] = list(message.iter_attachments())
    assert [(each.get_filename(), each.get_content_type()) for each in files] == [
        ("figures.csv", "text/csv"),
        ("x.bin", "application/octet-stream"),
    ]
    assert (files[0].get_content(), files[1].get_content()) == ("a;ü\n", b"\x00\xff")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"subject": "Hi\r\nBcc: eve@example.com"}, "subject holds a line break"),
        ({"subject": "Hi\nX: y"}, "subject holds a line break"),
        ({"to": "ann@example.com\r\nBcc: eve@example.com"}, "to: each is one address"),
        ({"to": "ann@example.com, eve@example.com"}, "to: each is one address"),
        ({"to": "ann@example.com>\r\nDATA"}, "to: each is one address"),
        ({"to": "friends: ann@example.com;"}, "to: each is one address"),
        ({"to": "ann"}, "to: each is one address"),
        ({"to": ""}, "to: each is one address"),
        ({"to": []}, "a message has a recipient"),
        ({"cc": ["eve@@example.com"]}, "cc: each is one address"),
        ({"sender": "shop@example.com\nX: y"}, "from: each is one address"),
        ({"reply_to": "a@example.com\nX: y"}, "reply-to: each is one address"),
        ({"attachments": [Attachment(name="a\r\nX: y", content="")]}, "the name of an attachment"),
        ({"attachments": [Attachment(name="a", content="", type="text/csv\r\nX: y")]}, "the type of an attachment"),
    ],
)
def test_nothing_gets_into_a_header_that_is_none_of_its_own(mail: Mail, given: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidCall, match=fault) as told:
        email.fn(**{"to": "ann@example.com", "subject": "Hi", "text": "Hello", **given})
    assert "eve" not in str(told.value)
    assert mail.commands == []


def test_all_that_is_wrong_with_a_message_is_told_at_once(mail: Mail) -> None:
    with pytest.raises(InvalidCall) as told:
        email.fn("nobody", "a\nb", "text", cc="nobody")
    assert [part.partition(":")[0] for part in str(told.value).split("; ")] == [
        "to",
        "cc",
        "subject holds a line break or another control character",
    ]


@pytest.mark.parametrize(
    ("refusals", "error", "code"),
    [
        ({"RCPT TO:<BOB": "550 5.1.1 bob@example.com is unknown"}, MailRefused, "550"),
        ({"RCPT TO:<BOB": "451 4.7.1 greylisted, bob@example.com"}, MailDeferred, "451"),
        ({"MAIL": "553 5.7.1 not you"}, MailRefused, "553"),
        ({"MAIL": "452 too busy"}, MailDeferred, "452"),
        ({"DATA": "554 no"}, MailRefused, "554"),
        ({"CONTENT": "552 5.3.4 too large"}, MailRefused, "552"),
        ({"CONTENT": "421 going down"}, MailDeferred, "421"),
        ({"CONTENT": "hang up"}, MailDeferred, "connection"),
        ({"RCPT TO:<BOB": "hang up"}, MailDeferred, "connection"),
        ({"EHLO": "421 later", "HELO": "421 later"}, MailDeferred, "421"),
    ],
)
def test_a_refusal_is_for_good_or_for_now_and_for_all_recipients(
    mail: Mail, refusals: dict[str, str], error: type[MailRefused | MailDeferred], code: str
) -> None:
    mail.refusals = refusals
    with pytest.raises(error) as told:
        email.fn(["ann@example.com", "bob@example.com"], "Hi", "Hello")
    assert told.value.code == code
    assert "bob" not in str(told.value)
    assert isinstance(told.value, GiveUp) == (error is MailRefused)
    assert mail.taken == []


def test_a_server_that_says_goodbye_badly_has_taken_the_message(mail: Mail) -> None:
    mail.refusals = {"QUIT": "500 what?"}
    assert email.fn("ann@example.com", "Hi", "Hello").recipients == 1
    assert len(mail.taken) == 1


def test_a_server_is_logged_in_to_behind_tls_alone(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(starttls=True) as server:
        configure(email_url=f"smtp://shop%40example.com:hu%3Ash@127.0.0.1:{server.port}", email_from="shop@example.com")
        with pytest.raises(MailDeferred) as told:
            email.fn("ann@example.com", "Hi", "Hello")
        assert told.value.code == "tls", "the certificate is none that we trust"
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        email.fn("ann@example.com", "Hi", "Hello")
        assert len(server.taken) == 1
        talk = [command.split(" ")[0].upper() for command in server.commands]
        assert talk.index("STARTTLS") < talk.index("AUTH") < talk.index("MAIL")
        server.refusals = {"AUTH": "535 5.7.8 shop@example.com: wrong password"}
        with pytest.raises(MailRefused) as refused:
            email.fn("ann@example.com", "Hi", "Hello")
        assert (refused.value.code, "shop" in str(refused.value)) == ("535", False)
    with mail_server() as server:
        configure(email_url=f"smtp://shop:hush@127.0.0.1:{server.port}")
        with pytest.raises(MailRefused, match="offers no STARTTLS"):
            email.fn("ann@example.com", "Hi", "Hello")
        assert not [command for command in server.commands if command.upper().startswith("AUTH")]


def test_what_the_operator_has_not_set_is_told(configure: Callable[..., None]) -> None:
    with pytest.raises(NotConfigured, match="the operator sets email_url"):
        email.fn("ann@example.com", "Hi", "Hello")
    configure(email_url="smtp://mail.example.com")
    with pytest.raises(NotConfigured, match="the operator has set no email_from"):
        email.fn("ann@example.com", "Hi", "Hello")


def test_a_server_that_is_not_there_is_tried_again(configure: Callable[..., None]) -> None:
    with mail_server() as gone:
        configure(email_url=f"smtp+plain://127.0.0.1:{gone.port}", email_from="shop@example.com")
    with pytest.raises(MailDeferred, match="cannot be reached"):
        email.fn("ann@example.com", "Hi", "Hello")
