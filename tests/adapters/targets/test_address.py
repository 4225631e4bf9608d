"""From an address to a target."""

import pytest

from deploy_nas.adapters.targets import CarriedTarget, HereTarget, SshTarget, target_of
from deploy_nas.core.errors import OptionError, TargetError


def test_each_form_has_its_target(tmp_path):
    assert isinstance(target_of("here"), HereTarget)
    assert isinstance(target_of(str(tmp_path / "kit.pyz")), CarriedTarget)
    assert isinstance(target_of("ssh://me@device:22", ["-v"]), SshTarget)


@pytest.mark.parametrize(
    "address",
    [
        "host",
        "http://host",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a b",
        "ssh://h:port",
        "ssh://h/path",
        "ssh://[h",
        "",
    ],
)
def test_addresses_of_no_form(address):
    with pytest.raises(TargetError):
        target_of(address)


def test_options_are_for_ssh():
    with pytest.raises(OptionError, match="ssh_options"):
        target_of("here", ["-v"])
