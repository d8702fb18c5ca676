from __future__ import annotations

import errno
import os

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.local_errors import translated


@pytest.mark.parametrize(
    ("number", "code", "may_pass"),
    [
        (errno.ENOSPC, ErrorCode.STORE_FULL, False),
        (errno.EDQUOT, ErrorCode.STORE_FULL, False),
        (errno.EFBIG, ErrorCode.STORE_FULL, False),
        (errno.EACCES, ErrorCode.STORE_DENIED, False),
        (errno.EPERM, ErrorCode.STORE_DENIED, False),
        (errno.EROFS, ErrorCode.STORE_DENIED, False),
        (errno.EIO, ErrorCode.STORE_UNREACHABLE, True),
        (errno.ESTALE, ErrorCode.STORE_UNREACHABLE, True),
        (errno.ETIMEDOUT, ErrorCode.STORE_UNREACHABLE, True),
        (errno.ENOTCONN, ErrorCode.STORE_UNREACHABLE, True),
        (errno.ENAMETOOLONG, ErrorCode.STORE_FAILED, False),
        (errno.EMFILE, ErrorCode.STORE_FAILED, False),
    ],
)
def test_an_error_of_the_file_system_is_named_for_what_the_operator_can_do(
    number: int, code: ErrorCode, *, may_pass: bool
) -> None:
    with pytest.raises(StoreError) as caught, translated("put", "file:///srv/key"):
        raise OSError(number, os.strerror(number))

    assert caught.value.code is code
    assert isinstance(caught.value, TransientStoreError) is may_pass
    assert caught.value.message == f"can't put file:///srv/key: {os.strerror(number)}"
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)
