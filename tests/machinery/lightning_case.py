"""A pair of a module and a datamodule that is tried."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Case:
    """One pair: its two nodes, and what is typed beside their names."""

    model: dict[str, Any]
    data: dict[str, Any] | None
    overrides: list[str] = field(default_factory=list)
    has_test: bool = True


def case(
    model: str, data: str | None = "PlainData", *overrides: str, has_test: bool = True, **nodes: Any
) -> Case:
    """Return the case of a module and a datamodule.

    Args:
        model: a class of `lightning_code`, or `MODULE.CLASS`.
        data: one of `lightning_data`, or `MODULE.CLASS`; None: the module has its own loaders.
        overrides: beside the two files.
        has_test: whether it can be tested.
        nodes: `model` and `data`: further keys of their nodes.
    """
    return Case(
        node("lightning_code", model) | nodes.get("model_keys", {}),
        data and node("lightning_data", data) | nodes.get("data_keys", {}),
        list(overrides),
        has_test,
    )


def node(module: str, name: str) -> dict[str, Any]:
    """Return the node of a class, of this module if its name has no other."""
    return {"_target_": name if "." in name else f"{module}.{name}"}


NET = {"_target_": "torch.nn.LazyLinear", "out_features": 3}
ADAM = {"_target_": "torch.optim.Adam", "lr": 0.1}
PARTIAL_ADAM = ADAM | {"_partial_": True}
SAMPLES = {"_target_": "lightning_data.Samples", "size": 24}
MONITOR = ("monitor=val_loss", "mode=min")
