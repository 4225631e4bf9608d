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

from deploy_nas.adapters.pools import Arrays, ProcessPool
from deploy_nas.core.errors import OptionError
from deploy_nas.testing.pools import PoolContract


class TestProcessPool(PoolContract):
    def make(self) -> ProcessPool:
        return ProcessPool(2)


@dataclass(frozen=True)
class Worker:
    """Tells which process it runs in; one item ends it."""

    deadly: int = -1

    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        return self.work

    def work(self, item: int) -> int:
        if item == self.deadly:
            os._exit(9)
        time.sleep(0.01)
        return os.getpid()


@dataclass(frozen=True)
class Killed:
    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class Unmade:
    def __call__(self, arrays: Arrays) -> Callable[[int], int]:
        raise KeyError("no such thing")


@pytest.mark.slow
def test_all_workers_take_part_and_none_is_this_process() -> None:
    with ProcessPool(2).open(Worker()) as run:
        assert len(set(run(range(12))) - {os.getpid()}) == 2


@pytest.mark.slow
def test_faults_that_are_not_ours_say_where_they_were() -> None:
    with pytest.raises(RuntimeError, match="no such thing"), ProcessPool(1).open(Unmade()):
        pass


@pytest.mark.slow
def test_a_worker_that_dies_is_told() -> None:
    pool = ProcessPool(2)
    with (
        pool.open(Worker(deadly=1)) as run,
        pytest.raises(
            OptionError, match=r"workers: .*a worker process ended with exit code 9; what it printed"
        ),
    ):
        list(run(range(9)))


@pytest.mark.slow
def test_a_worker_that_is_killed_may_have_lacked_memory() -> None:
    pool = ProcessPool(1).open(Killed())
    with pytest.raises(OptionError, match="a worker process was killed; it may have run out of memory"), pool:
        pass


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.slow
def test_workers_end_with_a_killed_run(tmp_path: Path) -> None:
    """The script has no ``if __name__ == "__main__"``: it must not begin again in its workers."""
    (tmp_path / "making.py").write_text(
        "import os\ndef work(item): return os.getpid()\ndef make(arrays): return work\n"
    )
    script = tmp_path / "run.py"
    script.write_text(
        "import time\n"
        "import making\n"
        "from deploy_nas.adapters.pools import ProcessPool\n"
        "with ProcessPool(2).open(making.make) as run:\n"
        "    print(*run(range(20)), flush=True)\n"
        "    time.sleep(60)\n"
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
