"""Over a real OpenSSH server on loopback."""

import socket
import subprocess
import venv

import pytest

from deploy_nas.adapters.targets import SshTarget
from deploy_nas.core.errors import TargetError
from deploy_nas.testing.targets import ReachableTargetContract, tiny_kit

pytestmark = pytest.mark.slow


class TestSsh(ReachableTargetContract):
    @pytest.fixture
    def target(self, server):
        return SshTarget(server.url, server.options)


def failing(monkeypatch, step, reason):
    """ssh and scp as they are, but for one step of a run."""
    call = SshTarget._call

    def refused(self, command, what):
        if step in what:
            raise TargetError(reason, subject=self.address)
        return call(self, command, what)

    monkeypatch.setattr(SshTarget, "_call", refused)


def test_a_folder_that_stays_there_loses_nothing(server, monkeypatch):
    failing(monkeypatch, "removed", "Device or resource busy")
    target = SshTarget(server.url, server.options)
    assert target.run_kit(tiny_kit(), "stuck")
    target.remove_kit("stuck")


def test_faults_are_named(server, bare_python, tmp_path):
    wrong = tmp_path / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong], check=True)
    options = tuple(o.replace(f"{server.folder}/user", str(wrong)) for o in server.options)
    with pytest.raises(TargetError, match="Permission denied"):
        SshTarget(server.url, options).run_kit(tiny_kit(), "q")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    with pytest.raises(TargetError, match=r"[Cc]onnection refused"):
        SshTarget(f"ssh://127.0.0.1:{closed}", server.options).machine()
    try:
        server.use(tmp_path / "nowhere")
        with pytest.raises(TargetError, match="nowhere: not found"):
            SshTarget(server.url, server.options).run_kit(tiny_kit(), "q")
    finally:
        server.use(bare_python)


def test_an_environment_without_packages_is_named(server, kit, bare_python, tmp_path):
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    try:
        server.use(tmp_path / "empty/bin/python3")
        with pytest.raises(TargetError, match="numpy cannot be imported"):
            SshTarget(server.url, server.options).run_kit(kit.read_bytes(), "q")
    finally:
        server.use(bare_python)
