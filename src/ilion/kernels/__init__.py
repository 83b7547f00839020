"""What is compiled, and the few loops that numpy cannot do fast enough; docs/kernels.md says why."""
