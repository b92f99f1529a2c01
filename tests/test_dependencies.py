"""docs/dependencies.md is true: all that is installed with Sekisho, and under which licence."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_dependency_is_listed_with_its_licence():
    """The page names what requirements.lock installs, no more and no less, and none under the GPL or its kin."""
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| ([a-z0-9._-]+) \| ([^|]+?) \|", page, re.MULTILINE))
    del listed["package"]
    assert set(listed) == locked and all(listed.values())
    assert not any(word in licence for licence in listed.values() for word in ("GPL", "SSPL"))
