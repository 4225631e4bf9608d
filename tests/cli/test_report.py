"""``deploy-nas report``: files to a request, and the commands that repeat it."""

import os
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError
from deploy_nas.workflows import report as workflow


def test_the_page_is_named_after_the_architecture(run, stand_in):
    calls = stand_in(workflow, "report")
    assert run("report", "d/a.json", "--profile", "p.json").stdout == "wrote d/a.html\n"
    ((request, commands), _), *_ = calls
    assert request.architecture == Path("d/a.json") and request.profile == Path("p.json")
    assert (request.front, request.result, request.model, request.predictor) == (None, None, None, None)
    assert (request.images, request.space) == (None, None)
    assert callable(commands) and not request.force


def test_every_option_reaches_the_request(run, stand_in):
    calls = stand_in(workflow, "report")
    run(
        *(
            "report",
            "a.json",
            "--profile",
            "p.json",
            "-o",
            "x.html",
            "--model",
            "m.onnx",
            "--front",
            "f.json",
        ),
        *("--result", "r.json", "--predictor", "p.onnx", "--anchor", "a=1", "--anchor", "b", "--force"),
        *("--images", "test.zip", "--space", "supernet"),
    )
    ((request, _), _), *_ = calls
    assert (request.images, request.space) == (Path("test.zip"), "supernet")
    assert (request.output, request.model) == (Path("x.html"), Path("m.onnx"))
    assert (request.front, request.result) == (Path("f.json"), Path("r.json"))
    assert (request.predictor, request.anchors, request.force) == ("p.onnx", ("a=1", "b"), True)


def test_the_commands_name_the_files_given(run, stand_in, made_profile, record):
    from deploy_nas.records.result import Asked

    calls = stand_in(workflow, "report")
    run("report", "a.json", "--profile", "p q.json")
    commands = calls[0][0][1](record, made_profile(), Asked())
    assert "deploy-nas verify a.onnx --profile 'p q.json'" in commands
    assert commands[-1] == "deploy-nas report a.json --profile 'p q.json' --model a.onnx -o a.html"


def test_errors(run, stand_in):
    stand_in(workflow, "report", MismatchError("is of another space", subject="front"))
    assert run("report", "a.json", "--profile", "p", code=2).stderr == "error: front: is of another space\n"
    assert "--profile" in run("report", "a.json", code=2).stderr
    assert "is not a file" in run("report", ".", "--profile", "p", code=2).stderr


def test_a_folder_whose_name_is_not_utf8(run, profile, architecture, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    for path in (profile, architecture):
        path.rename(folder / path.name)
    given = [folder / architecture.name, "--profile", folder / profile.name]
    assert run("report", *given).stdout.endswith("caf\\xe9/a.html\n")
    page = (folder / "a.html").read_text(encoding="utf-8")
    assert "--profile $&#39;" in page and r"caf\xe9/p.profile.json&#39;" in page
    assert "caf\\xe9/gone: cannot be read" in run("report", folder / "gone", *given[1:], code=2).stderr
