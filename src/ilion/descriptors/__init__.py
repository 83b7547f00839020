"""Global descriptors: one thin module a backend, loaded only when its model is asked for."""

from ilion.descriptors import embedded, zoo  # noqa: F401 - they register models
