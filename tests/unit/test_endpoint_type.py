"""Names for further endpoint types."""

import pytest
from pydantic import ValidationError

from inventory.schema import Settings


def test_the_image_always_has_the_one_of_the_known_router():
    assert Settings().letta.all_endpoint_types == ["claude-max-router"]
    two = Settings(letta={"endpoint_types": ["my-router", "claude-max-router", "my-router"]})
    assert two.letta.all_endpoint_types == ["claude-max-router", "my-router"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("openai", "Letta has this type itself"),
        ("lmstudio-chatcompletions", "Letta has this type itself"),
        ("My Router", "lower-case"),
        ("x" * 51, "at most 50"),
        ("", "lower-case"),
        ("a'b", "lower-case"),
    ],
)
def test_names_that_are_refused(name, reason):
    with pytest.raises(ValidationError, match=reason):
        Settings(letta={"endpoint_types": [name]})
