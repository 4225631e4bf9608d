"""Fleets: ``fleet.toml`` names devices, how each is reached and timed, and what it promises."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.fingerprint import CPU_PROVIDER, RUNTIMES, on_runtime
from deploy_nas.core.precision import FP32, INT8, PROCESSORS, THIS_PROCESSOR
from deploy_nas.core.reader import text_of
from deploy_nas.records.files import read_bytes
from deploy_nas.records.supernet import is_supernet

_MOST_BYTES = 16 * 1024**2
_MOST_THREADS = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CARRIED = ".pyz"
_HERE = "here"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

# What all devices, a group or a device may say; the nearest to a device counts.
_SHARED = (
    "runtime",
    "provider",
    "provider_options",
    "threads",
    "precision",
    "int8_for",
    "spaces",
    "image_sizes",
    "quick",
    "like",
    "allow_unstable",
    "ssh_options",
    "bundles",
)
_BUDGET = "max_latency_ms"
_OF_FLEET = ("folder", "device", "group", *_SHARED)
_OF_GROUP = ("name", _BUDGET, *_SHARED)
_OF_DEVICE = ("name", "target", "host", "group", _BUDGET, *_SHARED)


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetDevice:
    """A device as the file has it, with what its group and the whole fleet say.

    Args:
        name: letters, digits, dashes and underscores.
        target: address, as ``--target`` takes it.
        host: of the machine behind it; devices of one host are never timed at once.
        group: its group's name, or empty.
        provider: execution provider, with its runtime's name before it (``core.fingerprint``).
        spaces: ids, or folders of trained supernets.
        like: the device, or the group, whose profile is carried over; ``None``: every layer is timed.
        max_latency_ms: its own latency budget.
        bundles: exported files and bundles that it runs.
    """

    name: str
    target: str
    host: str
    group: str = ""
    provider: str = CPU_PROVIDER
    provider_options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    precision: str = FP32
    int8_for: str = THIS_PROCESSOR
    spaces: tuple[str, ...] = ()
    image_sizes: tuple[int, ...] | None = None
    quick: bool = False
    like: str | None = None
    allow_unstable: bool = False
    ssh_options: tuple[str, ...] = ()
    max_latency_ms: float | None = None
    bundles: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetGroup:
    """A group of devices, and the latency budget of each of them."""

    name: str
    max_latency_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """The devices, in the order of the file.

    Args:
        path: of the file.
        folder: holds what was found: profiles, history, page.
    """

    path: Path
    folder: Path
    devices: tuple[FleetDevice, ...]
    groups: tuple[FleetGroup, ...] = ()

    @property
    def history(self) -> Path:
        """Everything that was tried and measured, as JSON lines."""
        return self.folder / "history.jsonl"

    @property
    def page(self) -> Path:
        """A line over time for each device."""
        return self.folder / "fleet.html"

    def bundles_of(self, device: FleetDevice) -> tuple[Path, ...]:
        """Those that the file names, then those in the folder ``bundles/NAME`` of the fleet's folder."""
        found = self.folder / "bundles" / device.name
        held = sorted(p for p in found.iterdir() if not p.name.startswith(".")) if found.is_dir() else []
        return (*device.bundles, *held)

    def budget_ms(self, device: FleetDevice) -> float | None:
        """The latency budget of a device, or that of its group."""
        if device.max_latency_ms is not None:
            return device.max_latency_ms
        return next((g.max_latency_ms for g in self.groups if g.name == device.group), None)

    def chosen(self, names: Collection[str]) -> tuple[FleetDevice, ...]:
        """The devices of these names, or of the groups of these names; all of them for no names.

        Raises:
            OptionError: a name that is neither a device's nor a group's.
        """
        check_names(self, names, "only")
        return tuple(d for d in self.devices if not names or d.name in names or d.group in names)


def check_names(fleet: Fleet, names: Collection[str], parameter: str) -> None:
    """Raise :class:`OptionError` for a name that is neither a device's nor a group's."""
    known = [d.name for d in fleet.devices] + [g.name for g in fleet.groups]
    for name in names:
        if name not in known:
            raise OptionError(
                f"{name!r} is neither a device nor a group of {fleet.path}",
                subject=parameter,
                hint=_nearest(name, known),
            )


def load_fleet(path: Path) -> Fleet:
    """Read a fleet.

    Raises:
        RecordError: a missing file, one that is not TOML, without devices, with a key that is unknown or has
            a wrong value, or with two devices of one name; the key is named.
    """
    try:
        value = tomllib.loads(text_of(read_bytes(path, _MOST_BYTES)))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise RecordError(f"is not TOML ({error})", subject=str(path)) from error
    fields = Fields(value, str(path))
    _check_keys(fields, _OF_FLEET)
    shared = _settings(fields, path.parent)
    groups: dict[str, tuple[FleetGroup, Mapping[str, object]]] = {}
    for one in fields.objects("group") if fields.holds("group") else ():
        _check_keys(one, _OF_GROUP)
        name = _name(one, groups, "groups")
        group = FleetGroup(name=name, max_latency_ms=_budget(one))
        groups[name] = (group, _settings(one, path.parent))
    devices: dict[str, FleetDevice] = {}
    for one in fields.objects("device") if fields.holds("device") else ():
        _check_keys(one, _OF_DEVICE)
        name = _name(one, {**groups, **devices}, "devices or groups")
        devices[name] = _device(one, name, shared, groups, path.parent)
    if not devices:
        raise RecordError("names no device", subject=str(path), hint="add a table [[device]]")
    _check_like(path, devices, groups)
    _check_carried(path, devices.values())
    folder = fields.optional_text("folder") or path.stem
    held = tuple(group for group, _ in groups.values())
    return Fleet(path=path, folder=path.parent / folder, devices=tuple(devices.values()), groups=held)


def _device(
    fields: Fields,
    name: str,
    shared: Mapping[str, object],
    groups: Mapping[str, tuple[FleetGroup, Mapping[str, object]]],
    base: Path,
) -> FleetDevice:
    group = fields.optional_text("group") or ""
    if group and group not in groups:
        raise RecordError(
            f"'group' names {group!r}, which is not a group of this file",
            subject=fields.where,
            hint=_nearest(group, list(groups)),
        )
    said = {**shared, **(groups[group][1] if group else {}), **_settings(fields, base)}
    runtime, provider = str(said.pop("runtime", RUNTIMES[0])), str(said.pop("provider", "cpu"))
    target = _HERE if (told := fields.text("target")) == "local" else told
    like = said.pop("like", None)
    made = FleetDevice(
        name=name,
        target=target,
        host=fields.optional_text("host") or host_of(target),
        group=group,
        provider=provider if ":" in provider else on_runtime(runtime, provider),
        like=None if like in ("", name) else like,  # type: ignore[arg-type]  # as _settings gives it
        max_latency_ms=_budget(fields),
        **said,  # type: ignore[arg-type]  # as _settings gives them
    )
    if not made.spaces and not made.bundles:
        raise RecordError(
            "has neither 'spaces' to profile nor 'bundles' to verify",
            subject=fields.where,
            hint="name some, here or at the beginning of the file; `deploy-nas spaces` lists spaces",
        )
    return made


def host_of(target: str) -> str:
    """The machine that an address names, as far as the address tells; this machine is ``here``."""
    if not target.startswith(("ssh://", "page://")):
        return _HERE if target in (_HERE, "browser") else target
    kind, _, rest = target.partition("://")
    place = rest.rstrip("/").rpartition("@")[2].lower()
    if kind == "page":  # the device is whoever opens the page
        return target
    bracketed = re.match(r"\[([^]]*)\]", place)
    host = bracketed[1] if bracketed else place.partition(":")[0]
    return _HERE if host in _LOOPBACK else host


def _settings(fields: Fields, base: Path) -> dict[str, object]:
    """The shared keys that are there, with their values checked."""
    found: dict[str, object] = {}
    for key in _SHARED:
        if key in fields.value:
            found[key] = _setting(fields, key, base)
    return found


def _setting(fields: Fields, key: str, base: Path) -> object:
    match key:
        case "threads":
            return fields.integer(key, 1, _MOST_THREADS)
        case "quick" | "allow_unstable":
            return fields.boolean(key)
        case "provider_options":
            return fields.text_map(key)
        case "image_sizes":
            return tuple(fields.integers(key)) or None
        case "spaces":
            return tuple(_space(text, base) for text in fields.texts(key))
        case "bundles":
            return tuple(base / text for text in fields.texts(key))
        case "ssh_options":
            return tuple(fields.texts(key))
    choices = {"runtime": RUNTIMES, "precision": (FP32, INT8), "int8_for": PROCESSORS}.get(key)
    if choices is not None and fields.value[key] not in choices:
        raise fields.wrong(key, f"one of {', '.join(choices)}")
    return fields.text(key)


def _space(text: str, base: Path) -> str:
    """An id, or a trained supernet's folder, which is relative to the file's."""
    return str(base / text) if is_supernet(base / text) else text


def _budget(fields: Fields) -> float | None:
    return fields.optional_number(_BUDGET, positive=True)


def _name(fields: Fields, taken: Collection[str], of: str) -> str:
    name = fields.text("name")
    if not _NAME.fullmatch(name):
        raise fields.wrong("name", "1 to 64 letters, digits, dashes and underscores")
    if twin := next((other for other in taken if other.casefold() == name.casefold()), None):
        raise RecordError(f"two {of} have one name: {twin!r} and {name!r}", subject=fields.where)
    return name


def _check_keys(fields: Fields, known: Collection[str]) -> None:
    for key in fields.value:
        if key not in known:
            raise RecordError(f"unknown key {key!r}", subject=fields.where, hint=_nearest(key, known))


def _check_like(
    path: Path,
    devices: Mapping[str, FleetDevice],
    groups: Mapping[str, tuple[FleetGroup, Mapping[str, object]]],
) -> None:
    """Raise :class:`RecordError` for a ``like`` that names nobody, or leads back to where it began."""
    for device in devices.values():
        seen, like = [device.name], device.like
        while like is not None and like not in groups:
            if like not in devices:
                raise RecordError(
                    f"'like' of {seen[-1]!r} names {like!r}, which is neither a device nor a group",
                    subject=str(path),
                    hint=_nearest(like, [*devices, *groups]),
                )
            if like in seen:
                raise RecordError(
                    f"'like' goes round in a circle: {', '.join([*seen, like])}", subject=str(path)
                )
            seen.append(like)
            like = devices[like].like


def _check_carried(path: Path, devices: Collection[FleetDevice]) -> None:
    """Raise :class:`RecordError` where two kits that are carried by hand would share a file or its result."""
    folders: dict[Path, str] = {}
    for device in devices:
        if not device.target.endswith(_CARRIED):
            continue
        folder = Path(device.target).parent
        if folder in folders:
            raise RecordError(
                f"the kits of {folders[folder]!r} and {device.name!r} are in one folder, and their results "
                "would be one file",
                subject=str(path),
                hint="give each device a folder of its own",
            )
        folders[folder] = device.name
        if len(device.spaces) > 1:
            raise RecordError(
                f"the kit that is carried to {device.name!r} is of one space, and {len(device.spaces)} are "
                "named",
                subject=str(path),
                hint="name a device for each space, with a folder of its own",
            )


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    listed = ", ".join(list(known)[:12])
    return f"known: {listed}{' and more' if len(known) > 12 else ''}" if known else ""
