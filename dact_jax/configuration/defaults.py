"""Every field of a config with its default: what `--config.<field>=` may override."""

import pathlib
import runpy
from typing import Any

import ml_collections

from dact_jax import errors, plugins

CHOOSES_SOURCE = "dual"  # the policy that has a loss predictor, and
PREDICTOR = "loss_prediction"  # the method that trains it
_ALIASES = ("source", "target")  # data.source and data.target, for short


def get_config() -> ml_collections.ConfigDict:
    """The default experiment; a file in configs/ changes what differs.

    The options of each method, acquisition and policy stand under its name, such as
    `methods.mme.weight`, and come from its `make`.
    """
    config = ml_collections.ConfigDict()
    config.name = "run"  # the default workdir is runs/<name>_seed<seed>
    config.seed = 0
    config.reference = ()  # published: (whose, target labels, accuracy in %), ...
    config.tensorboard = False  # also write event files; needs the extra "tensorboard"
    config.figures = True  # pictures of embeddings, feature maps and picks in the end

    config.method = "mme"
    config.policy = "single"
    config.acquisition = "k_center"
    config.source_acquisition = "predicted_loss"  # of policy "dual" (D_AcT)
    for family in ("methods", "acquisitions", "policies"):
        config[family] = {
            name: plugins.options(family, name) for name in plugins.names(family)
        }

    config.data = ml_collections.ConfigDict()
    # "printed", "uci", "tfds:mnist", "tfds:svhn_cropped", or a path: a folder of class
    # folders, manifest.csv (path,label[,split]), list.txt (path label), or an .npz
    # of digits (x_train, y_train, x_test, y_test) or of embeddings (features).
    config.source = config.target = ""
    config.data.source = config.get_ref("source")  # one field with two names
    config.data.target = config.get_ref("target")
    config.data.root = ""  # folder that the paths of manifests and lists start from
    config.data.tfds_dir = ""  # where TFDS keeps its prepared data; empty: its default
    config.data.size = 28  # images are stored as uint8[N, size, size, channels]
    config.data.channels = 1
    config.data.scale = "unit"  # embeddings: to a mean square of 1; or "raw"
    config.data.on_error = "raise"  # an unreadable image: "raise", or "skip" and count
    config.data.device_bytes = 2**30  # a pool up to this size lives on the device
    # What the network sees of it: a random cut, and the centre in evaluation.
    config.data.crop = 28
    config.data.crop_area = (0.0, 0.0)  # or cuts of such shares of it, resized to crop
    config.data.flip = False
    config.data.mean = (0.5,)  # of pixels in [0, 1], per channel
    config.data.std = (0.5,)
    config.data.val_per_class = 3  # T_v, labelled target images for validation
    config.data.shots_per_class = 0  # labelled target images a class that come for free
    config.data.transductive = False  # the starred variants: adapt to what is tested
    config.data.transductive_set = "all"  # "all" of the target, or its "test" third
    config.data.labelled_list = ""  # list files that fix T_l, T_v and T_u = test (MME)
    config.data.val_list = ""
    config.data.unlabeled_list = ""

    config.model = ml_collections.ConfigDict()
    config.model.encoder = "lenet"  # lenet, resnet18, resnet34, resnet50, mlp
    config.model.variant = "torchvision"  # ResNets: "torchvision", or "mme"
    config.model.batch_norm = False  # LeNet and mlp
    config.model.dropout = 0.5  # LeNet and mlp
    config.model.widths = (512,)  # mlp: of each layer; the last is the embedding's
    config.model.num_norms = 1  # 1: shared batch norm; 2: one for each domain (DSBN)
    config.model.shared_affine = False  # of DSBN: only the moments are the domain's own
    config.model.weights = ""  # .safetensors, .pth or .npz to start the encoder from
    config.model.convolution = "auto"  # "stock"; "tiled" (fast on CPU); by the device

    config.train = _train()
    config.pretrain = _pretrain()
    config.loss_predictor = _predictor()
    config.eval = _eval()
    return config


def _train() -> ml_collections.ConfigDict:
    train = ml_collections.ConfigDict()
    train.steps = 300  # iterations a round
    train.first_steps = 0  # of round 0; 0: as the others
    train.progress_steps = 0  # length of all schedules; 0: the round's
    train.batch_source = 32
    train.batch_target = 32  # the same: methods may stack both in one forward pass
    train.batch_unlabeled = 64
    train.optimizer = "sgd"  # or "adam", with L2 in the gradient
    train.learning_rate = 0.01
    # At iteration i of n: "inverse" lr (1 + gamma i)^-power; "annealed" lr (1 + alpha
    # i / n)^-power; "step" lr factor^j in the j-th of `decays` parts; "constant".
    train.schedule = "inverse"
    train.gamma = 1e-4
    train.power = 0.75
    train.alpha = 10.0
    train.decays = 3
    train.factor = 0.5
    train.momentum = 0.9  # of SGD; Adam's beta1
    train.nesterov = True
    train.weight_decay = 5e-4  # L2
    train.decay_others = True  # whether discriminators have it too
    # Of the learning rate; 0 freezes parameters (running moments still follow the
    # batches). Others: whatever a method has besides these.
    train.multipliers = ml_collections.ConfigDict(
        {"encoder": 1.0, "bottleneck": 1.0, "classifier": 1.0, "others": 1.0}
    )
    train.bias_multiplier = 1.0  # on top, of biases (Caffe: 2)
    train.carry_weights = True  # a round goes on from the last round's weights
    train.carry_optimizer = False  # and from its momentum and learning rate
    train.chunk = 25  # iterations a dispatch
    train.save_every = 100  # iterations between two checkpoints of a round
    train.eval_batch = 256
    return train


def _pretrain() -> ml_collections.ConfigDict:
    """A stage before round 0, on the source alone."""
    pretrain = _stage(steps=0, batch=64)  # 0: no such stage
    pretrain.folder = ""  # where it is kept, for runs one after another; empty: own
    return pretrain


def _predictor() -> ml_collections.ConfigDict:
    """Training of D_AcT's loss predictor, each time that it is trained."""
    return _stage(steps=500, batch=32)


def _stage(*, steps: int, batch: int) -> ml_collections.ConfigDict:
    """A training on labels alone; rates and schedules not here are train's."""
    stage = ml_collections.ConfigDict()
    stage.steps = steps  # iterations
    stage.batch = batch
    stage.optimizer = "sgd"
    stage.learning_rate = 0.01
    stage.schedule = "inverse"
    stage.momentum = 0.9
    stage.weight_decay = 5e-4
    return stage


def _eval() -> ml_collections.ConfigDict:
    evaluation = ml_collections.ConfigDict()
    evaluation.every = 0  # iterations; 0: at the end of each round only
    evaluation.keep = "last"  # whose weights go on; or "best_val", by T_v
    evaluation.branch = "target"  # of DSBN, that the target passes; or "source"
    evaluation.crops = 1  # or 10: four corners and centre, each mirrored too
    return evaluation


def identity(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What makes two runs the same: the config without what has no influence.

    That is the options of plug-ins that are not in use, what is only shown, where
    pre-training is kept, and the second names of data.source and data.target.
    """
    found = config.to_dict()
    used = {
        "methods": [config.method],
        "acquisitions": [config.acquisition],
        "policies": [config.policy],
    }
    if config.policy == CHOOSES_SOURCE:
        used["methods"].append(PREDICTOR)
        used["acquisitions"].append(config.source_acquisition)
    else:
        del found["loss_predictor"], found["source_acquisition"]
    for family, names in used.items():
        found[family] = {name: found[family].get(name, {}) for name in names}
    found["pretrain"].pop("folder", None)
    left_out = ("tensorboard", "figures", "reference", *_ALIASES)
    return {name: value for name, value in found.items() if name not in left_out}


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses fields that no default has, and values of another type.

    Raises:
      InputError: names the field, and the nearest valid one or the type wanted; or a
        field with two names has two values.
    """
    default = get_config()
    known = fields(default)
    given = fields(config)
    for field, value in given.items():
        check_field(field, default)
        check_type(field, value, known[field])
    for name in _ALIASES:  # a config may come from a dict, in which they are two
        long = given.get(f"data.{name}")
        if given.get(name, long) != long:
            raise errors.InputError(
                f"config.{name}={given[name]!r} and config.data.{name}={long!r} are "
                "one field: give both the same value."
            )


def check_field(field: str, config: ml_collections.ConfigDict) -> None:
    """Refuses a dotted name that is no field of the config.

    Raises:
      InputError: names the nearest valid one.
    """
    known = fields(config)
    if field not in known:
        near = errors.suggestion(field, tuple(known))
        raise errors.InputError(f"config has no field {field!r}; {near}")


def load(spec: str) -> ml_collections.ConfigDict:
    """The config of a file: "path.py", or "path.py:argument of get_config".

    Raises:
      InputError: no such file, or it has no get_config.
    """
    path, _, argument = spec.partition(":")
    if not pathlib.Path(path).is_file():
        raise errors.InputError(f"there is no config file {path!r}.")
    found = runpy.run_path(path)
    if "get_config" not in found:
        raise errors.InputError(f"the config file {path!r} defines no get_config().")
    return found["get_config"](*[argument] if argument else [])


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Leaves by dotted name, such as {"train.steps": 300}."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            found |= {f"{name}.{inner}": leaf for inner, leaf in fields(value).items()}
        else:
            found[name] = value
    return found


def check_type(field: str, value: Any, default: Any) -> None:
    """Raises InputError if the value has not the type of the field's default."""
    wanted = type(default)
    fits = isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
    if wanted is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is tuple:
        fits = isinstance(value, (tuple, list))
    if not fits:
        raise errors.InputError(
            f"config.{field}={value!r} must be of type {wanted.__name__}, "
            f"such as {default!r}."
        )
