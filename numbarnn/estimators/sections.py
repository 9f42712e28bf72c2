"""Sections that the docstrings of the estimators share."""

NET = """
    cell : str
        "lstm", "gru", "rnn", "indrnn", "mingru", "minlstm", or another recurrent layer or registered cell.
    hidden_size, num_layers : int
    bidirectional : bool"""
SCALE = """
    scale : {"auto", "standard", "minmax", "robust"} or None
        How the features of X are scaled by the data of training; what predicts applies the same scales, and files have them.
        "auto": each feature less its mean, divided by its standard deviation, but for features that are 0 and 1 alone; None:
        as they are. Tokens and strings have no scale. See `numbarnn.estimators`."""
TRAINING = """
    optimizer : str or Optimizer
    learning_rate : float, optional
        Not beside an optimizer object, which has its own. None: 0.003 for "adam" and "adamw", for all others the optimizer's own.
    schedule : Schedule, optional
        Of `numbarnn.optim`: a factor of the learning rate over time.
    average : EMA, float, "auto" or None
        Moving average of the weights, which is validated, and which training ends with and goes on from; a number is its decay.
        "auto": of decay 0.98, where the `epochs` of `fit` make 250 optimizer steps or more, and none in `partial_fit`; None: no
        average.
    epochs : int, optional
        None: as many as make 3,000 optimizer steps, at most {most}.
    batch_size : int
    validation : float
        {held_out}
    patience : int, optional
        Epochs without a better held-out loss after which training ends with the best weights.
    clip_norm : float, optional
        Limit of the gradient's norm.
    memory_limit : int or str, optional
        Bytes that activations may take in training, or a str such as "300 MB", as in `numbarnn.Model.fit`: what is learned does
        not depend on it.
    warm_start : bool
        Whether `fit` goes on with the weights it has.
    random_state : int, RandomState, Generator or None
        Of the initial weights, the order of samples, dropout, and what is held out at random. None: a new one every time.
    dtype : {{"float32", "float64"}}
    n_threads : int, optional
        Results do not depend on it. Set it to 1 under joblib's processes.
    device : {{"cpu", "cuda"}}
        Where the net trains and predicts, as in `numbarnn.Model`.
    verbose : int
        0: silent; 1: progress{shown}."""
# After "progress" of `verbose`, of estimators that have a linear path.
NETS = ", and a line for each net by which the share of the linear path is chosen"
FITTED = """
    model_ : Model
    history_ : History
        One record an epoch; ``history_.to_frame()``.
    n_iter_ : int
        Epochs done.
    scaler_ : SequenceScaler or None
        Of the features of a time step; None where they stay as they are."""
PATH = """
    linear_ : LinearPath or None
        Its `share` is that of the linear path in the outputs; None where there is no linear path."""

INPUT = """
    dropout : float
        Probability of zeroing an output of a recurrent layer on its way to the next layer or the dense one, in training.
    input_dropout : float
        Probability of zeroing a feature, or a value of an embedded token, in training.
    recurrent_dropout : float
        As in `numbarnn.Recurrent`.
    tokens : None, int or WordFeatures
        None: X has numbers, or strings, each of which gets a vector; an integer: X has tokens below it; `WordFeatures`: what is
        learned of strings.
    embedding_size : int
        Length of the vectors of tokens."""
CLASS_WEIGHT = """
    loss : str or Loss
        "auto": "softmax_cross_entropy" where y has one label, "binary_cross_entropy" where it has several; or such an object with
        its options, such as ``numbarnn.losses.SoftmaxCrossEntropy(label_smoothing=0.1)``.
    class_weight : None, "balanced" or dict
        Weight of each class in the loss: n / (classes * its count), or by label, 1 where none is given. Of several labels, each a
        question of its own, the weight of its positive answers; "balanced": n / (2 count) of both answers."""
LINEAR = """
    linear : {"auto", None}
        "auto": outputs are averaged with those of a linear regression on summaries of each feature: its mean, standard deviation,
        last value, minimum and maximum over the steps. Its share is the largest that is not clearly worse than the best, of samples
        that neither has seen: held out in one to four folds, for each of which another net is trained. Under `patience` it is those
        by which the net's best epoch was chosen too: held out, or, of a classifier, those passed to `fit` as `validation`. Only of
        10 to 2,000 samples of numbers, of at most 409 features, of which it explains more than noise would, and learned by `fit`
        alone: `partial_fit`, and `fit` under `warm_start`, keep the one that there is. None: the net alone, trained once."""
HELD_OUT = "Random part of the samples{strata}, held out while `patience` is given and `fit` gets no `validation`."
# The attributes of fitted label estimators, around those of all.
LABELS = """
    classes_ : array
        {classes}"""
FEATURES = """
    n_features_in_ : int
        Where X has numbers: columns of a 2-D X, else features of a time step."""


def described(**words):
    """Return a class decorator that fills words, and what the estimators share, into a docstring."""

    def fill(cls):
        if cls.__doc__ is not None:  # python -OO
            parts = {
                "net": NET,
                "scale": SCALE,
                "linear": LINEAR,
                "path": PATH,
                "training": TRAINING.format(
                    **{"most": "200", "shown": NETS if "{linear}" in cls.__doc__ else ""} | words
                ),
                "fitted": FITTED,
            } | words
            cls.__doc__ = cls.__doc__.format(**{name: part.strip() for name, part in parts.items()})
        return cls

    return fill


def label_estimator(strata="", classes="Labels in order; the columns of probabilities.", most="200"):
    """Return a class decorator that fills what the label estimators share into a docstring."""
    attributes = LABELS.format(classes=classes) + FITTED + FEATURES
    held_out = HELD_OUT.format(strata=strata)
    return described(held_out=held_out, most=most, input=INPUT + SCALE, class_weight=CLASS_WEIGHT, fitted=attributes)
