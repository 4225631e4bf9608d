"""``deploy-nas kit``: a request without this machine's settings, and the way from a kit to a profile."""

from pathlib import Path

from deploy_nas.core.errors import MismatchError
from deploy_nas.workflows import kit

SPACE = "ofa-mbv3-cifar10"


def test_make_says_what_to_do_next(run, stand_in):
    calls = stand_in(kit, "write_kit", 2_500_000)
    first, second = run(
        "kit", "make", "--space", SPACE, "--threads", 2, "-o", "d/k.pyz", "--quick"
    ).stdout.splitlines()
    assert first == "wrote d/k.pyz (2.5 MB); on the device: python3 k.pyz -o result.jsonl"
    assert second.endswith("deploy-nas kit import result.jsonl -o device.profile.json")
    (request,) = calls[0][0]
    assert (request.space, request.threads, request.quick, request.output) == (
        SPACE,
        2,
        True,
        Path("d/k.pyz"),
    )


def test_make_has_the_options_of_profile(run, stand_in):
    calls = stand_in(kit, "write_kit", 1)
    assert (
        "needs --precision int8" in run("kit", "make", "--space", SPACE, "--int8-for", "arm", code=2).stderr
    )
    assert calls == []


def test_import_prints_the_profile(run, stand_in, made_profile):
    calls = stand_in(kit, "import_result", made_profile())
    said = run("kit", "import", "r.jsonl", "-o", "d.json", "--force").stdout
    assert made_profile().id in said and said.splitlines()[-1] == "wrote d.json"
    assert calls == [((Path("r.jsonl"), Path("d.json")), {"like": (), "force": True})]


def test_import_refuses_a_result_of_another_kit(run, stand_in):
    stand_in(
        kit, "import_result", MismatchError("is of another kit", subject="r.jsonl", hint="make a new kit")
    )
    assert (
        run("kit", "import", "r.jsonl", code=2).stderr
        == "error: r.jsonl: is of another kit; make a new kit\n"
    )


def test_serve_profiles_the_page_that_is_opened(run, stand_in, made_profile):
    calls = stand_in(kit, "profile_target", made_profile())
    said = run(
        "kit", "serve", "--space", SPACE, "--host", "::1", "--port", 8080, "-o", "phone.json", "--quick"
    )
    assert said.stdout.splitlines()[-1] == "wrote phone.json"
    (request, place), _ = calls[0]
    assert (request.quick, request.output, place) == (True, Path("phone.json"), "page://[::1]:8080")
    run("kit", "serve", "--space", SPACE)
    assert calls[1][0][1] == "page://127.0.0.1:0"


def test_serve_can_be_stopped(run, stand_in):
    stand_in(kit, "profile_target", KeyboardInterrupt())
    assert "the timings are kept" in run("kit", "serve", "--space", SPACE, code=130).stderr
