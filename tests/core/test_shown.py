"""Values in one line, and in notebooks."""

from deploy_nas.core.shown import Shown, cell, html_lines, html_table


class Thing(Shown):
    def _summary(self):
        return "a < b"


def test_a_value_in_a_line_and_as_html():
    assert repr(Thing()) == "<Thing: a < b>"
    assert Thing()._repr_html_() == "<div><b>a &lt; b</b></div>"


def test_what_is_in_a_table_is_text():
    assert "<td>&lt;b&gt;</td><td>-</td><td>1.500</td>" in html_table(["x"], [["<b>", None, 1.5]])
    assert (cell(12.5), cell(3)) == ("12.50", "3")
    assert html_lines("a\nb") == "<div>a</div><div>b</div>"
