"""A kit that a person carries to its device."""

import subprocess
import sys

import pytest

from deploy_nas.adapters.targets import FRESH, CarriedTarget
from deploy_nas.core.errors import TargetError
from deploy_nas.device.program import RESULT
from deploy_nas.testing.targets import TargetContract, tiny_kit


def carry(target, folder, options=()):
    """What the hint says: to the device, run, and the result back beside the kit."""
    folder.mkdir(exist_ok=True)
    (folder / target.path.name).write_bytes(target.path.read_bytes())
    subprocess.run([sys.executable, target.path.name, *options], cwd=folder, check=True)
    target.result.write_bytes((folder / RESULT).read_bytes())


class TestCarried(TargetContract):
    @pytest.fixture
    def target(self, tmp_path):
        return CarriedTarget(tmp_path / "kit.pyz")

    def run(self, target, kit, name, progress=None, options=()):
        with pytest.raises(TargetError, match="the kit is written"):
            target.run_kit(kit, name, progress, options=options)
        carry(target, target.path.parent / "device", options)
        return target.run_kit(kit, name, progress, options=options)


def test_only_its_own_result_is_taken_and_others_are_kept(tmp_path):
    target = CarriedTarget(tmp_path / "kit.pyz")
    target.result.write_text("another kit's")
    with pytest.raises(TargetError, match="written"):
        target.run_kit(tiny_kit(), "a")
    assert (tmp_path / f"{RESULT}.old").read_text() == "another kit's" and not target.result.exists()
    target.result.write_text("its own")
    assert target.run_kit(tiny_kit(), "a") == b"its own"
    with pytest.raises(TargetError, match="written"):
        target.run_kit(tiny_kit(), "a", options=[FRESH])


def test_what_is_not_a_kit_is_not_overwritten(tmp_path):
    (tmp_path / "x.pyz").write_text("mine")
    with pytest.raises(TargetError, match="is not a kit"):
        CarriedTarget(tmp_path / "x.pyz").run_kit(tiny_kit(), "a")
    assert (tmp_path / "x.pyz").read_text() == "mine"
    with pytest.raises(TargetError, match="pyz"):
        CarriedTarget(tmp_path / "x.txt")
    with pytest.raises(TargetError, match="cannot be written"):
        CarriedTarget(tmp_path / "no/x.pyz").run_kit(tiny_kit(), "a")
