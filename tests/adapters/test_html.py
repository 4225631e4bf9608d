"""Templates: text is escaped, JSON is safe inside a script, and missing names are errors."""

import json

import jinja2
import pytest

from deploy_nas.adapters.html import render

HOSTILE = "</script><b>\"'&"


def test_text_is_escaped_unless_marked_safe():
    found = render("{{ a }} {{ b|safe }}", {"a": "<i>", "b": "<i>"})
    assert found == "&lt;i&gt; <i>"


def test_json_inside_a_script_is_safe_and_keeps_its_order():
    value = {"z": HOSTILE, "a": [1, None]}
    found = render("{{ value|tojson }}", {"value": value})
    assert "<" not in found and ", " not in found
    assert json.loads(found) == value and found.index('"z"') < found.index('"a"')


def test_undefined_names_are_errors():
    with pytest.raises(jinja2.UndefinedError, match="'absent' is undefined"):
        render("{{ absent }}", {})


def test_lines_of_blocks_leave_no_blank_lines():
    template = "a\n  {% for x in xs %}\n{{ x }}\n  {% endfor %}\nb"
    assert render(template, {"xs": [1, 2]}) == "a\n1\n2\nb"


def test_an_included_part_is_escaped_too():
    found = render("<b>{% include 'part' %}</b>", {"a": HOSTILE}, {"part": '<i title="{{ a }}">'})
    assert found == '<b><i title="&lt;/script&gt;&lt;b&gt;&#34;&#39;&amp;"></b>'
