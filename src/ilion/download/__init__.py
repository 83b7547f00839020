"""Fetching public data sets: recipes as data, resumable transfers, verified content, safe extraction.

    recipe -> plan (sizes, disk, licence) -> transfer -> verification -> extraction

The network is not trusted: names come from recipes, bytes count once their digest is right, and an archive
cannot write outside its folder.
"""

from ilion.download.planning import Plan
from ilion.download.recipes import Recipe, load_recipes
from ilion.download.session import Done, download

__all__ = ["Done", "Plan", "Recipe", "download", "load_recipes"]
