"""How values, names and figures look, wherever they are shown."""
