"""The documentation is true: its links lead somewhere, its commands exist, its generated page is current."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

import deploy_nas
from deploy_nas.cli.main import main
from deploy_nas.core import errors

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs/reference"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def script(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_commands_page_is_what_the_commands_say() -> None:
    page = script("make_reference").page()
    assert page == (REFERENCE / "commands.md").read_text(encoding="utf-8"), "run tools/make_reference"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{name_of(page)} links to {target}"


def test_pages_named_in_the_code_exist() -> None:
    places = [ROOT / "deploy_nas", ROOT / "tools", ROOT / "tests"]
    files = [f for place in places for f in place.rglob("*") if f.suffix in (".py", ".in", ".sh", "")]
    for file in (f for f in files if f.is_file()):
        for named in re.findall(r"\bdocs/[\w./-]+\.(?:md|svg|png)\b", file.read_text(encoding="utf-8")):
            assert (ROOT / named).exists(), f"{name_of(file)} names {named}"


def shown_commands(page: Path) -> list[list[str]]:
    """Every deploy-nas command in a page's blocks, as words."""
    found = []
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["deploy-nas"]:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_shown_exist_with_these_options(page: Path) -> None:
    for words in shown_commands(page):
        command: click.Command = main
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            below = command.get_command(click.Context(command), rest.pop(0))
            assert below is not None, f"{name_of(page)}: deploy-nas {' '.join(words)}"
            command = below
        known = {"-h", "--help", *(o for p in command.params for o in (*p.opts, *p.secondary_opts))}
        for word in rest:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in known, f"{name_of(page)}: {word} of {' '.join(words)}"


def test_the_errors_page_has_the_whole_tree() -> None:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", text, re.MULTILINE))
    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, Exception)]
    concrete = {c.__name__: str(c.exit_code) for c in classes if c is not errors.DeployNASError}
    assert rows == concrete


@pytest.mark.parametrize("name", deploy_nas.__all__)
def test_the_python_page_has_every_public_name(name: str) -> None:
    text = (REFERENCE / "python.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"python.md has no section {name}"
    for parameter in inspect.signature(getattr(deploy_nas, name)).parameters:
        assert re.search(rf"\b{parameter}\b", found[1]), f"{name}: {parameter} is not on the page"


def test_pictures_are_small() -> None:
    """The repository keeps every version of each for good."""
    for picture in (ROOT / "docs/pictures").iterdir():
        assert picture.stat().st_size < 80_000, f"{name_of(picture)} is too large: draw it smaller"


def printed_text() -> str:
    """The package's source with adjacent string literals put together."""
    source = "\n".join(f.read_text(encoding="utf-8") for f in sorted((ROOT / "deploy_nas").rglob("*.py")))
    return re.sub(r'"\s+f?"', "", source)


def test_every_message_in_troubleshooting_is_one_of_ours() -> None:
    text, printed = (ROOT / "docs/guide/troubleshooting.md").read_text(encoding="utf-8"), printed_text()
    messages = re.findall(r"^\*\*`([^`]+)`\*\*", text, re.MULTILINE)
    assert len(messages) > 40
    for message in messages:
        for part in re.split(r"\.\.\.", message):
            fragment = part.strip(" ()%,:")
            assert len(fragment) < 4 or fragment in printed, f"nothing prints {fragment!r} ({message})"
