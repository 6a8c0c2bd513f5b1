"""A message as RFC 5322 wants it, and the talk with a mail server."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, localtime
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from wfcelery.builtin.failures import InvalidCall, MailDeferred, MailRefused

_PLAIN, _WIDE = SMTP.clone(cte_type="7bit"), SMTPUTF8.clone(cte_type="7bit")  # no server need know of eight bits
_HEADERS = HeaderRegistry()
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


@dataclass
class Letter:
    """What is to be sent, as it was given. `InvalidCall` tells everything wrong with it when it is first looked at."""

    sender: str
    to: Sequence[str]
    subject: str
    text: str
    html: str | None = None
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    reply_to: Sequence[str] = ()
    attachments: Sequence[tuple[str, str | bytes, str]] = ()
    _faults: list[str] = field(default_factory=list, repr=False)

    @cached_property
    def parsed(self) -> dict[str, list[Address]]:
        """The addresses by the header they stand in."""
        given = {"from": [self.sender], "to": self.to, "cc": self.cc, "bcc": self.bcc, "reply-to": self.reply_to}
        found = {name: [self._address(name, text) for text in texts] for name, texts in given.items()}
        if not (self.to or self.cc or self.bcc):
            self._faults.append("a message has a recipient")
        if _CONTROL.search(self.subject):
            self._faults.append("subject holds a line break or another control character")
        for name, content, kind in self.attachments:
            if _CONTROL.search(name) or not name:
                self._faults.append("the name of an attachment holds a control character, or nothing")
            if not _TYPE.fullmatch(kind) or kind.startswith("multipart/"):
                self._faults.append("the type of an attachment is none such as text/csv")
            del content
        if self._faults:
            raise InvalidCall("; ".join(dict.fromkeys(self._faults)))
        return {name: [each for each in addresses if each is not None] for name, addresses in found.items()}

    def _address(self, where: str, text: str) -> Address | None:
        """One address out of a text that must hold exactly one."""
        found: Address | None = None
        if not _CONTROL.search(text):
            header: Any = _HEADERS("To", text)
            if len(header.addresses) == 1 and not header.defects and header.groups[0].display_name is None:
                found = header.addresses[0]
        if found is None or not found.username or not found.domain or " " in found.addr_spec:
            self._faults.append(f"{where}: each is one address, such as ann@example.com or Ann <ann@example.com>")
            return None
        try:
            return Address(found.display_name, found.username, found.domain.encode("idna").decode())
        except (UnicodeError, ValueError):
            self._faults.append(f"{where}: there is no such domain")
            return None

    @property
    def recipients(self) -> list[str]:
        """Whom the mail server is told, each once."""
        return list(dict.fromkeys(each.addr_spec for name in ("to", "cc", "bcc") for each in self.parsed[name]))

    def message(self, key: str) -> EmailMessage:
        """The message, without those who get it unseen. Whoever sends it again under the same key sends the same message."""
        made = EmailMessage(policy=_PLAIN)
        for name, title in (("from", "From"), ("to", "To"), ("cc", "Cc"), ("reply-to", "Reply-To")):
            if self.parsed[name]:
                made[title] = self.parsed[name]
        made["Subject"] = self.subject
        made["Date"] = format_datetime(localtime())
        made["Message-ID"] = f"<{key}@{self.parsed['from'][0].domain}>"
        made["Auto-Submitted"] = "auto-generated"
        made.set_content(self.text)
        if self.html is not None:
            made.add_alternative(self.html, subtype="html")
        for name, content, kind in self.attachments:
            main, _, sub = kind.partition("/")
            data, more = (content.encode(), {"charset": "utf-8"}) if isinstance(content, str) else (content, {})
            made.add_attachment(data, maintype=main, subtype=sub, filename=name, params=more)
        return made


def send(server: str, letter: Letter, key: str, seconds: float) -> str:
    """Hand the letter to the server, for all recipients or for none; its Message-ID. Raises InvalidCall, MailRefused, MailDeferred."""
    message, recipients = letter.message(key), letter.recipients
    sender = letter.parsed["from"][0].addr_spec
    wide = not all(each.isascii() for each in (sender, *recipients))
    content = message.as_bytes(policy=_WIDE if wide else _PLAIN)
    try:
        connection = _connected(urlsplit(server), seconds)
        try:
            _deliver(connection, sender, recipients, content, wide)
            with suppress(OSError, smtplib.SMTPException):  # it has taken the message; how it says goodbye changes nothing
                connection.quit()
        finally:
            connection.close()
    except smtplib.SMTPResponseException as refused:
        raise _failure(refused.smtp_code, _bytes(refused.smtp_error), "the mail server refused") from None
    except smtplib.SMTPNotSupportedError:
        raise MailRefused("the mail server cannot do what is needed: log-in, or addresses beyond ASCII", "not_supported") from None
    except ssl.SSLError:
        raise MailDeferred("the mail server's certificate or its TLS is not to be trusted", "tls") from None
    except (OSError, smtplib.SMTPException):  # SMTPServerDisconnected and all that a network does
        raise MailDeferred("the mail server cannot be reached, or the connection was lost", "connection") from None
    return str(message["Message-ID"])


def _connected(url: SplitResult, seconds: float) -> smtplib.SMTP:
    """A connection that is secured and logged in as the operator's URL says."""
    host = url.hostname or ""
    trust = ssl.create_default_context()
    if url.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=seconds, context=trust)
    else:
        connection = smtplib.SMTP(host, url.port or (587 if url.scheme == "smtp" else 25), timeout=seconds)
    try:
        connection.ehlo_or_helo_if_needed()
        if url.scheme == "smtp":
            if not connection.has_extn("starttls"):
                raise MailRefused(
                    "the mail server offers no STARTTLS; where the way to it is safe, the operator writes smtp+plain://", "no_tls"
                )
            connection.starttls(context=trust)
            connection.ehlo()
        if url.username:
            connection.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        connection.close()
        raise
    return connection


def _deliver(connection: smtplib.SMTP, sender: str, recipients: Sequence[str], content: bytes, wide: bool) -> None:
    if wide and not connection.has_extn("smtputf8"):
        raise smtplib.SMTPNotSupportedError
    options = ["SMTPUTF8"] if wide else []
    _insist(lambda: connection.mail(sender, options), "the mail server refused the sender")
    refused = [answer for answer in (connection.rcpt(each) for each in recipients) if answer[0] not in (250, 251)]
    if refused:
        connection.rset()
        code, said = max(refused, key=lambda answer: answer[0])  # one that is for good outweighs those for now
        raise _failure(code, said, f"the mail server refused {len(refused)} of {len(recipients)} recipients")
    _insist(lambda: connection.data(content), "the mail server refused the message")


def _insist(command: Callable[[], tuple[int, bytes]], what: str) -> None:
    code, said = command()
    if code != 250:
        raise _failure(code, said, what)


def _failure(code: int, said: bytes, what: str) -> MailRefused | MailDeferred:
    """Without the server's own words, which name the recipient."""
    detail = _ENHANCED.match(said)
    text = f"{what}: {code}" + (f" {detail[0].decode()}" if detail else "")
    if not 200 <= code < 600:
        return MailDeferred(f"{what}: its answer has no code", "protocol")
    return MailRefused(text, str(code)) if code >= 500 else MailDeferred(text, str(code))


def _bytes(said: bytes | str) -> bytes:
    return said if isinstance(said, bytes) else said.encode(errors="replace")
