"""The contract of :class:`deploy_nas.adapters.targets.Target`."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from deploy_nas.adapters.targets import Progress, Target
from deploy_nas.core.errors import TargetError

_PROGRAM = """
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("-o", type=pathlib.Path, default=pathlib.Path("deploy-nas-result.jsonl"))
parser.add_argument("--progress")
parser.add_argument("--wait", type=float)
parser.add_argument("--keep", action="store_true")
parser.add_argument("--fresh", action="store_true")
asked = parser.parse_args()
runs = pathlib.Path("runs")
count = int(runs.read_text()) + 1 if runs.exists() else 1
if asked.fresh:
    count = 1
runs.write_text(str(count))
if FAULT:
    print("beside the error", file=sys.stderr)
    print(json.dumps({"error": FAULT}), file=sys.stderr)
    sys.exit(2)
for done in range(1, 4):
    print(json.dumps({"done": done, "total": 3, "what": "work"}), file=sys.stderr, flush=True)
print("not an object", file=sys.stderr)
asked.o.write_text(json.dumps({"runs": count, "keep": asked.keep}))
"""


def tiny_kit(fault: str = "") -> bytes:
    """A kit that counts its runs in its folder, or ends with an error; needs python3 only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", f"FAULT = {fault!r}\n{_PROGRAM}")
    return buffer.getvalue()


class TargetContract:
    """Subclass it and override :meth:`target`; also :meth:`run` if a person must carry the kit."""

    @pytest.fixture
    def target(self) -> Target:
        """A target to test, without files of earlier tests."""
        raise NotImplementedError

    def run(
        self,
        target: Target,
        kit: bytes,
        name: str,
        progress: Progress | None = None,
        options: tuple[str, ...] = (),
    ) -> bytes:
        """Run a kit; returns its result."""
        return target.run_kit(kit, name, progress, options=options)

    def test_a_kit_runs_and_its_result_comes_back(self, target: Target) -> None:
        """The kit runs with the options given."""
        found = json.loads(self.run(target, tiny_kit(), "contract-a", options=("--keep",)))
        assert found["keep"] is True
        target.remove_kit("contract-a")

    def test_removing_a_missing_kit_does_nothing(self, target: Target) -> None:
        """Removing twice does nothing either."""
        target.remove_kit("contract-never")
        target.remove_kit("contract-never")

    def test_the_machine_is_known_or_an_error_says_what_to_do(self, target: Target) -> None:
        """``machine`` returns a name such as "x86_64", or raises an error with a hint."""
        try:
            assert target.machine().strip()
        except TargetError as error:
            assert error.hint


class ReachableTargetContract(TargetContract):
    """The contract of a target that runs the kit within :meth:`Target.run_kit`."""

    def test_runs_of_one_name_share_a_folder_until_it_is_removed(self, target: Target) -> None:
        """A run can therefore go on from its journal."""
        runs = [json.loads(self.run(target, tiny_kit(), "contract-b"))["runs"] for _ in range(2)]
        other = json.loads(self.run(target, tiny_kit(), "contract-c"))["runs"]
        target.remove_kit("contract-b")
        after = json.loads(self.run(target, tiny_kit(), "contract-b"))["runs"]
        assert (runs, other, after) == ([1, 2], 1, 1)
        for name in ("contract-b", "contract-c"):
            target.remove_kit(name)

    def test_progress_is_passed_on(self, target: Target) -> None:
        """Progress is in order, and other lines on standard error are ignored."""
        seen: list[tuple[int, int, str]] = []
        self.run(target, tiny_kit(), "contract-d", lambda *told: seen.append(told))
        assert seen == [(1, 3, "work"), (2, 3, "work"), (3, 3, "work")]
        target.remove_kit("contract-d")

    def test_the_kits_own_error_is_reported(self, target: Target) -> None:
        """The target is the subject of the error."""
        with pytest.raises(TargetError, match="threads: must be fewer") as caught:
            self.run(target, tiny_kit("threads: must be fewer"), "contract-e")
        assert caught.value.subject == target.address
        target.remove_kit("contract-e")
