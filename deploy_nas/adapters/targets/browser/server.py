"""The web server of a measuring page: a token in every address, fixed paths, and no others."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy_nas.core.errors import DeployNASError, OptionError, RecordError, TargetError
from deploy_nas.core.fields import Fields, JsonObject, parse_json

MOST_BYTES = 8 * 1024**2
_TIMEOUT_S = 60.0

TYPES = {
    "html": "text/html; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "wasm": "application/wasm",
}
HEADERS = {
    # Both are needed for threads and for the clock of 5 microseconds.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; "
    "worker-src 'self' blob:; connect-src 'self' blob:; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
OLD = "this address is of another run: open the one that deploy-nas shows now\n"

Get = Callable[[str], bytes | None]
Post = Callable[[Fields], JsonObject]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """The answers of a server, below its token.

    Args:
        get: the bytes of a path ("" is the page); ``None`` for a path that is not there.
        post: by path, takes the JSON object that was sent and returns the one to answer with.
    """

    get: Get
    post: Mapping[str, Post]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], family: socket.AddressFamily, site: Site, token: str) -> None:
        self.address_family = family
        self.site, self.token = site, token
        super().__init__(place, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that went away in the middle of an answer is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "deploy-nas", ""
    timeout = _TIMEOUT_S
    # An answer is sent at once and whole: in two parts, the second would wait 40 ms for the page's receipt.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Answer with a file of the page."""
        path = self._path()
        if path is None:
            return
        try:
            data = self.server.site.get(path)
        except DeployNASError as error:
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n")
            return
        if data is None:
            self._text(HTTPStatus.NOT_FOUND, "there is no such file\n")
            return
        suffix = path.rpartition(".")[2] if path else "html"
        self._send(HTTPStatus.OK, data, TYPES.get(suffix, "application/octet-stream"))

    def do_POST(self) -> None:
        """Take a JSON object and answer with one; a fault is answered as ``{"error": ...}``."""
        path = self._path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            self.close_connection = True
            self._text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES} bytes can be sent\n")
            return
        body = self.rfile.read(int(length))
        if path not in self.server.site.post:
            self._text(HTTPStatus.NOT_FOUND, "there is no such path\n")
            return
        try:
            answer = self.server.site.post[path](Fields(parse_json(body), "what the page sent"))
        except (ValueError, RecordError) as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return
        self._json(HTTPStatus.OK, answer)

    def _path(self) -> str | None:
        """The path below the token; without the token it answers, and returns ``None``."""
        token, slash, path = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()) or not slash:
            self.close_connection = True
            self._text(HTTPStatus.FORBIDDEN, OLD)
            return None
        return path

    def _json(self, status: HTTPStatus, value: JsonObject) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text.encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the token would be in it."""


@contextlib.contextmanager
def serving(site: Site, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a site at one address of this machine; yields its URL, which holds a new token.

    Raises:
        OptionError: an address that means every address of this machine.
        TargetError: the address is not this machine's, or the port is taken.
    """
    family, where = _resolved(host, port)
    token = secrets.token_urlsafe(18)
    try:
        server = _Server(where, family, site, token)
    except OSError as error:
        raise TargetError(
            f"port {port} of {host} cannot be used ({error.strerror or error})",
            subject="page",
            hint="name an address of this machine, and a port that is free",
        ) from error
    shown = f"[{host}]" if ":" in host else host
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://{shown}:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """The family and address of a host; one that means every address is refused."""
    everywhere = OptionError(
        "would be every address of this machine", subject="host", hint="name one, such as 127.0.0.1"
    )
    if not host:
        raise everywhere
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise TargetError(f"{host} is not known ({error.strerror or error})", subject="page") from error
    address = str(place[0])
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        raise everywhere
    return family, (address, port)
