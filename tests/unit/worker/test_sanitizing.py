"""What is kept of an exception: enough to know what went wrong, nothing that is somebody's."""

from __future__ import annotations

import pytest

from wfcelery.worker.sanitizing import error_of


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("[Errno 2] No such file or directory: '/srv/app/orders/7.csv'", "[Errno 2] No such file or directory: '…/7.csv'"),
        (r"C:\Users\bob\orders.txt is gone", "…/orders.txt is gone"),
        ("GET https://api.shop.example/v1/orders/7 gave 404, 1/2 of all", "GET https://api.shop.example/v1/orders/7 gave 404, 1/2 of all"),
        ("postgresql://bob:secret@db/orders does not answer", "postgresql://…@db/orders does not answer"),
        (
            "duplicate key\nDETAIL:  Key (mail)=(bob@shop.example) already exists.\n[SQL: insert into x]\n[parameters: ('bob')]",
            "duplicate key",
        ),
        ("a\x00b\ud800", "a?b?"),
        ("x" * 900, "x" * 500),
    ],
    ids=["file", "drive", "address", "password", "statement", "unprintable", "long"],
)
def test_a_message_is_kept_without_what_is_not_its_own(said: str, kept: str) -> None:
    assert error_of(OSError(said)) == {"type": "OSError", "code": None, "message": kept}
