"""The types of the configuration's own keys: a wrong value fails while Hydra composes.

Each field is MISSING: the values stand in `configs/`, this says what they may be. Hydra merges the
fields into a configuration that stays open to further keys, since a project has keys of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf


@dataclass
class Paths:
    """Folders; `output_dir` is the run's own."""

    root_dir: str = MISSING
    data_dir: str = MISSING
    log_dir: str = MISSING
    output_dir: str | None = MISSING  # null until Hydra knows: `--cfg job --resolve`


@dataclass
class Trainer:
    """The arguments of `lightning.pytorch.Trainer` that `config_base.yaml` sets."""

    default_root_dir: str | None = MISSING
    accelerator: str = field(
        default=MISSING, metadata={"allowed": ("auto", "cpu", "gpu", "cuda", "mps", "tpu")}
    )
    min_epochs: int | None = MISSING
    max_epochs: int | None = MISSING


@dataclass
class Run:
    """What each entry point has."""

    task_name: str = MISSING
    tags: list[str] = MISSING
    seed: int | None = MISSING
    paths: Paths = field(default_factory=Paths)
    trainer: Trainer = field(default_factory=Trainer)


@dataclass
class Train(Run):
    """`train.yaml`."""

    train: bool = MISSING
    test: bool = MISSING
    ckpt_path: str | None = MISSING
    init_from: str | None = MISSING
    optimized_metric: str | None = MISSING


@dataclass
class Eval(Run):
    """`eval.yaml`."""

    ckpt_path: str = MISSING


@dataclass
class Predict(Eval):
    """`predict.yaml`."""

    input: str = MISSING
    output: str = MISSING
    sheet_images: int = MISSING


@dataclass
class Export(Eval):
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


SCHEMAS = {"train": Train, "eval": Eval, "predict": Predict, "export": Export, "report": Report}


def allowed(schema: Any = Train, prefix: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield each key that takes certain values only, with the values."""
    for entry in fields(schema):
        if is_dataclass(entry.type):
            yield from allowed(entry.type, f"{prefix}{entry.name}.")
        elif values := entry.metadata.get("allowed"):
            yield f"{prefix}{entry.name}", values


def register() -> None:
    """Store the schemas, for the line `optional schema@_global_` in `configs/`."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(group="schema", name=name, node=opened(schema))


def opened(schema: type) -> DictConfig:
    """Return a dataclass's typed fields in a configuration that takes other keys as well."""
    assert is_dataclass(schema)
    typed = OmegaConf.structured(schema)
    content: dict[str, Any] = {}
    for name in schema.__dataclass_fields__:
        node = typed._get_node(name)
        inner = node._metadata.object_type if isinstance(node, DictConfig) else None
        content[name] = opened(inner) if is_dataclass(inner) else node
    return OmegaConf.create(content)
