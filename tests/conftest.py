"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Outside data (``DEPLOY_NAS_DATA``, else ``../shared/data``); skips the test where there is none."""
    path = Path(os.environ.get("DEPLOY_NAS_DATA") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no outside data in {path}; DEPLOY_NAS_DATA names another folder")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(0)
