import json
import os
import subprocess
import sys

import pytest

from deploy_nas.training.memory import yield_cores

SCRIPT = """
import json, os, sys
from deploy_nas.training.memory import keep_memory
keep_memory()
print(json.dumps({"environment": dict(os.environ), "arguments": sys.argv[1:]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_a_script_starts_again_once_with_its_arguments(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), "--seed", "1"], capture_output=True, text=True, check=True, timeout=60
    )
    said = json.loads(done.stdout)
    assert said["arguments"] == ["--seed", "1"]
    assert said["environment"]["MALLOC_MMAP_MAX_"] == "0"
    assert said["environment"]["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_waiting_threads_yield_unless_the_user_chose_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    yield_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    yield_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
