"""``deploy-nas import``: the output is named after the folder, and the architecture is what was found."""

import json
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError, OptionError
from deploy_nas.workflows import import_network as workflow


@pytest.fixture
def calls(stand_in, record):
    return stand_in(workflow, "import_network", record)


@pytest.mark.parametrize("name", ["net", "net/net.config"])
def test_the_file_or_its_folder(run, calls, tmp_path, record, name):
    (tmp_path / "net").mkdir()
    assert run("import", name).stdout.startswith("net.json: ofa-mbv3-cifar10, ")
    assert calls == [((Path(name),), {"image_size": None, "space": None})]
    assert json.loads((tmp_path / "net.json").read_text())["image_size"] == record.image_size


def test_options(run, calls, tmp_path, record):
    options = ("--image-size", 24, "--space", "s", "-o", "x.json", "--json")
    found = json.loads(run("import", "net.config", *options).stdout)
    assert found == json.loads((tmp_path / "x.json").read_text()) and found["space"] == record.space.id
    assert calls[0][1] == {"image_size": 24, "space": "s"}


def test_nothing_is_replaced_without_force(run, calls, tmp_path):
    (tmp_path / "x.json").write_text("mine")
    assert "use --force to replace it" in run("import", "n", "-o", "x.json", code=2).stderr
    assert (tmp_path / "x.json").read_text() == "mine"
    run("import", "n", "-o", "x.json", "--force")


def test_errors_name_the_option(run, stand_in):
    unknown = OptionError(
        "the image size is not known", subject="n/net.config", hint="name it with `image_size`"
    )
    stand_in(workflow, "import_network", unknown)
    assert run("import", "n", code=2).stderr == (
        "error: n/net.config: the image size is not known; name it with --image-size\n"
    )
    stand_in(workflow, "import_network", MismatchError("is not a network of any known space", subject="n"))
    run("import", "n", code=2)
