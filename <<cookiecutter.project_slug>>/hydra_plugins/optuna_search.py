"""`hydra/sweeper=optuna`. Hydra finds this class because it lies in `hydra_plugins`.

It is imported at each start, and so imports neither Optuna nor torch: see src/runtime/search.py.
"""

from src.runtime.search import OptunaSearch


class OptunaSweeper(OptunaSearch):
    """Search with Optuna; configs/hydra/sweeper/optuna.yaml lists the keys."""
