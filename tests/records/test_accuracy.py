"""The file of measured subnets: resuming, refusing, and naming the bad line."""

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from deploy_nas.core.errors import MismatchError, OutputError, RecordError, VersionError
from deploy_nas.core.notices import Notice
from deploy_nas.core.spaces import get_space
from deploy_nas.records.accuracy import (
    AccuracyData,
    AccuracyHeader,
    AccuracyWriter,
    load_accuracy_data,
    save_accuracy_data,
)

SPACE = get_space("ofa-mbv3-cifar10")
HEADER = AccuracyHeader(space=SPACE, weights="w" * 8, images="i" * 8, image_count=100)


def subnets(count: int) -> list[dict]:
    return SPACE.decode(SPACE.sample_encoded(np.random.default_rng(0), count))


def write(path: Path, count: int = 3) -> None:
    with AccuracyWriter(path, HEADER) as writer:
        for number, architecture in enumerate(subnets(count)):
            writer.append(architecture, 80.0 + number)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    data = load_accuracy_data(path)
    assert data.header == HEADER and len(data) == 3
    np.testing.assert_array_equal(data.encoded, SPACE.encode(subnets(3)))
    assert data.top1_percent.tolist() == [80.0, 81.0, 82.0]
    line = json.loads(path.read_text().splitlines()[1])
    assert set(line) == {"ks", "e", "d", "image_size", "top1", "line", "digest"}
    copy = tmp_path / "b.jsonl"
    save_accuracy_data(data, copy)
    assert copy.read_bytes() == path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save_accuracy_data(data, copy)


def test_header_alone_is_an_empty_set(tmp_path: Path) -> None:
    save_accuracy_data(
        AccuracyData(header=HEADER, encoded=SPACE.encode([]), top1_percent=np.empty(0)), tmp_path / "a"
    )
    data = load_accuracy_data(tmp_path / "a")
    assert len(data) == 0 and data.encoded.shape == (0, 1 + len(SPACE.genes))


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_cut_last_line_is_dropped_and_the_run_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert len(load_accuracy_data(path)) == 2
    with AccuracyWriter(path, HEADER) as writer:
        assert writer.done.top1_percent.tolist() == [80.0, 81.0]
        writer.append(subnets(3)[2], 82.0)
    assert path.read_bytes() == whole


def test_cut_header_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, 0)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(RecordError, match="truncated"):
        load_accuracy_data(path)
    write(path)
    assert len(load_accuracy_data(path)) == 3


@pytest.mark.parametrize(
    "change", [{"weights": "x"}, {"images": "x"}, {"image_count": 7}, {"calibration": "x"}]
)
def test_another_header_is_refused_and_the_file_kept(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    before = path.read_bytes()
    fields = {"space": SPACE, "weights": "w" * 8, "images": "i" * 8, "image_count": 100} | change
    with pytest.raises(MismatchError, match=f"started with {next(iter(change)).replace('_', ' ')}"):
        AccuracyWriter(path, AccuracyHeader(**fields))
    assert path.read_bytes() == before


def unsealed(path: Path) -> None:
    """A file as the version before wrote it, or as one writes it by hand."""
    write(path)
    values = [json.loads(line) for line in path.read_text().splitlines()]
    values[0]["version"] = 1
    kept = [{k: v for k, v in value.items() if k not in ("line", "digest")} for value in values]
    path.write_text("".join(json.dumps(value) + "\n" for value in kept))


def test_a_file_of_before_is_read_and_named_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    unsealed(path)
    with pytest.warns(Notice, match="a.jsonl: line 1: was not written by this deploy-nas"):
        assert load_accuracy_data(path).top1_percent.tolist() == [80.0, 81.0, 82.0]
    with pytest.warns(Notice), AccuracyWriter(path, HEADER) as writer:
        writer.append(subnets(4)[3], 83.0)
    with pytest.warns(Notice):
        assert len(load_accuracy_data(path)) == 4


@pytest.mark.parametrize(
    ("change", "left", "named"),
    [
        (lambda rows: [rows[0].replace("80.0", "80.1"), *rows[1:]], [81.0, 82.0], "line 2 was edited"),
        (lambda rows: [rows[0].replace("80.0", "NaN"), *rows[1:]], [81.0, 82.0], "line 2 was edited"),
        (lambda rows: [rows[0], rows[1][:60], rows[2]], [80.0, 82.0], "line 3 was edited"),
        (lambda rows: [rows[0], rows[0], *rows[1:]], [80.0, 81.0, 82.0], "line 3 is line 2 again"),
        (lambda rows: [rows[0], rows[2]], [80.0, 82.0], "missing: line 3 of those that were written"),
        (lambda rows: [rows[0], "", "not mine", *rows[1:]], [80.0, 81.0, 82.0], "line 4 was edited"),
    ],
    ids=["changed", "NaN", "cut", "doubled", "dropped", "added"],
)
def test_a_damaged_row_is_named_and_costs_that_row(tmp_path, change, left, named) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *change(rows)]) + "\n")
    with pytest.warns(Notice, match=rf"a\.jsonl: {named}"):
        assert load_accuracy_data(path).top1_percent.tolist() == left
    with pytest.warns(Notice, match=named), AccuracyWriter(path, HEADER) as writer:
        assert writer.done.top1_percent.tolist() == left
        writer.append(subnets(4)[3], 83.0)
    with pytest.warns(Notice, match=named):
        assert load_accuracy_data(path).top1_percent.tolist() == [*left, 83.0]


def test_an_edited_first_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    path.write_text(path.read_text().replace('"image_count": 100', '"image_count": 900'))
    with pytest.raises(MismatchError, match="line 1: was edited or damaged"):
        load_accuracy_data(path)


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (('"top1": 81.0', '"top1": 181'), "percentage from 0 to 100"),
        (('"top1": 81.0', '"top1": "81"'), "finite number"),
        (('"ks"', '"kx"'), "not an architecture of ofa-mbv3-cifar10"),
    ],
)
@pytest.mark.filterwarnings("ignore::deploy_nas.core.notices.Notice")
def test_bad_line_of_a_file_without_digests_is_named(
    tmp_path: Path, replace: tuple[str, str], message: str
) -> None:
    path = tmp_path / "a.jsonl"
    unsealed(path)
    lines = path.read_text().splitlines()
    assert replace[0] in lines[2]
    lines[2] = lines[2].replace(*replace)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordError, match=f"line 3.*{message}"):
        load_accuracy_data(path)
    with pytest.raises(RecordError, match=message):
        AccuracyWriter(path, HEADER)
    assert path.read_text().splitlines() == lines


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 100.5])
def test_label_that_is_none_is_not_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.jsonl"
    with AccuracyWriter(path, HEADER) as writer, pytest.raises(RecordError, match="top1"):
        writer.append(subnets(1)[0], value)
    assert len(load_accuracy_data(path)) == 0


def test_other_files_are_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    for content in ("my notes", "my notes\n", '{"format": "other"}\n', "[1]\n"):
        path.write_text(content)
        with pytest.raises(RecordError):
            AccuracyWriter(path, HEADER)
        with pytest.raises(RecordError):
            load_accuracy_data(path)
        assert path.read_text() == content


def test_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    path.write_text(path.read_text().replace('"version": 2', '"version": 9', 1))
    with pytest.raises(VersionError, match="format version 9"):
        load_accuracy_data(path)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        AccuracyWriter(tmp_path, HEADER)
    with pytest.raises(OutputError, match="does not exist"):
        AccuracyWriter(tmp_path / "none" / "a.jsonl", HEADER)


def test_second_writer_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AccuracyWriter(path, HEADER) as writer:
        with pytest.raises(OutputError, match="another run is writing it"):
            AccuracyWriter(path, HEADER)
        writer.append(subnets(1)[0], 50.0)
    AccuracyWriter(path, HEADER).close()


def test_a_disk_without_locks_is_no_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError, match=r"kept to one run \(No locks available\).*local disk"):
        AccuracyWriter(tmp_path / "a.jsonl", HEADER)


def _die_holding(path: Path) -> None:
    import os

    AccuracyWriter(path, HEADER).append(subnets(1)[0], 50.0)
    os._exit(1)


def test_lock_is_freed_by_a_dead_process(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_die_holding, args=(path,))
    process.start()
    process.join()
    with AccuracyWriter(path, HEADER) as writer:
        assert len(writer.done) == 1


def test_a_carriage_return_in_a_row_damages_that_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b", ", b",\r", 1).replace(b"81.0", b"8\r1.0")
    path.write_bytes(b"\n".join(lines))
    with pytest.warns(Notice, match="line 3 was edited or damaged") as told:
        data = load_accuracy_data(path)
    assert data.top1_percent.tolist() == [80.0, 82.0] and "line 4" not in str(told[0].message)
    path.write_bytes(path.read_bytes().replace(b"8\r1.0", b"81.0").replace(b"\n", b"\r\n"))
    assert len(load_accuracy_data(path)) == 3  # as an editor on Windows ends lines


def test_a_file_beyond_every_run_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path)
    os.truncate(path, 65 * 1024**2)
    with pytest.raises(RecordError, match="larger than 64 MiB"):
        AccuracyWriter(path, HEADER)
