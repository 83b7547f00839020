"""What a machine offers: threads, memory and devices, and torch where it is installed."""
