"""Settings of a run in files."""

from __future__ import annotations

from dataclasses import fields

import pytest

from deploy_nas.core.errors import RecordError
from deploy_nas.core.fields import Fields
from deploy_nas.core.settings import Settings

SETTINGS = Settings(threads=2, provider_options={"a": "b"}, precision="int8", burst_ms=1.5, extra_rounds=0)


def test_round_trip() -> None:
    assert Settings.from_json(Fields(SETTINGS.to_json(), "f")) == SETTINGS
    assert Settings.from_json(Fields({**SETTINGS.to_json(), "wait_s": 3}, "f")).wait_s == 3.0


def test_activations_are_in_no_earlier_file() -> None:
    assert "activations" not in SETTINGS.to_json()
    int8 = Settings(precision="int8", activations="int8")
    assert Settings.from_json(Fields(int8.to_json(), "f")) == int8


@pytest.mark.parametrize("key", [field.name for field in fields(Settings) if field.name != "activations"])
def test_every_key_is_needed(key: str) -> None:
    value = {k: v for k, v in SETTINGS.to_json().items() if k != key}
    with pytest.raises(RecordError, match=f"^f: has no '{key}'$"):
        Settings.from_json(Fields(value, "f"))


@pytest.mark.parametrize(
    "change",
    [{"rounds": 0}, {"threads": 1.5}, {"extra_rounds": -1}, {"provider": 1}, {"wait_s": "1"}],
    ids=str,
)
def test_wrong_values_are_named(change: dict[str, object]) -> None:
    with pytest.raises(RecordError, match=f"'{next(iter(change))}' must be"):
        Settings.from_json(Fields({**SETTINGS.to_json(), **change}, "f"))
