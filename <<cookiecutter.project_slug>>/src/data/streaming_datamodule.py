"""Images in shards, streamed: for data that fits on no disk. From a folder, S3 or another store.

Shards are LitData's: https://github.com/Lightning-AI/litdata. To write them, once:

    write_shards(images_and_labels, "shards/train")      # and shards/val, shards/test
"""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

if TYPE_CHECKING:
    from litdata import StreamingDataLoader

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]


class StreamingDataModule(LightningDataModule):
    """Read `path/train`, `path/val` and `path/test`, a shard at a time.

    The shards are dealt out among processes and workers, in a new order each epoch. The loaders
    know where they are: a run that was killed amid an epoch goes on with the next batch.

    Args:
        path: a folder, or a URL such as `s3://bucket/set`, with the three folders in it.
        class_names: what the labels mean, in their order.
        mean: of each channel, for pixel values in `[0, 1]`.
        std: of each channel, likewise.
        batch_size: images a step, on each device.
        num_workers: processes that fetch shards and decode.
        cache_size: of the shards that are kept on this machine, such as `50GB`.
        seed: of the order.
    """

    def __init__(
        self,
        path: str,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int = 64,
        num_workers: int = 2,
        cache_size: str = "50GB",
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.path = path.rstrip("/")
        self.class_names = tuple(class_names)
        self.mean, self.std = tuple(mean), tuple(std)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.cache_size, self.seed = cache_size, seed

    def train_dataloader(self) -> "StreamingDataLoader":
        """Return the training batches, in a new order each epoch."""
        return self._dataloader("train", shuffle=True)

    def val_dataloader(self) -> "StreamingDataLoader":
        """Return the validation batches."""
        return self._dataloader("val")

    def test_dataloader(self) -> "StreamingDataLoader":
        """Return the test batches."""
        return self._dataloader("test")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Normalise on the device: images, float32 `(B, C, H, W)`, and labels, int64 `(B,)`."""
        images = batch["image"].float().div_(255)
        mean, std = (images.new_tensor(x).view(-1, 1, 1) for x in (self.mean, self.std))
        return images.sub_(mean).div_(std), batch["label"]

    def _dataloader(self, part: str, shuffle: bool = False) -> "StreamingDataLoader":
        from litdata import StreamingDataLoader, StreamingDataset

        class Loader(StreamingDataLoader):
            """Ends an epoch with its last batch; LitData's, only once it is asked for one more.

            Lightning does not ask, and after a resume the next epoch would then have no batches.
            """

            def __iter__(self) -> Any:
                for batch in super().__iter__():
                    if self._num_samples_yielded_streaming >= len(self) * (self.batch_size or 1):
                        self.restore = False
                    yield batch

        dataset = StreamingDataset(
            f"{self.path}/{part}",
            shuffle=shuffle,
            drop_last=shuffle,
            seed=self.seed,
            max_cache_size=self.cache_size,
        )
        return Loader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )


def write_shards(
    samples: Iterable[tuple[np.ndarray, int]], folder: str | Path, shard_bytes: int = 64_000_000
) -> None:
    """Write images, uint8 `(C, H, W)`, and labels as shards of about `shard_bytes`.

    Raises:
        ValueError: if the folder holds shards already.
    """
    from litdata.streaming import Cache

    folder = Path(folder)
    if (folder / "index.json").exists():
        raise ValueError(f"{folder} holds shards already: choose another folder, or delete it")
    folder.mkdir(parents=True, exist_ok=True)
    cache = Cache(str(folder), chunk_bytes=shard_bytes)
    for i, (image, label) in enumerate(samples):
        cache[i] = {"image": np.ascontiguousarray(image), "label": int(label)}
    cache.done()
    cache.merge(1)
    shards = len(json.loads((folder / "index.json").read_text())["chunks"])
    log.info("Wrote %d shards to %s", shards, folder)
