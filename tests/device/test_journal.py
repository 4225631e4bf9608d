"""The journal: what a cut, damaged, foreign or shared file does to a run."""

import json
import os
import threading
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.fingerprint import Fingerprint
from deploy_nas.core.notices import Notice
from deploy_nas.core.plan_arguments import PlanArguments
from deploy_nas.core.seals import sealed, sealed_line
from deploy_nas.core.settings import Settings
from deploy_nas.device.journal import Journal, JournalHeader, parse_journal, read_journal
from deploy_nas.device.timing import Burst

BURST = Burst(runs=3, points_ms=(1.0, 2.0, 3.0), busy=1.0)
DEVICE = Fingerprint(cpu="x", cores=2, machine="m", os="o", runtime_version="1.20")
HEADER = JournalHeader(plan="p", fingerprint=DEVICE, settings=Settings(rounds=5), created="2026")


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
            journal.add("c", 1, replace(BURST, core_us=41.5), 0.25)
        bursts = read_journal(path).bursts
        assert bursts["a", 0] == (BURST, 0.5) and bursts["c", 1] == (replace(BURST, core_us=41.5), 0.25)


def test_two_runs_on_one_journal_are_refused(tmp_path):
    with Journal(tmp_path / "j", HEADER), pytest.raises(OutputError, match="another run"):
        Journal(tmp_path / "j", HEADER)
    Journal(tmp_path / "j", HEADER).__exit__(None, None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": "other"},
        {"fingerprint": replace(DEVICE, threads=2)},
        {"settings": Settings(rounds=5, provider_options={"a": "b"})},
    ],
)
def test_journal_of_another_run_is_refused(tmp_path, changes):
    with Journal(tmp_path / "j", HEADER):
        pass
    with pytest.raises(MismatchError, match=next(iter(changes))):
        Journal(tmp_path / "j", replace(HEADER, **changes))


def test_a_run_keeps_the_time_it_began(tmp_path):
    with Journal(tmp_path / "j", HEADER):
        pass
    with Journal(tmp_path / "j", replace(HEADER, created="2027")) as journal:
        assert journal.header.created == "2026"


def test_a_header_of_today_and_of_before_reads_as_it_was_written(tmp_path):
    arguments = PlanArguments(
        space="s", image_sizes=(24,), fit_per_size=2, validation_per_size=1, block_units=3, seed=0
    )
    header = replace(HEADER, arguments=arguments)
    with Journal(tmp_path / "j", header):
        pass
    assert read_journal(tmp_path / "j").header == header
    before = {
        "format": "deploy-nas journal",
        "version": 1,
        "plan": "p",
        "fingerprint": {
            **{"cpu": "x", "cpu_features": ["avx2"], "cores": 2, "machine": "m", "os": "o"},
            **{"threads": 1, "pinned": True, "provider": "CPUExecutionProvider", "provider_options": {}},
            **{"onnxruntime": "1.20", "build": "b", "precision": "fp32", "governor": "unknown"},
        },
        "settings": asdict(Settings(rounds=5)),
        "arguments": {
            **{"space": "s", "image_sizes": [24], "fit_per_size": 2, "validation_per_size": 1},
            **{"block_units": 3, "seed": 0},
        },
        "created": "2026",
    }
    found = parse_journal(json.dumps(before).encode() + b"\n", "before").header
    assert found.arguments == arguments and found.settings == HEADER.settings
    assert found.fingerprint == replace(DEVICE, cpu_features=("avx2",), pinned=True, build="b")


@pytest.mark.parametrize("key", ["plan", "fingerprint", "settings", "created"])
def test_a_header_without_a_key_is_named(tmp_path, key):
    path = tmp_path / "j"
    with Journal(path, HEADER):
        pass
    value = json.loads(path.read_text())
    del value[key]
    path.write_text(json.dumps(sealed(value)) + "\n")
    with pytest.raises(RecordError, match=f"has no '{key}'"):
        read_journal(path)


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
def test_a_damaged_line_is_named_and_costs_that_line(tmp_path, line):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.warns(Notice, match="j: line 3 was edited or damaged and is left out"):
        assert list(read_journal(path).bursts) == [("a", 0)]
    # a line with a digest that holds no burst, and one of a journal of before
    text = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(text[0] + text[1] + sealed_line({"u": "b"}, 3))
    with pytest.warns(Notice, match="line 3 holds no burst"):
        assert list(read_journal(path).bursts) == [("a", 0)]


def test_every_flipped_bit_costs_at_most_its_burst(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        for unit in "abc":
            journal.add(unit, 0, BURST, 0.5)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    before, whole = len(lines[0]) + len(lines[1]), read_journal(path).bursts
    for place in range(before, before + len(lines[2]) - 1):
        for bit in range(0, 8, 3):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = read_journal_of(bytes(damaged))
            assert found == whole or (set(found) == {("a", 0), ("c", 0)} and told), damaged[place]


def read_journal_of(data):
    return parse_journal(data, "j").bursts


def test_every_edited_byte_of_the_first_line_is_refused(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER):
        pass
    data = path.read_bytes()
    for place, byte in enumerate(data[:-1]):
        if chr(byte) in "0123456789":
            edited = data[:place] + str((byte - 47) % 10).encode() + data[place + 1 :]
            with pytest.raises(RecordError):  # a version of its own is another error
                parse_journal(edited, "j")


def test_a_burst_that_was_lost_is_timed_again_and_the_journal_goes_on(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        for unit in "abc":
            journal.add(unit, 0, BURST, 0.5)
    path.write_bytes(path.read_bytes().replace(b'"u": "b"', b'"u": "x"'))
    with pytest.warns(Notice, match="line 3 was edited"), Journal(path, HEADER) as journal:
        assert list(journal.bursts) == [("a", 0), ("c", 0)]
        journal.add("b", 0, BURST, 0.5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1]]))  # doubled
    with pytest.warns(Notice, match="line 6 is line 5 again") as told:
        assert list(read_journal(path).bursts) == [("a", 0), ("c", 0), ("b", 0)]
    assert len(told) == 1 and "line 3" in str(told[0].message)


def test_a_journal_of_before_goes_on(tmp_path):
    path = tmp_path / "j"
    header = {k: v for k, v in HEADER.to_json().items() if k != "digest"} | {"version": 1}
    old = b'{"u":"a","r":0,"n":3,"b":1.0,"s":0.5,"w":0.1,"t":[1.0,2.0,3.0]}\n'
    path.write_bytes(json.dumps(header).encode() + b"\n" + old)
    with Journal(path, HEADER) as journal:
        assert journal.bursts == {("a", 0): (BURST, 0.5)}
        journal.add("b", 0, BURST, 0.5)
    assert list(read_journal(path).bursts) == [("a", 0), ("b", 0)]


def test_newer_and_foreign_journals(tmp_path):
    path = tmp_path / "j"
    path.write_text('{"format":"deploy-nas journal","version":99}\n')
    with pytest.raises(VersionError, match="99"):
        read_journal(path)
    path.write_text("hello\n")
    with pytest.raises(RecordError, match="not a journal"):
        read_journal(path)


def test_beginning_anew_waits_for_the_run_that_writes(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as running:
        running.add("a", 0, BURST, 0.5)
        with pytest.raises(OutputError, match="another run"):
            Journal(path, HEADER, fresh=True)
        running.add("b", 0, BURST, 0.5)
    assert len(read_journal(path).bursts) == 2
    with Journal(path, replace(HEADER, plan="other"), fresh=True) as journal:
        assert not journal.bursts
    assert read_journal(path).header.plan == "other"


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
    path.write_bytes(path.read_bytes().replace(b'"n": 3', b'"n": 1e999'))
    with pytest.warns(Notice, match="line 2 was edited or damaged"):
        assert not read_journal(path).bursts


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
        ("other", replace(HEADER, plan="other"), lines),
        ("damaged", HEADER, lines[:40]),
        ("none", HEADER, None),
    ):
        with Journal(tmp_path / name, header, earlier=lambda held=earlier: held) as journal:
            assert not journal.bursts
        assert not read_journal(tmp_path / name).bursts
    with Journal(tmp_path / "same", HEADER, earlier=lambda: b"not asked") as journal:
        assert ("a", 0) in journal.bursts


# -- what is written can be read, and stays -------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "sentinel_ms"),
    [((0.0, 1.0), 0.5), ((1.0,), 0.0), ((1.0,), 1e-9), ((2e7,), 0.5), ((1.0,), 2e7)],
)
def test_a_time_that_could_not_be_read_again_is_refused_and_costs_nothing(tmp_path, points, sentinel_ms):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
        with pytest.raises(RecordError, match=r"b: .*timed before is kept"):
            journal.add("b", 0, replace(BURST, points_ms=points), sentinel_ms)
        assert list(journal.bursts) == [("a", 0)]
        journal.add("c", 0, BURST, 0.5)
    assert list(read_journal(path).bursts) == [("a", 0), ("c", 0)]


def test_a_coarse_clock_is_named(tmp_path):
    with Journal(tmp_path / "j", HEADER) as journal, pytest.raises(RecordError, match="clock is too coarse"):
        journal.add("b", 0, replace(BURST, points_ms=(0.0,)), 0.5)


def test_a_header_that_could_not_be_read_again_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(RecordError, match="'seed'"):
        Journal(tmp_path / "j", replace(HEADER, settings=Settings(seed=2**70)))
    assert not (tmp_path / "j").stat().st_size


def remove(path):
    path.unlink()


def remove_folder(path):
    path.unlink()
    path.parent.rmdir()


def cut(path):
    with path.open("r+b") as file:
        file.truncate(40)


@pytest.mark.parametrize("harm", [remove, remove_folder, cut])
@pytest.mark.parametrize("last", [True, False])
def test_a_journal_that_is_removed_or_cut_while_it_is_written_loses_nothing(tmp_path, harm, last):
    path = tmp_path / "folder" / "j"
    path.parent.mkdir()
    with Journal(path, HEADER) as journal:
        journal.add("before", 0, BURST, 0.5)
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
        harm(path)
        if not last:
            journal.add("b", 0, BURST, 0.5)
        journal.keep()
        bursts = dict(journal.bursts)
        with pytest.raises(OutputError, match="another run"):
            Journal(path, HEADER)
    assert read_journal(path).bursts == bursts


def test_a_journal_that_is_replaced_while_it_is_written_is_saved_beside_it(tmp_path):
    path = tmp_path / "j"
    with Journal(path, HEADER) as journal:
        journal.add("a", 0, BURST, 0.5)
        (tmp_path / "other").write_text("not ours")
        (tmp_path / "other").replace(path)
        with pytest.raises(OutputError, match=r"replaced by another file.*j\.saved"):
            journal.add("b", 0, BURST, 0.5)
    assert path.read_text() == "not ours"
    assert list(read_journal(tmp_path / "j.saved").bursts) == [("a", 0)]


# -- hostile headers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("settings", "rounds", 10**8),
        ("settings", "passes", 10**400),
        ("settings", "burst_ms", 1e300),
        ("arguments", "fit_per_size", 10**8),
        ("arguments", "image_sizes", []),
        ("arguments", "image_sizes", [10**30]),
        ("arguments", "image_sizes", list(range(1, 1000))),
        ("arguments", "space", [[[[]]]]),
        ("fingerprint", "cores", 10**30),
    ],
)
def test_a_header_beyond_every_run_is_refused_by_its_key(part, key, value):
    header = replace(
        HEADER,
        arguments=PlanArguments(
            space="s", image_sizes=(24,), fit_per_size=2, validation_per_size=1, block_units=3, seed=0
        ),
    ).to_json()
    held = {**header, part: {**header[part], key: value}}
    with pytest.raises(RecordError, match=key) as caught:
        parse_journal(json.dumps(sealed(held)).encode() + b"\n", "j")
    assert len(str(caught.value)) < 300


def test_a_pipe_in_place_of_a_journal_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "j")
    with pytest.raises(RecordError, match="it is a pipe"):
        read_journal(tmp_path / "j")
