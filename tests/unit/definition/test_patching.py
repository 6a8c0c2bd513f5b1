"""JSON Patch: the examples of RFC 6902, and everything that is no patch."""

from __future__ import annotations

from typing import Any

import pytest

from wfcelery.definition.patching import patched, setting
from wfcelery.errors import InvalidInput

A = {"op": "add", "path": "/baz", "value": "qux"}


@pytest.mark.parametrize(
    ("document", "patch", "becomes"),
    [
        ({"foo": "bar"}, [A], {"foo": "bar", "baz": "qux"}),
        ({"foo": [1, 3]}, [{"op": "add", "path": "/foo/1", "value": 2}], {"foo": [1, 2, 3]}),
        ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": [2]}], {"foo": [1, [2]]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
        ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": None}], {"baz": None}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"foo": [1, 2, 3, 4]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": [1, 3, 4, 2]}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}], {"a": [1], "b": [1, 2]}),
        ({"a": {"b": [1, True]}}, [{"op": "test", "path": "/a", "value": {"b": [1, True]}}], {"a": {"b": [1, True]}}),
        ({"a/b": {"m~n": 1}}, [{"op": "replace", "path": "/a~1b/m~0n", "value": 2}], {"a/b": {"m~n": 2}}),
        ({"": 1}, [{"op": "test", "path": "/", "value": 1}, {"op": "replace", "path": "", "value": {"x": 1}}], {"x": 1}),
        ({"order": {"total": 1}}, [setting("order.total", 5), setting("/order/to", "home")], {"order": {"total": 5, "to": "home"}}),
    ],
)
def test_a_patch_does_what_it_says_and_leaves_what_was_given(document: Any, patch: Any, becomes: Any) -> None:
    before = repr(document)
    assert patched(document, patch) == becomes
    assert repr(document) == before


@pytest.mark.parametrize(
    "patch",
    [
        "add",
        {"op": "add"},
        [5],
        [{"op": "ad", "path": "/a", "value": 1}],
        [{"op": ["add"], "path": "/a"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "add", "path": "/a/b/c", "value": 1}],
        [{"op": "add", "path": "/list/4", "value": 1}],
        [{"op": "add", "path": "/list/01", "value": 1}],
        [{"op": "remove", "path": "/list/-"}],
        [{"op": "move", "from": "/a", "path": "/a/b"}],
        [{"op": "test", "path": "/list/0", "value": True}],
        [{"op": "copy", "path": "/b"}],
        [A] * 1_001,
    ],
)
def test_what_is_no_patch_or_does_not_fit_is_refused_and_quotes_no_value(patch: Any) -> None:
    with pytest.raises(InvalidInput) as wrong:
        patched({"a": {"b": "secret"}, "list": [1]}, patch)
    assert "secret" not in str(wrong.value)
