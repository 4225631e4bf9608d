"""``deploy-nas demo``."""

from __future__ import annotations

from pathlib import Path

import click

from deploy_nas.cli import show


@click.command("demo")
@click.argument("model", metavar="MODEL|BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo.html"),
    show_default=True,
    help="The page.",
)
@click.option("--force", is_flag=True, help="Replace the output.")
@show.json_option()
def command(model: Path, output: Path, force: bool, as_json: bool) -> None:
    """Write a page that classifies pictures with an exported MODEL, or with a BUNDLE's, in any browser.

    It is one file that needs neither a server nor a network: drop a picture, see the answer and the
    milliseconds. It needs onnxruntime-web, an npm package, once: here, to put it into the page.
    """
    from deploy_nas.workflows.demo import write_demo

    size = write_demo(model, output, force=force)
    if as_json:
        show.emit_json({"path": str(output), "bytes": size})
        return
    show.say(f"wrote {output} ({size / 1e6:.1f} MB): open it in a browser")
