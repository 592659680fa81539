"""FSDP2 for any model: its parameters in pieces, one a process, gathered layer by layer.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

LISTS = (nn.ModuleList, nn.ModuleDict)  # have no forward of their own


class ShardedStrategy(ModelParallelStrategy):
    """Shard the model over all processes; write checkpoints that one process can load.

    Lightning leaves it to each model to shard itself; this shards any, by the size of its parts.

    Args:
        min_parameters: a part of the model with so many parameters is gathered on its own. Fewer
            make a smaller peak of memory, and more messages.
        **kwargs: of `ModelParallelStrategy`.
    """

    def __init__(self, min_parameters: int = 1_000_000, **kwargs: Any) -> None:
        kwargs = {"tensor_parallel_size": 1, "save_distributed_checkpoint": False, **kwargs}
        super().__init__(**kwargs)
        self.min_parameters = min_parameters

    def setup_environment(self) -> None:
        """Count all processes as data-parallel, unless told otherwise."""
        if self._data_parallel_size == "auto":
            self._data_parallel_size = self.world_size // int(self._tensor_parallel_size)
        super().setup_environment()

    def setup(self, trainer: Trainer) -> None:
        """Shard the parts of the model before its optimizer is made."""
        module = self.lightning_module
        assert module is not None
        module.configure_model = lambda: None  # Lightning wants one; the model's own has run
        for child in module.children():
            shard(child, self.device_mesh["data_parallel"], self.min_parameters)
        super().setup(trainer)


def shard(model: nn.Module, mesh: "DeviceMesh", min_parameters: int) -> None:
    """Shard `model` in place: its large parts on their own, inner ones first, then the rest."""
    if isinstance(model, LISTS):
        for child in model.children():
            shard(child, mesh, min_parameters)
        return
    if not list(model.parameters()):
        return
    taken: set[int] = set()
    for part in reversed(list(model.modules())):
        own = {id(p): p.numel() for p in part.parameters() if id(p) not in taken}
        is_due = sum(own.values()) >= min_parameters and not isinstance(part, LISTS)
        if is_due or part is model:
            if not hasattr(part, "unshard"):  # else the fit before this test has sharded it
                fully_shard(part, mesh=mesh)
            taken |= {id(p) for p in part.parameters()} | own.keys()
