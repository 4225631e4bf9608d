"""``ofa`` without torchvision (``tests/test_host.py`` looks at a whole process), and with all that it has."""

import importlib
import sys

import pytest

from deploy_nas.adapters.supernets import package

pytestmark = pytest.mark.slow


@pytest.fixture
def first_time(monkeypatch):
    """As if nothing had imported ``ofa.utils``."""
    import ofa.utils

    monkeypatch.setattr(ofa, "utils", ofa.utils)  # what is imported meanwhile is forgotten
    for name in [name for name in sys.modules if name.startswith("ofa.utils")]:
        monkeypatch.delitem(sys.modules, name)


def test_the_data_loaders_are_imported_when_they_are_asked_for(first_time):
    package.load_ofa()
    assert "ofa.utils.my_dataloader" not in sys.modules
    utils = sys.modules["ofa.utils"]
    with pytest.raises(AttributeError, match=r"'ofa\.utils' has no attribute 'nothing'"):
        _ = utils.nothing
    assert "ofa.utils.my_dataloader" not in sys.modules
    crop = utils.MyRandomResizedCrop
    loaders = sys.modules["ofa.utils.my_dataloader"]
    assert crop is loaders.MyRandomResizedCrop and callable(crop)
    names = {name for name in vars(loaders) if not name.startswith(("_", "my_"))}
    assert names == set(package._OF_THE_LOADERS)


def test_who_imported_ofa_before_keeps_it(first_time):
    utils = importlib.import_module("ofa.utils")
    package.load_ofa()
    assert sys.modules["ofa.utils"] is utils and "MyRandomResizedCrop" in vars(utils)
