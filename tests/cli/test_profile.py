"""``deploy-nas profile``: options to a request, here or on a target, and what is printed of the profile."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_nas.core.errors import OptionError
from deploy_nas.records.profile import save_profile
from deploy_nas.records.profile_history import Speed
from deploy_nas.workflows import kit, refresh
from deploy_nas.workflows import profile as workflow
from deploy_nas.workflows.refresh import Refreshed

SPACE = "ofa-mbv3-cifar10"
ASKED = ("profile", "--space", SPACE)


@pytest.fixture
def calls(stand_in, made_profile):
    """Calls of the workflow on this device."""
    return stand_in(workflow, "profile_device", made_profile())


def test_defaults(run, calls):
    done = run(*ASKED)
    ((request, *_), _), *_ = calls
    assert request.output == Path(f"{SPACE}-1t.profile.json") and request.space == SPACE
    assert (request.threads, request.provider, request.precision, request.seed) == (1, "cpu", "fp32", 0)
    assert request.image_sizes is None and not (request.quick or request.fresh or request.force)
    assert (
        done.stdout.splitlines()[-1] == f"wrote {SPACE}-1t.profile.json" and "verdict: stable" in done.stdout
    )


def test_every_option_reaches_the_request(run, calls):
    run(
        *(*ASKED, "--threads", 2, "--image-sizes", "24,32", "--provider", "xnnpack", "--seed", 7, "--quick"),
        *("--provider-option", "a=1", "--provider-option", "b=x=y", "--fresh", "--force", "-o", "x.json"),
        *("--precision", "int8", "--int8-for", "arm"),
    )
    ((request, *_), _), *_ = calls
    assert request.output == Path("x.json") and request.image_sizes == [24, 32]
    assert request.provider_options == {"a": "1", "b": "x=y"}
    assert (request.threads, request.provider, request.seed) == (2, "xnnpack", 7)
    assert request.quick and request.fresh and request.force
    assert (request.precision, request.int8_for) == ("int8", "arm")


def test_a_runtime_is_part_of_the_provider_and_of_the_default_output(run, calls):
    run(*ASKED, "--runtime", "openvino")
    run(*ASKED, "--provider", "openvino:GPU", "-o", "x.json")
    assert [call[0][0].provider for call in calls] == ["openvino:cpu", "openvino:GPU"]
    assert calls[0][0][0].output == Path(f"{SPACE}-1t-openvino.profile.json")


def test_int8_is_named_in_the_default_output(run, calls):
    run(*ASKED, "--precision", "int8")
    assert calls[0][0][0].output == Path(f"{SPACE}-1t-int8.profile.json")


def test_json_holds_validation_and_noise(run, calls, made_profile):
    found = json.loads(run(*ASKED, "--json").stdout)
    assert (found["id"], found["stable"]) == (made_profile().id, True)
    assert found["validation"]["networks"] == 40 and found["noise"]["resolution_percent"] == 1.0


def test_like_carries_over_to_the_space_of_the_first_profile(run, calls, made_profile):
    save_profile(made_profile(), Path("other.json"))
    run("profile", "--like", "other.json", "--threads", 2, "--allow-unstable")
    ((request, *_), _), *_ = calls
    assert (request.space, request.like) == (SPACE, (Path("other.json"),)) and request.allow_unstable
    assert request.output == Path(f"{SPACE}-2t.profile.json")


def test_refresh_says_what_changed_and_what_was_seen(run, calls, stand_in, made_profile):
    speeds = tuple(Speed(created="then", factor=f, sentinel_ms=1.0, ratios=(f,)) for f in (1.1, 0.98))
    found = Refreshed(profile=replace(made_profile(), speeds=speeds), before=1.1)
    done = stand_in(refresh, "refresh_profile", found)
    said = run("profile", "--refresh", "p.json").stdout
    assert "networks take 10.9% less time than p.json said" in said
    assert (
        "checked 2 times, last then" in said
        and "take 2.0% less time than when profiled (-2.0% to +10.0% over time)" in said
    )
    assert done[0][0] == (Path("p.json"),) and calls == []
    value = json.loads(run("profile", "--refresh", "p.json", "--json").stdout)
    assert (value["factor"], value["slowest"], value["checks"]) == (0.98, 1.1, 2)


def test_refresh_of_another_device(run, stand_in, made_profile):
    speed = Speed(created="then", factor=1.1, sentinel_ms=1.0, ratios=(1.1,))
    found = Refreshed(profile=replace(made_profile(), speeds=(speed,)), before=1.0)
    done = stand_in(refresh, "refresh_profile", found)
    run("profile", "--refresh", "p.json", "--target", "ssh://me@device", "--ssh-option", "-v")
    assert done[0][1]["target"] == "ssh://me@device" and done[0][1]["ssh_options"] == ("-v",)


@pytest.mark.parametrize(
    "other",
    [["--space", SPACE], ["--fresh"], ["--like", "x"], ["--output", "y"], ["--threads", 2], ["--force"]],
    ids=lambda other: other[0],
)
def test_other_options_have_no_effect_on_a_check_and_are_refused(run, calls, other):
    said = run("profile", "--refresh", "p.json", *other, code=2).stderr
    assert f"{other[0]} has no effect with --refresh" in said


@pytest.mark.parametrize("address", ["here", "ssh://me@device", "kit.pyz"])
def test_a_target_profiles_instead(run, calls, stand_in, made_profile, address):
    there = stand_in(kit, "profile_target", made_profile())
    run(*ASKED, "--target", address, "--ssh-option", "-v", "--ssh-option", "-p22")
    ((request, target), named), *_ = there
    assert (request.space, target, named["ssh_options"]) == (SPACE, address, ("-v", "-p22"))
    assert calls == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image-sizes", "24;32"], "is not a list such as 160,192"),
        (["--provider-option", "x"], "'x' is not KEY=VALUE"),
        (["--provider-option", "=x"], "'=x' is not KEY=VALUE"),
        (["--int8-for", "arm"], "--int8-for needs --precision int8"),
        (["--precision", "int4"], "int4"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_options_start_nothing(run, calls, options, says):
    assert says in run(*ASKED, *options, code=2).stderr
    assert calls == []


def test_a_space_is_needed(run, calls):
    assert "Missing option '--space'" in run("profile", code=2).stderr


def test_an_error_names_the_option(run, stand_in):
    stand_in(workflow, "profile_device", OptionError("must be at least 1, is 0", subject="threads"))
    assert run(*ASKED, code=2).stderr.splitlines()[-1] == "error: --threads: must be at least 1, is 0"


def test_ctrl_c_says_where_the_timings_are(run, stand_in):
    stand_in(workflow, "profile_device", KeyboardInterrupt())
    said = run(*ASKED, "-o", "p.json", code=130).stderr
    assert "the timings are kept in p.json.journal; the same command resumes the run" in said
    stand_in(kit, "profile_target", KeyboardInterrupt())
    assert "are kept on ssh://d" in run(*ASKED, "--target", "ssh://d", code=130).stderr


def test_help_names_the_targets(run):
    said = " ".join(run("profile", "--help").output.split())
    assert "here, ssh://USER@HOST, browser (Chromium of this machine)" in said
