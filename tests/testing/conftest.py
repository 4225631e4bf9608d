"""The toy space of tests/examples, as an installer would leave it."""

import sys
import tomllib

import pytest

from deploy_nas.core import spaces


@pytest.fixture(scope="class")
def toy_space(tmp_path_factory, repository):
    """Its package on the path, and what tells the interpreter of its entry point."""
    source = repository / "tests" / "examples" / "toy_space"
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("site")
    (folder / "toy_space.py").write_bytes((source / "toy_space.py").read_bytes())
    info = folder / f"{project['name']}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    points = project["entry-points"][spaces.GROUP]
    lines = [f"[{spaces.GROUP}]", *(f"{name} = {value}" for name, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        spaces.get_space.cache_clear()
        yield
    spaces.get_space.cache_clear()
    sys.modules.pop("toy_space", None)
