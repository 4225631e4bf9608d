"""A space that another package brings (tests/examples/toy_space), through the commands; and broken ones."""

import dataclasses
import json
import sys
import tomllib

import pytest
from click.testing import CliRunner

from deploy_nas.cli import main
from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.spaces import GROUP, get_space, space_ids
from deploy_nas.profiling.plan import make_plan
from deploy_nas.workflows import profile as profiling

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


def test_it_profiles_searches_exports_and_verifies(toy, tmp_path, monkeypatch, quick_settings):
    whole = profiling.settings_for
    monkeypatch.setattr(profiling, "settings_for", lambda r: dataclasses.replace(whole(r), **quick_settings))
    monkeypatch.chdir(tmp_path)

    def run(*arguments, codes=(0,)):
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code in codes, result.output
        return result.output

    assert space_ids()[-1] == ID and ID in run("spaces")
    run("profile", "--space", ID, "--quick", "-o", "p.json")

    # An accuracy predictor that likes what is large: fitting one is the user's own matter.
    import numpy as np

    from deploy_nas.accuracy.encoding import feature_layout
    from deploy_nas.accuracy.predictor import AccuracyPredictor, save_accuracy_predictor
    from deploy_nas.adapters.mlp import MLP

    layout = feature_layout(toy)
    weight = np.arange(len(layout.columns), dtype=np.float32)[:, None]
    predictor = AccuracyPredictor(space=toy, layout=layout, mlp=MLP(members=(((weight, np.zeros(1)),),)))
    save_accuracy_predictor(predictor, tmp_path / "a.onnx")

    run("search", "--profile", "p.json", "--predictor", "a.onnx", "--max-latency-ms", 50, "-o", "best.json",
        "--allow-unstable", "--generations", 20)  # fmt: skip
    assert json.loads((tmp_path / "best.json").read_text())["d"] == [3]
    assert "UNTRAINED" in run("export", "best.json", "--weights", "random")
    run("verify", "best.onnx", "--profile", "p.json", codes=(0, 1))


def test_a_small_spaces_networks_are_shared_out(toy):
    """It has 14 networks an image size, fewer than a plan asks for: some are still left to judge by."""
    plan = make_plan(toy)
    rows = [row.tobytes() for row in (*plan.fit, *plan.validation)]
    assert len(set(rows)) == len(rows) == 2 * 14
    assert len(plan.validation) >= 8
    extremes = toy.canonical(toy.encode([toy.smallest(16), toy.largest(24)]))
    assert {row.tobytes() for row in extremes} <= {row.tobytes() for row in plan.fit}


def test_every_network_of_it_is_its_modules(toy):
    import numpy as np

    from deploy_nas.adapters import graphs, supernets
    from deploy_nas.deploy.export import check_agreement

    net = supernets.build_supernet(toy)
    rng = np.random.default_rng(0)
    for architecture in [toy.smallest(), toy.largest(), *(toy.sample(rng) for _ in range(3))]:
        taken = supernets.subnet(net, architecture)
        side = architecture["image_size"]
        weights = supernets.folded_weights(toy, architecture, taken)
        model = graphs.build_model(toy.layers(architecture), weights)
        check_agreement(model, taken, rng.standard_normal((1, 3, side, side), dtype=np.float32), batch=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "ModuleNotFoundError"),
        ("1/0", "ZeroDivisionError"),
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
