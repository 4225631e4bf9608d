"""Fixtures every room's tests may use."""

from __future__ import annotations

import dataclasses
import gc
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is loaded: every worker has a core, its processes too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Looking through all that torch and pytest hold, again and again, takes a tenth of the suite's time.
gc.set_threshold(200_000, 20, 100)

MADE_ONCE = {"built"}
WHOLLY_SLOW = re.compile(r"^pytestmark = .*pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A quick run does not so much as import files that are slow as a whole: torch alone takes seconds."""
    if config.option.markexpr != "not slow" or not re.fullmatch(r"test_.*\.py", collection_path.name):
        return None
    return True if WHOLLY_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With pytest-xdist's ``loadgroup`` the tests of a file, or of a class, run in one process, for what they
    share would be made twice.

    The same holds for what tests of several files share and takes long to make (``MADE_ONCE``). A file that
    shares nothing says so, ``pytestmark = pytest.mark.shared_out``, and its tests go wherever
    there is room. The longest group begins first, then the other slow tests: what is quick fills the gaps at
    the end.
    """
    items.sort(
        key=lambda item: (
            MADE_ONCE.isdisjoint(item.fixturenames),
            item.get_closest_marker("slow") is None,
        )
    )
    for item in items:
        if shared := MADE_ONCE.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(min(shared)))
        elif not (item.get_closest_marker("xdist_group") or item.get_closest_marker("shared_out")):
            group = item.path.relative_to(REPOSITORY).as_posix()
            of_class = item.getparent(pytest.Class)
            item.add_marker(pytest.mark.xdist_group(f"{group}::{of_class.name}" if of_class else group))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture
def killed_at():
    """``call(moment, work)``: do the work in a process that is killed just before its nth step on disk.

    Returns true if the work was done before that. ``steps`` are beginnings of the audit events that count.
    """

    def call(moment, work, steps=("open", "os.", "shutil.")):
        child = os.fork()
        if child == 0:
            left = [moment]

            def step(event, arguments):
                if event.startswith(steps):
                    left[0] -= 1
                    if left[0] < 0:
                        os._exit(9)

            sys.addaudithook(step)
            try:
                work()
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), "the work failed in the child"
        return code == 0

    return call


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Outside data (``DEPLOY_NAS_DATA``, else ``../shared/data``); skips the test where there is none."""
    path = Path(os.environ.get("DEPLOY_NAS_DATA") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no outside data in {path}; DEPLOY_NAS_DATA names another folder")
    return path


@pytest.fixture(scope="session", autouse=True)
def shared_machine():
    """No test waits or fails because its machine has other work; :func:`judging` judges as for users."""
    from deploy_nas.core import conditions
    from deploy_nas.device import core_speed, cores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "LEAST_BUSY", 0.0)
        patch.setattr(conditions, "MOST_SPREAD_PERCENT", float("inf"))
        patch.setattr(cores, "_SAMPLE_S", 0.0)
        patch.setattr(core_speed, "_SLOW_FACTOR", 1e9)
        yield


@pytest.fixture(scope="session", autouse=True)
def brief_measurements():
    """A model is timed for milliseconds, not seconds; :func:`full_measurements` times as for users."""
    from deploy_nas.deploy import measuring

    def brief(models, how, *arguments, **named):
        few = {"rounds": min(how.rounds, 3), "least_runs": 3, "warmup_runs": 1}
        few |= {"burst_ms": 0.5, "warmup_ms": 0.0, "pause_s": 0.0, "wait_s": 0.0}
        return in_full(models, dataclasses.replace(how, **few), *arguments, **named)

    in_full = measuring.measure_models
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "measure_models", brief)
        yield


@pytest.fixture
def full_measurements(monkeypatch):
    """Models are timed as they are for users."""
    from deploy_nas.deploy import measuring
    from deploy_nas.device.measure import measure_models

    monkeypatch.setattr(measuring, "measure_models", measure_models)


@pytest.fixture
def slow_cores_count(monkeypatch):
    """A core that is slow at times is noticed as it is for users."""
    from deploy_nas.device import core_speed

    monkeypatch.setattr(core_speed, "_SLOW_FACTOR", 1.4)


@pytest.fixture
def judging(monkeypatch, slow_cores_count):
    """The machine is judged as it is for users."""
    from deploy_nas.core import conditions

    monkeypatch.setattr(conditions, "LEAST_BUSY", 0.93)
    monkeypatch.setattr(conditions, "MOST_SPREAD_PERCENT", 20.0)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def made_profile():
    """``make(space_id, image_sizes=None, faults=())``: a profile with times in proportion to MACs."""
    from deploy_nas.core.fingerprint import Fingerprint
    from deploy_nas.core.spaces import get_space
    from deploy_nas.records.profile import Profile
    from deploy_nas.records.profile_parts import Noise, Pair, Row

    def make(space_id="ofa-mbv3-cifar10", image_sizes=None, faults=(), speed=1.0, threads=1):
        space = get_space(space_id)
        sizes = tuple(image_sizes or space.profile_image_sizes)
        mask = sum(1 << int(i) for i in space.image_size_indices(sizes))
        times = [
            (layer.key, round((2e-8 * layer.macs + 0.004) / speed, 7))
            for layer, held in zip(space.rows, space.row_sizes(), strict=True)
            if int(held) & mask
        ]
        common = {"spread_percent": 1.0, "runs": 50, "stable": True}
        errors = np.linspace(-0.02, 0.02, 40)
        smallest = tuple(int(c) for c in space.encode([space.smallest(sizes[0])])[0])
        return Profile(
            space=space,
            image_sizes=sizes,
            fingerprint=Fingerprint(
                cpu="fake",
                machine="fake",
                os="fake",
                runtime_version="fake",
                governor="fake",
                cores=2,
                threads=threads,
                pinned=True,
            ),
            settings=None,
            created="2026-01-01T00:00:00+00:00",
            duration_s=1.0,
            rows=tuple(
                Row(key=k, latency_ms=t, alone_ms=t, p50_ms=t, p90_ms=t, p99_ms=t, **common) for k, t in times
            ),
            offset_ms=(0.01 / speed,) * len(sizes),
            sentinel_ms=1000.0,  # no machine is slower: nothing waits for a quiet moment
            noise=Noise(
                resolution_percent=1.0, drift_percent=2.0, busy=1.0, unstable_rows=0, faults=tuple(faults)
            ),
            pairs=tuple(
                Pair(
                    image_size=sizes[0],
                    choices=smallest,
                    predicted_ms=1.0,
                    measured_ms=round(1.0 + float(e), 6),
                    moments_ms=(round(1.0 + float(e), 6),),
                )
                for e in errors
            ),
        )

    return make


@pytest.fixture(scope="session")
def model_data():
    """``make(batch=1, **metadata)``: an exported file of the embedded space's smallest subnet, 24 px.

    Its weights are random; ``metadata`` is what the file says beside its architecture, as JSON values.
    """
    from deploy_nas.adapters.graphs import build_model, weight_tensors
    from deploy_nas.core.spaces import embedded_space
    from deploy_nas.device.initializers import random_initializers

    space = embedded_space()
    architecture = space.smallest(24)
    layers = space.layers(architecture)
    weights = random_initializers(weight_tensors(layers), np.random.default_rng(0))

    def make(batch=1, **metadata):
        said = {
            "space": space.id,
            "architecture": {"space": space.id, **architecture},
            "preprocessing": {"image_size": 24, "mean": list(space.mean), "std": list(space.std)},
        }
        return build_model(layers, weights, metadata={**said, **metadata}, batch=batch)

    return make


@pytest.fixture(scope="session")
def quick_settings() -> dict[str, float]:
    """Changes that make a real run of a plan take a second: what it measures is of no use."""
    rounds = {"rounds": 2, "row_rounds": 2, "passes": 2, "extra_rounds": 0}
    return {
        **rounds,
        "burst_ms": 0.5,
        "row_burst_ms": 0.5,
        "warmup_ms": 0.0,
        "slow_factor": 1e9,
        "wait_s": 0.0,
    }


@pytest.fixture(scope="session")
def randomise():
    """Give a net weights that keep a signal alive, and batch norms that are anything but the identity."""
    from deploy_nas.testing.space import randomised

    return randomised


@pytest.fixture(scope="module")
def one_torch_thread():
    """Threads that wait for each other cost small networks more than they give, most on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder; an error must be said, and without a traceback."""
    from click.testing import CliRunner

    from deploy_nas.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        if code == 2:
            assert result.stderr.splitlines()[-1].lower().startswith("error: "), result.stderr
        return result

    return call


# -- a bare environment, and a real OpenSSH server on loopback whose python3 is that environment's --------


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
        pytest.skip("no OpenSSH server here: apt-get install openssh-server openssh-client")
    if os.geteuid() != 0 and not os.access("/run/sshd", os.F_OK):
        pytest.skip("this OpenSSH server wants root")
    started = Server(tmp_path_factory.mktemp("ssh"), bare_python)
    yield started
    started.process.terminate()
    started.process.wait()


@pytest.fixture(scope="session")
def kit(tmp_path_factory, quick_settings) -> Path:
    """A profile's kit made quick: a few runs of every unit, and few networks."""
    return made_kit(tmp_path_factory, quick_settings, fit_per_size=6, validation_per_size=3)


@pytest.fixture(scope="session")
def quick_kit(tmp_path_factory, quick_settings) -> Path:
    """A kit with all networks of a quick profile."""
    return made_kit(tmp_path_factory, quick_settings)


def made_kit(tmp_path_factory, quick_settings, **networks) -> Path:
    from dataclasses import replace
    from unittest import mock

    from deploy_nas.workflows import kit as workflow
    from deploy_nas.workflows.profile import ProfileRequest

    path = tmp_path_factory.mktemp("kit") / "kit.pyz"
    settings, plan = workflow.settings_for, workflow.plan_for
    request = ProfileRequest(space="ofa-mbv3-cifar10", output=path, image_sizes=[24], quick=True)
    with (
        mock.patch.object(workflow, "settings_for", lambda asked: replace(settings(asked), **quick_settings)),
        mock.patch.object(workflow, "plan_for", lambda *asked: replace(plan(*asked), **networks)),
    ):
        path.write_bytes(workflow.kit_for(request)[1])
    return path


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of the system; the test says so and skips where there is none."""
    chromium = next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), ""
    )
    chromedriver = shutil.which("chromedriver")
    if not chromium or chromedriver is None:
        pytest.skip("no Chromium with chromedriver here: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (the dev extra)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"):
            options.add_argument(f"--{flag}")
        for flag in ("disable-background-networking", "disable-component-update", "disable-sync"):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={home}")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
        yield driver
        driver.quit()
