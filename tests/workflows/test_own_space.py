"""A space that another package brings (tests/examples/toy_space), through the commands; and broken ones."""

import sys
import tomllib

import pytest
from click.testing import CliRunner

from deploy_nas.cli import main
from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.spaces import GROUP, get_space, space_ids
from deploy_nas.profiling.plan import make_plan

pytestmark = pytest.mark.slow

ID = "toy-elastic"


def install(folder, name, entry_points):
    """What an installer leaves behind: from this the interpreter knows a package's entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("toy_space", None)


@pytest.fixture
def toy(site, repository):
    source = repository / "tests" / "examples" / "toy_space"
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    (site / "toy_space.py").write_bytes((source / "toy_space.py").read_bytes())
    install(site, project["name"], project["entry-points"][GROUP])
    return get_space(ID)


def test_a_small_spaces_networks_are_shared_out(toy):
    """It has 14 networks an image size, fewer than a plan asks for: some are still left to judge by."""
    plan = make_plan(toy)
    rows = [row.tobytes() for row in (*plan.fit, *plan.validation)]
    assert len(set(rows)) == len(rows) == 2 * 14
    assert len(plan.validation) >= 8
    extremes = toy.canonical(toy.encode([toy.smallest(16), toy.largest(24)]))
    assert {row.tobytes() for row in extremes} <= {row.tobytes() for row in plan.fit}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "ModuleNotFoundError"),
        ("1/0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("class Odd(BaseException): pass\ndef space(): raise Odd('\\x1b[2J')", "Odd"),
        ("def space(): return 3", "returned int, not a Space"),
        (
            "from deploy_nas.core.spaces import get_space\ndef space(): return get_space('mcunet-vww')",
            "id 'mcunet-vww'",
        ),
    ],
)
def test_a_broken_package_is_named_and_hides_nothing(site, code, message):
    install(site, "broken", {"broken-space": "broken_space:space"})
    if code:
        (site / "broken_space.py").write_text(code)
    sys.modules.pop("broken_space", None)
    with pytest.raises(UnknownSpaceError, match=message) as caught:
        get_space("broken-space")
    assert "broken-space (entry point broken_space:space)" in str(caught.value)
    result = CliRunner().invoke(main, ["spaces"])
    assert result.exit_code == 0 and "mcunet-vww" in result.stdout
    assert "left out: space broken-space" in result.stderr


def test_our_own_ids_cannot_be_taken(site):
    install(site, "thief", {"ofa-resnet50": "nothing:at_all"})
    assert get_space("ofa-resnet50").classes == 1000
    assert space_ids().count("ofa-resnet50") == 1
