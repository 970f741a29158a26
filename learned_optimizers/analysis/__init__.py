"""What an optimizer does, learned or not: it is taken apart as a function of one element's state and gradient.

function = torch_function(lambda params: torch.optim.SGD(params, lr=0.3, momentum=0.9), "SGD")
found = analyse(function, sample_tasks("quadratics_5", count=4, seed=1), steps=100)
found.momentum.leading          # Mode(decay=0.9, step_size=0.3, ...)
"""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from learned_optimizers.analysis.analysis import Analysis, analyse
    from learned_optimizers.analysis.of_theta import theta_function
    from learned_optimizers.analysis.of_torch import torch_function
    from learned_optimizers.analysis.step_function import Moment, StepFunction
    from learned_optimizers.analysis.verdicts import Verdict, verdicts_on
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "Analysis",
    "Moment",
    "StepFunction",
    "Verdict",
    "analyse",
    "theta_function",
    "torch_function",
    "verdicts_on",
]
