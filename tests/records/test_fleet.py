"""fleet.toml as it is read, and what is refused."""

from pathlib import Path

import pytest

from deploy_nas.core.errors import OptionError, RecordError
from deploy_nas.records.fleet import host_of, load_fleet

WHOLE = """
folder = "found"
spaces = ["ofa-mbv3-cifar10"]
quick = true

[[group]]
name = "pis"
threads = 4
like = "pis"
max_latency_ms = 25

[[device]]
name = "pi-1"
target = "ssh://pi@one:2222"
group = "pis"
ssh_options = ["-i key"]

[[device]]
name = "pi-2"
target = "ssh://pi@two"
group = "pis"
threads = 2
like = "desk"
max_latency_ms = 20.5
bundles = ["b.zip"]

[[device]]
name = "desk"
target = "local"
runtime = "openvino"
provider = "CPU"
"""


def load(folder: Path, text: str):
    (folder / "fleet.toml").write_text(text)
    return load_fleet(folder / "fleet.toml")


def test_a_device_says_more_than_its_group_and_that_more_than_the_file(tmp_path):
    fleet = load(tmp_path, WHOLE)
    one, two, desk = fleet.devices
    assert fleet.folder == tmp_path / "found"
    assert (one.threads, two.threads, desk.threads) == (4, 2, 1)
    assert all(d.quick and d.spaces == ("ofa-mbv3-cifar10",) for d in fleet.devices)
    assert (one.like, two.like, desk.like) == ("pis", "desk", None)
    assert (one.host, two.host, desk.host) == ("one", "two", "here")
    assert [fleet.budget_ms(d) for d in fleet.devices] == [25.0, 20.5, None]
    assert (desk.target, desk.provider) == ("here", "openvino:CPU")
    assert one.provider == "cpu" and one.ssh_options == ("-i key",)
    assert two.bundles == (tmp_path / "b.zip",)


def test_bundles_are_named_or_found(tmp_path):
    fleet = load(tmp_path, WHOLE)
    (fleet.folder / "bundles/pi-2/later").mkdir(parents=True)
    (fleet.folder / "bundles/pi-2/.hidden").touch()
    assert [p.name for p in fleet.bundles_of(fleet.devices[1])] == ["b.zip", "later"]
    assert fleet.bundles_of(fleet.devices[0]) == ()


def test_devices_are_chosen_by_name_or_group(tmp_path):
    fleet = load(tmp_path, WHOLE)
    assert [d.name for d in fleet.chosen(["pis"])] == ["pi-1", "pi-2"]
    assert [d.name for d in fleet.chosen(["desk", "pi-2"])] == ["pi-2", "desk"]
    assert len(fleet.chosen([])) == 3
    with pytest.raises(OptionError, match=r"'pi-3' is neither a device nor a group of .*pi-"):
        fleet.chosen(["pi-3"])


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("here", "here"),
        ("browser", "here"),
        ("ssh://me@127.0.0.1:2201", "here"),
        ("ssh://LOCALHOST", "here"),
        ("ssh://[::1]:22", "here"),
        ("ssh://pi@Kitchen.lan", "kitchen.lan"),
        ("ssh://[fe80::1]", "fe80::1"),
        ("page://0.0.0.0:8000", "page://0.0.0.0:8000"),
        ("kit.pyz", "kit.pyz"),
    ],
)
def test_the_host_of_an_address(target, host):
    assert host_of(target) == host


ONE = '[[device]]\nname = "a"\ntarget = "here"\nspaces = ["s"]\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "names no device"),
        ("device = []", "names no device"),
        ("x =", "is not TOML"),
        ("a = " + "[" * 5000, "is not TOML"),
        ("device = 3", "'device' must be a list"),
        ("device = [3]", r"device\[0\]: must be an object"),
        ("thread = 1\n" + ONE, "unknown key 'thread'; did you mean 'threads'"),
        (ONE + "taret = 1", r"device\[0\]: unknown key 'taret'; did you mean 'target'"),
        (ONE + '[[group]]\nname = "g"\ntarget = "x"', r"group\[0\]: unknown key 'target'"),
        (ONE + ONE, "two devices or groups have one name: 'a' and 'a'"),
        (ONE + ONE.replace('"a"', '"A"'), "have one name: 'a' and 'A'"),
        (ONE + '[[group]]\nname = "a"', "two devices or groups have one name"),
        (ONE.replace('"a"', '"../a"'), "'name' must be 1 to 64 letters"),
        (ONE.replace('name = "a"\n', ""), "has no 'name'"),
        (ONE.replace('target = "here"\n', ""), "has no 'target'"),
        (ONE.replace('spaces = ["s"]', ""), "neither 'spaces' to profile nor 'bundles'"),
        (ONE + 'spaces = ["t"]', "is not TOML"),
        (ONE + "threads = 0", "'threads' must be a whole number of at least 1"),
        (ONE + "threads = true", "'threads' must be a whole number"),
        (ONE + "quick = 1", "'quick' must be true or false"),
        (ONE + 'runtime = "tflite"', "'runtime' must be one of onnxruntime, openvino"),
        (ONE + 'precision = "int4"', "'precision' must be one of fp32, int8"),
        (ONE + "precision = []", "'precision' must be one of"),
        (ONE + "max_latency_ms = nan", "'max_latency_ms' must be a finite number"),
        (ONE + "max_latency_ms = -1", "'max_latency_ms' must be a positive number"),
        (ONE + "host = 1979-05-27", "'host' must be a string"),
        (ONE + 'group = "g"', "'group' names 'g', which is not a group"),
        (ONE.replace('"here"', '"a.pyz"').replace('["s"]', '["s", "t"]'), "'a' is of one space, and 2 are"),
        (
            ONE.replace('"here"', '"a.pyz"') + ONE.replace('"a"', '"b"').replace('"here"', '"b.pyz"'),
            "the kits of 'a' and 'b' are in one folder",
        ),
        (ONE + 'like = "b"', "'like' of 'a' names 'b', which is neither"),
        (ONE + 'like = "b"\n' + ONE.replace('"a"', '"b"') + 'like = "a"', "in a circle: a, b, a"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, fault):
    with pytest.raises(RecordError, match=fault) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "fleet.toml"))


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        load_fleet(tmp_path / "fleet.toml")
