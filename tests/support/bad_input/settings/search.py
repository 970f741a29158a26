"""Settings of a search that cannot be: (script, overrides, what the line says); composed.py has the rest."""

SPACE = [
    ("search", "space.nodes=0", "space.nodes: Input should be greater than 0, found 0"),
    ("search", "space.operations=[none]", "space: a search needs at least one operation other than none"),
    ("search", "space.operations=[]", "space: a search needs at least one operation other than none"),
    (
        "search",
        "space.operations=[conv_9x9]",
        "space.operations.0: Input should be 'none', 'max_pool_3x3', ... 'conv_9x9'",
    ),
    ("search", "space.operations=[noise,noise]", "space: each operation is named once, found noise 2 times"),
    ("search", "space.family=resnet", "space.family: expected one of darts, nasbench201, found 'resnet'"),
    ("search", "space.normal=[[noise]]", "space: normal: a cell of 4 nodes has 14 edges, found operations of 1"),
    (
        "search",
        "space.nodes=1 space.normal=[[noise],[]]",
        "space: normal: edge 0 holds some of operations ... ['noise']",
    ),
    ("search", "space=s3 space.normal=[[none]]", "space: normal: a cell of 4 nodes has 14 edges, found"),
    ("search", "space=nasbench201 space.reduction=[[none]]", "space: a space of family nasbench201 has no reduction"),
]

OBJECTIVES = [
    ("search", "objectives.names=[]", "objectives.names holds at least one objective, each once; found []"),
    (
        "search",
        "objectives.names=[accuracy,accuracy]",
        "at least one objective, each once; found ['accuracy', 'accuracy']",
    ),
    (
        "search",
        "objectives.names=[latency]",
        "objectives.names.0: expected one of accuracy, robustness, parameters,",
    ),
    ("search", "objectives.names=accuracy", "objectives.names: expected a list, such as [a,b], found 'accuracy'"),
    (
        "search",
        "objectives.names=[macs] objectives.parameters=[null,null]",
        "objectives.names needs accuracy or robustness",
    ),
    ("search", "objectives.parameters=[30e3]", "objectives.parameters.1: a value is missing here"),
    ("search", "objectives.parameters=[1,2,3]", "objectives.parameters: too many values"),
    ("search", "objectives.parameters=[null,-5]", "objectives.parameters.1: Input should be greater than 0, found -5"),
    ("search", "objectives.parameters=[0,5]", "objectives.parameters.0: Input should be greater than 0, found 0"),
    ("search", "objectives.parameters=[nan,5]", "objectives.parameters.0: Input should be a finite number, found nan"),
    ("search", "objectives.macs=[inf,null]", "objectives.macs.0: Input should be a finite number, found inf"),
    (
        "search",
        "objectives.macs=[true,null]",
        "objectives.macs.0: expected a number, neither true nor false, found True",
    ),
    ("search", "objectives.parameters=[5,3]", "objectives.parameters: lower bound 5 is above upper bound 3"),
    ("search", "objectives=accuracy objectives.macs=[1,2]", "objectives.macs is bounded but macs is not among"),
    ("search", "objectives.parameters=[null,null]", "objectives.names has parameters: give objectives.parameters=["),
    (
        "search",
        "objectives.preferences.accuracy=0",
        "objectives.preferences.accuracy: Input should be greater than or equal to 0.000001",
    ),
    (
        "search",
        "objectives=accuracy objectives.preferences.robustness=2",
        "objectives.preferences.robustness is given but robustness is not among objectives.names",
    ),
    (
        "search",
        "balance=cagrad objectives.preferences.robustness=2",
        "balance=cagrad knows no objectives.preferences; use one of mgda, weighted_sum, upgrad",
    ),
    ("search", "objectives.balance.name=mean", "objectives.balance.name: expected one of mgda, weighted_sum, "),
    ("search", "objectives.balance.cagrad_c=1", "objectives.balance.cagrad_c: Input should be less than 1, found 1"),
    ("search", "objectives.macs_convention=flops", "objectives.macs_convention: Input should be 'conv_linear_macs' or"),
]

ATTACK = [
    ("search", "attack.eps=8", "attack.eps, ... : Input should be less than or equal to 1, found 8"),
    ("search", "attack.eps=0", "attack.eps, ... : Input should be greater than 0, found 0"),
    ("search", "attack.eps=8/0", "attack.eps, ... : expected a number or a fraction such as 8/255, found '8/0'"),
    ("search", "attack.eps=a/b", "attack.eps, ... : expected a number or a fraction such as 8/255, found 'a/b'"),
    ("search", "attack.eps=nan", "attack.eps, ... : Input should be a finite number, found nan"),
    ("search", "attack.eps=inf", "attack.eps, ... : Input should be a finite number, found inf"),
    ("search", "attack.eps=.nan", "attack.eps, ... : Input should be a valid number ... found '.nan'"),
    ("search", "attack.eps=1e-400", "attack.eps, ... : Input should be greater than 0, found 0.0"),
    ("search", "attack.eps=null", "attack.eps, ... : Input should be a valid number, found None"),
    ("search", "attack.eps=false", "attack.eps, ... : expected a number, neither true nor false, found False"),
    ("search", "attack.name=cw", "attack.name: expected one of pgd, fgsm, fgsm_rs, found 'cw'"),
    ("search", "attack.step=0.1", "attack: a step of 0.1 leaves the ball of eps=0.03137; null is eps / 4"),
    ("retrain", "retrain.attack.step=0.1", "retrain.attack: a step of 0.1 leaves the ball of eps=0.03137; null"),
    ("search", "attack.steps=0", "attack.steps: Input should be greater than 0, found 0"),
    ("search", "attack.steps=2.5", "attack.steps: Input should be a valid integer ... found 2.5"),
    ("search", "attack.statistics=none", "attack.statistics: Input should be 'running' or 'batch', found 'none'"),
    ("search", "attack.name=fgsm attack.carry_over=true", "attack.carry_over goes on with steps of pgd, not of fgsm"),
    ("search", "attack.reset_every=0", "attack.reset_every: Input should be greater than 0, found 0"),
]

WEIGHTS = [
    ("search", "weight_optimizer.name=lamb", "weight_optimizer.name: Input should be 'sgd', 'adamw' or 'learned'"),
    ("search", "weight_optimizer.name=learned", "needs weight_optimizer.theta: a shipped name, or a file"),
    ("search", "weight_optimizer.theta=mlp", "weight_optimizer.theta goes with name=learned; sgd has none"),
    ("search", "weight_optimizer.learning_rate=0", "weight_optimizer.learning_rate: Input should be greater than 0"),
    ("search", "weight_optimizer.learning_rate=1/0", "expected a number or a fraction such as 8/255, found '1/0'"),
    ("search", "weight_optimizer.momentum=1.5", "weight_optimizer.momentum: Input should be less than or equal to 1"),
    ("search", "weight_optimizer.betas=[0.9]", "weight_optimizer.betas.1: a value is missing here"),
    ("search", "weight_optimizer.betas=[0.9,1]", "weight_optimizer.betas.1: Input should be less than 1, found 1"),
    (
        "search",
        "weight_optimizer.weight_decay=-1",
        "weight_optimizer.weight_decay: Input should be greater than or equal",
    ),
    ("search", "weight_optimizer.clip=0", "weight_optimizer.clip: Input should be greater than 0, found 0"),
]

SEARCH = [
    ("search", "search.epochs=0", "search.epochs: Input should be greater than 0, found 0"),
    ("search", "search.epochs=true", "search.epochs: expected a number, neither true nor false, found True"),
    ("search", "search.epochs={a:1}", "search.epochs: Input should be a valid integer, found {'a': 1}"),
    ("search", "search.layers=2", "search.layers: Input should be greater than or equal to 3, found 2"),
    ("search", "search.channels=0", "search.channels: Input should be greater than or equal to 1, found 0"),
    (
        "search",
        "search.derived_layers=4097",
        "search.derived_layers: Input should be less than or equal to 4096, found",
    ),
    (
        "search",
        "search.order=second",
        "search.order: Input should be 'first', 'unrolled', 'neumann' or 'cg', found 'second'",
    ),
    ("search", "search.alpha_split=1", "search.alpha_split: Input should be less than 1, found 1"),
    ("search", "search.alpha_split=0", "search.alpha_split: Input should be greater than 0, found 0"),
    ("search", "search.alpha_betas=[1,0.999]", "search.alpha_betas.0: Input should be less than 1, found 1"),
    (
        "search",
        "search.adversarial_fraction=1.1",
        "search.adversarial_fraction: Input should be less than or equal to 1",
    ),
    (
        "search",
        "search.alpha_learning_rate=-0.1",
        "search.alpha_learning_rate: Input should be greater than 0, found -0.1",
    ),
    ("search", "search.warm_up=50", "search.warm_up=50 leaves no epoch of search.epochs=50 for alphas"),
    ("search", "search.partial_channels=3", "search.partial_channels=3 does not divide search.channels=16"),
    ("search", "search.partial_channels=2 relaxation=fair_darts", "search.partial_channels ... use another relaxation"),
    (
        "search",
        "search.partial_channels=2 space=nasbench201",
        "search.partial_channels is for the DARTS family of cells",
    ),
    ("search", "search.recompute=true search.order=unrolled", "search.recompute saves nothing ... use search.hessian="),
    (
        "search",
        "search.order=unrolled weight_optimizer=adamw",
        "search.order=unrolled looks through a step of sgd; use",
    ),
    (
        "search",
        "search.order=unrolled weight_optimizer=learned",
        "search.order=unrolled looks through a step of sgd; use",
    ),
    ("search", "search.order=cg weight_optimizer=learned", "search.order=cg reads the learning rate and weight decay"),
    ("search", "search.order=cg weight_optimizer=adamw", "search.order=cg needs weight decay that is part of the loss"),
    ("search", "search.implicit.step=0.1", "search.implicit.step is that of order=neumann; order=first has none"),
    ("search", "search.implicit.iterations=0", "search.implicit.iterations: Input should be greater than 0, found 0"),
    ("search", "search.implicit.damping=-1", "search.implicit.damping: Input should be greater than or equal to 0"),
    (
        "search",
        "space=s4 search.order=neumann search.hessian=finite_difference",
        "search.hessian=finite_difference subtracts gradients under two draws of the operation noise; use exact",
    ),
    (
        "search",
        "search.relaxation.operations=relu",
        "search.relaxation.operations: expected one of softmax, sigmoid,",
    ),
    (
        "search",
        "search.relaxation.zero_one=1",
        "search.relaxation: the zero-one loss acts on sigmoids, and operations is",
    ),
    (
        "search",
        "search.relaxation.operations=sigmoid search.relaxation.beta_decay=1",
        "search.relaxation: beta-decay acts on alphas that share a softmax, and operations is",
    ),
    (
        "search",
        "relaxation=single_path search.selection.strengths=perturbation",
        "search.selection.strengths=perturbation leaves single operations out of a mixture; it does not fit",
    ),
    ("search", "search.relaxation.dropout=1", "search.relaxation.dropout: Input should be less than 1, found 1"),
    (
        "search",
        "search.relaxation.sampled_operations=1",
        "search.relaxation: sampled_operations is at least 2 here, found 1",
    ),
    (
        "search",
        "search.relaxation.temperature=[0,1]",
        "search.relaxation.temperature.0: Input should be greater than 0",
    ),
    ("search", "search.guard.action=wait", "search.guard.action: Input should be 'none', 'stop' or 'rollback', found"),
    (
        "search",
        "search.guard.action=stop search.diagnostics.iterations=0",
        "search.guard.rule=eigenvalue reads the eigenvalue: give search.diagnostics",
    ),
    ("search", "search.guard.ratio=1", "search.guard.ratio: Input should be less than 1, found 1"),
    (
        "search",
        "search.guard.decay_factor=0.5",
        "search.guard.decay_factor: Input should be greater than or equal to 1",
    ),
    ("search", "guard=skips_rollback weight_optimizer=learned", "search.guard.action=rollback raises the weight decay"),
    ("search", "search.selection.candidates=0", "search.selection.candidates: Input should be greater than 0, found 0"),
    (
        "search",
        "search.selection.finalists=2",
        "search.selection.finalists=2 is more than search.selection.candidates=1",
    ),
    (
        "search",
        "search.selection.candidates=3 search.selection.pool=2",
        "search.selection.pool=2 is less than search.selection.candidates=3",
    ),
    (
        "search",
        "search.selection.candidates=3 search.selection.finalists=2 search.selection.epochs=2 retrain.epochs=2",
        "search.selection.epochs=2 leaves nothing of retrain.epochs=2 to finalists",
    ),
    ("search", "search.selection.held_back=1", "search.selection.held_back: Input should be less than 1, found 1"),
    ("search", "search.diagnostics.images=0", "search.diagnostics.images: Input should be greater than 0, found 0"),
]

OF_SEARCH = [*SPACE, *OBJECTIVES, *ATTACK, *WEIGHTS, *SEARCH]
