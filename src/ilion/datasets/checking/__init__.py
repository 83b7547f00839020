"""Problems of a data set, each with file and remedy."""
