"""Profiles: a latency table of one space on one device, with the device's fingerprint and a validation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from deploy_nas.core.errors import ArchitectureError, MismatchError, RecordError
from deploy_nas.core.fields import Fields, check_format, parse_json
from deploy_nas.core.fingerprint import Difference, Fingerprint
from deploy_nas.core.precision import THIS_PROCESSOR, scheme_for
from deploy_nas.core.reader import json_text
from deploy_nas.core.seals import digest_of
from deploy_nas.core.settings import Settings
from deploy_nas.core.shown import Shown, html_lines
from deploy_nas.core.space import FloatArray, IntArray, Space
from deploy_nas.core.stats import rank_correlation, relative_errors, upper_ratio
from deploy_nas.records.architecture import parse_space
from deploy_nas.records.files import read_json, write_json
from deploy_nas.records.profile_history import Carried, Speed
from deploy_nas.records.profile_lines import profile_lines
from deploy_nas.records.profile_parts import MOST_MS, Imported, Noise, Pair, Row, Validation

FORMAT = "deploy-nas profile"
VERSION = 3  # since 3: carried-over tables, and speeds
_IMPORTED_VERSION = 2
_MEASURED_VERSION = 1  # the version of measured profiles, which use nothing newer
MOST_MEAN_ERROR_PERCENT = 5.0
LEAST_WITHIN_10_PERCENT = 80.0
LATENCY_DEFINITION = "lower quartile of single warm runs, batch 1"
IMPORTED_DEFINITION = "as the makers of the imported table timed it"  # part of the id: keep it


@dataclass(frozen=True, kw_only=True, repr=False)
class Profile(Shown):
    """A measured latency table. Prediction: ``offset_ms`` of the image size plus its rows' ``latency_ms``,
    times the speed of the device when it was last checked.

    ``settings`` are those it was timed with. ``imported`` is the origin of a table that deploy-nas did not
    measure. Such a profile is unvalidated: its errors are unknown, so it has no bound. ``carried`` is the
    origin of a table that few networks' times made of other tables. ``speeds`` are the checks of the device's
    speed since it was profiled, the newest last.
    """

    space: Space
    image_sizes: tuple[int, ...]
    fingerprint: Fingerprint
    settings: Settings | None
    created: str
    duration_s: float
    rows: tuple[Row, ...]
    offset_ms: tuple[float, ...]
    sentinel_ms: float
    noise: Noise
    pairs: tuple[Pair, ...]
    imported: Imported | None = None
    carried: Carried | None = None
    speeds: tuple[Speed, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Digest of the content without the checks of the speed, which leave a profile what it is."""
        return digest_of(self._body())

    @property
    def id(self) -> str:
        """Its first 12 hex digits."""
        return self.sha256[:12]

    @property
    def version(self) -> int:
        """Version of the format: the oldest that holds all of the profile."""
        return VERSION if self.speeds else self._table_version

    @property
    def _table_version(self) -> int:
        if self.carried is not None:
            return VERSION
        return _MEASURED_VERSION if self.imported is None else _IMPORTED_VERSION

    @property
    def activations(self) -> str:
        """The number format of the activations of INT8 networks, as they were timed.

        Earlier files do not record it; theirs is that of the device's processor.
        """
        if self.settings is not None and self.settings.activations is not None:
            return self.settings.activations
        on = self.fingerprint
        return scheme_for(THIS_PROCESSOR, on.cpu_features or (), on.machine).activations

    # -- the device's speed --------------------------------------------------------------------

    @property
    def factor(self) -> float:
        """How many times as long as when they were profiled networks took when last checked."""
        return self.speeds[-1].factor if self.speeds else 1.0

    @property
    def factors(self) -> tuple[float, ...]:
        """That of each time at which the speed is known, the profile's own first."""
        return (1.0, *(speed.factor for speed in self.speeds))

    @property
    def slowest(self) -> float:
        """How many times as long as now networks took at the slowest time that is known; at least 1."""
        return max(self.factors) / self.factor

    @property
    def quiet_ms(self) -> float:
        """The sentinel's latency on the quiet device when last checked, ms."""
        return self.speeds[-1].sentinel_ms if self.speeds else self.sentinel_ms

    def _summary(self) -> str:
        on = self.fingerprint
        verdict = "imported" if self.imported is not None else "stable" if self.stable else "UNSTABLE"
        return f"{self.id} of {self.space.id} on {on.cpu}, {on.threads} thread(s), {on.precision}, {verdict}"

    def _details(self) -> str:
        return html_lines(profile_lines(self))

    # -- prediction ----------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> dict[tuple[str, int | None], Row]:
        return {(r.key, r.image_size): r for r in self.rows}

    def row(self, key: str, image_size: int) -> Row:
        """The row of a layer in networks of that image size; raises ``KeyError`` if it is missing."""
        row = self._rows.get((key, None)) or self._rows[key, image_size]
        return replace(row, latency_ms=row.latency_ms * self.factor) if self.speeds else row

    @cached_property
    def _place_ms(self) -> FloatArray:
        """``latency_ms`` of every choice of every slot, 0 if absent, NaN if not profiled."""
        keys, sizes = [layer.key for layer in self.space.rows], self.space.image_sizes
        table = np.full((len(sizes), len(keys) + 1), np.nan)
        table[:, -1] = 0.0
        numbers = {key: i for i, key in enumerate(keys)}
        for row in self.rows:
            which = slice(None) if row.image_size is None else sizes.index(row.image_size)
            table[which, numbers[row.key]] = row.latency_ms
        values: FloatArray = table[self.space.place_sizes, self.space.place_rows]
        return values

    @cached_property
    def _offset(self) -> FloatArray:
        values = np.full(len(self.space.image_sizes), np.nan)
        values[self.space.image_size_indices(self.image_sizes)] = self.offset_ms
        return values

    def latency_ms(self, encoded: IntArray) -> FloatArray:
        """Predicted latency, float64 ``[n]``, of encoded architectures ``[n, 1 + genes]``.

        Raises:
            MismatchError: an image size that was not profiled.
            RecordError: the table predicts no time at all for a network, or less.
        """
        encoded = np.atleast_2d(encoded)
        total = self._place_ms[self.space.places(encoded)].sum(axis=1) + self._offset[encoded[:, 0]]
        total *= self.factor
        if np.isnan(total).any():
            size = self.space.image_sizes[int(encoded[int(np.argmax(np.isnan(total))), 0])]
            raise MismatchError(
                f"image size {size} was not profiled",
                subject=f"profile {self.id}",
                hint=f"it holds {', '.join(map(str, self.image_sizes))}",
            )
        if (total <= 0.0).any():
            size = self.space.image_sizes[int(encoded[int(np.argmin(total)), 0])]
            raise RecordError(
                f"predicts {total.min():.4g} ms for a network of {size} px, which takes longer than that",
                subject=f"profile {self.id}",
                hint="profile again on a quiet device",
            )
        result: FloatArray = total
        return result

    def upper_ratio(self, confidence: float | None, margin: float | None = None) -> float:
        """Factor on a prediction that bounds the measured latency at ``confidence``; 1 for ``None``.

        Once the speed was checked, by how much it changed from one check to the next is part of the bound, in
        place of how much it changed within the run.

        Args:
            confidence: that the bound is kept.
            margin: factor to use for changes of speed instead of those.
        """
        if confidence is None or not self.pairs:
            return margin or 1.0
        drifts = [new / old for old, new in itertools.pairwise(self.factors)] if margin is None else []
        return upper_ratio(self._ratios, confidence, drifts) * (margin or 1.0)

    @property
    def _ratios(self) -> list[float]:
        """Measured over predicted latency of held-out networks, as a single measurement has it."""
        if not self.speeds:
            return [m / p.predicted_ms for p in self.pairs for m in p.moments_ms]
        whole = [p.measured_ms / p.predicted_ms for p in self.pairs]
        return whole + [r / speed.factor for speed in self.speeds for r in speed.ratios]

    @property
    def most_confidence(self) -> float:
        """The highest confidence that the held-out measurements support; 1 without any."""
        count = len(self._ratios)
        return count / (count + 1) if count else 1.0

    # -- judgement -----------------------------------------------------------------------------

    @property
    def stable(self) -> bool:
        """True if the profile has no faults."""
        return not self.faults

    @cached_property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing against the profile: faults of the run, then of its predictions."""
        found = [*self.noise.faults]
        if (held_out := self.validation) is not None:
            count = held_out.networks
            mean = held_out.mean_error_percent
            worst = f"(worst {held_out.worst_error_percent:.1f}%)"
            if mean > MOST_MEAN_ERROR_PERCENT:
                found.append(
                    f"its predictions of {count} other networks are off by {mean:.1f}% on average {worst}"
                )
            elif (near := held_out.within_10_percent) < LEAST_WITHIN_10_PERCENT:
                found.append(
                    f"only {near:.0f}% of its predictions of {count} other networks are within 10% {worst}"
                )
        return tuple(found)

    @property
    def validated(self) -> bool:
        """True if networks held out of the fit were measured; a bound needs them."""
        return bool(self.pairs)

    @cached_property
    def validation(self) -> Validation | None:
        """Figures of the held-out networks; ``None`` without any."""
        if not self.pairs:
            return None
        predicted = [p.predicted_ms for p in self.pairs]
        measured = [p.measured_ms for p in self.pairs]
        error = np.abs(relative_errors(predicted, measured))
        correlation = rank_correlation(predicted, measured)
        return Validation(
            networks=len(error),
            mean_error_percent=round(100 * float(error.mean()), 3),
            worst_error_percent=round(100 * float(error.max()), 3),
            within_5_percent=round(100 * float((error <= 0.05).mean()), 2),
            within_10_percent=round(100 * float((error <= 0.10).mean()), 2),
            rank_correlation=round(correlation, 5) if np.isfinite(correlation) else 0.0,
        )

    def differences(self, found: Fingerprint, *, where: str = "here") -> tuple[Difference, ...]:
        """Differences between this profile's device and the one measured ``where``; empty if they agree.

        An imported profile always differs: its device was not measured by deploy-nas.
        """
        if self.imported is None:
            return self.fingerprint.differences(found, where=where)
        sentence = f"imported: a table of {self.fingerprint.cpu}, timed and validated by nobody here"
        return (Difference(name="imported", sentence=sentence),)

    # -- file ----------------------------------------------------------------------------------

    def _body(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "version": self._table_version,
            **({} if self.imported is None else {"imported": self.imported.to_json()}),
            **({} if self.carried is None else {"carried": self.carried.to_json()}),
            "space": self.space.id,
            "image_sizes": list(self.image_sizes),
            "latency_ms": LATENCY_DEFINITION if self.imported is None else IMPORTED_DEFINITION,
            "created": self.created,
            "duration_s": round(self.duration_s, 1),
            "fingerprint": self.fingerprint.to_json(),
            "settings": {} if self.settings is None else self.settings.to_json(),
            "noise": self.noise.to_json(),
            "sentinel_ms": self.sentinel_ms,
            "offset_ms": list(self.offset_ms),
            "validation": {
                **({} if self.validation is None else self.validation.to_json()),
                "pairs": [pair.to_json() for pair in self.pairs],
            },
            "rows": [row.to_json() for row in self.rows],
        }

    def to_json(self) -> dict[str, object]:
        """The file's object."""
        value = {**self._body(), "version": self.version}
        if self.speeds:
            value["speeds"] = [speed.to_json() for speed in self.speeds]
        return {**value, "id": self.id}


def save_profile(profile: Profile, path: Path, *, force: bool = False) -> None:
    """Write a profile atomically."""
    write_json(path, profile.to_json(), force=force)


def check_readable(profile: Profile) -> Profile:
    """The profile, made of times; raises :class:`RecordError` if it could not be read again once written."""
    try:
        written = parse_json(json_text(profile.to_json()).encode())
        parse_profile(Fields(written, "profile"))
    except (ValueError, RecordError) as error:
        raise RecordError(
            f"no profile can be made of these times ({error})", hint="nothing was written"
        ) from error
    return profile


def load_profile(path: Path | str) -> Profile:
    """Read a profile.

    Raises:
        RecordError: cut short, or with missing, repeated or invalid rows; the key is named.
        MismatchError: it was edited: its id no longer matches.
        VersionError: written by a newer deploy-nas.
    """
    return parse_profile(read_json(Path(path)))


def parse_profile(fields: Fields) -> Profile:
    """From a file's object; raises as :func:`load_profile`."""
    version = check_format(fields, FORMAT, VERSION)
    profile = _parse(fields)
    if fields.text("id") != profile.id or version != profile.version:
        raise MismatchError(
            "was edited or damaged: its id does not match its content",
            subject=fields.where,
            hint="restore it, or profile again",
        )
    for size in profile.image_sizes:  # raises for a time that no network takes
        profile.latency_ms(profile.space.encode([profile.space.smallest(size), profile.space.largest(size)]))
    return profile


def _parse(fields: Fields) -> Profile:
    space = parse_space(fields)
    image_sizes = tuple(fields.integers("image_sizes"))
    try:
        indices = space.image_size_indices(image_sizes)
    except ArchitectureError as error:
        raise RecordError(str(error), subject=f"{fields.where}: image_sizes") from error
    if not image_sizes or len(set(image_sizes)) != len(image_sizes):
        raise RecordError(
            "'image_sizes' must hold at least one size, and each size once", subject=fields.where
        )
    carried = Carried.from_json(fields.fields("carried")) if fields.holds("carried") else None
    rows = tuple(Row.from_json(row, timed=carried is None) for row in fields.objects("rows"))
    imported = Imported.from_json(fields.fields("imported")) if "imported" in fields.value else None
    settings = fields.fields("settings")
    _check_rows(space, indices, rows, fields.where, by_size=imported is not None)
    offset_ms = tuple(fields.numbers("offset_ms", most=MOST_MS))
    if len(offset_ms) != len(image_sizes):
        raise RecordError("'offset_ms' must have one number per image size", subject=fields.where)
    return Profile(
        space=space,
        image_sizes=image_sizes,
        fingerprint=Fingerprint.from_json(fields.fields("fingerprint")),
        settings=Settings.from_json(settings) if settings.value else None,
        created=fields.text("created"),
        duration_s=fields.number("duration_s", most=1e12),
        rows=rows,
        offset_ms=offset_ms,
        sentinel_ms=fields.number("sentinel_ms", positive=True, most=MOST_MS),
        noise=Noise.from_json(fields.fields("noise")),
        pairs=tuple(map(Pair.from_json, fields.fields("validation").objects("pairs"))),
        imported=imported,
        carried=carried,
        speeds=tuple(map(Speed.from_json, fields.objects("speeds"))) if fields.holds("speeds") else (),
    )


def _check_rows(space: Space, indices: IntArray, rows: tuple[Row, ...], where: str, *, by_size: bool) -> None:
    """Raise :class:`RecordError` unless ``rows`` hold each layer once (``by_size``: once per image size)."""
    keys = [(r.key, r.image_size) for r in rows]
    if len(set(keys)) != len(keys):
        raise RecordError("a layer appears twice in 'rows'", subject=where)
    needed: set[tuple[str, int | None]] = {
        (layer.key, space.image_sizes[i] if by_size else None)
        for layer, held in zip(space.rows, space.row_sizes(), strict=True)
        for i in map(int, indices)
        if int(held) >> i & 1
    }
    if set(keys) != needed:
        odd = min(needed.symmetric_difference(keys), key=str)
        how = "is missing from" if odd in needed else "is not of this space, but appears in"
        raise RecordError(f"layer {odd[0]} {how} 'rows'", subject=where)
