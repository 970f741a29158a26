"""The bi-level search: objectives, their gradients in alpha, the steps of alphas and weights, and the last choice."""
