"""The forms in which a result leaves: the cell as text and picture, the network as a graph, and its model card."""
