"""`wf.email`: one message by the operator's mail server, to all of its recipients or to none."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from wfcelery.authoring.context import current_step
from wfcelery.authoring.decorators import step
from wfcelery.authoring.options import Retry
from wfcelery.builtin.failures import NotConfigured
from wfcelery.builtin.parts import part, settings
from wfcelery.definition.spans import seconds
from wfcelery.errors import Duration


class Attachment(BaseModel):
    """A file that goes with a message. Text is sent as UTF-8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    content: str | bytes
    type: str = "application/octet-stream"


class Sent(BaseModel):
    """A message that the mail server has taken for all recipients."""

    model_config = ConfigDict(frozen=True)

    message_id: str
    recipients: int


@step(name="wf.email", retry=Retry(count=8, delay="30s", backoff="exponential", max_delay="1h"))
def email(
    to: str | list[str],
    subject: str,
    text: str,
    html: str | None = None,
    cc: str | list[str] | None = None,
    bcc: str | list[str] | None = None,
    reply_to: str | None = None,
    sender: str | None = None,
    attachments: list[Attachment] | None = None,
    timeout: Duration = "30s",
) -> Sent:
    """Send a message by the mail server that the operator has set (`email_url`).

    Each address is one text, `ann@example.com` or `Ann <ann@example.com>`. `sender` is the operator's `email_from` unless given.
    The `Message-ID` is made of the step's idempotency key, so that a message which is sent twice, because its worker died before
    the result was recorded, is known as one. If the server refuses one recipient, nobody gets it: for good after 5xx, for now
    after 4xx or a lost connection. `timeout` (seconds or a span) is for each answer of the server.
    """
    sending = part("smtp", "wf.email")
    known = settings()
    if known.email_url is None:
        raise NotConfigured("no mail server is set: the operator sets email_url")
    origin = sender or known.email_from
    if origin is None:
        raise NotConfigured("no sender is given, and the operator has set no email_from")
    letter = sending.Letter(
        sender=origin,
        to=_each(to),
        cc=_each(cc),
        bcc=_each(bcc),
        reply_to=_each(reply_to),
        subject=subject,
        text=text,
        html=html,
        attachments=[(each.name, each.content, each.type) for each in attachments or ()],
    )
    message_id = sending.send(known.email_url.get_secret_value(), letter, current_step().key, seconds(timeout))
    return Sent(message_id=message_id, recipients=len(letter.recipients))


def _each(addresses: str | list[str] | None) -> list[str]:
    return [] if addresses is None else [addresses] if isinstance(addresses, str) else list(addresses)
