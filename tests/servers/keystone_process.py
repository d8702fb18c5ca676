"""The process of a private Keystone: `keystone_process.py DIR PORT`, for the interpreter that has `keystone`.

DIR holds its keystone.conf. Keystone reads the command line itself, so ours is hidden from it.
"""

from __future__ import annotations

import os
import sys
import warnings


def main(directory: str, port: int) -> None:
    warnings.simplefilter("ignore")
    sys.argv = ["keystone"]
    os.environ |= {"OS_KEYSTONE_CONFIG_DIR": directory, "OS_KEYSTONE_CONFIG_FILES": "keystone.conf"}
    import waitress  # type: ignore[import-untyped]  # noqa: PLC0415 - in this interpreter alone
    from keystone.server.wsgi import (  # type: ignore[import-not-found]  # noqa: PLC0415 - after its environment is set
        initialize_public_application,
    )

    waitress.serve(initialize_public_application(), host="127.0.0.1", port=port, threads=4)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
