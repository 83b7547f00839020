"""Global descriptors: one thin module a backend, loaded only when its model is asked for."""

from ilion.extractors import embedded as embedded
from ilion.extractors import zoo as zoo
