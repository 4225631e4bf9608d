"""Worker processes: order, faults, and an end with the run, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy_nas.accuracy.workers import worker_pool
from deploy_nas.core.errors import ImagesError, OptionError


@dataclass(frozen=True)
class Doubler:
    """Takes the longer the smaller the item; some items are faults."""

    fault: int = -1
    deadly: int = -1

    def __call__(self) -> Callable[[int], tuple[int, int]]:
        return self.work

    def work(self, item: int) -> tuple[int, int]:
        if item == self.fault:
            raise ImagesError("is bad", subject=str(item), hint="leave it out")
        if item == self.deadly:
            os._exit(9)
        time.sleep(0.02 / (1 + item))
        return 2 * item, os.getpid()


@dataclass(frozen=True)
class Unmade:
    def __call__(self) -> Callable[[int], int]:
        raise KeyError("no such thing")


@pytest.mark.slow
def test_results_come_in_order_from_all_workers() -> None:
    with worker_pool(Doubler(), 2) as run:
        found = list(run(range(12)))
        assert [value for value, _ in found] == list(range(0, 24, 2))
        assert len({pid for _, pid in found} - {os.getpid()}) == 2
        assert [value for value, _ in run([7])] == [14] and list(run([])) == []


@pytest.mark.slow
def test_faults_of_ours_pass_through_and_others_say_where() -> None:
    with worker_pool(Doubler(fault=3), 2) as run:
        results = run(range(9))
        assert [next(iter(results))[0] for _ in range(3)] == [0, 2, 4]
        with pytest.raises(ImagesError, match="3: is bad; leave it out"):
            next(iter(results))
    with pytest.raises(RuntimeError, match="no such thing"), worker_pool(Unmade(), 1):
        pass


@pytest.mark.slow
def test_a_worker_that_dies_is_told() -> None:
    with worker_pool(Doubler(deadly=1), 2) as run, pytest.raises(OptionError, match="ended by itself"):
        list(run(range(9)))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.slow
def test_workers_end_with_a_killed_run(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import os, time\n"
        "from deploy_nas.accuracy.workers import worker_pool\n"
        "def work(item): return os.getpid()\n"
        "def make(): return work\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(make, 2) as run:\n"
        "        print(*run(range(20)), flush=True)\n"
        "        time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = {int(pid) for pid in process.stdout.readline().split()}
    assert workers and all(map(alive, workers))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(200):
        if not any(map(alive, workers)):
            return
        time.sleep(0.05)
    pytest.fail("workers outlive their run")
