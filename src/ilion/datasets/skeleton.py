"""An empty data set that a person fills in with their own photos."""

from __future__ import annotations

from pathlib import Path

from ilion.datasets.layouts.folder import (
    DISTRACTORS_FOLDER,
    OBJECTS_FOLDER,
    OBJECTS_TABLE,
    PHOTOS_COLUMNS,
    PHOTOS_TABLE,
)
from ilion.datasets.listing import is_hidden
from ilion.errors import DatasetError

EXAMPLE = "rename me"
"""Name of the example object's folder."""

_README = """\
# Your own data set

Fill these folders with your photos, and Ilion tells you how well a search finds *this very object* among
many photos. You need no programming and no special tools.

## 1. One folder for each object

An object is one particular thing or product: "Oatly oat milk, 1 litre", not "milk". Rename `objects/rename
me` to your first object, and copy it for the next ones. In each object's folder:

- `query/` takes what you would search with: **1 or 2 photos** that show the object large and clear, best on
  a plain background. A product picture from a web shop is fine.
- `positive/` takes what the search should find: **3 to 20 photos** that show the same object among other
  things: in a shop, on a table, far away, from the side, half hidden, in bad light.
- `ignored/` (make it if you need it) takes photos where you are not sure. They count neither as right nor
  wrong.

**What counts as positive?** The same object, or another copy of the same product. Not the same kind of
thing, not another flavour, not the same brand. If you could not tell it from the photo with certainty:
`ignored`.

**Make your own photos.** A positive should never be the query photo again, or a crop of it.

## 2. Photos without the objects

`distractors/` takes any photos that show **none** of your objects: the more, the more honest the result. A
few hundred are a start; photos from the same places, and of things that look alike, are worth the most.
Subfolders and `.tar` files of photos are fine too.

## 3. Two tables, if you like

Open them with Excel or any text editor, and save as "CSV UTF-8".

- `objects.csv`: one row for each object. `object` is the name of its folder, `description` says in words
  how it looks (then Ilion can search by text), `category` groups the results. Add more columns to group by
  more things.
- `photos.csv`: one row for each object on a photo. You only need it to mark **where** the object is (`x`,
  `y` of the top left corner, `width`, `height`, all in pixels; leave them empty if you do not know), or if
  your photos are not sorted into folders: then `file` is the path of the photo from here, and `role` is one
  of `query`, `positive`, `ignored`, `distractor`. Several objects on one photo take several rows. `clutter`
  may hold the number of things on the photo. What this table says about a photo wins over the folder that
  it lies in.

## 4. How many?

More objects count for more than more photos of one object. Twenty objects show large differences between
methods, a hundred show small ones; every result comes with its uncertainty.

## 5. Check

    ilion datasets check "{folder}"

says everything that is wrong at once, with what to do, and shows what your set is like.

JPEG, PNG, WebP and TIFF work. Photos in Apple's HEIC format must be saved as JPEG first (on an iPhone:
Settings, Camera, Formats, Most Compatible).
"""


def new_dataset(folder: Path) -> tuple[Path, ...]:
    """Make a new folder with an empty data set in the plain form, and a README for whoever fills it in.

    Returns:
        The files and folders that were made.

    Raises:
        DatasetError: Something is in the folder already, or it cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(not is_hidden(p.name) for p in folder.iterdir())):
            raise DatasetError(f"{folder}: is not empty; name a new folder, so that nothing gets overwritten")
        example = folder / OBJECTS_FOLDER / EXAMPLE
        made = [example / "query", example / "positive", folder / DISTRACTORS_FOLDER]
        for path in made:
            path.mkdir(parents=True)
        files = {
            "README.md": _README.format(folder=folder),
            OBJECTS_TABLE: "object,description,category\n",
            PHOTOS_TABLE: f"file,object,{','.join(PHOTOS_COLUMNS)}\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error}); name another folder") from error
    return (*made, *(folder / name for name in files))
