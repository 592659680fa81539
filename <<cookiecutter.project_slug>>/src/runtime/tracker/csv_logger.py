"""Lightning's CSV logger, but a run that goes on adds to the rows that it has, and loses none."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment


class ResumingCSVLogger(CSVLogger):
    """Log to `SAVE_DIR/NAME/VERSION/metrics.csv`; takes the arguments of Lightning's."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the file."""
        self._experiment = self._experiment or Writer(self.log_dir)
        return self._experiment


class Writer(ExperimentWriter):
    """Writes rows after those of a run that goes on, but for those that it logs again."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._goes_on = Path(self.metrics_file_path).exists()

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Log metrics at a step, the first time after dropping the rows from that step on."""
        if self._goes_on and step is not None:
            self._goes_on = False
            rows = [row for row in self._rows() if int(row["step"]) < step]
            self.metrics_keys = sorted({key for row in rows for key in row})
            self._replace(rows)
        super().log_metrics(metrics_dict, step)

    def _check_log_dir_exists(self) -> None:
        """Delete nothing."""

    def _rewrite_with_new_header(self, fieldnames: Sequence[str]) -> None:
        self._replace(self._rows())

    def _rows(self) -> list[dict[str, str]]:
        text = Path(self.metrics_file_path).read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last one
        return list(csv.DictReader(whole.splitlines()))

    def _replace(self, rows: Sequence[dict[str, str]]) -> None:
        path = Path(self.metrics_file_path)
        temporary = path.with_suffix(".part")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)
