"""Taking a result away: the cell as text and picture, the network as weights and graphs, and its model card."""
