"""Addresses on the web: whether they are some, also those that a server redirects to."""

import contextlib
import http.client
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import IO

from data.errors import InputError

LONGEST = 200  # characters that a message repeats of what a server says


class DownloadError(InputError):
    """A file that cannot be fetched, or is not what it should be."""


def require_address(url: str) -> None:
    """DownloadError unless it is an address that can be asked for; nothing is sent."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        fault = None
        if parts.scheme not in ("http", "https"):
            fault = "is no address that starts with http:// or https://"
        elif not host or parts.port == 0:
            fault = "names no server"
        elif not url.isascii() or not url.isprintable() or " " in url:
            fault = "has characters that no address has; write them as %.."
        host.encode("idna")  # as the system's resolver does: labels may have 63 letters
    except ValueError as error:  # brackets, port, labels
        fault = f"is no address ({error})"
    if fault is not None:
        raise DownloadError(f"{clean(url)}: {fault}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Look at every address on the way: urllib would follow one to ftp://."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request for the new address; DownloadError if it is none."""
        require_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def clean(text: str) -> str:
    """What a server or user wrote, for a message: one line, not too long."""
    shown = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


@contextlib.contextmanager
def opened(request: urllib.request.Request, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request; DownloadError for an address on the way that is none."""
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
    except DownloadError as error:
        raise DownloadError(f"{request.full_url} leads to {error}") from error
    except ValueError as error:  # urllib looks at the brackets of a new address itself
        raise DownloadError(
            f"{request.full_url}: leads to an address that is none ({clean(str(error))})"
        ) from error
    with response:
        yield response
