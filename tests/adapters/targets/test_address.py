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
        "ssh:host",
        "ssh:///",
        "ssh://@h",
        "ssh://h:0",
        "ssh://h:65536",
        "ssh://h:",
        "ssh://h?x",
        "ssh://h#x",
        "ssh://me@-oProxyCommand=x",
        "ssh://-oProxyCommand=x@h",
        "ssh://::1",
        "ssh://[::1",
        "ssh://[::1]22",
        "ssh://[h]:22",
        "ssh://[1:2:3]",
        "ssh://h\n",
        "",
    ],
)
def test_addresses_of_no_form(address):
    with pytest.raises(TargetError):
        target_of(address)


@pytest.mark.parametrize(
    ("address", "ssh", "scp"),
    [
        ("ssh://Device", ["Device"], "Device:"),
        ("ssh://me@device:2222/", ["-p", "2222", "me@device"], "me@device:"),
        ("ssh://[::1]:22", ["-p", "22", "::1"], "[::1]:"),
        ("ssh://me@[fe80::1%eth0]", ["me@fe80::1%eth0"], "me@[fe80::1%eth0]:"),
        ("ssh://me@domain@h", ["me@domain@h"], "me@domain@h:"),
    ],
)
def test_ssh_and_scp_take_it_each_in_its_own_form(monkeypatch, address, ssh, scp):
    target, calls = target_of(address), []
    monkeypatch.setattr(target, "_call", lambda command, what: calls.append(command) or "")
    target.machine()
    assert calls[0][3:-1] == ssh and f"{target.host}:" == scp


def test_a_password_is_refused_and_never_repeated():
    for address in ("ssh://u:secret@h", "ssh://u:secret@[::1]:22", "ssh://:secret@h", "ssh://u:a@secret:b@h"):
        with pytest.raises(TargetError, match="has a password") as caught:
            target_of(address)
        assert "secret" not in str(caught.value) and "@" in caught.value.subject


def test_options_are_for_ssh():
    with pytest.raises(OptionError, match="ssh_options"):
        target_of("here", ["-v"])
