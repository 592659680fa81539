"""Check each configuration against the code that it calls, without building anything.

python src/check.py              # every experiment, every choice of every group
python src/check.py json=true    # the same as JSON: problems by file

Exits with 1 if there is a problem. A `???` is not one: the command line provides the value.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from src.runtime.check import invalid_target_messages, invalid_value_messages
from src.runtime.command_line import compose, error_text
from src.runtime.overrides import SHORT_GROUPS, choices_by_override_key

OTHER_VERBS = ("eval", "predict", "export", "report")


def configurations() -> Iterator[tuple[str, str, str]]:
    """Yield what to compose: the file that is checked, the verb, and an override or nothing."""
    for verb in ("train", *OTHER_VERBS):
        yield f"configs/{verb}.yaml", verb, ""
    for group, choices in choices_by_override_key("train").items():
        folder = SHORT_GROUPS.get(group, group).partition("@")[0]
        for choice in choices:
            yield f"configs/{folder}/{choice}.yaml", "train", f"{group}={choice}"


def problems_of(verb: str, override: str) -> list[str]:
    """Return what is wrong in one configuration."""
    try:
        cfg = compose(verb, *filter(None, [override]))
        if override.startswith("model=") and "/" in override and "_target_" not in cfg.model:
            return []  # a part of a model, such as its scheduler
        # The other commands get some values, data and model from their command line.
        quick = invalid_value_messages(cfg) if verb == "train" else ()
        return [*quick, *invalid_target_messages(cfg)]
    except Exception as error:  # from Hydra, OmegaConf, or a resolver
        if "No match in the defaults list" in str(error):
            return []  # a part of a model other than the default
        return [error_text(error, verb, [override])]


def main() -> None:
    """Print the problems by file; exit with 1 if there are any."""
    if unknown := set(sys.argv[1:]) - {"json=true"}:
        sys.exit(f"Error: {unknown.pop()} is no argument of check.py. Type json=true, or nothing")
    found: dict[str, list[str]] = {}
    known: set[str] = set()
    checked = [*configurations()]
    for file, verb, override in checked:
        problems = [problem for problem in problems_of(verb, override) if problem not in known]
        known.update(problems)
        if problems:
            found[file] = problems
    if "json=true" in sys.argv[1:]:
        print(json.dumps({"configurations": len(checked), "problems": found}, indent=2))
    else:
        for file, problems in found.items():
            print("\n".join(f"{file}: {problem}" for problem in problems))
        print(f"{len(checked)} configurations, {sum(map(len, found.values()))} problems")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
