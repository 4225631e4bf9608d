"""``deploy-nas doctor``."""

from __future__ import annotations

import click

from deploy_nas.cli import show
from deploy_nas.cli.wording import with_options


@click.command("doctor")
@show.json_option()
def command(as_json: bool) -> None:
    """Check versions, providers, and anything on this machine that would disturb timings."""
    from deploy_nas.workflows.doctor import examine

    findings = [(f.what, f.value, with_options(f.advice)) for f in examine()]
    if as_json:
        show.emit_json([{"what": what, "value": value, "advice": advice} for what, value, advice in findings])
        return
    show.say(show.table(["what", "value", "advice"], findings))
