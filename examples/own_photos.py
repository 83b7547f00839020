"""Search your own photos: python own_photos.py FOLDER QUERY.jpg writes the results to results.html."""

import sys
from pathlib import Path

import ilion


def main(folder: str, query: str, page: str = "results.html") -> None:
    photos = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    model = ilion.load_model("efficientnet-lite2")
    ranking = ilion.search(model.describe([query]), model.describe(photos), k=20)
    ranking = ilion.rerank(ranking, [query], photos)
    for photo, similarity in list(ranking.to_dict()[query].items())[:5]:
        print(f"{similarity:.3f}  {photo}")
    strip = ilion.show(ranking, query, [query, *photos])  # a notebook shows it by itself
    Path(page).write_text(strip.html, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
