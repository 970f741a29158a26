"""Networks and genotypes as files, and modules that users bring."""
