"""Images to stored descriptors, local features and words, shard by shard."""
