"""A bare environment, and a real OpenSSH server on loopback whose python3 is that environment's."""

import getpass
import os
import shutil
import socket
import subprocess
import time
import venv
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory) -> Path:
    """A virtual environment that holds numpy, onnxruntime and pillow and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    import numpy
    import onnxruntime
    import PIL

    for package in (numpy, onnxruntime, PIL):
        home = Path(package.__file__).parent
        (site / home.name).symlink_to(home)
        for libs in (f"{home.name}.libs", "pillow.libs"):
            if (found := home.with_name(libs)).exists() and not (site / libs).exists():
                (site / libs).symlink_to(found)
    python = folder / "bin/python3"
    for absent in ("onnx", "torch", "click", "ofa"):
        assert subprocess.run([python, "-c", f"import {absent}"], capture_output=True).returncode == 1
    return python


class Server:
    """An OpenSSH server of our own on loopback, with its own keys, whose python3 is the bare one."""

    def use(self, python: Path) -> None:
        """Which interpreter the device has; a link would not be seen as its environment's."""
        self.python.write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        self.python.chmod(0o755)

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        home = folder / "home"
        home.mkdir()
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        self.python = bin_folder / "python3"
        self.use(python)
        shell = folder / "enter"
        shell.write_text(
            f'#!/bin/sh\nHOME={home}\nPATH={bin_folder}:/usr/bin:/bin\nexport HOME PATH\ncd "$HOME"\n'
            'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        shell.chmod(0o755)
        config = folder / "config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            f"ForceCommand {shell}\nPermitRootLogin yes\nSubsystem sftp {SFTP}\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [shutil.which("sshd", path=SBIN), "-D", "-e", "-f", config], stderr=subprocess.DEVNULL
        )
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self.options = (
            *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"),
            *("-o", f"IdentityFile={folder}/user", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"),
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("sshd did not start")


SFTP = "/usr/lib/openssh/sftp-server"
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


@pytest.fixture(scope="session")
def server(tmp_path_factory, bare_python):
    if shutil.which("sshd", path=SBIN) is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server on this machine")
    if os.geteuid() != 0 and not os.access("/run/sshd", os.F_OK):
        pytest.skip("this OpenSSH server wants root")
    started = Server(tmp_path_factory.mktemp("ssh"), bare_python)
    yield started
    started.process.terminate()
    started.process.wait()
