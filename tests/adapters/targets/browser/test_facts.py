"""What a page may say of itself."""

import pytest

from deploy_nas.adapters.targets.browser.facts import PageFacts
from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields


@pytest.fixture
def read(page_facts):
    return lambda **changed: PageFacts.from_json(Fields({**page_facts, **changed}, "page"))


def test_what_a_browser_hides_is_unknown_and_endless_text_is_cut(read):
    found = read(device="", machine=" ", agent="x" * 5000)
    assert (found.device, found.machine, len(found.agent)) == ("unknown", "unknown", 300)


@pytest.mark.parametrize(
    "changed",
    [{"cores": 0}, {"clock_ms": 0}, {"clock_ms": 1e9}, {"isolated": "yes"}, {"browser": 3}, {"cores": 10**9}],
)
def test_what_no_page_says_is_refused(read, changed):
    with pytest.raises(RecordError):
        read(**changed)


def test_the_same_browser_may_measure_another_clock(read):
    assert read().same_browser(read(clock_ms=1.0)) and not read().same_browser(read(cores=8))
