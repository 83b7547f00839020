"""Search engines on other machines, for indexes whose first stage compares global descriptors."""
