"""A bar in notebooks, nothing in scripts."""

import sys
import types

from deploy_nas.api import progress


def test_scripts_see_nothing_and_may_be_called():
    seen = []
    with progress.shown("searching", None) as update:
        update(1, 2, "")
    with progress.shown("searching", lambda *how: seen.append(how)) as update:
        update(1, 2, "x")
    assert seen == [(1, 2, "x")]


def test_a_notebook_has_a_bar_that_goes_away(monkeypatch):
    drawn, now = [], [0.0]
    display = types.SimpleNamespace(
        HTML=str,
        display=lambda what, display_id: drawn.append(what) or types.SimpleNamespace(update=drawn.append),
    )
    fake = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1), display=display)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    bar = progress.Bar("timing", clock=lambda: now[0])
    now[0] = 2.0
    bar(1, 4, "<b>")
    bar(2, 4, "too soon")
    bar.close()
    assert progress.in_notebook()
    assert drawn[1] == '<progress value="1" max="4"></progress> timing &lt;b&gt; 1/4, 6 s left'
    assert len(drawn) == 3 and drawn[2] == ""
