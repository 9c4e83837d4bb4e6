"""Which commit of this repository is running."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def git_commit(folder: Path = ROOT) -> str | None:
    """The commit of the code in `folder`, with "+" if tracked files differ from it.

    None outside a repository, and without git.
    """
    try:
        # A copy inside somebody else's repository is not that repository's code.
        if Path(_git(folder, "rev-parse", "--show-toplevel")) != folder:
            return None
        changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
        return _git(folder, "rev-parse", "HEAD") + "+" * changed
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
