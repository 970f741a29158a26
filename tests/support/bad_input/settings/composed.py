"""Settings that cannot be: (script, overrides, what the line says, " ... " for what is left out of it).

They are refused when the configuration is composed, before images are read.
"""

from tests.support.bad_input.settings.search import OF_SEARCH

KEYS_AND_GROUPS = [
    ("search", "data.limt=3", "unknown key data.limt; did you mean data.limit?"),
    ("search", "foo=1", "unknown key foo. Known here: run, genotype, compare, seed, data, space"),
    ("retrain", "retrain.width=3", "unknown key retrain.width. Known here: retrain.channels, retrain.parameters"),
    ("evaluate", "+search.foo=1", "unknown key search.foo"),
    ("pareto", "++pareto.walks=macs", "unknown key pareto.walks; did you mean pareto.walk?"),
    ("search", "experiment=none", "experiment=none: expected one of ... collapse"),
    ("search", "data=imagenet", "data=imagenet: expected one of ... cifar10"),
    ("search", "space=s5", "space=s5: expected one of ... darts"),
    ("search", "objectives=all", "objectives=all: expected one of ... accuracy"),
    ("search", "balance=mean", "balance=mean: expected one of ... cagrad"),
    ("search", "attack=pgd8", "attack=pgd8: expected one of pgd, pgd7, fgsm, fgsm_rs, carry_over"),
    ("search", "guard=none attack=null", "attack=null: expected one of carry_over, fgsm, fgsm_rs, pgd, pgd7"),
    ("search", "weight_optimizer=lamb", "weight_optimizer=lamb: expected one of ... adamw"),
    ("search", "relaxation=gumble", "relaxation=gumble: expected one of gumbel"),
    ("search", "guard=always", "guard=always: expected one of ... darts_plus"),
    ("retrain", "recipe=adversarial", "recipe=adversarial: expected one of ... fast"),
    ("retrain", "retrain=standard", "retrain: this is a group of keys: retrain.<key>=..."),
    ("meta_train", "meta=demo", "meta: this is a group of keys"),
    ("search", "search.relaxation=softmax", "search.relaxation: this is a group of keys"),
    ("search", "search.epochs==", "search.epochs==: this value has to be quoted, as in 'search.epochs=\"=\"'"),
    (
        "search",
        "search.alpha_betas=[0.5",
        "search.alpha_betas=[0.5: expected key=value or group=option; a value is plain, quoted, a [list]",
    ),
    ("search", "search", "search: expected key=value or group=option, found no ="),
    ("search", "=3", "=3: expected group=option or key=value"),
    ("search", "seed=${nothing}", "seed: Interpolation key 'nothing' not found"),
    ("search", "seed=${oc.env:NO_SUCH_VARIABLE}", "seed: ... Environment variable 'NO_SUCH_VARIABLE' not found"),
    ("search", "seed=???", "seed: Input should be a valid integer ... found '???'"),
    (
        "search",
        "--resume",
        "unknown flag --resume; expected one of -m, --multirun, -h, --help, --help=all, or key=value",
    ),
    ("export", "-x", "unknown flag -x; expected one of"),
    ("search", "seed=0,1", "seed ... -m"),
    ("search", "search.epochs=0 search.layers=2", "search.layers: ... found 2; search.epochs: ... found 0"),
]

OF_ALL = [
    ("search", "run=", "run: String should have at least 1 character, found ''"),
    ("search", "run=null", "run: Input should be a valid string, found None"),
    ("report", "compare=runs/a", "compare: expected a list, such as [a,b], found 'runs/a'"),
    ("report", "compare=[3]", "compare.0: Input should be a valid string, found 3"),
    ("search", "genotype=3", "genotype: Input should be a valid string, found 3"),
    ("search", "seed=-1", "seed: Input should be greater than or equal to 0, found -1"),
    ("search", "seed=abc", "seed: Input should be a valid integer ... found 'abc'"),
    ("search", "seed=1.5", "seed: Input should be a valid integer ... found 1.5"),
    ("search", "seed=true", "seed: expected a number, neither true nor false, found True"),
    ("search", "seed=[1]", "seed: Input should be a valid integer, found [1]"),
    ("search", "fabric.devices=0", "fabric.devices: Input should be greater than 0, found 0"),
    ("search", "fabric.devices=3", "search.batch_size=64 cannot be shared evenly by 3 processes"),
    ("search", "fabric.precision=16-mixed", "fabric.precision: Input should be '32-true' or 'bf16-mixed', found"),
    ("search", "fabric.accelerator=tpu", "fabric.accelerator: Input should be 'auto', 'cpu' or 'cuda', found 'tpu'"),
    ("search", "fabric.strategy=fsdp", "fabric.strategy: Input should be 'auto' or 'ddp', found 'fsdp'"),
    ("search", "fabric.threads=0", "fabric.threads: Input should be greater than 0, found 0"),
]

DATA = [
    ("search", "data=huggingface", "data.path names a folder or hub set and goes with data=huggingface"),
    ("search", "data.path=x", "data.path names a folder or hub set and goes with data=huggingface, and only with it"),
    ("search", "data.test_split=train", "data.train_split and data.test_split are both train: nothing"),
    ("search", "data.limit=0", "data.limit: Input should be greater than 0, found 0"),
    ("search", "data.limit=1e3.5", "data.limit: Input should be a valid integer ... found '1e3.5'"),
    ("search", "data.crop_padding=-1", "data.crop_padding: Input should be greater than or equal to 0, found -1"),
    ("search", "data.flip=often", "data.flip: Input should be a valid boolean ... found 'often'"),
    ("search", "data.cutout=-2", "data.cutout: Input should be greater than or equal to 0, found -2"),
]

RETRAIN = [
    ("retrain", "retrain.channels=5000", "retrain.channels: Input should be less than or equal to 4096, found 5000"),
    ("retrain", "retrain.held_back=1", "retrain.held_back: Input should be less than 1, found 1"),
    ("retrain", "retrain.drop_path=1", "retrain.drop_path: Input should be less than 1, found 1"),
    ("retrain", "retrain.parameters=0", "retrain.parameters: Input should be greater than 0, found 0"),
    ("retrain", "retrain.recipe=madry", "retrain.recipe: expected one of standard, pgd_at, trades, "),
    ("retrain", "retrain.beta=-1", "retrain.beta: Input should be greater than or equal to 0, found -1"),
    ("retrain", "retrain.replays=0", "retrain.replays: Input should be greater than 0, found 0"),
    ("retrain", "retrain.label_smoothing=1", "retrain.label_smoothing: Input should be less than 1, found 1"),
    ("retrain", "retrain.average_decay=1", "retrain.average_decay: Input should be less than 1, found 1"),
    ("retrain", "retrain.patience=0", "retrain.patience: Input should be greater than 0, found 0"),
    ("retrain", "retrain.check_overfitting=true", "retrain.check_overfitting ... recipe=pgd_at trains with pgd"),
    (
        "retrain",
        "retrain.awp_gamma=0.01 retrain.awp_warmup=600",
        "retrain.awp_warmup=600 leaves none of 600 epochs for AWP; use a smaller one",
    ),
]

EVALUATE = [
    ("evaluate", "evaluate.attacks=fgsm", "evaluate.attacks: expected a list, such as [a,b], found 'fgsm'"),
    ("evaluate", "evaluate.attacks=[fgsm,fgsm]", "evaluate.attacks: each attack is named once, found"),
    ("evaluate", "evaluate.attacks=[pgd-7]", "evaluate.attacks.0: expected one of fgsm, pgd-20, ... found 'pgd-7'"),
    ("evaluate", "evaluate.eps=-1", "evaluate.eps: Input should be greater than 0, found -1"),
    (
        "evaluate",
        "evaluate.eps=8",
        "evaluate.eps and sweep are radii in Linf, at most 1, found 8.0; pixels are in [0, 1]",
    ),
    ("evaluate", "evaluate.sweep=[0.1,2]", "evaluate.eps and sweep are radii in Linf, at most 1, found 2.0"),
    ("evaluate", "evaluate.sweep=[0.1,0.1]", "evaluate.sweep: each radius is named once, found"),
    ("evaluate", "evaluate.sweep_attack=cw", "evaluate.sweep_attack: expected one of fgsm, pgd-20, "),
    ("evaluate", "evaluate.norm=L1", "evaluate.norm: Input should be 'Linf' or 'L2', found 'L1'"),
    ("evaluate", "evaluate.norm=L2", "evaluate: fgsm is an attack in Linf; with evaluate.norm=L2 choose others"),
    ("evaluate", "evaluate.restarts=0", "evaluate.restarts: Input should be greater than 0, found 0"),
    ("evaluate", "evaluate.images=0", "evaluate.images: Input should be greater than 0, found 0"),
    ("evaluate", "evaluate.corruptions=[snow]", "evaluate.corruptions.0: Input should be 'gaussian_noise', "),
    ("evaluate", "evaluate.weights=w.safetensors", "evaluate.weights and model_arguments belong to evaluate.model="),
    ("evaluate", "evaluate.models=[runs/a]", "evaluate.models are two or more, and go without evaluate.model"),
    ("evaluate", "evaluate.models=[runs/a,runs/a]", "evaluate.models: each model is named once, found"),
    ("evaluate", "evaluate.surrogate=runs/a", "evaluate.surrogate is used by evaluate.checks=true"),
    (
        "evaluate",
        "evaluate.model_arguments=[1]",
        "evaluate.model_arguments: Input should be a valid dictionary, found [1]",
    ),
    ("report", "fabric.devices=2", "runs in one process; fabric.devices=2 is for search, retrain and evaluate"),
]

REST = [
    ("export", "export.formats=[]", "export.formats: expected at least one form, or null, found []"),
    ("export", "export.formats=[tflite]", "export.formats.0: Input should be 'json', 'darts', ... found 'tflite'"),
    ("export", "export.images=0", "export.images: Input should be greater than 0, found 0"),
    ("compare", "comparison.random=1", "comparison.random: Input should be greater than or equal to 2, found 1"),
    (
        "compare",
        "comparison.published=[DARTS_V9]",
        "comparison.published: expected names of published cells, each once: ",
    ),
    (
        "compare",
        "comparison.published=[RACL,RACL]",
        "comparison.published: expected names of published cells, each once: ",
    ),
    ("compare", "comparison.results=", "comparison.results: String should have at least 1 character, found ''"),
    ("pareto", "pareto.points=1", "pareto.points: Input should be greater than or equal to 2, found 1"),
    (
        "pareto",
        "pareto.walk=latency",
        "pareto.walk: Input should be 'parameters', 'macs' or 'preferences', found 'latency'",
    ),
    ("pareto", "pareto.bounds=[]", "pareto.bounds: ... at least 1 item"),
    ("pareto", "pareto.bounds=[3]", "pareto.bounds.0: expected a list, such as [a,b], found 3"),
    ("pareto", "pareto.walk=preferences pareto.bounds=[[1,2]]", "pareto.bounds are of pareto.walk=parameters or macs"),
    (
        "pareto",
        "pareto.preferences=[[1,2]]",
        "pareto.preferences are of pareto.walk=preferences; walk=parameters has none",
    ),
    ("pareto", "pareto.published=[DARTS_V9]", "pareto.published: expected published cells, each once: DARTS_V1, "),
    ("meta_train", "meta.architecture=lstm", "meta.architecture: expected one of mlp, hierarchical, ... found 'lstm'"),
    ("meta_train", "meta.families=[]", "meta.families: expected families of tasks, each once: "),
    ("meta_train", "meta.families=[imagenet]", "meta.families.0: expected one of mlp_digits, "),
    ("meta_train", "meta.families=[copy,copy]", "meta.families: expected families of tasks, each once: mlp_digits, "),
    ("meta_train", "meta.horizon=10", "meta.first_length=20 and meta.last_length=50: expected at most meta.horizon=10"),
    ("meta_train", "meta.full=true meta.estimator=pes", "meta.estimator=pes is for truncations; whole trainings"),
    ("meta_train", "meta.estimator=backprop", "meta.estimator=backprop goes through whole trainings; set meta.full"),
    ("meta_train", "meta.full=true meta.estimator=backprop meta.trainer=mlp", "meta.estimator=backprop is for Adam"),
    ("meta_train", "meta.architecture=gru meta.imitate.steps=1", "meta.imitate.steps=1: gru cannot imitate"),
    ("meta_train", "meta.imitate.teacher=adam", "meta.imitate.teacher: expected one of ... squashed ... found 'adam'"),
    ("meta_train", "meta.pairs=1", "meta.pairs: Input should be greater than or equal to 2, found 1"),
    ("meta_train", "meta.sigma=0", "meta.sigma: Input should be greater than 0, found 0"),
    ("demo", "fabric.devices=2", "runs in one process; fabric.devices=2 is for search, retrain and evaluate"),
    ("demo", "retrain.epochs=many", "retrain.epochs: Input should be a valid integer ... found 'many'"),
    ("cells", "retrain.layers=1", "retrain.layers: Input should be greater than or equal to 3, found 1"),
]

SETTINGS = [
    *KEYS_AND_GROUPS,
    *OF_ALL,
    *DATA,
    *OF_SEARCH,
    *RETRAIN,
    *EVALUATE,
    *REST,
]
