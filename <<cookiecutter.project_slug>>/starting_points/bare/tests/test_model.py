"""MyModule: it learns."""

from src.train import train
from tests.conftest import Compose


def test_the_experiment_learns(composed: Compose) -> None:
    metrics, _ = train(composed("experiment=mon_experience", "trainer.accelerator=cpu"))
    assert metrics["test/acc"] > 0.9
