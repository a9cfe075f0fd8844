"""Fixtures of several test files."""

import pytest

from minilora.gpt import GPT


@pytest.fixture(scope="session")
def story_model() -> GPT:
    """The embedded tiny GPT."""
    return GPT.from_pretrained("tiny-gpt")
