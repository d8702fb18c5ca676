"""Judges a stream while it passes: could the stock `mbstream -x` extract it, and to which files?

The tool's own exit status does not say (cut on a record boundary, or failing with `File exists`, it is 0), and under
DDL the engine reports success for streams that nothing can extract. So the agent asks before it commits a backup, not
at the restore.

It writes nothing, and it does not prove that the content is what the server has: a path or a flag that changed on the
way is not covered by any checksum of the format. The digest of the raw stream covers that from the agent on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from isal.isal_zlib import crc32

from backup_agent.domain.manifest import File
from backup_agent.errors import ErrorCode, TakeAgainError
from backup_agent.stream.mbstream_record import HEADER_LIMIT, Header, Kind, decode
from backup_agent.stream.mbstream_refusal import NotExtractableError, Refusal
from backup_agent.stream.mbstream_tree import ExtractedTree, Head, OpenFile
from backup_agent.stream.tables import Doubt, doubts

INFO_FILES: Final = frozenset({"xtrabackup_info", "mariadb_backup_info"})
"""The file the engine writes last, in series 10.x and 11.x; fulls and incrementals alike."""


@dataclass(slots=True)
class _Payload:
    """One that is under way: `left` bytes are still to come."""

    file: OpenFile
    left: int
    expected_crc: int
    crc: int = 0


class StreamParser:
    """One stream, fed piece by piece as it comes. For one thread at a time.

    Keeps nothing of what it is fed but the header of a record that is not whole yet and the files in `capture` (at
    most `capture_limit` bytes of each), and a path and a size for every file.
    """

    def __init__(
        self,
        *,
        info_files: frozenset[str] = INFO_FILES,
        capture: frozenset[str] = frozenset(),
        capture_limit: int = 65536,
    ) -> None:
        self._info_files = info_files
        self._capture_limit = capture_limit
        self._tree = ExtractedTree(own=info_files | capture, capture=capture)
        self._failure: TakeAgainError | None = None
        self._partial = bytearray()
        self._fed = 0
        self._record_at = 0
        self._last: Header | None = None
        self._payload: _Payload | None = None

    @property
    def captured(self) -> Mapping[str, bytes]:
        """The contents of the files in `capture` that were closed so far, by path."""
        return MappingProxyType(self._tree.captured)

    @property
    def heads(self) -> Mapping[str, Head]:
        """The first bytes of the closed files whose endings tell of tables, by path."""
        return MappingProxyType(self._tree.heads)

    def doubts(self, newest_tablespace: int | None) -> list[Doubt]:
        """The tables that the files may not make as the server had them; see stream.tables. For after `finish`."""
        tree = self._tree
        return doubts(tree.closed, tree.heads, tree.replayed, newest_tablespace)

    def feed(self, data: bytes | memoryview) -> None:
        """Judges the next bytes. `data` may be reused at once.

        Raises TakeAgainError (`stream_not_extractable`), and from then on with every call.
        """
        self._check_failure()
        with memoryview(data).cast("B") as view:
            try:
                self._walk(view)
            except NotExtractableError as verdict:
                raise self._fail(verdict) from verdict
            self._fed += len(view)

    def finish(self) -> tuple[File, ...]:
        """The files the stream extracts to, by path. To be called when the stream has ended.

        Raises TakeAgainError (`stream_not_extractable`) unless the last record closes the info file and no other file
        is open.
        """
        self._check_failure()
        try:
            self._check_end()
        except NotExtractableError as verdict:
            raise self._fail(verdict) from verdict
        return tuple(File(path=path, size=size) for path, size in sorted(self._tree.closed.items()))

    def _walk(self, view: memoryview) -> None:
        at, end = 0, len(view)
        while at < end:
            if self._payload is not None:
                at += self._take(self._payload, view[at : at + self._payload.left])
            elif self._partial:
                at += self._complete_header(view)
            else:
                self._record_at = self._fed + at
                header = decode(view, at)
                if header is None:
                    self._partial += view[at:]
                    return
                at += header.size
                self._apply(header)

    def _complete_header(self, view: memoryview) -> int:
        """Bytes of `view` that belong to the header whose start came with earlier pieces."""
        had = len(self._partial)
        self._partial += view[: HEADER_LIMIT - had]
        header = decode(self._partial, 0)
        if header is None:
            return len(self._partial) - had
        self._partial.clear()
        self._apply(header)
        return header.size - had

    def _apply(self, header: Header) -> None:
        self._last = header
        tree = self._tree
        match header.kind:
            case Kind.PAYLOAD:
                self._begin_payload(header)
            case Kind.END:
                tree.close(header.path, rewrite=header.rewrite)
            case Kind.SEEK:
                tree.open(header.path, rewrite=header.rewrite).seek(header.offset)
            case Kind.REMOVE:
                tree.remove(header.path)
            case _:
                tree.rename(header.path, header.new_path)

    def _begin_payload(self, header: Header) -> None:
        file = self._tree.open(header.path, rewrite=header.rewrite)
        self._tree.note_payload()
        if header.offset != file.position:
            raise NotExtractableError(
                Refusal.OUT_OF_ORDER,
                f"a payload for offset {header.offset} of {file.path!r}, which stands at {file.position}",
            )
        if file.content is not None and header.offset + header.length > self._capture_limit:
            raise NotExtractableError(
                Refusal.CAPTURE_TOO_LARGE, f"{file.path!r} is larger than the {self._capture_limit} bytes kept of it"
            )
        payload = _Payload(file, header.length, header.crc)
        if header.length:
            self._payload = payload
        else:
            _check_crc(payload)

    def _take(self, payload: _Payload, piece: memoryview) -> int:
        taken = len(piece)
        file = payload.file
        payload.crc = crc32(piece, payload.crc)
        if file.content is not None:
            file.content[file.position : file.position + taken] = piece
        file.look(piece)
        file.advance(taken)
        payload.left -= taken
        if not payload.left:
            _check_crc(payload)
            self._payload = None
        return taken

    def _check_end(self) -> None:
        if self._partial or self._payload is not None:
            raise NotExtractableError(Refusal.CUT, f"the stream ends inside a record, after {self._fed} bytes")
        if opened := self._tree.opened:
            raise NotExtractableError(
                Refusal.NOT_CLOSED, f"the stream ends after {self._fed} bytes and {min(opened)!r} is not closed"
            )
        last = self._last
        if last is None or last.kind != Kind.END or last.path not in self._info_files:
            raise NotExtractableError(
                Refusal.INFO_NOT_LAST,
                f"the stream ends after {self._fed} bytes and not with {' or '.join(sorted(self._info_files))}",
            )

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, verdict: NotExtractableError) -> TakeAgainError:
        self._failure = TakeAgainError(
            ErrorCode.STREAM_NOT_EXTRACTABLE,
            f"the stream can't be extracted: {verdict.detail} (record at byte {self._record_at})",
            "DDL during the backup is the usual cause: take the backup again, when less of it runs. If it stays, check "
            "that nothing but the engine writes to its standard output.",
        )
        return self._failure


def _check_crc(payload: _Payload) -> None:
    if payload.crc != payload.expected_crc:
        raise NotExtractableError(
            Refusal.CHECKSUM,
            f"a payload of {payload.file.path!r} has CRC-32 {payload.crc:08x} instead of {payload.expected_crc:08x}",
        )
