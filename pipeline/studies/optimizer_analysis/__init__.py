"""An optimizer, learned or not, taken apart: which mechanisms it has, and how strong they are."""
