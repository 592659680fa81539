"""Shards: written, streamed whole, and taken up again amid an epoch."""

from pathlib import Path

import pytest
import torch

from src.data.digits_datamodule import split_digits
from src.data.streaming_datamodule import StreamingDataModule, write_shards
from src.train import train
from tests.conftest import SMALL, Compose
from tests.killing import Killed
from tests.test_resume import RUN, allow_killing, differences, end_of

__all__ = ["allow_killing"]  # a fixture that holds here as well

pytest.importorskip("litdata")
pytestmark = pytest.mark.slow  # for LitData's import


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the digits in shards of about 100 images."""
    folder = tmp_path_factory.mktemp("shards")
    for name, images in zip(("train", "val", "test"), split_digits(), strict=True):
        pairs = zip(images.images.numpy(), images.labels.tolist(), strict=True)
        write_shards(pairs, folder / name, shard_bytes=80_000)
    return folder


def datamodule(shards: Path) -> StreamingDataModule:
    """Return a datamodule over the shards."""
    return StreamingDataModule(str(shards), list("0123456789"), [0.5], [0.5], 32, num_workers=0)


def test_shards_hold_each_image_once(shards: Path) -> None:
    assert len(list((shards / "train").glob("*.bin"))) > 5
    module = datamodule(shards)
    batches = [module.on_after_batch_transfer(b, 0) for b in module.val_dataloader()]
    images = torch.cat([batch[0] for batch in batches])
    expected = split_digits()[1]
    assert torch.allclose(images * 0.5 + 0.5, expected.images / 255, atol=1e-6)
    assert torch.equal(torch.cat([batch[1] for batch in batches]), expected.labels)


def test_the_order_is_new_each_epoch_and_goes_on_amid_one(shards: Path) -> None:
    loader = datamodule(shards).train_dataloader()
    first = [batch["label"].tolist() for batch in loader]
    assert first != [batch["label"].tolist() for batch in loader]

    again = datamodule(shards).train_dataloader()
    batches = iter(again)
    for expected in first[:10]:
        assert next(batches)["label"].tolist() == expected
    state = again.state_dict()
    resumed = datamodule(shards).train_dataloader()
    resumed.load_state_dict(state)
    assert [batch["label"].tolist() for batch in resumed] == first[10:]


def test_shards_are_not_written_over(shards: Path) -> None:
    with pytest.raises(ValueError, match="holds shards already"):
        write_shards([], shards / "train")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_killed_amid_an_epoch_ends_like_one_that_is_not(
    shards: Path, composed: Compose, tmp_path: Path, workers: int
) -> None:
    data = ("data=streaming", f"data.path={shards}", f"data.num_workers={workers}")

    def run(folder: Path, *overrides: str) -> None:
        paths = (f"paths.output_dir={folder}", f"paths.log_dir={folder}", "data.batch_size=128")
        no_noise = RUN[len(SMALL) : -1]  # LitData draws random numbers of its own
        train(composed(*SMALL[1:], *no_noise, *data, *paths, *overrides))

    run(tmp_path / "whole")
    kill = "{_target_: tests.killing.KillAt, hook: on_train_batch_end, n: 15}"  # ten an epoch
    with pytest.raises(Killed):
        run(tmp_path / "killed", f"++callbacks.kill={kill}")
    run(tmp_path / "killed", f"ckpt_path={tmp_path}/killed/checkpoints/last.ckpt")
    whole, killed = (end_of(tmp_path / name) for name in ("whole", "killed"))
    for end in (whole, killed):
        end["weights"] = end.pop("last.ckpt")["state_dict"]
    assert differences(whole, killed) == []
