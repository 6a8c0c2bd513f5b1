"""A new member: looked up in a directory, kept in the database, greeted by mail, told to a partner. No step of its own.

`members.yaml` says the same in YAML. Both are one definition. What it may reach is set where the worker runs:

    WFCELERY_SQL_DATABASES='{"default": "own"}'
    WFCELERY_EMAIL_URL=smtp://user:password@mail.example.com:587  WFCELERY_EMAIL_FROM='Club <club@example.com>'
    WFCELERY_WEBHOOK_SECRETS='{"default": "whsec_..."}'
"""

from __future__ import annotations

from pydantic import BaseModel

from wfcelery import Retry, text, workflow
from wfcelery.builtin import email, http, sql, webhook


class Member(BaseModel):
    id: int
    name: str
    email: str


KEEP = "insert into members (id, name, team) values (:id, :name, :team)"


@workflow(version="1")
def welcome(member: Member, directory: str, partner: str) -> str:
    found = http.options(name="look_up", retry=Retry(count=5, delay="1s"))(directory, query={"member": member.id})
    kept = sql.options(name="keep")(KEEP, {"id": member.id, "name": member.name, "team": found.body.team})
    sent = email.options(name="greet", after=kept)(
        member.email, "Welcome", text("Dear {},\n\nyou are in team {}.", member.name, found.body.team)
    )
    webhook.options(name="tell", after=kept)(partner, "member.joined", {"id": member.id, "team": found.body.team})
    return sent.message_id
