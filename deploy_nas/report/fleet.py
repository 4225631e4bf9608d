"""The page of a fleet: a chart for each device, drawn here, so that it works without a script."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from deploy_nas.adapters.html import render

WIDTH, HEIGHT = 640.0, 120.0
_LEAST_SHARE = 1.2  # of the promise: it is always within the chart


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """A model measured on a device: when, its latency, what was promised, and the device's speed then."""

    at: str
    measured_ms: float
    limit_ms: float | None = None
    speed: float | None = None
    fault: str = ""

    @property
    def broken(self) -> bool:
        """Whether it is over what was promised."""
        return self.limit_ms is not None and self.measured_ms > self.limit_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceShown:
    """A device: how it stands, and the measurements of each of its models, oldest first."""

    name: str
    state: str
    fault: str
    at: str
    lines: Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """A measurement in a chart; ``text`` is shown when it is pointed at."""

    x: float
    y: float
    broken: bool
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A model's measurements in a chart: shares of what was promised, or of the first without a promise."""

    name: str
    points: str
    dots: Sequence[Dot]
    last_ms: float
    limit_ms: float | None
    change_percent: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A device's chart, and the height at which what was promised lies."""

    device: DeviceShown
    lines: Sequence[Line]
    limit_y: float
    first: str
    last: str


def chart_of(device: DeviceShown) -> Chart:
    """The chart of a device."""
    held = [one for line in device.lines.values() for one in line]
    times_s = sorted(_seconds(one.at) for one in held) or [0.0]
    shares = {name: _shares(line) for name, line in device.lines.items()}
    most = max([_LEAST_SHARE, *(share for line in shares.values() for share in line)]) * 1.05

    def x(at: str) -> float:
        span_s = times_s[-1] - times_s[0]
        return round(WIDTH * (_seconds(at) - times_s[0]) / span_s, 1) if span_s else WIDTH / 2

    def y(share: float) -> float:
        return round(HEIGHT * (1.0 - share / most), 1)

    lines = []
    for name, line in device.lines.items():
        dots = [
            Dot(x=x(one.at), y=y(share), broken=one.broken, text=_text(one))
            for one, share in zip(line, shares[name], strict=True)
        ]
        lines.append(
            Line(
                name=name,
                points=" ".join(f"{dot.x},{dot.y}" for dot in dots),
                dots=dots,
                last_ms=line[-1].measured_ms,
                limit_ms=line[-1].limit_ms,
                change_percent=100.0 * (line[-1].measured_ms / line[0].measured_ms - 1.0),
            )
        )
    ordered = sorted(one.at for one in held) or [""]
    return Chart(device=device, lines=lines, limit_y=y(1.0), first=ordered[0][:10], last=ordered[-1][:10])


def _shares(line: Sequence[Measurement]) -> list[float]:
    return [one.measured_ms / (one.limit_ms or line[0].measured_ms) for one in line]


def _text(one: Measurement) -> str:
    promised = "" if one.limit_ms is None else f" of {one.limit_ms:.4g} ms promised"
    speed = "" if one.speed is None else f", device at {one.speed:.2f} of its speed"
    fault = f"; unstable: {one.fault}" if one.fault else ""
    return f"{one.at[:16]}: {one.measured_ms:.4g} ms{promised}{speed}{fault}"


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def render_fleet(title: str, subtitle: str, devices: Sequence[DeviceShown]) -> str:
    """The page as HTML."""
    folder = importlib.resources.files("deploy_nas.report").joinpath("page")

    def text(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    values = {
        "title": title,
        "subtitle": subtitle,
        "charts": [chart_of(device) for device in devices],
        "style": text("page.css"),
        "width": WIDTH,
        "height": HEIGHT,
    }
    return render(text("fleet.html"), values)
