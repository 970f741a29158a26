"""Maximum entropy: the spectrum nearest to a default model that explains the data."""
