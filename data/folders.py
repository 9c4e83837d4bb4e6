"""What lies in the folders of data sets."""

from pathlib import Path


def find_names(folder: Path, ending: str) -> set[str]:
    """The names of the files that end in `ending`, without it. Hidden files (macOS leaves some) are no data."""
    return {path.name.removesuffix(ending) for path in folder.glob(f"*{ending}") if not path.name.startswith(".")}
