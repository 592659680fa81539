"""Tab completion: the shells' side, and answers that can be typed as they stand.

    eval "$(python src/train.py -sc install=bash)"      # zsh: install=zsh, after bashcompinit
    python src/train.py -sc install=fish | source

Hydra finds the candidates. Two things are ours: a group with a package is completed with it
(`common/logger@logger=`, where Hydra says `common/logger=`), and the shell's function looks into a
script before it runs it: Hydra's own would run whatever follows `python`.
"""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

from src.runtime.config import overrides

BASH = """\
complete_entry_point() {
    local line=${COMP_LINE:0:$COMP_POINT}
    local words=($line)
    grep -qs '^@hydra.main' "${words[1]}" || return
    COMPREPLY=($(COMP_LINE=$line "${words[0]}" "${words[1]}" -sc query=bash 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//[=@]}
complete -o nospace -o default -F complete_entry_point python python3"""
FISH = """\
function is_entry_point
    grep -qs '^@hydra.main' (commandline -cpo)[2]
end
function complete_entry_point
    set -l words (commandline -cpo)
    set -lx COMP_LINE (commandline -cp)
    command $words[1..2] -sc query=fish 2>/dev/null
end
for name in python python3
    complete -c $name -n is_entry_point -f -a '(complete_entry_point)'
end"""
SCRIPTS = {
    "install=bash": BASH,
    "install=zsh": BASH,
    "install=fish": FISH,
    "uninstall=bash": "complete -r python python3",
    "uninstall=zsh": "compdef -d python python3",
    "uninstall=fish": "complete -e python; complete -e python3",
}


def is_asked(arguments: Sequence[str]) -> bool:
    """Say whether a shell asks."""
    return bool({"-sc", "--shell-completion"} & set(arguments))


def answer(arguments: Sequence[str], config_name: str, ask_hydra: Callable[[], object]) -> None:
    """Print what a shell asks for: its script, or candidates for the last word of `COMP_LINE`.

    Args:
        arguments: of the command line, such as `-sc query=bash`.
        config_name: of the entry point.
        ask_hydra: prints Hydra's own candidates.
    """
    if script := next((SCRIPTS[a] for a in arguments if a in SCRIPTS), None):
        print(script)
        return
    word = os.environ.get("COMP_LINE", "").rpartition(" ")[2]
    if found := _packaged(word, config_name):
        print("\n".join(found))
        return
    printed = io.StringIO()
    with redirect_stdout(printed):
        ask_hydra()
    print("\n".join(printed.getvalue().split()))


def _packaged(word: str, config_name: str) -> list[str]:
    """Return the groups of `configs/`, or the choices of one, that a word with a slash begins."""
    if "/" not in word.partition("=")[0]:
        return []
    groups = overrides.words(config_name)
    typed = word.partition("=")[0]
    candidates = [f"{typed}={c}" for c in groups.get(typed, ())] or [f"{g}=" for g in groups]
    return [candidate for candidate in candidates if candidate.startswith(word)]
