"""Each choice of data, model and experiment composes, and fits the code that it names."""

import pytest

from src.check import problems_of
from src.runtime.overrides import choices_by_group

CHOICES = [
    f"{group}={choice}"
    for group, choices in choices_by_group().items()
    if group.partition("/")[0] in ("data", "model", "experiment")
    for choice in choices
]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_composes_and_its_targets_take_their_arguments(choice: str) -> None:
    assert problems_of("train", choice) == []
