"""What a machine says of itself, and how many threads it takes."""

import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.device import machine


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU @ 2GHz\nprocessor\t: 1\n", "Some CPU @ 2GHz"),
        ("CPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B\n", "Raspberry Pi 4 Model B"),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "aarch64 implementer 0x41 part 0xd0c"),
    ],
)
def test_a_processor_has_a_name(monkeypatch, cpuinfo, name):
    monkeypatch.setattr(machine, "lines", lambda path: cpuinfo.splitlines())
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.cpu_model() == name


def test_a_mac_is_asked(monkeypatch):
    class Done:
        stdout = "Apple M4\n"

    monkeypatch.setattr(machine, "lines", lambda path: [])
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine.subprocess, "run", lambda command, **how: Done)
    assert machine.cpu_model() == "Apple M4"


def test_more_threads_than_cores_are_refused(monkeypatch):
    """They would all be on the one core that the first is kept on."""
    monkeypatch.setattr(machine, "cores", lambda: [0])
    for threads in (0, 2):
        with pytest.raises(OptionError, match=f"from 1 to the 1 cores of this device, is {threads}"):
            machine.pinned_to(threads).__enter__()


def test_fingerprint_and_pinning():
    with machine.pinned_to(1) as pinning:
        pinned = pinning.pinned
        assert not pinned or (tuple(machine.cores()) == pinning.cores and pinning.worker_cores == ())
        value = machine.fingerprint(
            threads=1, provider="p", provider_options={}, precision="fp32", pinned=pinned
        )
    assert value.cpu and value.runtime_version and value.threads == 1


def test_every_thread_gets_a_core_of_its_own():
    before = machine.cores()
    with machine.pinned_to(len(before)) as pinning:
        assert not pinning.pinned or sorted([*pinning.worker_cores, *machine.cores()]) == before
    assert machine.cores() == before


def test_the_quieter_core_is_chosen_and_told(monkeypatch):
    pinned = []
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(machine.os, "sched_setaffinity", lambda _, to: pinned.append(to), raising=False)
    monkeypatch.setattr(machine, "loads", lambda: {0: 0.0, 1: 0.98})
    monkeypatch.setattr(machine, "speeds", dict)
    monkeypatch.setattr(machine, "quota_cores", lambda: 0.5)
    with machine.pinned_to(1) as pinning:
        assert pinning == machine.Pinning(pinned=True, cores=(0,), quota_cores=0.5)
    assert pinned == [{0}, {0, 1}]


@pytest.mark.parametrize(
    ("real", "cpuinfo", "name"),
    [
        ("python3.11", "CPU implementer\t: 0x41\n", None),
        ("qemu-aarch64-static", "CPU implementer\t: 0x41\n", "qemu"),
        ("python3.11", "vendor_id\t: AuthenticAMD\n", "unknown"),
    ],
)
def test_an_emulator_is_noticed_and_named(monkeypatch, tmp_path, real, cpuinfo, name):
    task = tmp_path / "task" / str(machine.os.getpid())
    task.mkdir(parents=True)
    (task / "exe").symlink_to(real)
    (tmp_path / "exe").symlink_to("python3.11")
    monkeypatch.setattr(machine, "_SELF", tmp_path)
    monkeypatch.setattr(machine, "lines", lambda path: cpuinfo.splitlines())
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.emulator() == name
    assert machine.cpu_model().startswith("aarch64 in an emulator") is (name is not None)
    conditions = machine.Pinning(pinned=False, emulator=machine.emulator()).conditions(1)
    assert any("of an emulator" in fault for fault in conditions.faults) is (name is not None)
    assert not conditions.may_pass
