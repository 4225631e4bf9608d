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


def test_a_run_that_ends_without_a_word_is_an_error(tmp_path):
    kit = tmp_path / "kit"
    kit.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(TargetError, match="the run there ended"):
        HereTarget(tmp_path).run_kit(kit.read_bytes(), "silent")


def test_a_line_that_is_no_json_is_the_reason_of_a_failure(tmp_path):
    with pytest.raises(TargetError, match=r"numpy cannot be imported$"):
        HereTarget(tmp_path).run_kit(b"import sys\nsys.exit('error: numpy cannot be imported')\n", "plain")


def test_an_interpreter_or_folder_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(TargetError, match="nowhere cannot be used"):
        HereTarget(tmp_path, tmp_path / "nowhere").run_kit(tiny_kit(), "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"here: .*file"):
        HereTarget(tmp_path / "file", sys.executable).run_kit(tiny_kit(), "a")
