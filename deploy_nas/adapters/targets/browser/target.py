"""A browser as a target: Chromium of this machine without a window, or a page that a person opens."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from deploy_nas.adapters.targets.browser.channel import KEPT, Channel
from deploy_nas.adapters.targets.browser.chromium import ADDRESS, Headless, find_browser, headless
from deploy_nas.adapters.targets.browser.facts import PageFacts
from deploy_nas.adapters.targets.browser.runtime import PageRuntime
from deploy_nas.adapters.targets.browser.server import Site, serving
from deploy_nas.adapters.targets.browser.web_runtime import WebRuntime, find_web_runtime
from deploy_nas.adapters.targets.port import FRESH, KEEP, Progress
from deploy_nas.core.errors import DeployNASError, TargetError
from deploy_nas.core.fields import Fields, JsonObject
from deploy_nas.core.fingerprint import WEBGPU
from deploy_nas.core.notices import notice
from deploy_nas.core.reader import read_regular
from deploy_nas.core.seals import sealed
from deploy_nas.device.check import CHECK_FILE, CheckPlan, check_models
from deploy_nas.device.cores import quota_cores
from deploy_nas.device.kit import PLAN_FILE, KitPlan, close_result, read_entry, recent_lines
from deploy_nas.device.machine import Pinning
from deploy_nas.device.program import RESULT
from deploy_nas.device.run import time_plan

PAGE = "page://"
_PAGE_FILES = {"": "page.html", "page.mjs": "page.mjs", "worker.mjs": "worker.mjs"}
_HEADLESS_S, _PERSON_S = 60.0, 900.0
_GOODBYE_S = 1.0


class BrowserTarget:
    """``browser``, or ``page://HOST[:PORT]`` for a page that a person opens.

    The run itself is made here: the page opens models, times bursts and is asked for the next, so the journal
    is written here, burst by burst, and nothing is lost with the page.

    Args:
        address: one of the two.
        folder: for journals and results; ``None``: in the user's cache.

    Raises:
        TargetError: another address.
    """

    def __init__(self, address: str, folder: Path | None = None) -> None:
        self.address = address
        self.folder = folder or Path.home() / ".cache" / "deploy-nas" / "browser"
        self.place = None if address == ADDRESS else _place(address)
        self.patience_s = _HEADLESS_S if self.place is None else _PERSON_S

    def machine(self) -> str:
        """This machine's architecture; raises :class:`TargetError` for a page, which may be anywhere."""
        if self.place is None:
            return platform.machine()
        raise TargetError(
            "the device's processor is not known before the page is open",
            subject=self.address,
            hint="name the processor",
        )

    def run_kit(
        self, kit: bytes, name: str, progress: Progress | None = None, *, options: Sequence[str] = ()
    ) -> bytes:
        """Run a profile's or a check's kit in the page.

        Raises:
            TargetError: there is no browser, it ended, or the page stayed away.
            ProviderError: onnxruntime-web is missing, or has no such provider.
            OptionError: threads that the page cannot have.
        """
        result = self.folder / name / RESULT
        try:
            with zipfile.ZipFile(io.BytesIO(kit)) as archive:
                if PLAN_FILE in archive.namelist():
                    result.parent.mkdir(parents=True, exist_ok=True)
                    return self._profile(archive, result, progress, options)
                if CHECK_FILE in archive.namelist():
                    return self._check(archive, progress)
        except zipfile.BadZipFile as error:
            raise TargetError("the kit is damaged", subject=self.address) from error
        except OSError as error:
            place = error.filename or result.parent
            raise TargetError(f"{place} cannot be used ({error.strerror})", subject=self.address) from error
        raise TargetError("runs only kits of deploy-nas", subject=self.address)

    def remove_kit(self, name: str) -> None:
        """Remove the run's folder, ignoring failures."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def _profile(
        self, archive: zipfile.ZipFile, result: Path, progress: Progress | None, options: Sequence[str]
    ) -> bytes:
        journal = result.with_name(result.name + ".journal")
        plan = KitPlan(archive)
        with self._page(plan.settings.provider, plan.settings.threads) as runtime:
            time_plan(
                plan,
                plan.settings,
                journal,
                arguments=plan.arguments,
                fresh=FRESH in options,
                earlier=(lambda: recent_lines(result)) if KEEP in options else None,
                finish=lambda content: close_result(journal, result),
                progress=_both(progress, runtime.channel),
                say=lambda line: notice(line, subject=self.address),
                runtime=runtime,
                pinned_to=self._unpinned(runtime),
            )
        return read_regular(result)

    def _check(self, archive: zipfile.ZipFile, progress: Progress | None) -> bytes:
        plan = CheckPlan.from_json(read_entry(archive, CHECK_FILE))
        with self._page(plan.provider, plan.settings.threads) as runtime:
            found = check_models(
                archive, _both(progress, runtime.channel), runtime, pinned_to=self._unpinned(runtime)
            )
        return json.dumps(sealed(found.to_json())).encode()

    @contextlib.contextmanager
    def _page(self, provider: str, threads: int) -> Iterator[PageRuntime]:
        """Serve the page, have it opened, and yield the runtime in it."""
        web = find_web_runtime()
        if self.place is None:
            find_browser()  # before anything is served
        channel = Channel(self.address, self.patience_s)
        models: dict[str, bytes] = {}
        host, port = self.place or ("127.0.0.1", 0)
        with serving(_site(channel, models, web), host, port) as url, self._opened(url, provider) as browser:
            if browser is not None:
                channel.check = browser.check
            runtime = PageRuntime(channel, models, web.version, here=browser is not None)
            try:
                runtime.check_threads(threads)
                self._describe(channel.facts())
                yield runtime
                channel.end("done: the results are on the computer that deploy-nas runs on")
            except DeployNASError as error:
                channel.end(str(error), failed=True)
                raise
            except BaseException:
                channel.end(f"deploy-nas was stopped; {KEPT}", failed=True)
                raise
            finally:
                if browser is None:
                    time.sleep(_GOODBYE_S)  # the page asks for its next task, and is told the end

    @contextlib.contextmanager
    def _opened(self, url: str, provider: str) -> Iterator[Headless | None]:
        if self.place is not None:
            notice(f"open {url} in the browser to be measured, and keep it in front", subject="the page")
            yield None
            return
        with headless(url, gpu=provider.lower().startswith(WEBGPU)) as browser:
            yield browser

    def _describe(self, facts: PageFacts) -> None:
        note = f"{facts.browser} on {facts.os}; its clock advances in steps of {facts.clock_ms:.3g} ms"
        if not facts.isolated:
            note += " (not cross-origin isolated: one thread, and times are means of several runs)"
        notice(note, subject=self.address)

    def _unpinned(self, runtime: PageRuntime) -> Callable[[int], contextlib.AbstractContextManager[Pinning]]:
        """Threads of a browser are not pinned; its clock is coarse."""

        def pinned_to(threads: int) -> contextlib.AbstractContextManager[Pinning]:
            quota = quota_cores() if runtime.here else None
            clock_ms = round(runtime.channel.facts().clock_ms, 6)
            return contextlib.nullcontext(Pinning(pinned=False, quota_cores=quota, clock_ms=clock_ms))

        return pinned_to


def _place(address: str) -> tuple[str, int]:
    """Host and port of ``page://HOST[:PORT]``; port 0 is any that is free."""
    found = re.fullmatch(
        r"page://(?:\[([0-9A-Fa-f:.%a-z]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?/?", address
    )
    if found is None or int(found[3] or 0) > 65535:
        raise TargetError(f"must be {PAGE}HOST[:PORT]", subject=address)
    return found[1] or found[2], int(found[3] or 0)


def _both(progress: Progress | None, channel: Channel) -> Progress:
    def shown(done: int, total: int, what: str) -> None:
        channel.progress(done, total, what)
        if progress is not None:
            progress(done, total, what)

    return shown


def _site(channel: Channel, models: dict[str, bytes], web: WebRuntime) -> Site:
    """All that the page can ask for: its own files, those of onnxruntime-web, models, and its tasks."""

    def get(path: str) -> bytes | None:
        if path in _PAGE_FILES:
            return resources.files("deploy_nas").joinpath("data", _PAGE_FILES[path]).read_bytes()
        folder, _, name = path.partition("/")
        if folder == "model":
            return models.get(name)
        return web.read(name) if folder == "ort" and "/" not in name else None

    def hello(said: Fields) -> JsonObject:
        channel.hello(said.text("page"), PageFacts.from_json(said))
        return {}

    def state(said: Fields) -> JsonObject:
        left = said.optional_boolean("left") or False
        return {"known": channel.state(said.text("page"), hidden=said.boolean("hidden"), left=left)}

    def turn(said: Fields) -> JsonObject:
        answer = said.fields("answer") if said.holds("answer") else None
        return channel.turn(said.text("page"), said.optional_integer("answered"), answer)

    return Site(get=get, post={"hello": hello, "state": state, "turn": turn})
