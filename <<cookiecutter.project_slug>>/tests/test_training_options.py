"""What a config line adds to training, each seen in what it changes."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from src.callbacks.learning_rate_finder import LearningRateFinder
from src.models.lit_module import LitModule
from src.runtime.build import Objects, build
from tests.conftest import SMALL, Compose

STEPS = 8  # of an epoch: 256 images
FEW = (*SMALL, "data.batch_size=32", "seed=0", "trainer.min_epochs=null")


def fitted(composed: Compose, *overrides: str, callback: str | None = None) -> Objects:
    """Fit MNIST's model for an epoch, with one callback of `configs/common/callbacks` or none."""
    objects = build(composed(*FEW, f"common/callbacks@callbacks={callback or 'none'}", *overrides))
    objects["trainer"].fit(objects["model"], objects["datamodule"])
    return objects


def weights(objects: Objects) -> dict[str, Tensor]:
    """Return the parameters of a model by name."""
    return {name: p.detach().clone() for name, p in objects["model"].named_parameters()}


def test_gradients_are_accumulated(composed: Compose) -> None:
    objects = fitted(composed, "+trainer.accumulate_grad_batches=4")
    assert objects["trainer"].global_step == STEPS / 4


def test_mixed_precision_computes_in_half_and_keeps_weights_whole(composed: Compose) -> None:
    one_step = ("common/callbacks@callbacks=none", "+trainer.max_steps=1")
    objects = build(composed(*FEW, *one_step, "+trainer.precision=bf16-mixed"))
    seen = []
    net = objects["model"].get_submodule("net")
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    objects["trainer"].fit(objects["model"], objects["datamodule"])
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_ema_keeps_the_average_of_the_weights(composed: Compose) -> None:
    # With a decay of 1 the average stays where the first step put it.
    whole = fitted(composed, "callbacks.ema.decay=1.0", callback="ema")
    first = fitted(composed, "+trainer.max_steps=1")
    last = fitted(composed)
    for name, weight in weights(first).items():
        assert torch.equal(weights(whole)[name], weight)
        assert not torch.equal(weights(last)[name], weight)


def test_frozen_layers_stay_until_their_epoch(composed: Compose) -> None:
    frozen = "net.layers.1.weight"
    line = f"callbacks.freeze.patterns=[{frozen},net.layers.2.*]"
    start = weights(build(composed(*FEW)))
    kept = fitted(composed, line, callback="freeze")
    for name, weight in weights(kept).items():
        is_frozen = name == frozen or name.startswith("net.layers.2.")
        assert torch.equal(weight, start[name]) == is_frozen, name
    assert kept["model"].state_dict()["net.layers.2.running_mean"].abs().max() == 0
    thawed = fitted(
        composed,
        *(line, "callbacks.freeze.until_epoch=1", "trainer.max_epochs=2"),
        callback="freeze",
    )
    assert not torch.equal(weights(thawed)[frozen], start[frozen])
    assert thawed["model"].state_dict()["net.layers.2.running_mean"].abs().max() > 0


def test_a_pattern_that_freezes_nothing_is_refused(composed: Compose) -> None:
    with pytest.raises(ValueError, match=r"net\.leyers\.\* fits no parameter.*net\.layers\.1"):
        fitted(composed, "callbacks.freeze.patterns=[net.leyers.*]", callback="freeze")


@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle"])
def test_the_learning_rate_found_is_the_one_trained_with(composed: Compose, scheduler: str) -> None:
    objects = fitted(
        composed,
        *("callbacks.learning_rate_finder.num_training_steps=30", "trainer.max_epochs=4"),
        *("model.optimizer.lr=1e-5", f"model/scheduler={scheduler}"),
        callback="learning_rate_finder",
    )
    (finder,) = (c for c in objects["callbacks"] if isinstance(c, LearningRateFinder))
    assert finder.optimal_lr
    found = finder.optimal_lr.suggestion()
    assert found
    assert found > 2e-5
    (group,) = objects["trainer"].optimizers[0].param_groups
    assert group.get("max_lr", group.get("initial_lr", group["lr"])) == pytest.approx(found)
    assert objects["trainer"].global_step == 4 * STEPS  # the search itself does not count


@pytest.mark.slow
def test_the_batch_size_grows_while_it_fits(composed: Compose) -> None:
    objects = fitted(
        composed,
        *("callbacks.batch_size_finder.init_val=8", "callbacks.batch_size_finder.max_trials=2"),
        callback="batch_size_finder",
    )
    assert objects["trainer"].global_step == 2 * STEPS  # batches of 16, not of 32


def test_weights_of_classes_weigh_in_the_loss() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    losses = []
    for weight in (None, torch.tensor([1.0, 3.0])):
        model = LitModule(
            nn.Identity(), nn.CrossEntropyLoss(weight), MetricCollection([]), torch.optim.SGD
        )
        losses.append(model.training_step((logits, labels), 0).item())
    each = nn.functional.cross_entropy(logits, labels, reduction="none")
    assert losses == pytest.approx([each.mean().item(), (each[0] + 3 * each[1]).item() / 4])
