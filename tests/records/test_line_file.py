"""Files that grow by lines; what their users make of the lines is tested with those."""

import pytest

from deploy_nas.core.errors import OutputError, RecordError
from deploy_nas.records.line_file import LineFile

FIRST = {"format": "of a test", "version": 1}


def opened(path, read=None):
    return LineFile(path, FIRST, read or (lambda content: (content.count(b"\n"), content.rfind(b"\n") + 1)))


def test_lines_are_added_and_a_torn_one_is_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    file = opened(path)
    file.append({"a": 1})
    assert path.read_bytes().count(b"\n") == 2  # on disk before it is closed
    with pytest.raises(OutputError):
        opened(path)  # another run is writing it
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"a": ')
    again = opened(path)
    assert path.read_bytes() == whole
    again.append({"a": 2})
    again.close()
    assert path.read_bytes().startswith(whole) and b'"line": 3' in path.read_bytes()


def test_one_killed_within_its_first_line_begins_again(tmp_path):
    path = tmp_path / "lines.jsonl"
    opened(path).close()
    first = path.read_bytes()
    path.write_bytes(first[:7])
    opened(path).close()
    assert path.read_bytes() == first


def test_a_file_that_cannot_be_read_is_left_as_it_is_and_unlocked(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"mine\n")

    def read(content):
        raise RecordError("is of another kind")

    with pytest.raises(RecordError):
        opened(path, read)
    assert path.read_bytes() == b"mine\n"
    opened(path).close()
