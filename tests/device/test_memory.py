"""The memory that is left, as the machine and its containers say."""

from pathlib import Path

import pytest

from deploy_nas.device.memory import available_bytes, is_in_memory

MIB = 2**20


def system(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


MEMINFO = {"proc/meminfo": "MemTotal:  8000 kB\nMemAvailable:    4000 kB"}
V2, V1 = "sys/fs/cgroup/", "sys/fs/cgroup/memory/"


def test_a_machine_without_limits(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
    assert available_bytes(system(tmp_path, MEMINFO)) == 4000 * 1024
    held = {"proc/self/cgroup": "0::/a.slice", V2 + "a.slice/memory.max": "max"}
    assert available_bytes(system(tmp_path, held | {V2 + "a.slice/memory.current": 5})) == 4000 * 1024


def test_a_container_of_version_2(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemAvailable: 99999999 kB",
        "proc/self/cgroup": "0::/",
        V2 + "memory.max": 700 * MIB,
        V2 + "memory.current": 300 * MIB,
        V2 + "memory.stat": f"anon 5\ninactive_file {100 * MIB}",
    }
    assert available_bytes(system(tmp_path, files)) == 500 * MIB


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b"}
    for group, most in (("a/", 400), ("a/b/", 500)):
        files |= {V2 + group + "memory.max": most * MIB, V2 + group + "memory.current": 100 * MIB}
    assert available_bytes(system(tmp_path, files)) == 300 * MIB


def test_a_container_of_version_1_whose_path_is_the_hosts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/0a",
        V1 + "memory.limit_in_bytes": 700 * MIB,
        V1 + "memory.usage_in_bytes": 800 * MIB,
        V1 + "memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}",
    }
    assert available_bytes(system(tmp_path, files)) == 0
    files[V1 + "memory.usage_in_bytes"] = 100 * MIB
    assert available_bytes(system(tmp_path, files)) == 650 * MIB


def test_this_machine_says_something() -> None:
    found = available_bytes()
    if found is None:
        pytest.skip("this system does not say")
    assert found > 0


def test_folders_that_are_memory(tmp_path: Path) -> None:
    mounts = "disk / ext4 rw\ntmpfs /tmp tmpfs rw\ndisk /tmp/deep xfs rw"
    root = system(tmp_path, {"proc/self/mounts": mounts})
    assert is_in_memory(Path("/tmp"), root) and is_in_memory(Path("/tmp/x"), root)  # noqa: S108
    assert not is_in_memory(Path("/tmp/deep/x"), root)  # noqa: S108
    assert not is_in_memory(Path("/tmpx"), root) and not is_in_memory(Path("/"), tmp_path / "none")  # noqa: S108
