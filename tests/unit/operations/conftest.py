from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shelves import Shelf, write
from tests.unit.operations.wired import Desk


@pytest.fixture(scope="package")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return write(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(shelf, tmp_path / "agent")
    yield desk
    desk.journal.close()
