"""Your own OmegaConf resolvers: `${double:${data.batch_size}}` in any YAML file or override."""

from collections.abc import Callable
from typing import Any

RESOLVERS: dict[str, Callable[..., Any]] = {
    # "double": lambda value: 2 * value,
}
