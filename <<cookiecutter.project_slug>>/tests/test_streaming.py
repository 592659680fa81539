"""Shards: written, streamed whole, and taken up again amid an epoch."""

from pathlib import Path

import pytest
import torch

from src.data.digits_datamodule import split_digits
from src.data.streaming_datamodule import StreamingDataModule, write_shards

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
