"""``deploy-nas spaces``: every space that can be loaded, and a note about one that cannot."""

import json

from deploy_nas.core import spaces
from deploy_nas.core.errors import UnknownSpaceError
from deploy_nas.core.spaces import embedded_space, space_ids


def test_a_row_per_space(run):
    said = run("spaces").stdout
    assert len(said.splitlines()) == 2 + len(space_ids())
    assert all(name in said for name in space_ids())


def test_json(run):
    found = {s["id"]: s for s in json.loads(run("spaces", "--json").stdout)}
    space = embedded_space()
    assert list(found) == list(space_ids())
    assert found[space.id] == {
        "id": space.id,
        "summary": space.summary,
        "image_sizes": list(space.image_sizes),
        "layers": len(space.rows),
    }


def test_a_space_that_cannot_be_loaded_does_not_hide_the_others(run, monkeypatch):
    get = spaces.get_space

    def broken(name):
        if name == "theirs":
            raise UnknownSpaceError("cannot be imported", subject="theirs")
        return get(name)

    monkeypatch.setattr(spaces, "space_ids", lambda: ("theirs", embedded_space().id))
    monkeypatch.setattr(spaces, "get_space", broken)
    done = run("spaces", "--json")
    assert [s["id"] for s in json.loads(done.stdout)] == [embedded_space().id]
    assert done.stderr == "left out: theirs: cannot be imported\n"
