"""The files of others, both ways: feature files, results and adaptation layers of the ILIAS benchmark."""
