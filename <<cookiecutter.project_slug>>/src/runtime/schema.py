"""The types of the configuration's own keys: a wrong value is refused while Hydra composes.

The values are in `configs/`; here is what they may be. A configuration stays open to further keys,
since a project has keys of its own.
"""

from dataclasses import dataclass, field

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf


@dataclass
class Trainer:
    """Arguments of `lightning.pytorch.Trainer`; any other of them can be set as well."""

    default_root_dir: str | None = MISSING
    min_epochs: int | None = MISSING
    max_epochs: int | None = MISSING


@dataclass
class Command:
    """What each verb has."""

    task_name: str = MISSING
    tags: list[str] = MISSING
    seed: int | None = MISSING
    ckpt_path: str | None = MISSING
    paths: dict[str, str] = field(default_factory=dict)
    trainer: Trainer | None = field(default_factory=Trainer)


@dataclass
class Train(Command):
    """`train.yaml`."""

    train: bool = MISSING
    test: bool = MISSING
    init_from: str | None = MISSING
    monitor: str | None = MISSING
    mode: str = MISSING
    optimized_metric: str | None = MISSING


@dataclass
class Predict(Command):
    """`predict.yaml`."""

    input: str = MISSING
    output: str | None = MISSING


@dataclass
class Export(Command):
    """`export.yaml`."""

    format: str = MISSING
    output: str | None = MISSING
    tolerance: float = MISSING


@dataclass
class Report:
    """`report.yaml`."""

    task: str = MISSING
    sweep: str | None = MISSING
    metric: str | None = MISSING
    mode: str | None = MISSING
    top: int = MISSING


SCHEMAS = {"train": Train, "eval": Command, "predict": Predict, "export": Export, "report": Report}


def register_schemas() -> None:
    """Store the schemas, for the line `- optional schema@_global_: train` in `configs/`."""
    for name, schema in SCHEMAS.items():
        node = OmegaConf.structured(schema)
        for part in (node, node.get("trainer")) if "trainer" in node else (node,):
            OmegaConf.set_struct(part, False)  # accepts keys that the dataclass does not have
        ConfigStore.instance().store(group="schema", name=name, node=node)
