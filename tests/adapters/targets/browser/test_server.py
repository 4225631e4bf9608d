"""The web server of the page: token, paths, sizes, one address."""

import http.client
import json
import urllib.parse

import pytest

from deploy_nas.adapters.targets.browser import server
from deploy_nas.adapters.targets.browser.server import OLD, Site, serving
from deploy_nas.core.errors import OptionError, ProviderError, TargetError


def get(path):
    if path == "ort/broken":
        raise ProviderError("lacks a file")
    return {"": b"<p>", "a.mjs": b"js"}.get(path)


SITE = Site(get=get, post={"echo": lambda fields: {"said": fields.text("text")}})


@pytest.fixture(scope="module")
def site():
    with serving(SITE) as url:
        yield urllib.parse.urlsplit(url)


def ask(site, path, body=None, token=None, **headers):
    connection = http.client.HTTPConnection(site.hostname, site.port, timeout=10)
    place = site.path if token is None else token
    connection.request("GET" if body is None else "POST", place + path, body, headers)
    found = connection.getresponse()
    return found.status, found.read(), found.headers


def test_the_page_and_what_it_needs_for_threads(site):
    status, data, headers = ask(site, "")
    assert (status, data, headers["Content-Type"]) == (200, b"<p>", "text/html; charset=utf-8")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert (
        "default-src 'none'" in headers["Content-Security-Policy"]
        and headers["Referrer-Policy"] == "no-referrer"
    )
    assert ask(site, "a.mjs?x")[2]["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("token", ["", "/", "/old/", "/x", "/%2e%2e/", "//", "/é/"])
def test_an_old_token_is_told_so(site, token):
    status, data, _ = ask(site, "", token=urllib.parse.quote(token, safe="/%"))
    assert (status, data.decode()) == (403, OLD)
    assert ask(site, "echo", b"{}", token=urllib.parse.quote(token, safe="/%"))[0] == 403


@pytest.mark.parametrize("path", ["no", "../../etc/passwd", "a.mjs/..", "%2e%2e/x", "/etc/passwd", "echo"])
def test_there_are_no_other_paths(site, path):
    assert ask(site, path)[0] == 404


def test_objects_go_both_ways_and_faults_are_told(site):
    assert json.loads(ask(site, "echo", b'{"text": "x"}')[1]) == {"said": "x"}
    for body in (b"", b"[", b"[]", b"{}", b'{"text": NaN}'):
        status, data, _ = ask(site, "echo", body)
        assert status == 400 and json.loads(data)["error"]
    assert ask(site, "none", b"{}")[0] == 404
    assert ask(site, "ort/broken")[:2] == (500, b"lacks a file\n")


def test_too_much_is_refused_unread(site):
    connection = http.client.HTTPConnection(site.hostname, site.port, timeout=10)
    connection.putrequest("POST", site.path + "echo")
    connection.putheader("Content-Length", str(server.MOST_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104
def test_every_address_at_once_is_refused(host):
    with pytest.raises(OptionError, match="every address"), serving(SITE, host):
        pass


def test_an_address_or_port_that_cannot_be_used(site):
    with pytest.raises(TargetError, match=f"port {site.port} of 127.0.0.1 cannot be used"):
        serving(SITE, "127.0.0.1", site.port).__enter__()
    with pytest.raises(TargetError, match="cannot be used"):
        serving(SITE, "192.0.2.1").__enter__()
    with pytest.raises(TargetError, match=r"no-such-host\.invalid is not known"):
        serving(SITE, "no-such-host.invalid").__enter__()


def test_each_run_has_a_token_of_its_own(site):
    with serving(SITE) as url:
        other = urllib.parse.urlsplit(url)
        assert other.path != site.path and len(other.path) > 20
        assert ask(other, "", token=site.path)[0] == 403
