"""The network that a genotype describes, and the operations and blocks that it is built of."""
