"""What other packages call what this one has: errors for unknown words name the right one.

An argument, a name given as a string or an attribute that does not exist is looked up in a table of the words of Keras, torch and
scikit-learn, and then among what is spelled alike. The tables say nothing of what is legal: signatures and registries do.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Of arguments: names here, of which the first that the callable has is meant, and the words of others for them.
ARGUMENTS = (
    ("x", "X"),
    ("X", "x"),
    ("x X data", "inputs"),
    ("x X", "features input"),
    ("data", "df"),
    ("y target", "labels targets"),
    ("y", "target"),
    ("target", "y"),
    ("y truth", "y_true"),
    ("predicted forecast", "y_pred"),
    ("size", "n_classes n_outputs num_classes num_embeddings num_tokens out_features output_size"),
    ("size max_vocabulary", "vocab_size"),
    ("features embedding_size", "embed_dim embedding_dim"),
    ("features size", "output_dim"),
    ("hidden_size size", "n_units units"),
    ("size", "hidden_size"),
    ("hidden_size", "size hidden hidden_dim hidden_layer_sizes hidden_units n_hidden num_units rnn_size"),
    ("num_layers", "depth layers n_layers"),
    ("bias", "use_bias"),
    ("init", "initializer kernel_initializer recurrent_initializer weight_init"),
    ("forget_bias", "unit_forget_bias"),
    ("reverse", "go_backwards"),
    ("merge", "merge_mode"),
    ("activation", "act nonlinearity"),
    ("dropout rate", "dropout_rate"),
    ("rate dropout", "p"),
    ("dropout", "rate"),
    ("rate", "prob"),
    ("kind", "mode pool_type"),
    ("cell", "cell_type model rnn_type"),
    ("learning_rate", "eta eta0 learning_rate_init lr"),
    ("learning_rate every", "step_size"),
    ("epochs", "max_epochs max_iter n_epochs n_iter nb_epoch num_epochs"),
    ("ensemble n epochs", "n_estimators"),
    ("validation split", "eval_set val_data val_split valid validation_data validation_fraction validation_split"),
    ("patience", "early_stopping early_stopping_rounds n_iter_no_change"),
    ("sample_weight", "sample_weights weights"),
    ("seed", "generator random_state"),
    ("random_state", "seed"),
    ("seed random_state", "random_seed"),
    ("loss", "criterion loss_fn loss_function objective"),
    ("optimizer", "optim solver"),
    ("schedule", "lr_schedule lr_scheduler scheduler"),
    ("clip_norm", "clipnorm grad_clip gradient_clip_val max_grad_norm"),
    ("clip_norm limit", "max_norm"),
    ("clip_value", "clipvalue"),
    ("tbptt", "bptt truncate"),
    ("accumulate", "accumulate_grad_batches"),
    ("average", "ema ema_decay use_ema"),
    ("lengths seq_length lookback", "sequence_length"),
    ("lengths", "input_lengths mask seq_lengths sequence_lens"),
    ("seq_length lookback", "seq_len"),
    ("state", "h0 hidden_state hx initial_state"),
    ("n_threads", "n_jobs num_threads num_workers workers"),
    ("verbose", "progress progress_bar verbosity"),
    ("path", "file filename filepath fname"),
    ("device", "map_location"),
    ("betas", "beta1 beta2 beta_1 beta_2"),
    ("eps", "epsilon"),
    ("alpha", "rho"),
    ("weight_decay", "l2"),
    ("weight_decay gamma", "decay"),
    ("class_weight", "class_weights weight"),
    ("label_smoothing", "smoothing"),
    ("lookback", "context_length input_chunk_length lags look_back n_lags window window_size"),
    ("horizon", "fh forecast_horizon h n_ahead output_chunk_length prediction_length steps_ahead"),
    ("delay", "gap"),
    ("difference", "differencing"),
    ("scale", "normalize scaler"),
    ("text", "corpus"),
    ("length", "max_length max_new_tokens num_chars"),
    ("length count", "n"),
    ("prime", "prefix prompt"),
    ("unit", "level tokenizer"),
    ("max_vocabulary", "max_features"),
    ("min_count", "min_df min_freq"),
    ("metrics", "metric scoring"),
)

# Of arguments that nothing here is called by: what to do instead.
ADVICE = {
    "batch_first": "leave it out: arrays are always (samples, time steps, features)",
    "time_major": "leave it out: arrays are always (samples, time steps, features)",
    "activation": "the functions of its gates are fixed; RNN, IndRNN and Dense have activation",
    "recurrent_activation": "the functions of its gates are fixed; RNN, IndRNN and Dense have activation",
    "input_size": "leave it out: the model has it, Model([...], input_size=...)",
    "in_features": "leave it out: sizes follow from Model([...], input_size=...)",
    "input_dim": "leave it out: sizes follow from Model([...], input_size=...)",
    "input_shape": "leave it out: the model has its number of features, Model([...], input_size=...)",
    "batch_input_shape": "leave it out: the model has its number of features, Model([...], input_size=...)",
    "return_state": "leave it out: Model.forward returns the outputs and the final states",
    "stateful": "leave it out: states are arguments and results, outputs, state = model.forward(x, state)",
    "mask_zero": "leave it out: pass lengths= to fit and predict",
    "return_sequences": "recurrent layers have it",
    "unroll": "leave it out: the time loop is compiled",
    "metrics": "model.evaluate(x, y, metrics=[...]) computes them",
    "class_weight": "losses have it: loss=numbarnn.losses.SoftmaxCrossEntropy(class_weight=...)",
    "from_logits": "leave it out: losses take logits",
    "reduction": "Model.loss_and_grad has it",
    "steps_per_epoch": "leave it out: an epoch is the whole of the data",
    "initial_epoch": "leave it out; fit(checkpoint=, resume=) resumes a run",
    "dim": "leave it out: classes are the last axis",
    "axis": "leave it out: arrays are (samples, time steps, features)",
    "kernel_regularizer": "leave it out: optimizers have weight_decay",
    "recurrent_regularizer": "leave it out: optimizers have weight_decay",
    "momentum": "optimizers have it: optimizer=numbarnn.optim.SGD(0.01, momentum=0.9)",
    "weight_decay": "optimizers have it: optimizer=numbarnn.optim.AdamW(weight_decay=0.01)",
    "betas": "optimizers have it: optimizer=numbarnn.optim.Adam(betas=(0.9, 0.999))",
    "params": "leave it out: optimizers are records, and fit knows the parameters",
    "callbacks": "Model.fit has it",
    "shuffle": "Model.fit has it",
    "fit_intercept": "leave it out",
}

# The same of names given as strings and of attributes; the words of others are without case, "_", "-" and "loss" at the end.
NAMES = (
    ("binary_cross_entropy BinaryCrossEntropy", "bce bcewithlogits binarycrossentropy sigmoidcrossentropy"),
    (
        "softmax_cross_entropy SoftmaxCrossEntropy",
        "categoricalcrossentropy ce crossentropy log logloss nll softmax sparsecategoricalcrossentropy",
    ),
    ("mse MeanSquaredError rmse", "meansquarederror mse"),
    ("mse MeanSquaredError", "l2"),
    ("mse", "squarederror"),
    ("rmse mse", "rootmeansquarederror"),
    ("mae MeanAbsoluteError", "l1 mae meanabsoluteerror"),
    ("mae", "absoluteerror"),
    ("huber Huber", "smoothl1"),
    ("quantile pinball_loss Quantile", "pinball"),
    ("gaussian Gaussian", "gaussiannll"),
    ("gaussian", "normal"),
    ("negative_binomial NegativeBinomial", "negbinomial"),
    ("accuracy", "acc accuracyscore"),
    ("f1", "classificationreport f1score"),
    ("r2", "r2score"),
    ("confusion", "confusionmatrix"),
    ("label_error_rate", "cer editdistance wer"),
    ("rnn RNN", "elman simplernn"),
    ("mingru MinGRU", "minimalgru"),
    ("minlstm MinLSTM", "minimallstm"),
    ("identity Dense", "linear"),
    ("logistic", "sigmoid"),
    ("mean", "average avg"),
    ("Model", "functional module sequential"),
    ("EmbeddingBag", "embeddingbag"),
    ("Pool", "avgpool1d globalaveragepooling1d globalmaxpooling1d"),
    ("StepDecay", "steplr"),
    ("Cosine", "cosineannealing cosineannealinglr"),
    ("ExponentialDecay", "exponentiallr"),
    ("MultiStep", "multisteplr"),
    ("OneCycle", "onecyclelr"),
    ("ReduceOnPlateau", "reducelronplateau"),
    ("WarmUp", "linearlr"),
    ("clip_by_norm", "clipgradnorm"),
    ("clip_by_value", "clipgradvalue"),
    ("Adam adam", "adamax nadam"),
    ("RMSprop", "rmspropoptimizer"),
    ("SequenceScaler", "minmaxscaler standardscaler"),
    ("character", "char chars"),
    ("word", "words"),
    ("byte", "bytes"),
    ("cuda", "gpu"),
    ("ArraySource", "dataloader tensordataset"),
    ("best_path", "ctcgreedydecoder greedy greedydecode"),
    ("beam_search", "ctcbeamsearchdecoder"),
    ("CharLM", "charrnn"),
    ("SequenceClassifier", "lstmclassifier"),
    ("SequenceRegressor", "lstmregressor"),
    ("keras", "glorotuniform xavier xavieruniform"),
)

# Of attributes that nothing here is called by: where what is meant is.
ELSEWHERE = {
    "Bidirectional": "recurrent layers have it: LSTM(32, bidirectional=True)",
    "TimeDistributed": "Dense acts at every step by itself",
    "Input": "Model([...], input_size=...) says how many features a step has",
    "InputLayer": "Model([...], input_size=...) says how many features a step has",
    "Masking": "pass lengths= to fit and predict",
    "pack_padded_sequence": "pass lengths= to fit and predict, or a list of arrays",
    "pad_sequence": "pass a list of arrays, or lengths=",
    "Softmax": "losses take logits, and Model.predict_proba applies the softmax",
    "Adam": "it is numbarnn.optim.Adam",
    "AdamW": "it is numbarnn.optim.AdamW",
    "SGD": "it is numbarnn.optim.SGD",
    "RMSprop": "it is numbarnn.optim.RMSprop",
    "nn": "layers are names of numbarnn itself: numbarnn.LSTM",
    "parameters": "params has the parameters by name, and state_dict() copies of them",
    "named_parameters": "params.items() are the parameters by name",
    "weights": "params has the parameters by name, and state_dict() copies of them",
    "trainable_weights": "params has the parameters by name",
    "get_weights": "state_dict() returns copies of the parameters by name",
    "set_weights": "load_state_dict sets the parameters by name",
    "load_weights": "load_state_dict sets the parameters by name",
    "save_weights": "save writes the model, and state_dict() returns copies of the parameters",
    "count_params": "params.size is the number of parameters",
    "num_parameters": "params.size is the number of parameters",
    "eval": "leave it out: dropout acts in fit alone",
    "train": "fit trains; dropout acts there alone, so there is no mode to set",
    "compile": "leave it out: fit takes loss and optimizer",
    "zero_grad": "leave it out: fit, and loss_and_grad returns gradients",
    "backward": "loss_and_grad returns the gradients, and vjp those of any function of the outputs",
    "to": "the device is an argument: Model(..., device='cuda'), load(path, device='cuda')",
    "cuda": "the device is an argument: Model(..., device='cuda'), load(path, device='cuda')",
    "cpu": "the device is an argument: load(path, device='cpu')",
    "double": "Model(..., dtype='float64')",
    "half": "dtype is 'float32' or 'float64'",
    "add": "layers come in a list: Model([LSTM(32), Dense(3)], input_size=5)",
    "train_on_batch": "Trainer(model, ...).train_batch does one step",
    "fit_generator": "fit takes a source of batches",
    "predict_classes": "predict returns classes",
    "predict_on_batch": "predict",
    "predict_step": "predict or step",
    "score": "evaluate returns the loss and metrics",
    "history": "fit returns the History",
    "reset_states": "states are arguments: forward(x, state)",
    "input_shape": "signals[0] says what the model reads",
    "output_shape": "signals[-1] says what the model gives",
}


@functools.cache
def _own(table: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    """Return the names here for every word of others."""
    found: dict[str, list[str]] = {}
    for own, words in table:
        for word in words.split():
            found.setdefault(word, []).extend(own.split())
    return found


def close_match(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word stands for in other packages, or that is spelled like it; None where there is none."""
    import difflib  # takes 3 ms, which only errors need

    choices = [choice for choice in choices if isinstance(choice, str)]
    bare, spelled = _bare(word), {_bare(choice): choice for choice in reversed(choices)}
    for key in (bare, bare.removesuffix("loss")):
        for name in (*_own(NAMES).get(key, ()), spelled.get(key)):
            if name in choices:
                return name
    lower = {choice.lower(): choice for choice in reversed(choices)}
    found = difflib.get_close_matches(word.lower(), lower, 1, 0.7)
    return lower[found[0]] if found else None


def _bare(word):
    return re.sub(r"[\W_]", "", word.lower())


def did_you_mean(word: Any, choices: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a word that is none of the choices, "" where nothing is like it."""
    found = close_match(word, choices) if isinstance(word, str) and 0 < len(word) <= 60 else None
    return f"; did you mean {found!r}?" if found is not None else ""


def check_arguments(
    function: Callable, owner: str, options: Iterable[str], other: Callable | None = None, other_owner: str = ""
) -> None:
    """Raise TypeError for names of arguments that a function does not have; the message names those that it or another has."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    names = [name for name, p in parameters.items() if name != "self" and p.kind is not p.POSITIONAL_ONLY]
    for name in options:
        if name not in names:
            others = inspect.signature(other).parameters if other is not None else ()
            instead = _instead(name, names, others, other_owner)
            raise TypeError(f"{owner}() got an unexpected argument {name!r}; {instead}")


def _instead(name, names, others, other_owner):
    words = [name, *_own(ARGUMENTS).get(name, ())]
    for own in words:
        if own in names:
            return f"did you mean {own}?"
    for own in words:
        if own in others and own != "self":
            return f"{other_owner} takes {own}"
    if name in ADVICE:
        return ADVICE[name]
    found = close_match(name, names)
    return f"did you mean {found}?" if found is not None else f"its arguments are {', '.join(names) or 'none'}"


class Suggesting:
    """Base of classes whose constructor and methods name the right word for an argument that they do not have.

    Signatures, copies and pickles are as without it, if no class with an ``__init__`` of its own has ``__new__`` too, which
    `inspect.signature` would show.
    """

    # Called a few times a program; a call of each costs a microsecond more.
    SUGGESTING = (
        "fit",
        "predict",
        "predict_proba",
        "evaluate",
        "score",
        "sample",
        "save",
        "load",
        "backtest",
        "predict_interval",
    )

    def __new__(cls, *args, **options):
        if options:
            check_arguments(cls.__init__, cls.__name__, options, getattr(cls, "fit", None), "fit")
        return super().__new__(cls)

    def __init_subclass__(cls, **options):
        for name in cls.SUGGESTING:
            method = vars(cls).get(name)
            if inspect.isfunction(method):
                setattr(cls, name, suggesting(method))
            elif isinstance(method, classmethod):
                setattr(cls, name, classmethod(suggesting(method.__func__)))
        super().__init_subclass__(**options)


def suggesting(function: F) -> F:
    """Return a function that names the right word for an argument that it does not have; a decorator.

    Parameters
    ----------
    function : function

    Returns
    -------
    function
        With the signature and documentation of the other.
    """
    names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args, **options):
        if not options.keys() <= names:
            cls = type(args[0]) if args and isinstance(args[0], Suggesting) else None
            known = () if cls is None else (cls.__init__, cls.__name__)
            check_arguments(function, function.__qualname__, options, *known)
        return function(*args, **options)

    return call  # type: ignore[return-value]


def no_attribute(owner: str, name: str, names: Iterable[str]) -> AttributeError:
    """Return the error of an attribute that a module or object does not have."""
    instead = "" if name.startswith("__") else ELSEWHERE.get(name) or did_you_mean(name, names).removeprefix("; ")
    return AttributeError(f"{owner} has no attribute {name!r}" + (f"; {instead}" if instead else ""))


def module_attributes(module: str, names: Iterable[str]) -> Callable[[str], NoReturn]:
    """Return the ``__getattr__`` of a module, for names that it does not have."""

    def __getattr__(name: str) -> NoReturn:  # noqa: N807
        raise no_attribute(f"module {module!r}", name, names)

    return __getattr__
