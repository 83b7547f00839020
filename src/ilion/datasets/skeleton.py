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
from ilion.opening import read_bytes, write_bytes

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
        DatasetError: Something else is in the folder already, or it cannot be written.
        ArtifactError: The disk is full; the same call finishes it once there is room.
        ConfigError: There is no such language.
    """
    if language not in READMES:
        raise ConfigError(
            f"there is no README in the language {language!r}; choose one of {', '.join(READMES)}"
        )
    readme = resources.files("ilion.datasets").joinpath(READMES[language]).read_text("utf-8")
    example = folder / OBJECTS_FOLDER / EXAMPLE
    made = (example / "query", example / "positive", folder / DISTRACTORS_FOLDER)
    texts = {
        folder / "README.md": readme.format(folder=folder),
        folder / OBJECTS_TABLE: "object,description,category\n",
        folder / PHOTOS_TABLE: f"file,object,{','.join(PHOTOS_COLUMNS)}\n",
    }
    files = {path: text.encode() for path, text in texts.items()}
    try:
        # what a full disk or a kill left of the same data set is finished
        own = {*made, *files, example, example.parent}
        if folder.exists() and not (
            folder.is_dir()
            and all(p in own or is_hidden(p.name) for p in folder.rglob("*"))
            and all(read_bytes(p) == data for p, data in files.items() if p.exists())
        ):
            raise DatasetError(f"{folder}: is not empty; name a new folder, so that nothing gets overwritten")
        for path in made:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror}); name another folder") from error
    for path, data in files.items():
        write_bytes(path, data)
    return (*made, *files)
