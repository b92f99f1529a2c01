"""One broker for all tests that need one. Without Java or Maven they are skipped, unless SEKISHO_REQUIRE_KAFKA=1."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from sekisho.testing.kafka import REQUIRE, KafkaBroker, missing

_names = count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for brokers begins first, so that two processes of tests end together."""
    items.sort(key=lambda item: "/streams/" not in item.path.as_posix())


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    lacking = missing()
    if lacking and os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{REQUIRE}=1 and {lacking}")
    if lacking:
        pytest.skip(lacking)
    with KafkaBroker.start(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def prefix() -> str:
    """A name that no other test's topics and groups begin with."""
    return f"t{next(_names)}-"
