"""``deploy-nas spaces``."""

from __future__ import annotations

import click

from deploy_nas.cli import show


@click.command("spaces")
@show.json_option()
def command(as_json: bool) -> None:
    """List the search spaces."""
    from deploy_nas.core.errors import UnknownSpaceError
    from deploy_nas.core.spaces import get_space, space_ids

    spaces = []
    for i in space_ids():
        try:
            spaces.append(get_space(i))
        except UnknownSpaceError as error:  # a fault in another package must not hide the other spaces
            show.say(f"left out: {error}", err=True)
    if as_json:
        show.emit_json(
            [
                {"id": s.id, "summary": s.summary, "image_sizes": list(s.image_sizes), "layers": len(s.rows)}
                for s in spaces
            ]
        )
        return
    rows = [
        [s.id, f"{s.size:.1e}", len(s.rows), ",".join(map(str, s.image_sizes)), s.summary] for s in spaces
    ]
    show.say(show.table(["id", "architectures", "layers", "image sizes", "summary"], rows))
