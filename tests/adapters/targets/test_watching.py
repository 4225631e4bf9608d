"""A kit's program followed by its lines of JSON."""

import sys

import pytest

from deploy_nas.adapters.targets.watching import follow, kit_command
from deploy_nas.core.errors import TargetError, UnreachableError
from deploy_nas.core.notices import Notice


def program(code):
    return [sys.executable, "-c", f"import json, sys\n{code}"]


def say(value):
    return f"print(json.dumps({value!r}), file=sys.stderr)"


def test_progress_and_lines_of_other_forms():
    seen = []
    lines = [say({"done": 1, "total": 2, "what": "fit"}), "print('Warning: [x', file=sys.stderr)", say([3])]
    follow(program("\n".join(lines)), "there", lambda *told: seen.append(told))
    assert seen == [(1, 2, "fit")]


@pytest.mark.parametrize("depth", [10, 900, 950, 980, 10_000])
def test_what_a_device_writes_ends_nothing(depth):
    """Nested as deeply as may be, of wrong types, or a line without an end."""
    deep = f"'[' * {depth} + ']' * {depth}"
    lines = [f"print('{{\"{key}\": ' + {deep} + '}}', file=sys.stderr)" for key in ("error", "done")]
    lines += [say({"done": "x", "total": 2, "what": "fit"}), say({"done": 1}), say({"error": 3})]
    seen = []
    end = "print('x' * 300_000, end='', file=sys.stderr); sys.exit(2)"
    with pytest.raises(TargetError, match="the run there ended: x") as caught:
        follow(program("\n".join([*lines, end])), "there", lambda *told: seen.append(told))
    assert not seen and len(str(caught.value)) < 100_000


@pytest.mark.parametrize(
    ("lines", "code", "broken"),
    [
        (["print('Connection closed', file=sys.stderr)"], 255, True),
        (["print('Connection closed', file=sys.stderr)"], 2, False),
        ([say({"error": "no numpy"})], 255, False),
    ],
)
def test_a_connection_that_broke_is_told_from_a_run_that_failed(lines, code, broken):
    with pytest.raises(TargetError) as caught:
        follow(program("\n".join([*lines, f"sys.exit({code})"])), "there", None, broken=255)
    assert isinstance(caught.value, UnreachableError) is broken


def test_notes_are_notices_here_each_once_and_without_control_characters():
    many = "for i in range(500): print(json.dumps({'note': str(i)}), file=sys.stderr)"
    lines = [say({"note": "line 3 was \x1b[2Jedited"})] * 3 + [say({"note": 3}), many]
    with pytest.warns(Notice) as told:
        follow(program("\n".join(lines)), "there", None)
    said = [str(one.message) for one in told]
    assert said[:2] == ["there: line 3 was \\x1b[2Jedited", "there: 0"] and len(said) == 100


def test_the_error_of_a_failure_is_its_own_line_of_json():
    code = "\n".join([say({"error": "disk full"}), "print('beside it', file=sys.stderr)", "sys.exit(2)"])
    with pytest.raises(TargetError, match=r"^there: the run there ended: disk full$"):
        follow(program(code), "there", None)


def test_else_it_is_the_last_line():
    with pytest.raises(TargetError, match="numpy cannot be imported; the same command goes on"):
        follow(program("sys.exit('error: numpy cannot be imported')"), "there", None, goes_on=True)


def test_a_run_that_ends_without_a_word():
    with pytest.raises(TargetError, match="the connection ended"):
        follow(program("sys.exit(3)"), "there", None)


def test_progress_that_stops_ends_the_program():
    class StopError(Exception):
        pass

    def stop(done, total, what):
        raise StopError

    code = say({"done": 1, "total": 2, "what": "fit"}) + "\nsys.stderr.flush()\nimport time; time.sleep(60)"
    with pytest.raises(StopError):
        follow(program(code), "there", stop)


def test_a_kit_is_run_so_that_it_can_be_followed():
    command = kit_command("python3", "kit.pyz", "r", ["--keep"])
    assert command[:2] == ["python3", "kit.pyz"] and command[-1] == "--keep"
    assert command[command.index("--progress") + 1] == "json"
