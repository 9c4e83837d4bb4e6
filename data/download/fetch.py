"""Fetch a file over HTTP: resumed where it was cut off, checked by SHA-256, complete or not there.

While a file NAME is unfinished, NAME.part holds the bytes that have arrived, and NAME.part.json
says of what they are a part. NAME.sha256 holds the hash of the last time.
"""

import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from tqdm import tqdm

from data.download.addresses import DownloadError, clean, opened, require_address
from data.errors import InputError
from data.files import (
    file_sha256,
    read_json,
    read_text,
    require_file,
    require_space,
    require_writable,
    write_aside,
)

SHA256 = re.compile(r"[0-9a-f]{64}")
CHUNK = 1 << 18  # bytes
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)


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
    part = path.with_name(f"{path.name}.part")
    for file in (path, part):
        if file.exists():
            require_file(file)
    require_address(url)
    kept = None if sha256 else _kept_sha256(path)
    if path.is_file():
        found = file_sha256(path)
        _check(f"{path}", path, found, sha256, kept, "delete the file and it is fetched again")
        return found
    require_writable(path.parent, "--downloads")
    path.parent.mkdir(parents=True, exist_ok=True)
    _fetch_part(url, part, timeout, retries, pause)
    found = file_sha256(part)
    _note_of(part).unlink(missing_ok=True)
    advice = "it was deleted, try again; if this repeats, the publisher has changed the file"
    try:
        _check(url, path, found, sha256, kept, advice)
    except DownloadError:
        part.unlink()
        raise
    part.replace(path)
    return found


def keep_sha256(path: Path, found: str) -> None:
    """Write NAME.sha256 beside a file, in the form of sha256sum, for the next `fetch` of it."""
    with write_aside(_record_of(path)) as aside:
        aside.write_text(f"{found}  {path.name}\n", encoding="utf-8")


def _check(
    what: str, path: Path, found: str, published: str | None, kept: str | None, advice: str
) -> None:
    """DownloadError unless the hash is the published one, or, without one, that of last time."""
    if published and found != published:
        raise DownloadError(
            f"{what}: the SHA-256 is {found}, expected {published}, as published; {advice}"
        )
    if not published and kept and found != kept:
        raise DownloadError(
            f"{what}: the SHA-256 is {found}, expected {kept}, that of last time in "
            f"{_record_of(path)}; {advice}"
        )


def _kept_sha256(path: Path) -> str | None:
    """The hash that `keep_sha256` wrote; DownloadError if its file holds something else."""
    record = _record_of(path)
    if not record.exists():
        return None
    try:
        kept = read_text(record).split()[:1]
    except InputError:
        kept = []
    if not kept or not SHA256.fullmatch(kept[0]):
        raise DownloadError(
            f"{record}: holds no SHA-256; expected 64 hex digits and the name of the archive, as "
            "sha256sum prints them; delete it"
        )
    return kept[0]


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _fetch_part(url: str, part: Path, timeout: float, retries: int, pause: float) -> None:
    """Send requests until `part` is the whole file."""
    failures = 0
    while True:
        before = _size(part)
        try:
            if _request_rest(url, part, timeout):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = clean(f"the server answers {error.code} {error.reason}")
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and before:
                if error.headers.get("Content-Range") == f"bytes */{before}":
                    return  # nothing is left to fetch
                part.unlink()
            elif error.code < 500:
                raise DownloadError(f"{url}: {reason}") from error
        except NETWORK_ERRORS as error:
            reason = clean(str(getattr(error, "reason", error))) or type(error).__name__
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
    with opened(request, timeout) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            found = clean(str(response.headers.get("Content-Range")))
            raise DownloadError(f"{url}: asked for bytes from {have}, got {found}")
        length = _content_length(url, response.headers)
        total = None if length is None else have + length
        require_space(part.parent, length or 0, f"the rest of {part.stem}")
        _write_note(_note_of(part), url, response.headers)
        _append(response, part, have, total)
    return total is None or _size(part) == total


def _content_length(url: str, headers: http.client.HTTPMessage) -> int | None:
    """The number of bytes that follow; None if the server does not say."""
    length = headers.get("Content-Length")
    if length is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", length.strip()):
        raise DownloadError(
            f"{url}: the server says Content-Length {clean(length)!r}, expected a number of bytes"
        )
    return int(length)


def _append(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Write the body behind the first `have` bytes of `part`, with a progress bar."""
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(
            desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        while chunk := response.read(CHUNK):
            _write(file, chunk, part)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def _write(file: IO[bytes], chunk: bytes, part: Path) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:  # a full disk does not name the file
        raise OSError(error.errno, error.strerror, str(part)) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(path: Path) -> dict[str, str]:
    """Where a part comes from, and of which version of the file it is.

    Empty if that is not recorded, or not as `_write_note` does; the part is then fetched from
    scratch.
    """
    try:
        note = read_json(path)
    except (OSError, InputError):
        return {}
    if not isinstance(note, dict) or note.keys() != {"url", "version"}:
        return {}
    # The version is sent in a header.
    plain = all(isinstance(v, str) and v.isascii() and v.isprintable() for v in note.values())
    return note if plain else {}


def _write_note(path: Path, url: str, headers: http.client.HTTPMessage) -> None:
    # A weak tag (W/) promises equal meaning, not equal bytes, and is not allowed in If-Range.
    tag = headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    with write_aside(path) as aside:
        aside.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
