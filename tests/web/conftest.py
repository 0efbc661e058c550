"""A town for each module of tests in a browser, and the story that is lived there."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.web.chromium import Town, town
from tests.web.story import Story, lived


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A broker that answers, and a browser before it."""
    async with town(tmp_path_factory.mktemp("town")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(there: Town) -> Story:
    """What it is about."""
    return await lived(there.here)
