"""Global descriptors: one thin module a backend, loaded only when its model is asked for."""
