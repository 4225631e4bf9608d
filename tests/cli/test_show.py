"""Progress, tables and option values."""

import io
import json
import re
from pathlib import Path

import click
import pytest
from rich.console import Console

from deploy_nas.adapters.images import LeftOut, ReadingReport
from deploy_nas.cli import show


def test_a_log_has_a_line_a_minute_with_the_time_left(capsys):
    now_s = [0.0]
    update = show._LogLines("measuring", clock=lambda: now_s[0])
    for done in range(1, 6):
        now_s[0] += 40.0
        update(done, 10, f"{done}.00%")
    assert capsys.readouterr().err.splitlines() == [
        "measuring 2.00%: 2/10, 320 s left",
        "measuring 4.00%: 4/10, 240 s left",
    ]


def test_another_stage_is_timed_by_its_own_steps(capsys):
    now_s = [0.0]
    update = show._LogLines("searching", clock=lambda: now_s[0])
    for done, total in ((1, 100), (100, 100), (1, 4), (2, 4)):
        now_s[0] += 100.0 if total == 4 else 1.0
        update(done, total)
    assert capsys.readouterr().err.splitlines()[-1] == "searching: 2/4, 200 s left"


def test_a_first_step_says_no_time(capsys):
    now_s = [0.0]
    update = show._LogLines("measuring", clock=lambda: now_s[0])
    now_s[0] = 100.0
    update(1, 10)
    assert capsys.readouterr().err == "measuring: 1/10\n"


def test_progress_in_a_log_and_quiet(capsys):
    with show.progress("measuring") as update:
        update(1, 2)
    assert capsys.readouterr().err == "measuring ...\n"
    with show.progress("measuring", quiet=True) as update:
        update(1, 2, "x")
    with show.status("exporting") as say:
        say("step")
    assert capsys.readouterr().err == ""


def test_a_table_aligns_numbers_right_and_text_left():
    said = show.table(["name", "ms"], [["a", 1.5], ["bcdef", 12.25], ["c", None], ["d", 3]])
    assert said.splitlines() == [
        "name      ms",
        "-----  -----",
        "a      1.500",
        "bcdef  12.25",
        "c          -",
        "d          3",
    ]


def test_a_reading_is_said_once_and_only_where_something_happened(capsys):
    show.say_reading(ReadingReport(source="s", used=5))
    assert capsys.readouterr().err == ""
    report = ReadingReport(source="s", used=99, left_out=(LeftOut("a.png", "is empty"),), turned=2)
    show.say_reading(report, report)
    assert capsys.readouterr().err.splitlines() == [
        "note: s: left out: 1 of 100 pictures (a.png is empty)",
        "note: s: 2 pictures turned upright, as EXIF says",
    ]


def test_json_is_one_value_without_nan(capsys):
    show.emit_json({"a": [1]})
    assert json.loads(capsys.readouterr().out) == {"a": [1]}
    show.emit_json({"path": "a\udcff/\u00e9"})
    assert capsys.readouterr().out == '{\n "path": "a\\\\xff/\\u00e9"\n}\n'
    with pytest.raises(ValueError):
        show.emit_json(float("nan"))


def test_default_outputs():
    assert show.beside(Path("d/a.json"), ".onnx") == Path("d/a.onnx")
    with pytest.raises(click.BadParameter, match="is not a file"):
        show.beside(Path(), ".onnx")


def test_option_values():
    assert show.key_values(["a=1", "b=x=y", "c="], "--o") == {"a": "1", "b": "x=y", "c": ""}
    assert show.whole_numbers(None, "--o") is None
    assert show.whole_numbers("160, 192", "--o") == [160, 192]
    for call in (lambda: show.key_values(["=1"], "--o"), lambda: show.whole_numbers("1,,2", "--o")):
        with pytest.raises(click.BadParameter):
            call()


def test_target_options():
    @click.command()
    @show.target_options("time")
    def command(target, ssh_option):
        click.echo(f"{target} {ssh_option}")

    from click.testing import CliRunner

    assert CliRunner().invoke(command, []).output == "None ()\n"
    options = ["--target", "here", "--ssh-option", "-v", "--ssh-option", "-p1"]
    assert CliRunner().invoke(command, options).output == "here ('-v', '-p1')\n"


def test_timed_progress_in_a_log_has_a_line_of_each_kind_and_one_a_minute(capsys):
    now_s = [0.0]
    update = show._TimedLines(clock=lambda: now_s[0])
    for what, done, left_s in (
        ("training: largest", 1, 400.0),
        ("training: largest", 2, 350.0),
        ("training: sandwich", 3, None),
        ("training: sandwich", 5, 90.0),
    ):
        update(what, done, 9, left_s)
        now_s[0] += 59.0
    now_s[0] += 1.0
    update("training: sandwich", 6, 9, 45.4)
    assert capsys.readouterr().err.splitlines() == [
        "training: largest: 1/9, 7 min left",
        "training: sandwich: 3/9",
        "training: sandwich: 6/9, 45 s left",
    ]


def test_timed_progress_without_a_terminal_and_quiet(capsys):
    with show.timed_progress() as update:
        update("training", 1, 2, 3.0)
        update("training", 2, 2, 0.0)
    assert capsys.readouterr().err == "training: 1/2, 3 s left\n"
    with show.timed_progress(quiet=True) as update:
        update("training", 1, 2, None)
    assert capsys.readouterr().err == ""


def test_times_are_said_in_seconds_and_from_two_minutes_on_in_minutes():
    assert [show.time_left(s) for s in (None, 0.2, 119.0, 120.0, 3600.0)] == [
        "",
        "0 s left",
        "119 s left",
        "2 min left",
        "60 min left",
    ]
    assert [show.duration(s) for s in (0.4, 48.0, 120.0, 738.0)] == ["0 s", "48 s", "2.0 min", "12.3 min"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 \U0001f600\ttab\nline", "plain é 漢字 \U0001f600\ttab\nline"),
        ("\x1b[2J\x07\r\x7f\x9b", r"\x1b[2J\x07\r\x7f\x9b"),
        ("\u202eexe.gnp", r"\u202eexe.gnp"),
        ("\udcff", r"\xff"),
    ],
)
def test_control_characters_never_reach_the_terminal(capsys, text, shown):
    show.say(text)
    show.say(text, err=True)
    out, err = capsys.readouterr()
    assert out == err == shown + "\n"


def test_a_cell_is_one_line():
    assert show.table(["a"], [["x\ny\x1b"]]).splitlines()[-1] == r"x y\x1b"


def test_commands_print_through_one_place(repository):
    """So that nothing that others wrote gets past it."""
    writes = re.compile(r"\b(click\.s?echo|print|std(out|err)\.write)\(")
    for path in (repository / "deploy_nas/cli").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name in ("show.py", "ends.py") or not writes.search(text), path


def test_progress_shows_what_a_device_says_as_text(monkeypatch):
    """Brackets are no markup, and control characters are written out."""
    console = Console(stderr=True, force_terminal=True, width=100, file=io.StringIO())
    monkeypatch.setattr("rich.console.Console", lambda **how: console)
    with show.progress("profiling") as update, show.timed_progress() as timed, show.status("x") as say:
        update(1, 2, "[/red] \x1b]0;title\x07")
        timed("[/red] \x1b]0;title\x07", 1, 2, None)
        say("[/red] \x1b]0;title\x07")
    shown = console.file.getvalue()
    assert "[/red]" in shown and "\x1b]0;" not in shown and "\x07" not in shown
