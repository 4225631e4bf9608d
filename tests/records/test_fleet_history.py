"""A history grows by whole lines; what is torn or damaged is named and left out."""

import pytest

from deploy_nas.core.errors import MismatchError, OutputError, RecordError
from deploy_nas.core.notices import Notice
from deploy_nas.records.fleet_history import Event, History, load_history


def event(device="pi", state="kept", **more):
    return Event(
        at="2026-01-01T00:00:00+00:00", device=device, kind="verify", subject="b", state=state, **more
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "history.jsonl"
    with History(path) as history:
        history.append([event(measured_ms=1.5, limit_ms=2.0, speed=0.9), event("two", "failed", fault="x")])
    return path


def test_what_is_appended_is_read(path):
    assert load_history(path) == (
        event(measured_ms=1.5, limit_ms=2.0, speed=0.9),
        event("two", "failed", fault="x"),
    )
    with History(path) as history:
        assert len(history.events) == 2
        history.append([event("three")])
    assert [e.device for e in load_history(path)] == ["pi", "two", "three"]


def test_no_file_is_no_history(tmp_path):
    assert load_history(tmp_path / "none") == ()


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_last_line_is_named_and_survived(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.warns(Notice, match="last line was cut short and is left out"):
        assert [e.device for e in load_history(path)] == ["pi"]
    with pytest.warns(Notice), History(path) as history:
        history.append([event("three")])
    assert [e.device for e in load_history(path)] == ["pi", "three"]


@pytest.mark.parametrize("kept", [0, 10])
def test_a_file_that_was_killed_in_its_first_line_begins_anew(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with History(path) as history:
        history.append([event()])
    assert len(load_history(path)) == 1


def test_a_line_that_was_edited_is_left_out(path):
    path.write_bytes(path.read_bytes().replace(b"1.5", b"0.5"))
    with pytest.warns(Notice, match="line 2 was edited or damaged"):
        assert [e.device for e in load_history(path)] == ["two"]


def test_other_files_are_refused(path):
    first, *rest = path.read_bytes().splitlines(keepends=True)
    for content, error in (
        (b"", RecordError),
        (b"text\n", RecordError),
        (b'{"format": "other"}\n', RecordError),
        (first.replace(b'"version": 1', b'"version": 2'), RecordError),
        (first.replace(b'"digest": "', b'"digest": "0') + b"".join(rest), MismatchError),
    ):
        path.write_bytes(content)
        with pytest.raises(error, match=r"history\.jsonl"):
            load_history(path)


@pytest.mark.parametrize(("key", "wrong"), [("kind", "other"), ("state", "fine"), ("measured_ms", -1.0)])
def test_an_event_that_could_not_be_read_again_is_not_written(path, key, wrong):
    before = path.read_bytes()
    values = {"at": "t", "device": "d", "kind": "verify", "subject": "s", "state": "kept", key: wrong}
    with History(path) as history, pytest.raises(RecordError, match=key):
        history.append([Event(**values)])
    assert path.read_bytes() == before


def test_one_run_at_a_time(path):
    with History(path), pytest.raises(OutputError, match="another run is writing it"):
        History(path)


def test_every_kill_leaves_a_history(tmp_path, killed_at):
    path = tmp_path / "history.jsonl"

    def work():
        with History(path) as history:
            history.append([event()])

    moment = 0
    while not killed_at(moment, work):
        if path.exists() and path.read_bytes():
            load_history(path)
        moment += 1
    assert load_history(path)
