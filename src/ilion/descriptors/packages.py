"""Weights that lie in installed packages whose code is never run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ilion.errors import ArtifactError, ExtractionError, WeightsError
from ilion.storage.statedict import read_state_dict

OR_TORCH = "(or the extra torch: pip install 'ilion[torch]')"
"""End of the sentence that asks for a package, where torch would do as well."""


@dataclass(frozen=True)
class Package:
    """A package of which only files of weights are read; it is never imported.

    Args:
        name: Name in the registry of packages.
        version: Version that Ilion was tested with.
        folder: Folder of the weights, inside the package's own.
    """

    name: str
    version: str
    folder: str

    @property
    def install(self) -> str:
        """The command that installs it without what its code asks for."""
        return f"pip install --no-deps {self.name}=={self.version}"

    @property
    def source(self) -> str:
        """Name and version of what is installed."""
        try:
            return f"{self.name} {version(self.name)}"
        except PackageNotFoundError:  # a folder on the path
            return f"{self.name} of unknown version"

    def find(self, file: str) -> Path | None:
        """Return the path of a file of weights; None where the package is not installed."""
        found = importlib.util.find_spec(self.name.replace("-", "_"))
        places = (found.submodule_search_locations if found else None) or ()
        return next((p for place in places if (p := Path(place) / self.folder / file).is_file()), None)

    def missing(self, what: str, instead: str) -> ExtractionError:
        """Return the error that says how to install it.

        Args:
            what: Name of what needs it.
            instead: End of the sentence; "" where nothing else would do.
        """
        needed = f"{what} needs the weights in the package {self.name}"
        return ExtractionError(f"{needed}. Install it with: {self.install} {instead}".rstrip())

    @contextmanager
    def reading(self, path: Path, owned: bool) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Give the arrays of a file of weights; what is wrong with the package's own says how to mend it.

        Args:
            path: The file.
            owned: Whether it is the package's, not the user's.

        Raises:
            ArtifactError: A file of the user cannot be read.
            ExtractionError: The file is damaged or does not hold what it should.
        """
        try:
            yield read_state_dict(path)
        except (ArtifactError, WeightsError) as error:
            if not owned:
                raise
            again = self.install.replace("install", "install --force-reinstall")
            raise ExtractionError(f"{error}; {path} is damaged, install it again with: {again}") from error
