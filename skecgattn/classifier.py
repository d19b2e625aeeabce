"""AttentionECGClassifier: which arrhythmia, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ._artefacts import add_artefacts
from ._build import (
    build_for,
    check_same_front_end,
    check_same_network,
    make_front_end,
    make_plan,
    minimum_length,
)
from ._calibration import learn_levels
from ._frontend import FrontEnd
from ._holdout import check_groups, hold_out
from ._labels import Labels
from ._reading import Reader, chunks
from ._thresholds import NOTHING_LEARNED, check_thresholds
from ._trust import learn_trust
from ._validation import check_ecg, check_lead_names
from ._warn import warn_user
from .beats import select_beats
from .exceptions import TrainingDivergedError
from .nn import CLASSIFIERS, OBJECTIVES, SEGMENTERS, Augmentation, JointNetwork, Objective
from .training import (
    PRECISIONS,
    SCHEDULES,
    Plan,
    Samples,
    numpy_dtype,
    on_cpu,
    seeded,
    threads,
    train,
)

LOWEST_RATE = 20.0
"""Hz from which heartbeats can be told at all; what is below is in kHz, or no rate."""


class AttentionECGClassifier(ClassifierMixin, BaseEstimator):
    """Tell arrhythmias apart, and show where in the ECG the abnormal beats are, from labels alone.

    A *segmenter* turns the ECG into attention maps, their union multiplies the ECG element by element,
    and a *classifier* reads the product; both are trained end to end from one label (or set of labels)
    an ECG. Nothing about single beats is ever given; what comes with the package was learned without
    annotated kinds of beats, too. The method is that of [1]_; the default network and objective are this
    library's own, and ``AttentionECGClassifier.published()`` is the published setting.

    Parameters
    ----------
    sampling_rate : float, default=None
        Sampling rate of the ECGs in Hz, 20 or more. With None the networks read the samples as they are: no
        resampling, no filter, no heartbeats, and `locate` is not available. Otherwise a lead that jumps to a
        constant and back, its electrode being off, is bridged by a line: give ECGs in millivolts, as they
        were recorded.

    lead_names : sequence of str or None, default=None
        Names of the leads of `X` in their order, such as ``("MLII", "V1")``. They change nothing in training;
        they travel with the estimator, so that recordings' leads can be matched by name.

    segmenter : {"auto", "beat", "unet", "hu2021"}, callable or None, default="auto"
        Network that makes the maps. "beat" judges every detected heartbeat by itself, "unet" every sample;
        "auto" is "beat" where `sampling_rate` is given and "unet" where heartbeats cannot be known. A
        callable gets ``n_channels`` and ``n_maps`` as keyword arguments and returns a torch module from
        (batch, n_channels, time) to logits (batch, n_maps, time); where the module has a true attribute
        ``reads_beats``, from that and R peaks (batch, n), then -1, to logits (batch, n_maps, n).
        :class:`skecgattn.nn.BeatSegmenter` itself, a class derived from it, or a partial of either, such as
        ``functools.partial(BeatSegmenter, n_features=32)``, gets all that "beat" gives it as well, but for
        what the partial sets. None is the classifier alone, for comparison.

    classifier : {"convolutional", "hu2021"} or callable, default="convolutional"
        Network that reads the modulated ECG. A callable gets ``n_channels`` and ``n_outputs`` as keyword
        arguments and returns a torch module from (batch, n_channels, time) to logits (batch, n_outputs).

    objective : {"evidence", "cross_entropy", "multiple_instance"} or Objective, default="evidence"
        What the networks are trained for, see :mod:`skecgattn.nn`. "cross_entropy" is the published training.

    read_whole : bool, default=True
        Whether the classifier reads the whole ECG beside the modulated one, and the mean of the two decides.
        The published method reads the modulated ECG alone.

    read_beats : bool, default=True
        Whether the probability that any heartbeat is abnormal has a say beside the classifier, at half the
        weight of a reading, where the segmenter judges heartbeats.

    width : int, default=16
        Channels of the first level of the "unet" segmenter and of the "convolutional" classifier; one and a
        half times as many has the "beat" segmenter.

    dropout : float, default=0.2
        Dropout before the last layer of the "convolutional" classifier.

    resample_to : float or None, default=180.0
        Sampling rate that the networks work at, in Hz, 20 or more; None keeps the ECG's own.

    band : tuple of (float or None, float or None) or None, default=(0.5, 40.0)
        Pass band in Hz of a zero-phase filter, within what `resample_to` leaves: from half of that rate on
        everything is lost, whatever the upper end. None leaves the ECG unfiltered, and what was not recorded
        (padding, an electrode off) as it is; otherwise it is replaced first, as its steps would ring.

    scale : bool, default=True
        Whether every lead of every ECG is centred and scaled to its own 5% to 95% range.

    rhythm : bool or "auto", default="auto"
        Whether the networks also read channels that tell how early or late each detected heartbeat comes, and
        whether a pause follows (:func:`skecgattn.beats.rhythm_channels`). The map multiplies them like the
        leads. "auto" does where the segmenter judges heartbeats ("auto", "beat"), or there is none. One that
        judges every sample may mark the pause after a premature beat instead of the beat. True needs
        `sampling_rate`.

    waves : bool or "auto", default="auto"
        Whether the segmenter also reads channels that tell of each detected heartbeat's P wave, and whether a
        network that comes with the package takes the beat for premature
        (:func:`skecgattn.beats.wave_channels`). The classifier does not read them. After training a beat also
        counts as abnormal for a class if it looks premature in the way that ECGs with that label tell of.
        "auto" does where the segmenter judges heartbeats ("auto", "beat") and the sampling rate is known;
        True needs both.

    contrast : bool, default=True
        Whether the networks also read, for every lead, the difference of every beat to the patient's
        normal beat (:func:`skecgattn.beats.contrast_channels`). The map multiplies them like the leads.

    normal_class : label, "auto" or None, default="auto"
        Class that stands for the absence of an abnormality, where `y` has one label an ECG. "auto" takes the
        label that means normal in the usual spellings ("N", "normal", "SR", ..., 0 and False), if just one
        does. None: every class is marked by a map of its own. Multilabel `y` needs none: no label is normal.
        `VotingClassifier` and `StackingClassifier` hand on labels as 0, 1, ... in alphabetical order, in
        which "auto" takes the first for normal: give the number of the normal one.

    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights of the classes as in scikit-learn; for multilabel `y` a list of ``{0: ..., 1: ...}``, one
        a label.

    max_epochs : int or "auto", default="auto"
        Largest number of epochs. "auto" takes 12 where ECGs are many and up to 48 where they are few: as many
        as the networks read 86 million timesteps in (480,000 s at 180 Hz; minutes on one core). Where no
        class is normal it is twice that, and up to 72 epochs: "evidence" reads about half as much of a batch.

    batch_size : int, "auto" or None, default="auto"
        ECGs a batch. "auto" makes about 32 batches an epoch, of 16 to 64 ECGs. None takes all ECGs at once.

    lr : float, default=3e-3
        Learning rate; the largest one where it follows a cycle. That of the "beat" segmenter is five
        thirds of it.

    lr_schedule : {"one_cycle", "constant"}, default="one_cycle"
        Course of the learning rate.

    weight_decay : float, default=1e-2
        Weight decay of AdamW; with 0 it is Adam.

    augmentation : bool or Augmentation, default=True
        Random gain, shift, white noise, lead dropout and artefacts in training, see
        :class:`skecgattn.nn.Augmentation`.

    early_stopping : bool, default=False
        Whether ECGs are held out from training to stop when their loss no longer falls, to restore the
        weights of the best epoch, and to learn the intercept of the logits and the thresholds of `locate`.
        Those of a label that none of them has, or all have, are learned from the others; where an ECG has one
        of several classes, those of all then. Whole groups (patients) are held out where `fit` gets `groups`;
        otherwise a stratified sample.

    validation_fraction : float, default=0.15
        Share of ECGs held out.

    patience : int, default=5
        Epochs without improvement after which training stops.

    warm_start : bool, default=False
        Whether `fit` continues from the weights of the last `fit`.

    callbacks : list or None, default=None
        Further skorch callbacks, as instances or ``(name, instance)``.

    device : str, default="auto"
        "auto" (CUDA where available, else the CPU) or a device that torch knows. A fitted estimator that is
        loaded where its device is missing predicts on the CPU, with a warning.

    precision : {"auto", "float32", "bfloat16", "float64"}, default="auto"
        Floating-point type. "bfloat16" keeps weights in float32 and multiplies in bfloat16; "auto" does that
        on CUDA devices that can, and is "float32" elsewhere.

    n_threads : int or None, default=1
        Threads that torch computes with on the CPU in this estimator. With another number sums are rounded
        otherwise, which training can turn into some per cent of a probability: one thread gives the same
        weights in a script, in joblib's workers and on a bigger machine, and leaves the cores to a parallel
        search. A single `fit` is faster with more; None takes torch's own number.

    random_state : int, RandomState instance or None, default=None
        Decides initial weights, validation split, batches, augmentation and dropout.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels; for multilabel `y` the names of its columns where it is a DataFrame, else their numbers.

    n_features_in_ : int
        Number of timesteps of 2-D input, number of leads of 3-D input.

    n_leads_in_ : int
        Number of leads.

    n_timesteps_in_ : int
        Length in samples of the ECGs that it was trained on; others may have another.

    map_labels_ : list
        Class label of each map: the classes that are not normal.

    thresholds_ : ndarray of shape (n_maps,)
        Score from which `locate` takes a beat as abnormal, one a map. Learned from labels alone, of the
        validation ECGs with early stopping, of those trained on without: hardly any beat of ECGs without the
        label reaches it.

    network_ : torch.nn.Module
        The trained joint network.

    intercept_ : ndarray of shape (n_outputs,)
        Is added to the network's logits, so that ECGs have a label as often, by their probabilities, as they
        do by their labels: the "evidence" objective also shows the classifier what has none. Zeros where it
        is of no use.

    history_ : list of dict
        One row an epoch: epoch, train_loss, valid_loss (with early stopping), duration in seconds.

    best_epoch_ : int
        Epoch, from 1, whose weights the network has.

    n_iter_ : int
        Epochs trained.

    References
    ----------
    .. [1] Hu, Wen, Wang, Liang, Zhuang, Shi, "Attention based joint learning for supervised
       electrocardiogram arrhythmia differentiation with unsupervised abnormal beat segmentation",
       ICLR 2021 submission, OpenReview HK_B2K0026.

    Examples
    --------
    >>> from skecgattn import AttentionECGClassifier
    >>> from skecgattn.datasets import make_ecg
    >>> X, y, groups, beats = make_ecg(40, sampling_rate=180, random_state=0)
    >>> clf = AttentionECGClassifier(sampling_rate=180, max_epochs=1, random_state=0)
    >>> clf.fit(X, y, groups=groups).predict_proba(X).shape
    (40, 2)
    >>> clf.segment(X).shape
    (40, 1800)
    """

    classes_: NDArray
    history_: list[dict[str, float]]
    network_: JointNetwork
    _labels: Labels
    _front_end: FrontEnd
    _n_channels: int

    __metadata_request__fit = {"groups": True}  # noqa: RUF012 (the name scikit-learn looks for)
    __metadata_request__partial_fit = {"classes": True}  # noqa: RUF012

    _parameter_constraints: dict = {  # noqa: RUF012
        "sampling_rate": [Interval(Real, LOWEST_RATE, None, closed="left"), None],
        "lead_names": ["array-like", None],
        "segmenter": [StrOptions({"auto", *SEGMENTERS}), callable, None],
        "classifier": [StrOptions(set(CLASSIFIERS)), callable],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "read_whole": ["boolean"],
        "read_beats": ["boolean"],
        "width": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "resample_to": [Interval(Real, LOWEST_RATE, None, closed="left"), None],
        "band": [tuple, list, None],
        "scale": ["boolean"],
        "rhythm": ["boolean", StrOptions({"auto"})],
        "waves": ["boolean", StrOptions({"auto"})],
        "contrast": ["boolean"],
        "normal_class": "no_validation",
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "lr_schedule": [StrOptions(set(SCHEDULES))],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "augmentation": ["boolean", Augmentation],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, None],
        "device": [str, torch.device],
        "precision": [StrOptions(set(PRECISIONS))],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        sampling_rate: float | None = None,
        *,
        lead_names: Sequence[str] | None = None,
        segmenter: str | Callable[..., torch.nn.Module] | None = "auto",
        classifier: str | Callable[..., torch.nn.Module] = "convolutional",
        objective: str | Objective = "evidence",
        read_whole: bool = True,
        read_beats: bool = True,
        width: int = 16,
        dropout: float = 0.2,
        resample_to: float | None = 180.0,
        band: tuple[float | None, float | None] | None = (0.5, 40.0),
        scale: bool = True,
        rhythm: bool | str = "auto",
        waves: bool | str = "auto",
        contrast: bool = True,
        normal_class: Any = "auto",
        class_weight: dict | list | str | None = None,
        max_epochs: int | str = "auto",
        batch_size: int | str | None = "auto",
        lr: float = 3e-3,
        lr_schedule: str = "one_cycle",
        weight_decay: float = 1e-2,
        augmentation: bool | Augmentation = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.15,
        patience: int = 5,
        warm_start: bool = False,
        callbacks: list | None = None,
        device: str = "auto",
        precision: str = "auto",
        n_threads: int | None = 1,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.sampling_rate = sampling_rate
        self.lead_names = lead_names
        self.segmenter = segmenter
        self.classifier = classifier
        self.objective = objective
        self.read_whole = read_whole
        self.read_beats = read_beats
        self.width = width
        self.dropout = dropout
        self.resample_to = resample_to
        self.band = band
        self.scale = scale
        self.rhythm = rhythm
        self.waves = waves
        self.contrast = contrast
        self.normal_class = normal_class
        self.class_weight = class_weight
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.augmentation = augmentation
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def published(cls, sampling_rate: float | None = None, **params: Any) -> Self:
        """Return an estimator with the architecture and the training of Hu et al. (2021).

        Class-weighted cross-entropy alone, Adam at a learning rate of 1e-5, batches of 16, 150 epochs, the
        last epoch's weights; ECGs go in as they are. Trained so it is slow, and its map may well mark
        everything but the abnormal beats. Where labels may occur together, the ReLU on the logits is left
        out: it could not tell that one is missing.

        Parameters
        ----------
        sampling_rate : float, default=None
            In Hz; only `locate` makes use of it in this setting.

        **params : dict
            Parameters to set otherwise.

        Returns
        -------
        estimator : AttentionECGClassifier
        """
        setting: dict[str, Any] = {
            "segmenter": "hu2021",
            "classifier": "hu2021",
            "objective": "cross_entropy",
            "read_whole": False,
            "read_beats": False,
            "resample_to": None,
            "band": None,
            "scale": False,
            "rhythm": False,
            "waves": False,
            "contrast": False,
            "class_weight": "balanced",
            "max_epochs": 150,
            "batch_size": 16,
            "lr": 1e-5,
            "lr_schedule": "constant",
            "weight_decay": 0.0,
            "augmentation": False,
            "early_stopping": False,
        }
        return cls(sampling_rate, **(setting | params))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train on labelled ECGs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            One class label an ECG, or an indicator matrix of labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the ECGs.

        groups : array-like of shape (n_samples,), default=None
            Patient of each ECG. The validation set of early stopping is made of whole patients then.

        Returns
        -------
        self : AttentionECGClassifier

        Raises
        ------
        ValueError
            If the input or a parameter cannot be used; the message names it.
        TrainingDivergedError
            If the loss or what is predicted becomes NaN or infinite. The estimator then has the weights of
            the best epoch before; without one, it is as it was.

        Warns
        -----
        ECGWarning
            If a lead is flat, or the values are hardly millivolts.
        ConvergenceWarning
            If training was interrupted, from the keyboard or by a callback; the estimator is usable.
            If hardly a heartbeat has a score for a class, even where ECGs have its label.
        """
        keep = self.warm_start and hasattr(self, "network_")
        with _unchanged_on_error(self) as restore:
            plan, training, held_out = self._prepare(
                X,
                y,
                sample_weight,
                groups,
                learn=True,
                build=not keep,
                early_stopping=self.early_stopping,
            )
        self._train(plan, training, held_out, restore)
        learn_trust(self.network_, training, plan.task)
        self._learn_levels(plan, training, held_out)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one pass over some more ECGs, at a constant learning rate and without early stopping.

        The intercept, and the thresholds of `locate` where a class is both there and not, are learned anew of
        these ECGs alone: give enough of them, with classes as frequent as they are elsewhere.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts.

        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Labels.

        classes : array-like of shape (n_classes,), default=None
            All classes that will occur (for multilabel `y` names of its columns), in the first call. Left out
            there, those of `y` are all.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the ECGs.

        Returns
        -------
        self : AttentionECGClassifier

        Raises
        ------
        ValueError
            If the input or a parameter cannot be used; the message names it.
        TrainingDivergedError
            If the loss or what is predicted becomes NaN or infinite; the estimator is as it was before.

        Warns
        -----
        ConvergenceWarning
            If hardly a heartbeat has a score for a class, even where ECGs have its label.
        """
        first = not hasattr(self, "network_")
        with _unchanged_on_error(self) as restore:
            plan, samples, _ = self._prepare(X, y, sample_weight, learn=first, build=first, classes=classes)
        history = [] if first else self.history_
        n_before = len(history)
        plan = replace(plan, max_epochs=1, schedule="constant", seed=plan.seed + n_before)
        self._train(plan, samples, None, restore, None if first else self._optimizer_state)
        learn_trust(self.network_, samples, plan.task)
        self._learn_levels(plan, samples)
        self.history_ = [*history, *({**row, "epoch": row["epoch"] + n_before} for row in self.history_)]
        self.n_iter_ = self.best_epoch_ = len(self.history_)
        return self

    def predict(self, X: ArrayLike) -> NDArray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts. 3-D input may have any length.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
            The most probable class; for multilabel tasks 1 where the probability exceeds one half.
        """
        logits = self._logits(X)
        if self._labels.multilabel:
            return (logits > 0).astype(int)
        return self.classes_[logits.argmax(axis=1)]

    def decision_function(self, X: ArrayLike) -> NDArray:
        """Return the logits, which still differ where probabilities are rounded to 0 or 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts. 3-D input may have any length.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the log-odds of the second; otherwise one logit a class or label.
        """
        logits = self._logits(X)
        if not self._labels.multilabel and self._labels.n_outputs == 2:
            return logits[:, 1] - logits[:, 0]
        return logits

    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Predict probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts. 3-D input may have any length.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Of each class, in the order of `classes_`; for multilabel tasks of each label.
        """
        logits = self._logits(X)
        return self._reader().probability(logits)

    def segment(self, X: ArrayLike, target: Any = None) -> NDArray:
        """Compute attention maps: where the abnormality is.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts. 3-D input may have any length.

        target : label, default=None
            Class whose map to return, one of `map_labels_`. None returns the union of all maps, which is
            what multiplies the ECG.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_timesteps)
            In [0, 1], one value a sample of the ECG. A segmenter whose maps are unbounded ("hu2021") is
            scaled to a maximum of 1 an ECG.

        Raises
        ------
        ValueError
            If the estimator has no segmenter, or no map for `target`.
        """
        X = self._check_fitted_input(X)
        self._check_has_maps()
        index = None if target is None else self._map_index(target)
        reader = self._reader()
        parts = []
        for chunk in chunks(X):
            maps = reader.outputs(reader.channels(chunk))[1]
            if index is not None and maps.shape[1] < len(self.map_labels_):
                raise ValueError(
                    f"target={target!r}: the segmenter makes one map for all of {self.map_labels_}; use None."
                )
            maps = 1 - np.prod(1 - maps, axis=1, keepdims=True) if index is None else maps[:, [index]]
            parts.append(reader.front_end.to_ecg_length(maps, X.shape[2])[:, 0])
        return np.concatenate(parts)

    def locate(
        self, X: ArrayLike, *, threshold: float | dict | None = None, as_frame: bool = False
    ) -> list[NDArray] | pd.DataFrame:
        """List the abnormal beats.

        Heartbeats come from a detector (:func:`skecgattn.beats.detect_heartbeats`), their scores from the
        map around each R peak times the probability of the map's class, or that any heartbeat is premature
        and from the atria by its waves, where such beats tell the class. The "beat" segmenter
        does not judge a heartbeat whose R peak lies within 15 ms of an ECG's ends: one side of it is missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_leads, n_timesteps) or (n_samples, n_timesteps)
            ECGs in millivolts. 3-D input may have any length.

        threshold : float or dict, default=None
            Score from which a beat is abnormal, for all classes or as ``{label: threshold}``. None takes what
            `fit` has learned from labels alone (`thresholds_`).

        as_frame : bool, default=False
            Whether to return one DataFrame instead of arrays.

        Returns
        -------
        located : list of length n_samples of structured ndarray, or DataFrame
            One row a beat: `sample` (R peak), `start` and `stop` (span, from midpoint to midpoint between
            heartbeats), all in samples of the ECG; `label`, of several whose thresholds it reaches the one
            that it exceeds by the largest factor; `score` in [0, 1]. The DataFrame also has `ecg` (row of
            `X`) and the `time` of the R peak in seconds.

        Raises
        ------
        ValueError
            If the estimator has no segmenter or no sampling rate, or `threshold` cannot be used.
        """
        X = self._check_fitted_input(X)
        self._check_has_maps()
        rate = self._front_end.sampling_rate
        if rate is None:
            raise ValueError("locate needs the heartbeats and so the sampling rate, got sampling_rate=None.")
        thresholds = self._check_threshold(threshold)
        reader = self._reader()
        located: list[NDArray] = []
        for chunk in chunks(X):
            reading = reader.read(chunk, maps=False)
            located += [
                select_beats(scores, beats, X.shape[2], self.map_labels_, thresholds)
                for scores, beats in zip(reading.scores, reading.heartbeats)
            ]
        if not as_frame:
            return located
        frame = pd.DataFrame(np.concatenate(located))
        frame.insert(0, "ecg", np.repeat(np.arange(len(located)), [len(beats) for beats in located]))
        frame.insert(2, "time", frame["sample"] / rate)
        return frame

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name in ("network_", "_optimizer_state"):
            if name in state:
                state[name] = on_cpu(state[name])
        return state

    # --- training ---------------------------------------------------------------------------------

    def _minimum_length(self) -> int:
        """Return the shortest ECG in samples that the trained networks can use."""
        return minimum_length(self, self._front_end)

    def _prepare(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        groups: ArrayLike | None = None,
        *,
        learn: bool,
        build: bool,
        classes: ArrayLike | None = None,
        early_stopping: bool = False,
    ) -> tuple[Plan, Samples, Samples | None]:
        """Check ECGs and labels, learn their layout and classes, and build the network, where wanted.

        Return the plan, the samples to train on and, with `early_stopping`, those held out.
        """
        # not where the front end is made: models may be loaded that were trained so
        if self.rhythm != "auto" and self.rhythm and self.sampling_rate is None:
            raise ValueError("rhythm=True needs sampling_rate to find heartbeats, got None.")
        front_end = make_front_end(self)
        shortest = minimum_length(self, front_end)
        ecgs, labels = check_ecg(self, X, reset=build, y=_dense(y), min_timesteps=shortest)
        names = np.asarray(y.columns) if isinstance(y, pd.DataFrame) and y.shape[1] > 1 else None
        if learn:
            check_lead_names(self.lead_names, self.n_leads_in_)
            found = Labels.learn(labels, normal_class=self.normal_class, names=names, classes=classes)
            if not build and found != self._labels:
                raise ValueError(
                    f"warm_start=True needs the classes of the last fit, got {found}, "
                    f"expected {self._labels}."
                )
            if build:
                self._labels, self.classes_ = found, found.classes
                self.map_labels_ = [] if self.segmenter is None else found.abnormal
            self.n_timesteps_in_ = ecgs.shape[2]
        elif classes is not None and not np.array_equal(np.unique(classes), np.unique(self.classes_)):
            raise ValueError(
                f"classes={classes!r} differ from those of the first call, {self.classes_.tolist()}."
            )
        elif names is not None and not self._labels.goes_with(names):
            raise ValueError(
                f"y must have the columns of the first call, {self.classes_.tolist()}, got {names.tolist()}."
            )
        weight = _check_sample_weight(
            sample_weight, ecgs, dtype=np.float64, copy=True, ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError("sample_weight must not be zero for all ECGs.")
        patients = check_groups(groups, len(ecgs))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        training, held_out = np.flatnonzero(weight), None
        if early_stopping:
            training, held_out = hold_out(labels, training, patients, self.validation_fraction, seed)
        if not build:
            # of the network first: what its segmenter is decides what it reads
            with seeded(seed, torch.device("cpu")):
                check_same_network(self, self.network_)
            check_same_front_end(front_end, self._front_end, other_rate=learn)
        self._front_end, dtype = front_end, numpy_dtype(self.precision)
        channels = front_end.transform(ecgs, dtype)
        samples = Samples(channels, self._labels.encode(labels), weight)
        plan = make_plan(self, samples, training, seed)
        if self.sampling_rate is not None and plan.artefacts > 0:
            noisy = add_artefacts(ecgs, self.sampling_rate, check_random_state(seed))
            samples = replace(samples, noisy=front_end.transform(noisy, dtype))
        if build:
            self._n_channels = channels.values.shape[1]
            with seeded(seed, plan.device):
                self.network_ = build_for(self, channels)
            self.intercept_ = np.zeros(self._labels.n_outputs)
            self.thresholds_ = np.full(len(self.map_labels_), NOTHING_LEARNED)
        if held_out is not None:
            return plan, samples[training], replace(samples, noisy=None)[held_out]
        # a selection is a copy, which may be most of the memory
        return plan, samples if len(training) == len(ecgs) else samples[training], None

    def _train(
        self,
        plan: Plan,
        training: Samples,
        held_out: Samples | None,
        restore: Callable[[], None],
        optimizer_state: dict | None = None,
    ) -> None:
        # set before training, so that an error in it leaves a usable estimator
        self.history_ = []
        self.best_epoch_ = self.n_iter_ = 0
        self._optimizer_state: dict[str, Any] | None = None
        with threads(self.n_threads):
            outcome = train(self.network_, plan, training, held_out, optimizer_state=optimizer_state)
        self.history_ = outcome.history
        self.best_epoch_ = outcome.best_epoch
        self.n_iter_ = len(outcome.history)
        if outcome.diverged is not None:
            left = f"has the last good weights, after epoch {self.best_epoch_}"
            if not outcome.history:
                restore()  # an untrained network is of no use
                left = "is as it was before"
            raise TrainingDivergedError(
                f"The {outcome.diverged}. The estimator {left}; try a lower lr than {plan.lr:g}, and look "
                "for extreme values in X."
            )
        self._optimizer_state = outcome.optimizer_state
        if outcome.interrupted:
            warn_user(
                f"Training was interrupted after {self.n_iter_} of {plan.max_epochs} epochs; the estimator "
                f"is usable, with the {'last' if held_out is None else 'best'} weights until then.",
                ConvergenceWarning,
            )

    def _learn_levels(self, plan: Plan, training: Samples, held_out: Samples | None = None) -> None:
        """Learn the intercept of the logits and the thresholds of beats."""
        if self.network_.segmenter is None:
            return
        self.intercept_, self.thresholds_, unmarked = learn_levels(
            self._reader(), training, plan.objective, plan.task, self.thresholds_, held_out=held_out
        )
        if unmarked:
            warn_user(
                f"Heartbeats have next to no score for {[self.map_labels_[k] for k in unmarked]}, even in "
                "ECGs with the label: locate will find hardly any. Try a lower lr, or more epochs or ECGs.",
                ConvergenceWarning,
            )

    # --- prediction -------------------------------------------------------------------------------

    def _check_fitted_input(self, X: ArrayLike) -> NDArray:
        check_is_fitted(self, "network_")
        return check_ecg(self, X, reset=False, min_timesteps=self._minimum_length())

    def _reader(self) -> Reader:
        """Return what reads ECGs by the trained network."""
        return Reader(
            self.network_,
            self._front_end,
            self._labels,
            self.intercept_,
            self.device,
            self.precision,
            self.n_threads,
        )

    def _logits(self, X: ArrayLike) -> NDArray:
        X = self._check_fitted_input(X)
        return self._reader().logits(X)

    def _check_has_maps(self) -> None:
        if self.network_.segmenter is None:
            raise ValueError("there are no attention maps: the estimator was fitted with segmenter=None.")

    def _map_index(self, target: Any) -> int:
        found = [k for k, label in enumerate(self.map_labels_) if label == target]
        if not found:
            raise ValueError(f"target must be one of {self.map_labels_} or None, got {target!r}.")
        return found[0]

    def _check_threshold(self, threshold: float | dict | None) -> NDArray:
        return check_thresholds(threshold, self.map_labels_, self.thresholds_)


def _dense(y: Any) -> Any:
    """Return an indicator matrix as an array where it is sparse; other labels as they are."""
    return y.toarray() if issparse(y) else y  # type: ignore[attr-defined]


@contextmanager
def _unchanged_on_error(estimator: Any) -> Iterator[Callable[[], None]]:
    """Give an estimator back what it had learned and drawn, where its next training fails before it begins.

    Yields what does so later.
    """
    before, random_state = vars(estimator).copy(), estimator.random_state
    drawn = random_state.get_state() if isinstance(random_state, np.random.RandomState) else None

    def restore() -> None:
        vars(estimator).clear()
        vars(estimator).update(before)
        if drawn is not None:
            random_state.set_state(drawn)

    try:
        yield restore
    except BaseException:
        restore()
        raise
