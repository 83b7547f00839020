"""An index of the default design on several machines: each holds some of its shards, one merges."""
