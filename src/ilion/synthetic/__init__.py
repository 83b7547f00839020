"""Seeded synthetic data sets: rendered products with printed graphics and text, in cluttered scenes.

The way of a picture: `goods`, `words` and `products` say what is for sale, `printing` draws the faces of a
package, `solids` and `camera` show it in space, `shelf`, `tabletop` and `rooms` place it among other things,
`exposure` takes the photo, `photos` numbers the pictures, `writer` stores them.
"""

from ilion.synthetic.writer import SyntheticSummary, synthesize

__all__ = ["SyntheticSummary", "synthesize"]
