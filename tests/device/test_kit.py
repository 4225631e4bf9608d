"""The kit's program: what it reads, and its result. Real kits run in tests/workflows/test_kit.py."""

import io
import json
import os
import time
import zipfile

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.seals import sealed
from deploy_nas.device.kit import PLAN_FILE, KitPlan, close_result, main, recent_lines, split_result


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"header":1}\n{"u":"a"}\n{"u":"b"}\n')
    return path


def test_a_result_is_the_journal_and_a_line_that_closes_it(journal, tmp_path):
    close_result(journal, tmp_path / "r")
    data = (tmp_path / "r").read_bytes()
    assert split_result(data, "r") == journal.read_bytes()
    assert json.loads(data.splitlines()[-1])["end"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j", "r"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-20], "not a finished result"),
        (lambda d: d.replace(b'"u":"a"', b'"u":"c"'), "edited"),
        (lambda d: d.replace(b'"end": 2', b'"end": 1'), "missing or duplicate"),
        (lambda d: b"", "not a finished result"),
        (lambda d: d.replace(b'"end": 2', b'"end": "2"'), "not a finished result"),
    ],
)
def test_a_result_that_is_not_whole_is_refused(journal, tmp_path, change, message):
    close_result(journal, tmp_path / "r")
    with pytest.raises(RecordError, match=message):
        split_result(change((tmp_path / "r").read_bytes()), "r")


def test_only_a_result_of_the_last_day_is_recent(journal, tmp_path):
    result = tmp_path / "r"
    assert recent_lines(result) is None
    close_result(journal, result)
    assert recent_lines(result) == journal.read_bytes()
    os.utime(result, times=(time.time() - 90000,) * 2)
    assert recent_lines(result) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "cannot be read"),
        (b"[]", "must be an object"),
        (b"{}", "its digest is missing"),
        (json.dumps(sealed({"id": "p"})).replace("p", "q").encode(), "was edited or damaged"),
        (json.dumps(sealed({})).encode(), "has no 'id'"),
    ],
)
def test_a_kit_that_was_damaged_is_told(value, message, tmp_path, capsys):
    path = tmp_path / "kit.pyz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(PLAN_FILE, value)
    with zipfile.ZipFile(path) as archive, pytest.raises(RecordError, match=message):
        KitPlan(archive)
    assert main(["-o", str(tmp_path / "r"), "--progress", "json"], str(path)) == 2
    assert message in json.loads(capsys.readouterr().err)["error"]


def test_a_kit_without_its_plan_is_told():
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    with zipfile.ZipFile(buffer) as archive, pytest.raises(RecordError, match=r"plan\.json: cannot be read"):
        KitPlan(archive)
