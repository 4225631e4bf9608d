"""The version stands in two places: here, and where packages state it."""

import tomllib
from pathlib import Path

import deploy_nas
from deploy_nas.core.version import __version__


def test_it_is_the_packages(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert __version__ == project["version"] == deploy_nas.__version__
