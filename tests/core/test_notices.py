"""Notices: Python warnings that the programs say, each once."""

import warnings

import pytest

from deploy_nas.core.notices import Notice, notice, telling


def test_a_notice_names_its_file():
    with pytest.warns(Notice, match=r"^best\.json: was edited$"):
        notice("was edited", subject="best.json")
    with pytest.warns(Notice, match=r"^a\\xff\.json: was \\x1b\[2J edited$"):
        notice("was \x1b[2J\nedited", subject="a\udcff.json")


def test_a_program_says_each_notice_once_and_leaves_other_warnings_alone():
    said: list[str] = []
    with pytest.warns(UserWarning, match="another") as others, telling(said.append):
        notice("one", subject="a")
        notice("one", subject="a")
        notice("two", subject="a")
        warnings.warn("another", UserWarning, stacklevel=1)
    assert said == ["a: one", "a: two"]
    assert [str(w.message) for w in others] == ["another"]


def test_what_shows_warnings_is_as_before():
    before, filters = warnings.showwarning, list(warnings.filters)
    with telling(lambda text: None):
        assert warnings.showwarning is not before
    assert warnings.showwarning is before and list(warnings.filters) == filters
