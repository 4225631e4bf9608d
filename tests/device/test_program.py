"""What kits' programs tell, to a person and to a program."""

import json

import pytest

from deploy_nas.core.errors import CheckFailedError, OptionError
from deploy_nas.device.program import program_options, run_program


def told(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_program_reads_objects(capsys):
    def work(reporter):
        reporter.progress(1, 2, "fit")
        reporter.note("by the way")
        reporter.progress(2, 2, "fit")

    assert run_program(work, "json", lambda: "") == 0
    assert told(capsys) == [
        {"done": 1, "total": 2, "what": "fit"},
        {"note": "by the way"},
        {"done": 2, "total": 2, "what": "fit"},
    ]


def test_a_person_reads_a_line(capsys):
    assert run_program(lambda reporter: reporter.progress(1, 1, "fit"), "line", lambda: "") == 0
    assert "fit  1/1  0 s left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OptionError("must be 1", subject="threads"), 2, "threads: must be 1"),
        (CheckFailedError("no"), 1, "no"),
        (OSError(28, "No space left", "f"), 2, "f No space left; kept in j"),
    ],
)
def test_errors_are_an_object_or_a_line(capsys, error, code, said):
    def work(reporter):
        raise error

    assert run_program(work, "json", lambda: "kept in j") == code
    assert told(capsys) == [{"error": said}]
    assert run_program(work, "line", lambda: "kept in j") == code
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_terminal_gets_no_control_characters(capsys):
    def work(reporter):
        reporter.note("\x1b[2J")
        raise OSError(28, "No space left", "\x1b[2J")

    assert run_program(work, "line", lambda: "") == 2
    assert capsys.readouterr().err == "\\x1b[2J\nerror: \\x1b[2J No space left\n"


def test_a_stopped_program_says_what_is_kept(capsys):
    def work(reporter):
        raise KeyboardInterrupt

    assert run_program(work, "line", lambda: "it is kept in j") == 130
    assert "stopped; it is kept in j: the same command goes on" in capsys.readouterr().err


def test_a_fault_is_no_answer(capsys):
    def work(reporter):
        raise KeyError("x")

    assert run_program(work, "json", lambda: "") == 70
    said = capsys.readouterr().err.splitlines()
    assert (
        said[0].startswith("Traceback") and "KeyError: 'x'; this is a fault" in json.loads(said[-1])["error"]
    )


def test_options_have_their_defaults():
    asked = program_options("x").parse_args([])
    assert (str(asked.output), asked.progress, asked.wait) == ("deploy-nas-result.jsonl", "line", 0.0)
