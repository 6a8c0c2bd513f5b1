"""`wf.webhook`: deliveries that any receiver who follows Standard Webhooks can check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.unit.builtin.servers import Request, Web
from wfcelery.authoring.context import StepContext, step_context
from wfcelery.builtin import Delivery, webhook
from wfcelery.builtin.failures import AddressRefused, HttpClientError, HttpServerError, NotConfigured, UnexpectedAnswer
from wfcelery.builtin.signing import signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def accepts(request: Request, secret: str) -> bool:
    """A receiver, written from the specification: any of the signatures will do."""
    content = b".".join([request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body])
    right = base64.b64encode(hmac.new(base64.b64decode(secret[6:]), content, hashlib.sha256).digest()).decode()
    return f"v1,{right}" in request.headers["webhook-signature"].split(" ")


def test_a_signature_is_that_of_the_specification() -> None:
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [SECRET])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_an_event_is_delivered_signed_under_the_steps_key(web: Web, configure: Callable[..., None]) -> None:
    configure(webhook_secrets={"default": SECRET, "partner": [OTHER, SECRET]})
    url = web.says("/hook", (204, {}, b""))
    with step_context(StepContext("the-key", 3, "run")):
        assert webhook.fn(url, "order.paid", {"id": 7}, at=datetime(2026, 1, 2, tzinfo=UTC)) == Delivery(id="the-key", status=204)
        webhook.fn(url, "order.paid", None, secret="partner")
    first, second = web.requests
    assert (first.headers["webhook-id"], first.headers["content-type"]) == ("the-key", "application/json")
    assert json.loads(first.body) == {"type": "order.paid", "timestamp": "2026-01-02T00:00:00+00:00", "data": {"id": 7}}
    assert accepts(first, SECRET)
    assert not accepts(first, OTHER)
    assert accepts(second, SECRET), "while a secret is replaced, both are good"
    assert accepts(second, OTHER)
    assert abs(datetime.now(UTC).timestamp() - int(first.headers["webhook-timestamp"])) < 60


def test_what_a_receiver_answers_ends_the_attempt_as_of_http(web: Web, configure: Callable[..., None]) -> None:
    configure(webhook_secrets={"default": SECRET})
    with pytest.raises(HttpClientError):
        webhook.fn(web.says("/gone", (410, {}, b"")), "e", 1)
    with pytest.raises(HttpServerError):
        webhook.fn(web.says("/down", (500, {}, b"")), "e", 1)
    with pytest.raises(UnexpectedAnswer):
        webhook.fn(web.says("/moved", (301, {"Location": "/elsewhere"}, b"")), "e", 1)
    configure(input_limit=1000)
    assert webhook.fn(web.says("/chatty", (200, {"Content-Type": "application/json"}, b"x" * 100_000)), "e", 1).status == 200
    with pytest.raises(AddressRefused):
        webhook.fn("http://10.0.0.1/", "e", 1)


@pytest.mark.usefixtures("web")
def test_a_secret_that_nobody_has_set_is_told() -> None:
    with pytest.raises(NotConfigured, match="no secret for webhooks is called default: the operator sets webhook_secrets"):
        webhook.fn("https://example.com/", "e", 1)
