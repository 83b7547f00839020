"""What is wrong with a data set, each with file and remedy."""
