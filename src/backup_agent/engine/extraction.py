"""mbstream -x (xbstream -x), judged by its stderr: its exit status proves nothing.

Cut on a record boundary, or failing with `File exists`, mbstream ends with status 0 (measured, design section 6); the
file set it must have written is for the caller to compare.
"""

from __future__ import annotations

from typing import Self

from backup_agent.engine.process import EngineProcess
from backup_agent.errors import EngineError, ErrorCode


class StreamExtraction:
    def __init__(self, process: EngineProcess) -> None:
        self._process = process

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                written = self._process.stdin.write(view)
                view = view[written or 0 :]
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._failure(self._process.wait()) from error

    def finish(self) -> None:
        self._process.stdin.close()  # unbuffered: nothing is written by that, and nothing can fail
        status = self._process.wait()
        if status != 0 or self._process.last_lines:
            raise self._failure(status)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def _failure(self, status: int) -> EngineError:
        said = " | ".join(self._process.last_lines[-5:]) or "nothing on its stderr"
        return EngineError(
            ErrorCode.EXTRACT_FAILED,
            f"{self._process.name} could not extract the stream (status {status}): {said}",
            "If the disk is full, free space there and restore again; otherwise restore an earlier backup.",
        )
