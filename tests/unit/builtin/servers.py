"""Servers that built-in steps talk to: a web server that answers as it is told, and a mail server that keeps what it takes."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # for localhost and api.example.com, with its key; good for a hundred years


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Said = tuple[int, Mapping[str, str], bytes]


@dataclass
class Web:
    """A web server on 127.0.0.1. `answers` has what each path answers, in turn; the last goes on."""

    port: int = 0
    answers: dict[str, list[Said | Callable[[Any], None]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, path: str, *answers: Said | Callable[[Any], None]) -> str:
        """Answer so; the address."""
        self.answers[path] = list(answers)
        return self.url + path


@contextmanager
def web_server(secured: bool = False) -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            web.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            left = web.answers.get(self.path.partition("?")[0], [(404, {}, b"")])
            said = left.pop(0) if len(left) > 1 else left[0]
            if callable(said):
                said(self)
                self.close_connection = True
                return
            status, headers, content = said
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # a client that has had enough
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if secured:
            server.socket = _context().wrap_socket(server.socket, server_side=True)
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@dataclass
class Mail:
    """A mail server on 127.0.0.1. `refusals` are answers by the beginning of a command."""

    port: int = 0
    starttls: bool = False
    refusals: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)

    @property
    def messages(self) -> list[EmailMessage]:
        return [cast("EmailMessage", message_from_bytes(content, policy=default)) for _, content in self.taken]


class _MailTalk(socketserver.StreamRequestHandler):
    mail: Mail

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def handle(self) -> None:
        self.recipients: list[str] = []
        self.secured = False
        self._say("220 mail.example.com ESMTP")
        while line := self.rfile.readline().decode().strip():
            self.mail.commands.append(line)
            refusal = next((said for begin, said in self.mail.refusals.items() if line.upper().startswith(begin)), None)
            if refusal == "hang up":
                return
            if refusal is not None:
                self._say(refusal)
            elif not self._obey(line.upper(), line):
                return

    def _obey(self, command: str, line: str) -> bool:
        if command.startswith(("EHLO", "HELO")):
            offers = ["AUTH PLAIN LOGIN"] + (["STARTTLS"] if self.mail.starttls and not self.secured else [])
            self._say(*[f"250-{offer}" for offer in ["mail.example.com", *offers]], "250 SIZE 1000000")
        elif command == "STARTTLS":
            self._say("220 go on")
            try:
                self.request = _context().wrap_socket(self.request, server_side=True)
            except ssl.SSLError:  # a client that does not trust us
                return False
            self.rfile, self.wfile, self.secured = self.request.makefile("rb"), self.request.makefile("wb", 0), True
        elif command.startswith("AUTH"):
            self._say("235 welcome")
        elif command.startswith("RCPT"):
            self.recipients.append(line.partition("<")[2].rstrip(">"))
            self._say("250 2.1.5 ok")
        elif command == "DATA":
            self._say("354 go on")
            lines = []
            while (data := self.rfile.readline()) != b".\r\n":
                lines.append(data[1:] if data.startswith(b".") else data)
            content = self.mail.refusals.get("CONTENT")
            if content == "hang up":
                return False
            if content is None:
                self.mail.taken.append((self.recipients, b"".join(lines)))
            self._say(content or "250 2.0.0 taken")
        elif command == "QUIT":
            self._say("221 bye")
            return False
        else:
            self._say("250 2.0.0 ok")
        return True

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server(starttls: bool = False) -> Iterator[Mail]:
    mail = Mail(starttls=starttls)
    talk = type("Talk", (_MailTalk,), {"mail": mail})
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), talk) as server:
        mail.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield mail
        finally:
            server.shutdown()
            thread.join()
