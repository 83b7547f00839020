"""An empty data set that a person fills in with their own photos."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ilion.datasets.layouts.folder import (
    DISTRACTORS_FOLDER,
    OBJECTS_FOLDER,
    OBJECTS_TABLE,
    PHOTOS_COLUMNS,
    PHOTOS_TABLE,
)
from ilion.datasets.listing import is_hidden
from ilion.errors import ConfigError, DatasetError

EXAMPLE = "rename me"
"""Name of the example object's folder."""


READMES = {"en": "skeleton.md", "ja": "skeleton.ja.md"}
"""Language -> what the README of a new data set is made from."""


def new_dataset(folder: Path, language: str = "en") -> tuple[Path, ...]:
    """Make a new folder with an empty data set in the plain form, and a README for whoever fills it in.

    Args:
        folder: A new or empty folder.
        language: Language of the README, of those in `READMES`.

    Returns:
        The files and folders that were made.

    Raises:
        DatasetError: Something is in the folder already, or it cannot be written.
        ConfigError: There is no such language.
    """
    if language not in READMES:
        raise ConfigError(
            f"there is no README in the language {language!r}; choose one of {', '.join(READMES)}"
        )
    readme = resources.files("ilion.datasets").joinpath(READMES[language]).read_text("utf-8")
    try:
        if folder.exists() and (not folder.is_dir() or any(not is_hidden(p.name) for p in folder.iterdir())):
            raise DatasetError(f"{folder}: is not empty; name a new folder, so that nothing gets overwritten")
        example = folder / OBJECTS_FOLDER / EXAMPLE
        made = [example / "query", example / "positive", folder / DISTRACTORS_FOLDER]
        for path in made:
            path.mkdir(parents=True)
        files = {
            "README.md": readme.format(folder=folder),
            OBJECTS_TABLE: "object,description,category\n",
            PHOTOS_TABLE: f"file,object,{','.join(PHOTOS_COLUMNS)}\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error}); name another folder") from error
    return (*made, *(folder / name for name in files))
