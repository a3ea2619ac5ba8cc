"""Every field of a config with its default: what `--config.<field>=` may override."""

from typing import Any, TypeAlias

import ml_collections

from dact_jax import errors, plugins

Config: TypeAlias = ml_collections.ConfigDict

CHOSEN = {"methods": "method", "acquisitions": "acquisition", "policies": "policy"}
PRETRAIN_METHOD = "source_only"  # whose losses pre-training minimizes
STAGE_POLICY = "fixed"  # of pre-training and the loss predictor: one round
_ALIASES = ("source", "target")  # short names of data.source and data.target


def get_config() -> Config:
    """The default experiment; a file in configs/ changes some of its fields.

    The options of each method, acquisition and policy are fields under its name, such
    as `methods.mme.weight`; their defaults are those of its `make`.
    """
    config = Config()
    config.name = "run"  # the default workdir is runs/<name>_seed<seed>
    config.seed = 0
    # Published results that the report shows: (name, target labels, accuracy in %), ...
    config.reference = ()
    config.tensorboard = False  # also write event files; needs the extra "tensorboard"
    config.figures = True  # draw embeddings, feature maps and picks at the end

    config.method = "mme"  # how a network is trained: a file of dact_jax/methods/
    config.policy = "single"  # what is bought when: dact_jax/policies/
    config.acquisition = "k_center"  # ranks the target pool: dact_jax/acquisitions/
    # Ranks the source, where the policy chooses source samples ("dual": D_AcT).
    config.source_acquisition = "predicted_loss"
    for family in CHOSEN:
        config[family] = {
            name: plugins.options(family, name) for name in plugins.names(family)
        }

    # A domain: "printed", "uci", "tfds:mnist", "tfds:svhn_cropped"; or the path of a
    # folder with one folder a class, of a manifest.csv (path,label[,split]), of a
    # list.txt ("path label"), or of an .npz with digits (x_train, y_train, x_test,
    # y_test) or embeddings (features). Also called data.source and data.target.
    config.source = config.target = ""
    config.data = _data()
    config.data.source = config.get_ref("source")  # one field with two names
    config.data.target = config.get_ref("target")
    config.model = _model()
    config.train = _train()
    config.pretrain = _pretrain()
    config.loss_predictor = _loss_predictor()
    config.eval = _eval()
    return config


def _data() -> Config:
    data = Config()
    data.root = ""  # folder that paths in manifests and lists are relative to
    data.tfds_dir = ""  # folder of prepared TFDS data; empty: the default of TFDS
    data.size = 28  # images are stored as uint8[N, size, size, channels]
    data.channels = 1
    data.scale = "unit"  # embeddings: "unit" (mean square 1) or "raw" (as they are)
    data.on_error = "raise"  # at an unreadable image: "raise", or "skip" and count it
    data.device_bytes = 2**30  # pools up to this size are kept in device memory

    # What the network gets: in training a random crop, in evaluation the center.
    data.crop = 28  # its side in pixels
    # Range of the share of the image that a training crop covers, such as (0.08, 1.0),
    # before it is resized to `crop`; (0.0, 0.0): crops of `crop` pixels, not resized.
    data.crop_area = (0.0, 0.0)
    data.flip = False  # mirror half of the training images
    data.mean = (0.5,)  # subtracted from pixels in [0, 1], per channel
    data.std = (0.5,)  # then divides them, per channel

    # A third of the labelled target images tests, unless the data name test images.
    data.val_per_class = 3  # size of T_v: labelled target images for validation
    data.shots_per_class = (
        0  # target images a class whose labels are given at the start
    )
    data.transductive = False  # adapt to the images that test (starred variants):
    # "all": no third is held out, unlabelled target images test; "test": to the third.
    data.transductive_set = "all"
    # MME's list files, which fix T_l, T_v and T_u (= test): give all three, or none.
    data.labelled_list = ""
    data.val_list = ""
    data.unlabeled_list = ""
    return data


def _model() -> Config:
    model = Config()
    model.encoder = "lenet"  # lenet, resnet18, resnet34, resnet50; mlp on embeddings
    model.variant = "torchvision"  # of ResNets: "torchvision", or "mme" (MME's code)
    model.batch_norm = False  # in lenet and mlp; ResNets always have it
    model.dropout = 0.5  # rate in lenet and mlp
    model.widths = (512,)  # of the layers of mlp; the last is the embedding's
    model.num_norms = 1  # batch norm: 1, shared by the domains; 2, one each (DSBN)
    model.shared_affine = False  # DSBN: scale and bias are shared, only moments are not
    model.weights = ""  # .safetensors, .pth or .npz file that the encoder starts from
    # How convolutions are computed: "stock" (XLA's), "tiled" (faster on CPU), or
    # "auto" ("tiled" on CPU, else "stock").
    model.convolution = "auto"
    return model


def _train() -> Config:
    """Training in the rounds."""
    train = Config()
    train.steps = 300  # iterations in a round
    train.first_steps = 0  # iterations in round 0; 0: as many as in the others
    train.progress_steps = 0  # iterations that schedules span; 0: those of the round
    train.batch_source = 32  # labelled source images in a batch
    train.batch_target = 32  # labelled target images; equal to batch_source
    train.batch_unlabeled = 64  # unlabelled target images
    train.optimizer = "sgd"  # or "adam", with L2 in the gradient
    train.learning_rate = 0.01
    # Learning rate at iteration i of n:
    #   "inverse"   learning_rate * (1 + gamma * i) ** -power
    #   "annealed"  learning_rate * (1 + alpha * i / n) ** -power
    #   "step"      learning_rate * factor ** j in part j = 0, 1, ... of `decays` parts
    #   "constant"  learning_rate
    train.schedule = "inverse"
    train.gamma = 1e-4
    train.power = 0.75
    train.alpha = 10.0
    train.decays = 3
    train.factor = 0.5
    train.momentum = 0.9  # of SGD; beta1 of Adam
    train.nesterov = True  # of SGD
    train.weight_decay = 5e-4  # L2
    train.decay_others = True  # whether weight decay applies to `others` (see below)
    # Factors on the learning rate; 0 freezes the parameters, but not the moments of
    # batch norm. "others" is all that is not one of the first three: discriminators.
    train.multipliers = Config(
        {"encoder": 1.0, "bottleneck": 1.0, "classifier": 1.0, "others": 1.0}
    )
    train.bias_multiplier = 1.0  # a further factor for biases (Caffe: 2)
    train.carry_weights = True  # a round starts from the weights of the one before
    train.carry_optimizer = False  # ... and from its momentum and learning rate
    train.chunk = 25  # iterations that one call of the device runs
    train.save_every = 100  # iterations between checkpoints; a multiple of chunk
    train.eval_batch = 256  # images in a batch of evaluation
    return train


def _pretrain() -> Config:
    """Training before round 0, on the source alone."""
    pretrain = _stage(steps=0, batch=64)  # 0 steps: no pre-training
    # Folder of its checkpoint, which other runs reuse; empty: the run's own folder.
    pretrain.folder = ""
    return pretrain


def _loss_predictor() -> Config:
    """Training of the loss predictor (D_AcT), each time that it is trained."""
    return _stage(steps=500, batch=32)


def _stage(*, steps: int, batch: int) -> Config:
    """Training on labels alone; settings that are not here are those of `train`."""
    stage = Config()
    stage.steps = steps  # iterations
    stage.batch = batch  # images in a batch
    stage.optimizer = "sgd"  # or "adam"
    stage.learning_rate = 0.01
    stage.schedule = "inverse"
    stage.momentum = 0.9
    stage.weight_decay = 5e-4
    return stage


def _eval() -> Config:
    evaluation = Config()
    evaluation.every = 0  # iterations between evaluations; 0: at the end of a round
    # The weights that a round ends with: its "last", or those of its "best_val"
    # accuracy on T_v.
    evaluation.keep = "last"
    evaluation.branch = "target"  # DSBN: whose batch norm the target is evaluated with
    evaluation.crops = 1  # or 10: four corners and the center, and their mirror images
    return evaluation


def in_use(config: Config) -> dict[str, list[str]]:
    """The plug-ins that a run of the config uses, by family.

    Raises:
      InputError: there is no such policy.
    """
    used = {family: [config[field]] for family, field in CHOSEN.items()}
    loss_predictor = plugins.loss_predictor(config.policy)
    if loss_predictor is not None:
        used["methods"].append(loss_predictor)
        used["acquisitions"].append(config.source_acquisition)
    return used


def identity(config: Config) -> dict[str, Any]:
    """What makes two runs the same: the config without fields that have no influence.

    These are the options of plug-ins that are not in use, what is only shown, the
    folder of pre-training, and the short names of data.source and data.target.
    """
    values = config.to_dict()
    used = in_use(config)
    if plugins.loss_predictor(config.policy) is None:
        del values["loss_predictor"], values["source_acquisition"]
    for family, names in used.items():
        values[family] = {name: values[family].get(name, {}) for name in names}
    values["pretrain"].pop("folder", None)
    left_out = ("tensorboard", "figures", "reference", *_ALIASES)
    return {name: value for name, value in values.items() if name not in left_out}


def check(config: Config) -> None:
    """Checks names and types of all fields.

    Raises:
      InputError: a field has no default, with the most similar name that has; a value
        has another type than its default; or a field with two names has two values.
    """
    default = get_config()
    known = fields(default)
    given = fields(config)
    for field in known:
        if field not in given and field not in _ALIASES:
            raise errors.InputError(f"config lacks the field {field!r}.")
    for field, value in given.items():
        check_field(field, default)
        check_type(field, value, known[field])
    for name in _ALIASES:  # a config made from a dict has both
        long = given.get(f"data.{name}")
        if given.get(name, long) != long:
            raise errors.InputError(
                f"config.{name}={given[name]!r} and config.data.{name}={long!r} are "
                "one field: give both the same value."
            )


def check_field(field: str, config: Config) -> None:
    """Checks that the config has a field of this dotted name.

    Raises:
      InputError: it has none; the message suggests the most similar name.
    """
    known = fields(config)
    if field not in known:
        near = errors.suggestion(field, tuple(known))
        raise errors.InputError(f"config has no field {field!r}; {near}")


def check_type(field: str, value: Any, default: Any) -> None:
    """Checks that a value has the type of the field's default.

    Raises:
      InputError: it has not; an int is accepted for a float, a list for a tuple.
    """
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


def fields(config: Config) -> dict[str, Any]:
    """Leaves of the config by dotted name, such as {"train.steps": 300}."""
    leaves: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            leaves |= {f"{name}.{inner}": leaf for inner, leaf in fields(value).items()}
        else:
            leaves[name] = value
    return leaves
