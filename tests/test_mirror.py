"""Tests lie beside the names they test: that of ``<room>/<name>.py`` is ``<room>/test_<name>.py``."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "deploy_nas"

# Modules that need no test of their name, each with the reason.
EXEMPT: dict[str, str] = {
    "adapters/pools/port.py": "a protocol",
    "adapters/targets/port.py": "a protocol",
    "core/arrays.py": "names of types",
    "testing/pools.py": "a contract, which tests/adapters/pools keep",
    "testing/runtime.py": "a contract, which tests/device/test_runtime.py keeps",
    "testing/targets.py": "a contract, which tests/adapters/targets keep",
}


def modules(repository: Path) -> list[Path]:
    """Every module, relative to the package; what a package itself holds is tested by its modules' tests."""
    package = repository / PACKAGE
    return sorted(p.relative_to(package) for p in package.rglob("*.py") if p.name != "__init__.py")


def without_test(repository: Path) -> set[str]:
    """The modules that have no test of their name, as ``room/name.py``."""
    tests = repository / "tests"
    return {m.as_posix() for m in modules(repository) if not (tests / m.parent / f"test_{m.name}").is_file()}


def test_every_module_has_a_test_of_its_name(repository: Path) -> None:
    missing = without_test(repository)
    assert sorted(missing - set(EXEMPT)) == [], "these want a tests/<room>/test_<name>.py"
    assert sorted(set(EXEMPT) - missing) == [], "these have a test now, or are gone: take them out of EXEMPT"


def test_a_module_without_a_test_is_seen(tmp_path: Path) -> None:
    for path in ("search/__init__.py", "search/a.py", "search/deep/a.py", "search/deep/b.py"):
        (tmp_path / PACKAGE / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PACKAGE / path).touch()
    (tmp_path / "tests/search/deep").mkdir(parents=True)
    for path in ("search/test_a.py", "search/deep/test_b.py", "search/test_b.py"):
        (tmp_path / "tests" / path).touch()
    assert without_test(tmp_path) == {"search/deep/a.py"}
