"""The kit for real: in a bare environment, and over a real OpenSSH server on loopback."""

import dataclasses
import json
import signal
import subprocess
import time
import venv
import zipfile
from pathlib import Path

import pytest

from deploy_nas.adapters.targets import SshTarget
from deploy_nas.core.errors import (
    InputError,
    MismatchError,
    OutputError,
    RecordError,
    TargetError,
    VersionError,
)
from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.seals import sealed, sealed_line
from deploy_nas.core.settings import Settings
from deploy_nas.core.spaces import get_space
from deploy_nas.device.journal import JournalHeader, parse_journal
from deploy_nas.device.kit import digest, split_result
from deploy_nas.device.runner import without_slow_ones
from deploy_nas.profiling.plan import ProfilePlan
from deploy_nas.records.profile import load_profile
from deploy_nas.workflows import kit as workflow
from deploy_nas.workflows.kit import import_result, profile_of_result, profile_target
from deploy_nas.workflows.profile import ProfileRequest

pytestmark = pytest.mark.slow

SPACE = "ofa-mbv3-cifar10"


def request(output: Path) -> ProfileRequest:
    return ProfileRequest(space=SPACE, output=output, image_sizes=[24], quick=True)


@pytest.fixture(scope="session")
def result(quick_kit, bare_python, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("result") / "r.jsonl"
    done = subprocess.run(
        [bare_python, quick_kit, "-o", path], capture_output=True, text=True, cwd=path.parent
    )
    assert done.returncode == 0, done.stderr
    assert "s left" in done.stderr
    assert sorted(p.name for p in path.parent.iterdir()) == ["r.jsonl"]
    return path


def test_kit_in_a_bare_environment_makes_a_profile(result, tmp_path):
    profile = import_result(result, tmp_path / "p.json")
    assert profile.image_sizes == (24,)
    journal = parse_journal(split_result(result.read_bytes(), "r"), "r")
    held_out = {unit for unit, _ in journal.bursts if unit.startswith("validation:")}
    _, slow = without_slow_ones(journal.bursts, journal.header.settings.slow_factor)
    judged = held_out - {unit for unit, _ in slow}
    assert len(held_out) >= 20 and len(profile.pairs) == len(judged or held_out)
    assert profile.latency_ms(profile.space.encode([profile.space.smallest(24)]))[0] > 0


def test_damaged_results_are_refused(result, tmp_path):
    data = result.read_bytes()
    lines = data.splitlines(keepends=True)

    def encoded(value):
        return json.dumps(value).encode() + b"\n"

    def closed(body):
        text = b"".join(body)
        return text + json.dumps({"end": len(body) - 1, "sha256": digest(text)}).encode() + b"\n"

    def changed(text, **values):
        value = {**json.loads(text), **values}
        del value["digest"]
        return sealed_line(value, value["line"]) if "line" in value else encoded(sealed(value))

    def changed_to_nan(text):
        return encoded({**json.loads(text), "t": [float("nan")]})

    for cut in (0, 10, len(data) // 2, len(data) - 30):
        with pytest.raises(RecordError, match=r"not a finished result|digest"):
            profile_of_result(data[:cut], "r")
    with pytest.raises(RecordError, match="edited"):
        profile_of_result(data.replace(b'"n": ', b'"n":  ', 1), "r")
    with pytest.raises(RecordError, match="missing or duplicate lines"):
        body = b"".join(lines[:-1])
        profile_of_result(body + json.dumps({"end": 3, "sha256": digest(body)}).encode() + b"\n", "r")
    for bad in (*(changed(lines[1], t=t) for t in ([0.0], [-1.0], [])), changed_to_nan(lines[1])):
        with pytest.raises(RecordError, match=r"line 2 (holds no burst|was edited or damaged); run"):
            profile_of_result(closed([lines[0], bad, *lines[2:-1]]), "r")
    gone = json.loads(lines[1])["u"]
    rest = [li for li in lines[:-1] if json.loads(li).get("u") != gone]
    with pytest.raises(RecordError, match="missing: line 2 of those that were written"):
        profile_of_result(closed(rest), "r")
    numbered = [changed(li, line=number) for number, li in enumerate(rest[1:], 2)]
    with pytest.raises(RecordError, match="never timed"):
        profile_of_result(closed([rest[0], *numbered]), "r")
    with pytest.raises(RecordError, match="line 3 is line 2 again; run the kit again"):
        profile_of_result(closed([*lines[:2], *lines[1:-1]]), "r")
    edited = lines[1].replace(b'"n": ', b'"n": 1')
    with pytest.raises(RecordError, match="line 2 was edited or damaged"):
        profile_of_result(closed([lines[0], edited, *lines[2:-1]]), "r")
    with pytest.raises(VersionError):
        profile_of_result(closed([changed(lines[0], version=9), *lines[1:-1]]), "r")
    with pytest.raises(MismatchError, match="another deploy-nas version's kit"):
        profile_of_result(closed([changed(lines[0], plan="other"), *lines[1:-1]]), "r")


# -- results that a hostile hand closed with the right digest ------------------------------------


def fake_result(change=lambda header: None, bursts=lambda lines: lines, **settings) -> bytes:
    """A finished result of a small plan, every unit timed at 1 ms, with a header changed by hand."""
    plan = ProfilePlan(space=get_space(SPACE), image_sizes=(24,), fit_per_size=4, validation_per_size=2)
    header = JournalHeader(
        plan=plan.id,
        fingerprint=Fingerprint(cpu="x", cores=2, machine="m", os="o", runtime_version="1.20"),
        settings=Settings(**settings),
        created="2026",
        arguments=plan.arguments,
    ).to_json()
    value = json.loads(json.dumps(header))
    change(value)
    units = [unit.id for block in plan.blocks for unit in block]
    lines = [
        {"u": u, "r": r, "n": 3, "b": 1.0, "s": 0.5, "w": 0.1, "t": [1.0]} for u in units for r in (0, 1)
    ]
    first = json.dumps(sealed(value)).encode() + b"\n"
    body = first + b"".join(sealed_line(line, number) for number, line in enumerate(bursts(lines), 2))
    return body + json.dumps({"end": body.count(b"\n") - 1, "sha256": digest(body)}).encode() + b"\n"


def deep(header):
    value: list = []
    for _ in range(900):
        value = [value]
    header["arguments"]["space"] = value


def test_a_fake_result_is_a_profile(tmp_path):
    (tmp_path / "r").write_bytes(fake_result())
    made = import_result(tmp_path / "r", tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == made


@pytest.mark.parametrize(
    ("change", "bursts", "message"),
    [
        (lambda h: h["arguments"].update(fit_per_size=10**8), None, "'fit_per_size'"),
        (lambda h: h["arguments"].update(fit_per_size=9000), None, "asks for 9002 networks"),
        (lambda h: h["arguments"].update(image_sizes=[]), None, "'image_sizes'"),
        (lambda h: h["arguments"].update(image_sizes=[24, 24]), None, "image_sizes"),
        (lambda h: h["arguments"].update(space="x" * 10**6), None, "no search space"),
        (lambda h: h["arguments"].update(precision="fp64"), None, "precision"),
        (lambda h: h["arguments"].update(precision="int8", activations="int3"), None, ""),
        (lambda h: h["settings"].update(rounds=10**12), None, "'rounds'"),
        (lambda h: h["settings"].update(passes=0), None, "'passes'"),
        (lambda h: h["settings"].update(slow_factor=-1.0), None, ""),
        (deep, None, "'space' must be a string"),
        (None, lambda lines: lines[:1], "never timed"),
        (None, lambda lines: [], "never timed"),
        (None, lambda lines: [*lines, {**lines[0], "u": "fit:99"}], "not in the plan"),
        (None, lambda lines: [{**line, "t": [1e-300]} for line in lines], ""),
        (None, lambda lines: [{**line, "t": [9e6]} for line in lines[:9]] + lines[9:], ""),
    ],
)
def test_a_hostile_result_is_one_error_or_a_profile_that_can_be_read(tmp_path, change, bursts, message):
    output = tmp_path / "p.json"
    (tmp_path / "r").write_bytes(fake_result(change or (lambda h: None), bursts or (lambda lines: lines)))
    try:
        import_result(tmp_path / "r", output)
    except InputError as error:
        assert message in str(error) and len(str(error)) < 9000
        assert not output.exists()
    else:
        assert not message
        assert load_profile(output)


def test_kit_killed_at_any_moment_goes_on(kit, bare_python, tmp_path):
    """kill -9 at many moments: every run but the last is killed, none loses a whole line."""
    output, journal = tmp_path / "r.jsonl", tmp_path / "r.jsonl.journal"
    lines = 0
    for delay in (0.3, 0.05, 0.6, 0.11, 0.9, 0.21, 0.4, 0.7):
        process = subprocess.Popen(
            [bare_python, kit, "-o", output], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if output.exists():
            break
        held = journal.read_bytes().count(b"\n") if journal.exists() else 0
        assert held >= lines
        lines = held
    done = subprocess.run([bare_python, kit, "-o", output, "--force"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert profile_of_result(output.read_bytes(), "r").rows


def test_kit_keeps_a_result_that_is_there(kit, bare_python, tmp_path):
    (tmp_path / "r.jsonl").write_text("another device's")
    done = subprocess.run([bare_python, kit, "-o", tmp_path / "r.jsonl"], capture_output=True, text=True)
    assert done.returncode == 2 and "r.jsonl: exists already; use --force" in done.stderr
    assert (tmp_path / "r.jsonl").read_text() == "another device's"


def test_kit_says_what_is_missing(kit, tmp_path):
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    done = subprocess.run([tmp_path / "empty/bin/python3", kit], capture_output=True, text=True)
    assert (
        done.returncode == 2 and "numpy cannot be imported" in done.stderr and "Traceback" not in done.stderr
    )


# -- ssh ---------------------------------------------------------------------------------------


def test_over_ssh_cut_half_way(server, kit):
    """The first connection is cut; the second goes on from what the device kept."""
    target = SshTarget(server.url, server.options)
    home = server.folder / "home/.cache/deploy-nas/plan"

    class CutError(Exception):
        pass

    def cut(done, total, what):
        raise CutError

    with pytest.raises(CutError):
        target.run_kit(kit.read_bytes(), "plan", cut)
    assert 0 < _lines(home) < _units(kit)
    seen = []
    data = target.run_kit(kit.read_bytes(), "plan", lambda done, total, what: seen.append((done, total)))
    assert profile_of_result(data, "r").rows
    assert seen and seen[-1][0] == seen[-1][1]
    target.remove_kit("plan")
    assert not home.exists()


def failing(monkeypatch, step, reason):
    """ssh and scp as they are, but for one step of a run."""
    call = SshTarget._call

    def refused(self, command, what):
        if step in what:
            raise TargetError(reason, subject=self.address)
        return call(self, command, what)

    monkeypatch.setattr(SshTarget, "_call", refused)


def test_over_ssh_a_result_that_could_not_be_fetched_is_not_timed_again(server, kit, monkeypatch):
    """The run ends there, the connection before the fetch; the second command fetches what it wrote."""
    target = SshTarget(server.url, server.options)
    home = server.folder / "home/.cache/deploy-nas/late"
    with monkeypatch.context() as patch:
        failing(patch, "fetched", "the connection ended")
        with pytest.raises(TargetError):
            target.run_kit(kit.read_bytes(), "late", options=["--keep"])
    written = next(home.glob("*.jsonl")).read_bytes()
    assert target.run_kit(kit.read_bytes(), "late", options=["--keep"]) == written
    target.remove_kit("late")
    assert not home.exists()


def test_a_result_stays_on_the_device_until_the_profile_is_written(result, tmp_path, monkeypatch):
    done = []

    class Device:
        address = "ssh://device"

        def run_kit(self, *_, **__):
            done.append("run")
            return result.read_bytes()

        def remove_kit(self, name):
            done.append("removed")

    def full(*_, **__):
        raise OutputError("cannot be written (No space left on device)")

    monkeypatch.setattr(workflow, "target_of", lambda address, options: Device())
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "save_profile", full)
        with pytest.raises(OutputError):
            profile_target(request(tmp_path / "p.json"), "ssh://device")
    assert done == ["run"]
    profile_target(request(tmp_path / "p.json"), "ssh://device")
    assert done == ["run", "run", "removed"] and (tmp_path / "p.json").exists()


def _lines(home: Path) -> int:
    return sum(p.read_bytes().count(b"\n") for p in home.glob("*.journal"))


def _units(kit: Path) -> int:
    with zipfile.ZipFile(kit) as opened:
        return sum(len(block) for block in json.loads(opened.read("plan.json"))["blocks"])


@pytest.mark.parametrize(
    ("machine", "asked", "activations"),
    [("aarch64", "auto", "int8"), ("x86_64", "auto", "uint8"), ("aarch64", "x86", "uint8")],
)
def test_over_ssh_int8_is_for_the_devices_processor(
    server, tmp_path, monkeypatch, machine, asked, activations
):
    seen = []

    def kit_of(request, priors, *, slow):
        seen.append(request.activations)
        raise TargetError("is asked for nothing more", subject="kit")

    monkeypatch.setattr(workflow, "kit_for", kit_of)
    uname = server.python.with_name("uname")
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    try:
        int8 = dataclasses.replace(request(tmp_path / "p"), precision="int8", int8_for=asked)
        with pytest.raises(TargetError, match="nothing more"):
            profile_target(int8, server.url, ssh_options=server.options)
    finally:
        uname.unlink()
    assert seen == [activations]


def test_output_is_checked_before_anything_is_sent(tmp_path):
    (tmp_path / "p.json").write_text("kept")
    with pytest.raises(OutputError, match="exists already"):
        profile_target(request(tmp_path / "p.json"), "ssh://127.0.0.1:1")
