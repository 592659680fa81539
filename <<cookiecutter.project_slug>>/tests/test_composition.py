"""The configuration of a sweep's job, from what the jobs share, is the one that Hydra composes."""

from collections.abc import Sequence

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.runtime import cli, hydra_versions  # noqa: F401  # `cli` installs what is tested
from src.runtime.config.overrides import CONFIGS
from src.runtime.sweep import composition

pytestmark = pytest.mark.skipif(not hydra_versions.IS_1_3, reason="Hydra 1.4 composes by itself")

SHARED = ("experiment=mon_experience", "trainer.accelerator=cpu")
JOBS = (
    ("model.optimizer.lr=0.1",),
    ("model.optimizer.lr=0.2", "seed=3"),
    ("model/net=cnn",),
    ("model/net=cnn", "seed=4"),
    ("model/optimizer=sgd", "~model.scheduler", "+model.optimizer.dampening=0.1"),
    ("common/callbacks@callbacks=none", "tags=[a,b]", "+more={a: 1, b: '${seed}'}"),
    ("data=digits",),
    ("common/logger@logger=csv", "hydra.sweep.subdir='7'"),
)


def told(cfg: DictConfig) -> tuple[str, bool]:
    """Return all that a configuration says, interpolations as they stand."""
    return OmegaConf.to_yaml(cfg), OmegaConf.is_struct(cfg) is True


def test_jobs_are_composed_as_hydra_would(monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[Sequence[object]] = []
    merge = composition._merge_files

    def counted(loader: object, defaults: Sequence[object], repo: object) -> DictConfig:
        merged.append(defaults)
        return merge(loader, defaults, repo)

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), **hydra_versions.INITIALIZE):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("train", [], RunMode.MULTIRUN)
        wanted = [told(composition._compose_job(loader, master, [*SHARED, *job])) for job in JOBS]
        monkeypatch.setattr(composition, "_merge_files", counted)
        for _ in range(2):
            for job, own in zip(JOBS, wanted, strict=True):
                cfg = loader.load_sweep_config(master, [*SHARED, *job])
                assert told(cfg) == own, job
                OmegaConf.set_struct(cfg, False)
                cfg.trainer.max_epochs, cfg.mine = -1, 1  # of this job alone
    groups = ("experiment=", "data=", "model/", "common/")
    assert len(merged) == len({tuple(o for o in job if o.startswith(groups)) for job in JOBS})
    with pytest.raises(Exception, match="no_such_key"):
        loader.load_sweep_config(master, [*SHARED, "no_such_key=1"])
