"""This machine as a target."""

import sys

import pytest

from deploy_nas.adapters.targets import HereTarget
from deploy_nas.core.errors import TargetError
from deploy_nas.testing.targets import ReachableTargetContract, tiny_kit


class TestHere(ReachableTargetContract):
    @pytest.fixture
    def target(self, tmp_path):
        return HereTarget(tmp_path)


def test_an_interpreter_or_folder_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(TargetError, match="nowhere cannot be used"):
        HereTarget(tmp_path, tmp_path / "nowhere").run_kit(tiny_kit(), "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"here: .*file"):
        HereTarget(tmp_path / "file", sys.executable).run_kit(tiny_kit(), "a")
