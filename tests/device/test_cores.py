"""Fast cores, quiet cores and quotas, as a fake system tells of them."""

from pathlib import Path

import pytest

from deploy_nas.device.cores import FAST, SLOW, choose, hardware_threads, kind, loads, quota_cores, speeds

CPUS = "sys/devices/system/cpu"


def system(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def ticks(*busy_and_idle: tuple[int, int]) -> str:
    lines = [f"cpu{n} {busy} 0 0 {idle} 0 0 0 0 0 0" for n, (busy, idle) in enumerate(busy_and_idle)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 5"])


# -- quotas ---------------------------------------------------------------------------------------

V2, V1 = "sys/fs/cgroup/", "sys/fs/cgroup/cpu/"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", V2 + "cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/", V2 + "cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                V2 + "a/b/cpu.max": "150000 100000",
                V2 + "a/cpu.max": "80000 100000",
            },
            0.8,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/1",
                V1 + "cpu.cfs_quota_us": 25000,
                V1 + "cpu.cfs_period_us": 100000,
            },
            0.25,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/",
                V1 + "cpu.cfs_quota_us": -1,
                V1 + "cpu.cfs_period_us": 100000,
            },
            None,
        ),
    ],
)
def test_the_quota_of_a_container_of_either_version(tmp_path, files, cores):
    assert quota_cores(system(tmp_path, files)) == cores


# -- fast and slow cores --------------------------------------------------------------------------


def hybrid(root: Path, file: str, values: list[int]) -> Path:
    return system(root, {f"{CPUS}/cpu{n}/{file}": value for n, value in enumerate(values)})


def test_hybrid_processors_have_fast_and_slow_cores(tmp_path):
    intel = hybrid(tmp_path / "x", "cpufreq/cpuinfo_max_freq", [5200, 5000, 3900, 3900])
    assert speeds(intel)[2] == 0.75
    assert [kind(allowed, intel) for allowed in ([0, 3], [1], [2, 3])] == [FAST, FAST, SLOW]
    arm = hybrid(tmp_path / "a", "cpu_capacity", [446, 446, 1024, 1024])
    assert [kind(allowed, arm) for allowed in ([0, 1], [0, 2])] == [SLOW, FAST]


def test_a_core_that_is_switched_off_hides_no_other(tmp_path):
    root = hybrid(tmp_path, "cpufreq/cpuinfo_max_freq", [5200, 5200, 3900])
    system(root, {f"{CPUS}/cpu3/online": 0, f"{CPUS}/cpu2/online": 1})
    assert speeds(root) == {0: 1.0, 1: 1.0, 2: 0.75}


def test_cores_that_are_alike_or_unknown_have_no_kind(tmp_path):
    assert kind([0], tmp_path) is None and speeds(tmp_path) == {}
    assert kind([0], hybrid(tmp_path / "e", "cpu_capacity", [1024, 1024])) is None
    turbo = hybrid(tmp_path / "t", "cpufreq/cpuinfo_max_freq", [5300, 5200])
    assert kind([1], turbo) is None  # favoured cores of one kind


# -- quiet cores ----------------------------------------------------------------------------------


def test_loads_are_of_this_moment_not_since_the_start(tmp_path):
    root = system(tmp_path, {"proc/stat": ticks((900, 100), (0, 1000))})

    def pass_time(_):
        system(tmp_path, {"proc/stat": ticks((900, 110), (10, 1000))})

    assert loads(root, pass_time) == {0: 0.0, 1: 1.0}


def test_the_work_of_the_other_hardware_thread_counts_half(tmp_path):
    siblings = {f"{CPUS}/cpu{n}/topology/thread_siblings_list": text for n, text in enumerate(["0-1", "0,1"])}
    root = system(tmp_path, {"proc/stat": ticks((0, 0), (0, 0)), **siblings})

    def pass_time(_):
        system(tmp_path, {"proc/stat": ticks((0, 10), (10, 0))})

    assert loads(root, pass_time) == {0: 0.5, 1: 1.0}


def test_the_fast_cores_are_taken_then_the_quiet_ones_then_the_last():
    alike = [0, 1, 2, 3]
    assert choose(1, alike, {}, {}) == (3,)
    assert choose(1, [0, 1], {}, {0: 0.0, 1: 0.97}) == (0,)  # as a neighbour that is pinned to the last
    assert choose(2, alike, {}, {3: 0.5, 2: 0.01}) == (1, 2)
    mixed = {0: 1.0, 1: 0.98, 2: 0.75, 3: 0.75}
    assert choose(1, alike, mixed, {}) == (1,) and choose(1, alike, mixed, {1: 0.9}) == (0,)
    assert choose(3, alike, mixed, {}) == (3, 0, 1)
    assert choose(1, [2, 3], mixed, {3: 0.9}) == (2,)


def test_two_threads_get_two_cores_rather_than_one_twice(tmp_path):
    pairs = {f"{CPUS}/cpu{n}/topology/thread_siblings_list": f"{n & ~1}-{n | 1}" for n in range(4)}
    alone = {f"{CPUS}/cpu{n}/topology/thread_siblings_list": n for n in (4, 5)}
    beside = hardware_threads(system(tmp_path, pairs | alone))
    mixed = dict.fromkeys(range(4), 1.0) | {4: 0.75, 5: 0.75}
    assert choose(2, range(6), mixed, {}, beside) == (1, 3)
    assert choose(2, range(6), mixed, {1: 0.9, 0: 0.3}, beside) == (0, 3)
    assert choose(3, range(4), {}, {}, beside) == (2, 1, 3)
    assert choose(2, [2, 3, 4], mixed, {}, beside) == (2, 3)  # rather than a slow one
