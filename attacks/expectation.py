"""A model that draws at random, as attacks must see it: its expectation."""

from torch import Tensor, nn


class ExpectedLogits(nn.Module):
    """The mean of a model's logits over several passes, and so of their gradients.

    One pass has the gradient of one draw, which an attack follows in vain; an attack on the expectation over draws is
    that of Athalye et al. (2018, EOT).

    draws: passes, at least 1.
    """

    def __init__(self, model: nn.Module, draws: int) -> None:
        super().__init__()
        if draws < 1:
            raise ValueError(f"expected draws >= 1, found {draws}; 1 is for a model that draws nothing")
        self.model = model
        self.draws = draws

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W]."""
        logits: Tensor = self.model(images)
        for _ in range(self.draws - 1):
            logits = logits + self.model(images)
        return logits / self.draws if self.draws > 1 else logits
