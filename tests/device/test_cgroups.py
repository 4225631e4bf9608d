"""Which cgroups limit this process."""

from pathlib import Path

from deploy_nas.device.cgroups import cgroups, lines, number


def system(root: Path, said: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(said)
    return root


def test_version_2_has_one_tree_and_version_1_one_for_each_controller(tmp_path: Path) -> None:
    root = system(tmp_path, "4:memory:/b\n1:cpu,cpuacct:/a/c\n0::/u\n")
    found = [(str(group.folder.relative_to(root)), group.version) for group in cgroups("cpu", root)]
    first, v2 = "sys/fs/cgroup/cpu", "sys/fs/cgroup"
    assert found == [(f"{first}/a/c", 1), (f"{first}/a", 1), (first, 1), (f"{v2}/u", 2), (v2, 2)]
    assert not list(cgroups("cpu", tmp_path / "elsewhere"))


def test_numbers_and_lines_of_files_that_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("12\n")
    (tmp_path / "max").write_text("max\n")
    assert [number(tmp_path / name) for name in ("n", "max", "gone")] == [12, None, None]
    assert lines(tmp_path / "gone") == [] and lines(tmp_path / "n") == ["12"]
