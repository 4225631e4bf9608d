"""OFA's latency tables as files; tests/workflows/test_import_tables.py has their import as profiles."""

import hashlib

import pytest

from deploy_nas.adapters.tables import Timing, read_ofa_tables
from deploy_nas.core.errors import RecordError

TABLE = b"a: {count: 3, mean: 1.5, std: 0.25}\nb: {mean: 2}\n"


def test_tables_are_read_by_image_size_ascending(tmp_path):
    for name in ("224_lookup_table.yaml", "96_lookup_table.yml"):
        (tmp_path / name).write_bytes(TABLE)
    for other in ("x224_lookup_table.yaml", "224.yaml", "notes.txt"):
        (tmp_path / other).write_text("a: [")
    found = read_ofa_tables(tmp_path)
    assert list(found) == [96, 224]
    table = found[224]
    assert table.path == tmp_path / "224_lookup_table.yaml"
    assert table.sha256 == hashlib.sha256(TABLE).hexdigest()
    assert table.timings == {
        "a": Timing(mean_ms=1.5, std_ms=0.25, count=3),
        "b": Timing(mean_ms=2.0, std_ms=0.0, count=1),
    }


def test_folders_without_tables_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"contains no latency tables of OFA; .*160_lookup_table"):
        read_ofa_tables(tmp_path)
    with pytest.raises(RecordError, match="none: cannot be read"):
        read_ofa_tables(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names no layers"),
        (b"- a\n", "names no layers"),
        (b"a: [", "is not plain YAML, or cut short"),
        (b"a: !!python/object/apply:os.getcwd []", "is not plain YAML"),
        (b"a: 3", "a: must have a 'mean'"),
        (b"a: {std: 1.0}", "a: 'mean' must be a finite number, is None"),
        (b"a: {mean: .inf}", "a: 'mean' must be a finite number, is inf"),
        (b"a: {mean: true}", "a: 'mean' must be a finite number, is True"),
        (b"a: {mean: 1, std: x}", "a: 'std' must be a finite number"),
        (b"a: {mean: 0.0}", "a: mean and count must be positive"),
        (b"a: {mean: 1.0, std: -1.0}", "std not negative"),
        (b"a: {mean: 1.0, count: 0}", "mean and count must be positive"),
        (b"a: {mean: 1.0, count: 1.0e+100}", "'count' must be at most"),
        (b"a: {mean: 1" + b"0" * 400 + b"}", "'mean' must be a finite number"),
        (b"a: {mean: 0x" + b"f" * 10_000 + b"}", "'mean' must be a finite number"),
        (b"a: {mean: !!timestamp x}", "it has tags"),
        (b"a: {mean: 2001-99-99}", "is not plain YAML"),
        (b"a: &a {mean: 1}\nb: *a", "it has aliases"),
        (b"a: [[[[[[[[1]]]]]]]]", "nested too deeply"),
        (b"a: {mean: " + b"x" * 10**6 + b"}", "'mean' must be a finite number"),
    ],
)
def test_files_that_are_not_tables_are_refused(tmp_path, text, message):
    (tmp_path / "96_lookup_table.yaml").write_bytes(text)
    with pytest.raises(RecordError, match=rf"96_lookup_table\.yaml: .*{message}|{message}") as caught:
        read_ofa_tables(tmp_path)
    assert len(str(caught.value)) < 1000


def test_an_alias_bomb_is_refused_before_it_is_expanded(tmp_path):
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "96_lookup_table.yaml").write_text("\n".join(lines))
    with pytest.raises(RecordError, match="it has aliases") as caught:
        read_ofa_tables(tmp_path)
    assert len(str(caught.value)) < 1000
