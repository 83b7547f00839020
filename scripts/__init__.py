"""Programs that make what Ilion ships."""
