"""Data out of minified JavaScript, read and never run."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.screens.js_module import NotAModule, exported_bytes, exported_object

WRAPPED = "!function(e){{e()}}({{1:[function(e,t,n){{t.exports={},{{}}]}},{{}},[1])(1)}});"


def module(literal: str) -> str:
    return WRAPPED.format(literal + "}")


def test_what_minifiers_write() -> None:
    """Bare keys, !0 and !1, numbers without a leading zero, and texts that look like all of these."""
    source = module('{a:!0,b:!1,c:.5,d:-.25e-3,e:1e3,f:null,g:[1,2.5,-0],h:"x:!0,.5",i_1:{$j:""}}')

    assert exported_object(source) == {
        "a": True, "b": False, "c": 0.5, "d": -0.00025, "e": 1000.0, "f": None, "g": [1, 2.5, 0],
        "h": "x:!0,.5", "i_1": {"$j": ""},
    }  # fmt: skip


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.from_regex(r"[a-z_]\w*", fullmatch=True), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_json_is_read_as_it_is(value: object) -> None:
    """JSON is such a literal, too."""
    assert exported_object(module(json.dumps({"value": value}))) == {"value": value}


def test_bytes() -> None:
    """A module that exports base64 text gives its bytes."""
    data = bytes(range(256))

    assert exported_bytes(module(f'"{base64.b64encode(data).decode()}"')) == data


@pytest.mark.parametrize(
    "source", ["", "module.exports=1", "t.exports={a:", "t.exports={a:process.exit()}", 't.exports="abc"']
)
def test_other_modules_are_refused(source: str) -> None:
    """No literal, a cut one, code in its place, and damaged base64 are refused in one way."""
    with pytest.raises(NotAModule):
        exported_object(source)
    with pytest.raises(NotAModule):
        exported_bytes(source)
