"""Floor 5: the command line. Click only: parse, call one workflow, print, turn errors into exit codes."""

from deploy_nas.cli.main import main

__all__ = ["main"]
