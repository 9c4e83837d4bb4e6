"""Fetch a file over HTTP: resumed where it was cut off, checked by SHA-256, complete or not there.

While a file NAME is unfinished, NAME.part holds the bytes that have arrived, and NAME.part.json
says of what they are a part. NAME.sha256 holds the hash of the last time.
"""

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from data.errors import InputError
from data.files import file_sha256, write_aside

CHUNK = 1 << 18  # bytes
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)


class DownloadError(InputError):
    """A file that cannot be fetched, or is not what it should be."""


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    timeout: float = 60,
    retries: int = 5,
    pause: float = 1,
) -> str:
    """Fetch `url` to `path`, unless the file is there, and return its SHA-256 (64 hex digits).

    DownloadError says what was wrong; the bytes that have arrived are kept for the next call.

    Args:
        url: http:// or https://.
        path: of the file.
        sha256: what the file's hash must be. None: the one that `keep_sha256` wrote beside the
            path, if it did.
        timeout: seconds without a byte that count as a cut connection.
        retries: how often a cut connection or an error of the server is tried again without a new
            byte in between.
        pause: seconds before the first retry; it doubles with each.
    """
    path = Path(path)
    if path.is_file():
        found = file_sha256(path)
        _check(f"{path}", path, found, sha256, "delete the file and it is fetched again")
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    _fetch_part(url, part, timeout, retries, pause)
    found = file_sha256(part)
    _note_of(part).unlink(missing_ok=True)
    advice = "it was deleted, try again; if this repeats, the publisher has changed the file"
    try:
        _check(url, path, found, sha256, advice)
    except DownloadError:
        part.unlink()
        raise
    part.replace(path)
    return found


def keep_sha256(path: Path, found: str) -> None:
    """Write NAME.sha256 beside a file, in the form of sha256sum, for the next `fetch` of it."""
    with write_aside(_record_of(path)) as aside:
        aside.write_text(f"{found}  {path.name}\n", encoding="utf-8")


def _check(what: str, path: Path, found: str, published: str | None, advice: str) -> None:
    """DownloadError unless the hash is the published one, or, without one, that of last time."""
    if published:
        if found != published:
            raise DownloadError(
                f"{what}: the SHA-256 is {found}, expected {published}, as published; {advice}"
            )
        return
    record = _record_of(path)
    kept = record.read_text(encoding="utf-8").split()[:1] if record.is_file() else []
    if kept and found != kept[0]:
        raise DownloadError(
            f"{what}: the SHA-256 is {found}, expected {kept[0]}, that of last time in {record}; "
            f"{advice}"
        )


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _fetch_part(url: str, part: Path, timeout: float, retries: int, pause: float) -> None:
    """Send requests until `part` is the whole file."""
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url}: is no address that starts with http:// or https://")
    failures = 0
    while True:
        before = _size(part)
        try:
            if _request_rest(url, part, timeout):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    return  # nothing is left to fetch
                part.unlink()
            elif error.code < 500:
                raise DownloadError(f"{url}: {reason}") from error
        except NETWORK_ERRORS as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 1 if _size(part) > before else failures + 1
        if failures > retries:
            kept = f"; {_size(part)} bytes are kept in {part}, the same command resumes from there"
            raise DownloadError(f"{url}: {reason}{kept if _size(part) else ''}")
        time.sleep(pause * 2 ** (failures - 1))


def _request_rest(url: str, part: Path, timeout: float) -> bool:
    """Send one request for what is missing of `part`. Is it the whole file now?"""
    note = _read_note(_note_of(part))
    have = _size(part) if note.get("url") == url else 0
    headers = {"User-Agent": "data.download", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers)
    if have:
        request.add_header("Range", f"bytes={have}-")
        if note.get("version"):  # if the file has changed since, all of it is sent
            request.add_header("If-Range", note["version"])
    with urllib.request.urlopen(request, timeout=timeout) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise DownloadError(
                f"{url}: asked for bytes from {have}, got {response.headers.get('Content-Range')}"
            )
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        _write_note(_note_of(part), url, response.headers)
        _append(response, part, have, total)
    return total is None or _size(part) == total


def _append(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Write the body behind the first `have` bytes of `part`, with a progress bar."""
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(path: Path) -> dict[str, str]:
    """Where a part comes from, and of which version of the file it is.

    Empty if that is not recorded; then the part is fetched from scratch.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(path: Path, url: str, headers: http.client.HTTPMessage) -> None:
    # A weak tag (W/) promises equal meaning, not equal bytes, and is not allowed in If-Range.
    tag = headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    with write_aside(path) as aside:
        aside.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
