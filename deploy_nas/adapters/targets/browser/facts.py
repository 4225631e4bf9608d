"""A page's words on its browser and device."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import UNKNOWN

_LONGEST = 300
_MOST_CLOCK_MS = 1000.0
_MOST_CORES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class PageFacts:
    """A page's browser and device; browsers hide some of it ("unknown").

    Args:
        browser: name and main version, "Chromium 130".
        agent: the user agent.
        cores: logical processors that the browser admits to.
        machine: architecture.
        os: operating system.
        device: name of the device, of phones.
        isolated: cross-origin isolated: threads and the fine clock need it.
        webgpu: whether it has WebGPU.
        clock_ms: resolution of its clock as it was measured.
    """

    browser: str
    agent: str
    cores: int
    machine: str
    os: str
    device: str
    isolated: bool
    webgpu: bool
    clock_ms: float

    @classmethod
    def from_json(cls, fields: Fields) -> PageFacts:
        """From what the page sent; raises :class:`RecordError` naming the key."""
        clock_ms = fields.number("clock_ms", positive=True)
        if clock_ms > _MOST_CLOCK_MS:
            raise RecordError(
                f"its clock advances by {clock_ms:.0f} ms, and cannot time", subject=fields.where
            )
        return cls(
            browser=_short(fields, "browser"),
            agent=_short(fields, "agent"),
            cores=fields.integer("cores", 1, _MOST_CORES),
            machine=_short(fields, "machine"),
            os=_short(fields, "os"),
            device=_short(fields, "device"),
            isolated=fields.boolean("isolated"),
            webgpu=fields.boolean("webgpu"),
            clock_ms=clock_ms,
        )

    def same_browser(self, other: PageFacts) -> bool:
        """Whether both are of one browser on one device; the clock is measured anew by each page."""
        return replace(self, clock_ms=1.0) == replace(other, clock_ms=1.0)


def _short(fields: Fields, key: str) -> str:
    return (fields.optional_text(key) or "")[:_LONGEST].strip() or UNKNOWN
