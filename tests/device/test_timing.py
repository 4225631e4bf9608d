import threading
from pathlib import Path

import numpy as np
import pytest

from deploy_nas.core.errors import (
    MismatchError,
    OptionError,
    OutputError,
    ProviderError,
    RecordError,
    VersionError,
)
from deploy_nas.core.tensors import TensorSpec
from deploy_nas.device import machine
from deploy_nas.device.journal import Journal, read_journal
from deploy_nas.device.session import full_provider_name, open_session, random_initializers
from deploy_nas.device.timing import Burst, Timer, latency_of


class FakeInput:
    name, shape = "image", [1, 3, 4, 4]


class FakeSession:
    """Runs take what the list says, in nanoseconds, then its last for ever."""

    def __init__(self, clock, times_ns):
        self.clock, self.times_ns, self.calls = clock, list(times_ns), 0

    def get_inputs(self):
        return [FakeInput()]

    def run(self, names, feed):
        assert feed["image"].shape == (1, 3, 4, 4)
        self.calls += 1
        self.clock.now += self.times_ns.pop(0) if len(self.times_ns) > 1 else self.times_ns[0]


class FakeClock:
    now = 0

    def __call__(self):
        return self.now


def timer(times_ns):
    clock = FakeClock()
    session = FakeSession(clock, times_ns)
    return Timer(session, np.random.default_rng(0), clock=clock), session


def test_burst_leaves_the_warm_up_out_and_lasts_as_asked():
    one, session = timer([9_000_000, 2_000_000, 1_000_000])
    burst = one.burst(burst_ms=50.0, least_runs=5, warmup_runs=3)
    assert burst.runs == 50  # 50 ms at the quickest warm-up's 1 ms
    assert session.calls == 53
    assert set(burst.points_ms) == {1.0}
    assert len(burst.points_ms) == 21


def test_burst_runs_at_least_as_often_as_asked():
    one, _ = timer([80_000_000])
    assert one.burst(burst_ms=10.0, least_runs=5, warmup_runs=1).runs == 5


def test_latency_is_the_lower_quartile():
    assert latency_of(np.arange(101.0)) == pytest.approx(25.0)


def test_random_initializers_are_finite_and_repeat():
    tensors = {"a.weight": TensorSpec(shape=(8, 3, 3, 3)), "a.bias": TensorSpec(shape=(8,))}
    first = random_initializers(tensors, np.random.default_rng(1))
    again = random_initializers(tensors, np.random.default_rng(1))
    assert first["a.weight"].shape == (8, 3, 3, 3) and first["a.weight"].dtype == np.float32
    assert np.array_equal(first["a.weight"], again["a.weight"])
    assert not first["a.bias"].any()


def test_random_initializers_follow_the_type_whatever_the_name():
    tensors = {
        "a": TensorSpec(shape=(4, 3), type="int8"),
        "b_int8": TensorSpec(shape=(4,), type="int32"),
        "c_int32": TensorSpec(shape=(4, 3, 1, 1)),
    }
    values = random_initializers(tensors, np.random.default_rng(1))
    assert {name: (v.shape, v.dtype.name) for name, v in values.items()} == {
        name: (spec.shape, spec.type) for name, spec in tensors.items()
    }
    assert values["a"].any() and not values["b_int8"].any() and values["c_int32"].any()


def test_provider_names():
    assert full_provider_name("cpu") == "CPUExecutionProvider"
    with pytest.raises(ProviderError, match=r"there are .*CPUExecutionProvider"):
        full_provider_name("tpu")


def test_open_session_refuses_what_is_no_model():
    with pytest.raises(RecordError, match="cannot load"):
        open_session(b"not a model")
    with pytest.raises(OptionError, match="at least 1"):
        open_session(b"", threads=0)


def test_fingerprint_and_pinning():
    before = machine.cores()
    with machine.pinned_to(1) as pinning:
        pinned = pinning.pinned
        assert not pinned or (machine.cores() == before[-1:] and pinning.worker_cores == ())
        value = machine.fingerprint(
            threads=1, provider="p", provider_options={}, precision="fp32", pinned=pinned
        )
    assert value["cpu"] and value["onnxruntime"] and value["threads"] == 1


def test_every_thread_gets_a_core_of_its_own():
    before = machine.cores()
    with machine.pinned_to(len(before)) as pinning:
        assert not pinning.pinned or [*pinning.worker_cores, *machine.cores()] == before
    assert machine.cores() == before


BURST = Burst(runs=3, points_ms=(1.0, 2.0, 3.0), busy=1.0)
HEADER = {"plan": "p", "fingerprint": {"cpu": "x"}, "settings": {"rounds": 5}}


def test_journal_goes_on_where_it_was_cut(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
        journal.add("b", 0, BURST, 0.5)
    data = path.read_bytes()
    for cut in range(data[:-1].rfind(b"\n") + 1, len(data) + 1):
        path.write_bytes(data[:cut])
        with Journal(path, HEADER) as journal:
            assert ("a", 0) in journal.bursts
            journal.add("c", 1, BURST, 0.25)
        bursts = read_journal(path).bursts
        assert bursts["a", 0] == (BURST, 0.5) and bursts["c", 1] == (BURST, 0.25)


def test_two_runs_on_one_journal_are_refused(tmp_path):
    with Journal(tmp_path / "j", HEADER), pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "j", HEADER)
    Journal(tmp_path / "j", HEADER).__exit__(None, None, None)


@pytest.mark.parametrize("key", ["plan", "fingerprint", "settings"])
def test_journal_of_another_run_is_refused(tmp_path, key):
    with Journal(tmp_path / "j", HEADER):
        pass
    with pytest.raises(MismatchError, match=key):
        Journal(tmp_path / "j", {**HEADER, key: "other"})


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"u":"a","r":0,"n":1,"b":1,"s":1,"t":[]}',
        b'{"u":"a","r":0,"n":1,"b":1,"s":1,"t":[-1]}',
        b'{"u":"a","r":0,"n":1,"b":1,"s":1,"t":[NaN]}',
        b'{"u":"a","r":0,"n":1,"b":1,"s":0,"t":[1]}',
        b"[1]",
    ],
)
def test_damaged_journal_lines_are_named(tmp_path, line):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(RecordError, match="line 3"):
        read_journal(path)


def test_newer_and_foreign_journals(tmp_path):
    path = tmp_path / "j"
    path.write_text('{"format":"deploy-nas journal","version":99}\n')
    with pytest.raises(VersionError, match="99"):
        read_journal(path)
    path.write_text("hello\n")
    with pytest.raises(RecordError, match="no journal"):
        read_journal(path)


def test_beginning_anew_waits_for_the_run_that_writes(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as running:
        running.add("a", 0, BURST, 0.5)
        with pytest.raises(OutputError, match="another run"):
            Journal(path, HEADER, fresh=True)
        running.add("b", 0, BURST, 0.5)
    assert len(read_journal(path).bursts) == 2
    with Journal(path, {**HEADER, "plan": "other"}, fresh=True) as journal:
        assert not journal.bursts
    assert read_journal(path).header["plan"] == "other"


def test_a_run_that_waited_for_a_removed_journal_begins_its_own(tmp_path):
    path = tmp_path / "j"
    first = Journal(path, HEADER)

    def end():
        path.unlink()
        first.__exit__(None, None, None)

    ending = threading.Timer(0.3, end)
    ending.start()
    with Journal(path, HEADER, wait_s=10.0) as journal:
        journal.add("a", 0, BURST, 0.5)
    ending.join()
    assert ("a", 0) in read_journal(path).bursts


def test_a_number_that_is_none_is_a_damaged_line(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
    path.write_bytes(path.read_bytes().replace(b'"n":3', b'"n":1e999'))
    with pytest.raises(RecordError, match="line 2 is damaged"):
        read_journal(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_says_what_is_kept(tmp_path):
    journal = Journal(tmp_path / "j", HEADER)
    journal._file.close()
    journal._file = Path("/dev/full").open("wb")  # noqa: SIM115 - the journal closes it
    with pytest.raises(OutputError, match=r"No space left.*is kept"), journal:
        journal.add("a", 0, BURST, 0.5)


def test_an_empty_journal_begins_with_a_finished_runs_lines_if_they_are_its_own(tmp_path):
    with Journal(tmp_path / "first", HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
    lines = (tmp_path / "first").read_bytes()
    with Journal(tmp_path / "same", HEADER, earlier=lambda: lines) as journal:
        assert ("a", 0) in journal.bursts
    for name, header, earlier in (
        ("other", {**HEADER, "plan": "other"}, lines),
        ("damaged", HEADER, lines[:40]),
        ("none", HEADER, None),
    ):
        with Journal(tmp_path / name, header, earlier=lambda held=earlier: held) as journal:
            assert not journal.bursts
        assert not read_journal(tmp_path / name).bursts
    with Journal(tmp_path / "same", HEADER, earlier=lambda: b"not asked") as journal:
        assert ("a", 0) in journal.bursts
