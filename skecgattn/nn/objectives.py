"""Objectives: what the joint network is trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._parameters import Parameterised
from .network import JointNetwork, union


@dataclass
class Task:
    """What the labels of a task mean, as far as an objective has to know.

    Parameters
    ----------
    multilabel : bool
        Whether each output is a yes or no of its own (sigmoid) or all share one softmax.
    normal : int or None
        Index of the output that stands for "no abnormality" in a softmax task, where there is one.
    marked : tuple of int
        The output that each map belongs to.
    class_weight : Tensor of shape (n_outputs,) or (n_outputs, 2), or None
        Softmax: weight of each class. Multilabel: weights of no and yes of each output.

    Examples
    --------
    >>> import torch
    >>> from skecgattn.nn import Task
    >>> task = Task(multilabel=False, normal=0, marked=(1,))
    >>> task.nothing(torch.tensor([[0.0, 1.0]]))
    tensor([[1., 0.]])
    """

    multilabel: bool
    normal: int | None
    marked: tuple[int, ...]
    class_weight: Tensor | None = None

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted cross-entropy of each ECG.

        Parameters
        ----------
        logits : Tensor of shape (B, n_outputs)
        target : Tensor of shape (B, n_outputs)
            Target distributions, or indicators in multilabel tasks.

        Returns
        -------
        loss : Tensor of shape (B,)
        """
        if self.multilabel:
            losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
            if self.class_weight is not None:
                no, yes = self.class_weight.to(logits).unbind(dim=1)
                losses = losses * torch.where(target > 0.5, yes, no)
            return losses.sum(dim=1)
        loss = -(target * functional.log_softmax(logits, dim=1)).sum(dim=1)
        if self.class_weight is not None:
            loss = loss * (target @ self.class_weight.to(logits))
        return loss

    @property
    def has_nothing(self) -> bool:
        """Whether ECGs without an abnormality have a target of their own: no label, or the normal class."""
        return self.multilabel or self.normal is not None

    def nothing(self, target: Tensor) -> Tensor:
        """Return the target of an ECG in which nothing is left to see.

        No label; the normal class; the uniform distribution where no class is normal.

        Parameters
        ----------
        target : Tensor of shape (B, n_outputs)

        Returns
        -------
        nothing : Tensor of shape (B, n_outputs)
        """
        if self.multilabel:
            return torch.zeros_like(target)
        if self.normal is None:
            return torch.full_like(target, 1 / target.shape[1])
        empty = torch.zeros_like(target)
        empty[:, self.normal] = 1
        return empty

    def only(self, target: Tensor, outputs: Tensor) -> Tensor:
        """Return the target of ECGs in which only the evidence for one output each is left.

        Parameters
        ----------
        target : Tensor of shape (B, n_outputs)
        outputs : Tensor of shape (B,), integer

        Returns
        -------
        only : Tensor of shape (B, n_outputs)
        """
        chosen = functional.one_hot(outputs, target.shape[1]).to(target)
        if self.multilabel:
            return target * chosen
        present = (target * chosen).sum(dim=1, keepdim=True)
        return present * chosen + (1 - present) * self.nothing(target)


class Objective(Parameterised, ABC):
    """Base of the objectives: a loss for each ECG of a batch.

    An objective is a parameter of ``AttentionECGClassifier`` and may be searched over:
    ``objective__area`` in the grid of a ``GridSearchCV`` sets ``area`` of its objective.

    Examples
    --------
    An objective of one's own: cross-entropy, and maps that are pushed towards zero and one.

    >>> from skecgattn.nn import Objective
    >>> class Decided(Objective):
    ...     def __init__(self, weight=0.1):
    ...         self.weight = weight
    ...     def __call__(self, network, x, heartbeats, target, task):
    ...         output = network(x, heartbeats)
    ...         doubt = (output.maps * (1 - output.maps)).mean(dim=(1, 2))
    ...         return task.loss(output.logits, target) + self.weight * doubt
    >>> Decided(weight=0.2)
    Decided(weight=0.2)
    """

    cuts = False
    """Whether the classifier is also trained on parts of ECGs, in which labels are rarer."""

    @abstractmethod
    def __call__(
        self, network: JointNetwork, x: Tensor, heartbeats: Tensor | None, target: Tensor, task: Task
    ) -> Tensor:
        """Return the loss of each ECG of a batch.

        Parameters
        ----------
        network : JointNetwork
            Its classifier reads ``network.readable(x)``, which may be fewer channels.
        x : Tensor of shape (B, C, T)
        heartbeats : Tensor of shape (B, n) or None
            R peaks of each ECG, ascending, then -1.
        target : Tensor of shape (B, n_outputs)
            Target distributions, or indicators in multilabel tasks.
        task : Task

        Returns
        -------
        loss : Tensor of shape (B,)
        """


class CrossEntropy(Objective):
    """Cross-entropy of the classifier's output, and nothing about the map: as published.

    Examples
    --------
    >>> from skecgattn.nn import CrossEntropy
    >>> CrossEntropy()
    CrossEntropy()
    """

    def __call__(
        self, network: JointNetwork, x: Tensor, heartbeats: Tensor | None, target: Tensor, task: Task
    ) -> Tensor:
        """Return the loss of each ECG of a batch, see :class:`Objective`."""
        return task.loss(network(x, heartbeats).logits, target)


UNDECIDED = 0.3
"""Share of the ECGs whose complement is read where no class is normal, and any is as good as the others."""


class Evidence(Objective):
    """The map must hold all of the evidence, and hardly anything else.

    On top of the cross-entropy on the modulated ECG, the classifier reads

    * the complement ``ECG * (1 - map)``, in which nothing must be left to see (no label, the normal
      class, or the uniform distribution): this makes the map cover *every* abnormal beat. Only the segmenter
      learns from it where there are ECGs that show what nothing looks like: a classifier that is told that
      nothing is left would learn to overlook what the map misses. Where there are none, it is read of
      three tenths of the ECGs: it contradicts the whole ECG as long as the map covers little;
    * the whole ECG, and ECGs without the abnormality under random windows, so that it judges
      evidence instead of reading the shape of the map.

    Where the segmenter judges heartbeats, an ECG has a label where any of its beats has it.

    The mean of the map is penalised, which makes it cover nothing else. Where there is a map for
    each of several classes, the map that multiplies is drawn for each ECG among the union and
    the single maps, and evidence for the map's class alone must be in it.

    Parameters
    ----------
    area : float, default=1.0
        Weight of the mean of the map.
    beat : float, default=1.0
        Weight of the cross-entropy of the probability that any beat is abnormal, where the segmenter
        judges heartbeats.
    complement : float, default=1.0
        Weight of the cross-entropy on the complement.
    whole : float, default=1.0
        Weight of the cross-entropy on the whole ECG.
    random : float, default=0.5
        Weight of the cross-entropy on normal ECGs under random windows.

    Examples
    --------
    >>> from skecgattn.nn import Evidence
    >>> Evidence(area=0.5)
    Evidence(area=0.5, beat=1.0, complement=1.0, whole=1.0, random=0.5)
    """

    cuts = True

    def __init__(
        self,
        area: float = 1.0,
        beat: float = 1.0,
        complement: float = 1.0,
        whole: float = 1.0,
        random: float = 0.5,
    ) -> None:
        self.area = area
        self.beat = beat
        self.complement = complement
        self.whole = whole
        self.random = random

    def _check(self) -> None:
        for name, value in self.get_params().items():
            if not isinstance(value, Real) or not 0 <= float(value) < float("inf"):
                raise ValueError(f"{name} of {type(self).__name__} must be 0 or more, got {value!r}.")

    def __call__(
        self, network: JointNetwork, x: Tensor, heartbeats: Tensor | None, target: Tensor, task: Task
    ) -> Tensor:
        """Return the loss of each ECG of a batch, see :class:`Objective`."""
        computed = network.maps(x, heartbeats)
        x = network.readable(x)
        if computed is None:
            return task.loss(network.classifier(x), target)
        maps = computed.values
        chosen, kept, left = _choose_maps(maps, target, task)
        views, targets, weights = [x * chosen], [kept], [torch.ones_like(x[:, 0, 0])]
        if self.whole > 0:
            views.append(x)
            targets.append(target)
            weights.append(torch.full_like(x[:, 0, 0], self.whole))
        if self.random > 0 and task.has_nothing:
            empty = task.nothing(target)
            views.append(x * _random_windows(x))
            targets.append(empty)
            # what a random window hides of an abnormal ECG is not known
            weights.append(self.random * (target == empty).all(dim=1).to(x))
        losses = task.loss(network.classifier(torch.cat(views)), torch.cat(targets))
        loss = (losses * torch.cat(weights)).reshape(len(views), -1).sum(dim=0)
        if self.complement > 0:
            loss = loss + self.complement * _rest_loss(network.classifier, x * (1 - chosen), left, task)
        loss = loss + self.area * maps.mean(dim=2).sum(dim=1)
        none = computed.log_none
        if self.beat > 0 and none is not None and none.shape[1] == len(task.marked):
            loss = loss + self.beat * _any_beat_loss(none, target[:, list(task.marked)])
        return loss


class MultipleInstance(Objective):
    """The highest values of the map must tell the class: a multiple-instance net, for comparison.

    Each class's probability is the mean of the `top` share of highest values of its map; the
    network's output is trained beside it by cross-entropy.

    Parameters
    ----------
    top : float, default=0.05
        Share of the map's samples, the highest, that are averaged.

    References
    ----------
    Ilse, Tomczak, Welling, "Attention-based deep multiple instance learning", ICML 2018, section 2,
    describe the family.

    Examples
    --------
    >>> from skecgattn.nn import MultipleInstance
    >>> MultipleInstance(top=0.1)
    MultipleInstance(top=0.1)
    """

    def __init__(self, top: float = 0.05) -> None:
        self.top = top

    def _check(self) -> None:
        if not isinstance(self.top, Real) or not 0 < float(self.top) <= 1:
            raise ValueError(f"top of {type(self).__name__} must be in (0, 1], got {self.top!r}.")

    def __call__(
        self, network: JointNetwork, x: Tensor, heartbeats: Tensor | None, target: Tensor, task: Task
    ) -> Tensor:
        """Return the loss of each ECG of a batch, see :class:`Objective`."""
        logits, maps = network(x, heartbeats)
        if maps is None:
            raise ValueError("objective=MultipleInstance() needs a segmenter, got segmenter=None")
        loss = task.loss(logits, target)
        n_top = max(1, round(self.top * maps.shape[2]))
        instance = maps.topk(n_top, dim=2).values.mean(dim=2).clamp(1e-6, 1 - 1e-6)
        present = target[:, list(task.marked)]
        # the logarithms are written out: binary_cross_entropy refuses autocast
        terms = present * instance.log() + (1 - present) * (1 - instance).log()
        return loss - terms.sum(dim=1)


def _rest_loss(classifier: nn.Module, rest: Tensor, left: Tensor, task: Task) -> Tensor:
    """Return the loss (B,) of the complements (B, C, T); 0 for those that are not read."""
    if task.has_nothing:
        parameters = {name: parameter.detach() for name, parameter in classifier.named_parameters()}
        return task.loss(torch.func.functional_call(classifier, parameters, (rest,)), left)
    few = torch.randperm(len(rest), device=rest.device)[: max(1, round(UNDECIDED * len(rest)))]
    share = UNDECIDED * len(rest) / len(few)  # 1 but for rounding
    read = share * task.loss(classifier(rest[few]), left[few])
    return read.new_zeros(len(rest)).index_add(0, few, read)


def _any_beat_loss(none: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy (B,) of "any beat is abnormal" (noisy-or), summed over maps (B, K)."""
    return -(label * torch.log(-torch.expm1(none)) + (1 - label) * none).sum(dim=1)


def _choose_maps(maps: Tensor, target: Tensor, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a map for each ECG; return it and the targets of what it keeps and what it leaves."""
    n_batch, n_maps = maps.shape[:2]
    whole = union(maps)
    empty = task.nothing(target)
    if n_maps == 1:
        return whole, target, empty
    draw = torch.randint(n_maps + 1, (n_batch,), device=maps.device)
    single = draw < n_maps
    index = draw.clamp(max=n_maps - 1)
    outputs = torch.tensor(task.marked, device=maps.device)[index]
    chosen = torch.where(
        single[:, None, None], maps[torch.arange(n_batch, device=maps.device), index].unsqueeze(1), whole
    )
    only = task.only(target, outputs)
    if task.multilabel:
        rest = target - only
    else:
        rest = torch.where((only == target).all(dim=1, keepdim=True), empty, target)
    return (
        chosen,
        torch.where(single[:, None], only, target),
        torch.where(single[:, None], rest, empty),
    )


def _random_windows(x: Tensor) -> Tensor:
    """Return smooth random masks (B, 1, T): half of the time shown, in stretches of random length."""
    n_batch, _, length = x.shape
    n_knots = int(torch.randint(4, 33, ()))
    knots = torch.rand(n_batch, 1, min(n_knots, length), device=x.device, dtype=x.dtype)
    return (functional.interpolate(knots, size=length, mode="linear") > 0.5).to(x)


OBJECTIVES: dict[str, type[Objective]] = {
    "evidence": Evidence,
    "cross_entropy": CrossEntropy,
    "multiple_instance": MultipleInstance,
}
"""Objectives by the name that ``AttentionECGClassifier(objective=...)`` takes."""
