"""Programs that give a trained network away."""
