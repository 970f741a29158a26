"""Signs that a search collapses into skip connections, and the guards that stop it."""
