"""Average precision, slices, intervals, comparison, and what each stage gained and lost."""
