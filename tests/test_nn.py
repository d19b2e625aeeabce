from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.nn import (
    CLASSIFIERS,
    OBJECTIVES,
    Augmentation,
    BeatSegmenter,
    ConvolutionalClassifier,
    CrossEntropy,
    Evidence,
    HuClassifier,
    HuSegmenter,
    JointNetwork,
    MultipleInstance,
    Odds,
    Task,
    UNetSegmenter,
    union,
)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


class Fixed(torch.nn.Module):
    """A segmenter or classifier that returns what it was given, and remembers what it was asked."""

    def __init__(self, output, is_map=False):
        super().__init__()
        self.output, self.is_map, self.seen = output, is_map, []

    def forward(self, x):
        self.seen.append(x)
        return self.output(x)


# --- networks -------------------------------------------------------------------------------------


def test_published_sizes():
    assert n_parameters(HuSegmenter(12)) / 1e6 == pytest.approx(1.06, abs=0.005)
    assert n_parameters(HuClassifier(12, 2)) / 1e6 == pytest.approx(0.23, abs=0.005)


def test_published_classifier_is_built_as_published():
    net = HuClassifier(12, 2).eval()
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 32, 32, 64, 64, 64, 64, 128, 128]
    assert [c.stride[1] for c in convolutions] == [1, 1, 1, 2, 1, 1, 1, 2, 1]
    assert {c.kernel_size for c in convolutions} == {(1, 5)}
    assert {c.padding for c in convolutions} == {(0, 0)}
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) == 9
    assert net.dropout.p == 0.6
    assert net(torch.randn(3, 12, 2000)).min() >= 0
    assert HuClassifier(12, 20, rectify=False)(torch.randn(3, 12, 2000)).min() < 0


def test_published_segmenter_is_built_as_published():
    net = HuSegmenter(12)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [
        *(32, 32, 64, 64, 128, 128, 256, 256),
        *(128, 128, 64, 64, 32, 32),
        1,
    ]
    assert [c.kernel_size[1] for c in convolutions] == [5] * 14 + [1]
    rises = [m for m in net.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [(r.kernel_size[1], r.stride[1]) for r in rises] == [(2, 2)] * 3
    norms = [m for m in net.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert (
        [m.num_groups for m in norms]
        == [m.num_channels for m in norms]
        == [32, 32, 64, 64, 128, 128, 256, 256]
    )


def test_published_pooling_is_the_root_of_the_sum_of_squares():
    net = HuSegmenter(2)
    with torch.no_grad():
        x = torch.randn(2, 2, 400)
        seen = {}
        net.head.register_forward_hook(lambda module, args, output: seen.update(raw=output.squeeze(2)))
        got = net(x)
        padded = torch.nn.functional.pad(seen["raw"], (75, 75))
        expected = padded.unfold(2, 151, 1).square().sum(dim=3).sqrt()
    assert got.shape == (2, 1, 400)
    torch.testing.assert_close(got, expected)


def test_published_segmenter_has_one_map():
    with pytest.raises(ValueError, match="one map, got n_maps=2"):
        HuSegmenter(2, 2)


@pytest.mark.parametrize("length", [2, 63, 64, 360, 1001])
@pytest.mark.parametrize("n_leads", [1, 12])
def test_any_length(n_leads, length):
    x = torch.randn(3, n_leads, length)
    for make, n_maps in ((UNetSegmenter, 2), (HuSegmenter, 1)):
        assert make(n_channels=n_leads, n_maps=n_maps)(x).shape == (3, n_maps, length)
    heartbeats = torch.tensor([[0, length - 1], [1, -1], [-1, -1]])
    joint = JointNetwork(BeatSegmenter(n_leads, 2), ConvolutionalClassifier(n_leads, 4))
    assert joint(x, heartbeats).maps.shape == (3, 2, length)
    for make in CLASSIFIERS.values():
        if length >= make.minimum_length:
            assert make(n_channels=n_leads, n_outputs=4).eval()(x).shape == (3, 4)


def test_shortest_ecg_of_the_published_classifier():
    net = HuClassifier(1, 2).eval()
    net(torch.zeros(1, 1, net.minimum_length))
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 1, net.minimum_length - 1))


def test_logits_do_not_depend_on_the_other_ecgs_of_the_batch():
    x = torch.randn(5, 2, 500, dtype=torch.float64)
    joint = JointNetwork(UNetSegmenter(2, 2, width=4), ConvolutionalClassifier(2, 3, width=4)).double().eval()
    logits, maps = joint(x)
    alone = joint(x[3:4])
    torch.testing.assert_close(alone.logits[0], logits[3])
    torch.testing.assert_close(alone.maps[0], maps[3])


def test_map_multiplies_all_leads():
    level = torch.tensor([0.25, 0.5]).logit()
    segmenter = Fixed(lambda x: level[:, None].expand(len(x), 2, x.shape[2]))
    classifier = Fixed(lambda x: x.mean(dim=2))
    x = torch.randn(4, 3, 50)
    logits, maps = JointNetwork(segmenter, classifier)(x)
    assert maps.shape == (4, 2, 50)
    torch.testing.assert_close(classifier.seen[0], x * (1 - 0.75 * 0.5))
    torch.testing.assert_close(logits, (x * 0.625).mean(dim=2))


def test_unbounded_map_multiplies_as_it_is():
    classifier = Fixed(lambda x: x.mean(dim=2))
    x = torch.randn(2, 1, 20)
    JointNetwork(Fixed(lambda x: 3 + 0 * x, is_map=True), classifier)(x)
    torch.testing.assert_close(classifier.seen[0], 3 * x)


def test_classifier_alone():
    joint = JointNetwork(None, Fixed(lambda x: x.mean(dim=2)))
    x = torch.randn(2, 3, 20)
    output = joint(x)
    assert output.maps is None
    torch.testing.assert_close(output.logits, x.mean(dim=2))


def test_union():
    one = torch.rand(2, 1, 9)
    assert union(one) is one
    two = torch.rand(2, 2, 9)
    both = union(two)
    torch.testing.assert_close(both[:, 0], two[:, 0] + two[:, 1] - two[:, 0] * two[:, 1])


def test_beats_are_judged_by_themselves():
    """A beat's logit depends on its own samples, and on nothing further away."""
    net = BeatSegmenter(2, 3, before=20, after=30).eval()
    x, heartbeats = torch.randn(2, 2, 400), torch.tensor([[50, 150, 300], [100, 200, -1]])
    logits = net(x, heartbeats)
    assert logits.shape == (2, 3, 3)
    changed = x.clone()
    changed[0, :, 130:180] += 1
    difference = (net(changed, heartbeats) - logits).abs().amax(dim=1)
    assert difference[0, 1] > 1e-3
    difference[0, 1] = 0
    torch.testing.assert_close(difference, torch.zeros(2, 3), atol=1e-6, rtol=0)
    alone = net(x[1:], torch.tensor([[200]]))
    torch.testing.assert_close(alone[0, :, 0], logits[1, :, 1])


@pytest.mark.parametrize(("n_leads", "n_views"), [(1, 0), (2, 2), (12, 4)])
def test_beats_in_doubt_are_looked_at_again_without_some_leads(n_leads, n_views):
    net = BeatSegmenter(n_leads, 2, before=20, after=30, dropout=0)
    x, heartbeats = torch.randn(2, n_leads, 400), torch.tensor([[50, 150, 300], [100, 200, -1]])
    views = [x]
    for view in range(n_views):
        views.append(x.clone())
        views[-1][:, view::n_views] = 0
    for bias, again in ((0.0, True), (-20.0, False), (20.0, False)):
        torch.nn.init.constant_(net.head[-1].bias, bias)
        seen = [net.train()(view, heartbeats) for view in views]
        expected = torch.stack(seen).mean(dim=0) if again else seen[0]
        torch.testing.assert_close(net.eval()(x, heartbeats), expected)
        assert n_views == 0 or not torch.allclose(expected, seen[1])


@pytest.mark.parametrize("training", [True, False])
def test_peaks_at_the_ends_are_not_judged(training):
    torch.manual_seed(0)
    x, segmenter = torch.randn(2, 2, 600), BeatSegmenter(2, 2, edge=3).train(training)
    found = segmenter(x, torch.tensor([[2, 200, 400, 597], [3, 200, 400, 596]]))
    assert torch.sigmoid(found[0, :, [0, 3]]).max() < 1e-8
    assert torch.sigmoid(found[1]).min() > 1e-3
    # they keep their spans: nothing of the neighbour's value is laid on them
    network = JointNetwork(segmenter, ConvolutionalClassifier(2, 2)).train(training)
    maps = network.maps(x[:1], torch.tensor([[2, 200, 400, 597]])).values[0]
    assert maps[:, :95].max() < 1e-2 * maps[:, 200].min()
    assert maps[:, 505:].max() < 1e-2 * maps[:, 400].min()


def test_segmenter_of_beats_does_not_read_that_a_beat_is_late():
    net = BeatSegmenter(4, 1, n_per_beat=2).eval()
    x, beats = torch.rand(1, 4, 900), torch.tensor([[100, 300, 500]])
    x[:, 2:] = 0
    late, early = x.clone(), x.clone()
    late[:, 2:, 250:400] = 0.5
    early[:, 2:, 250:400] = -0.5
    assert torch.equal(net(late, beats), net(x, beats))
    changed = net(early, beats) != net(x, beats)
    assert changed.tolist() == [[[False, True, False]]]


def test_odds_that_a_map_trusts_are_reason_enough():
    """Outside of training a beat is abnormal by its logit or by the odds that its values tell."""
    net = BeatSegmenter(3, 2, n_per_beat=2, odds=[Odds(1, -8.0, -5.0)], dropout=0)
    x, beats = torch.randn(1, 3, 900), torch.tensor([[100, 300, 500]])
    x[:, 1:] = 0
    x[:, 2, 250:400] = -1  # odds of e³ to one, else of e⁻⁵
    learned = net.train()(x, beats)
    torch.testing.assert_close(net.eval()(x, beats), learned)  # none is trusted yet
    net.trust[1, 0] = -1.0
    told = net(x, beats)
    torch.testing.assert_close(told[0, 0], learned[0, 0])
    odds = torch.sigmoid(torch.tensor([-6.0, 2.0, -6.0]))
    expected = 1 - (1 - torch.sigmoid(learned[0, 1])) * (1 - odds)
    torch.testing.assert_close(torch.sigmoid(told[0, 1]), expected)
    torch.testing.assert_close(net.train()(x, beats), learned)
    with pytest.raises(ValueError, match=r"odds must have indices from 0 to n_per_beat - 1 = 1, got \[2\]"):
        BeatSegmenter(3, 2, n_per_beat=2, odds=[Odds(1, -8.0, -5.0), Odds(2, -8.0, -5.0)])


def test_odds_count_less_where_what_a_kind_needs_is_missing():
    kinds = [Odds(0, 2.0, 1.0), Odds(0, 2.0, 1.0, needs=((1, 4.0), (2, -4.0)))]
    net = BeatSegmenter(4, 1, n_per_beat=3, odds=kinds)
    there = torch.tensor([[0.5, 0.0, 0.0], [0.5, -0.25, -0.25], [0.5, -0.2, -0.1], [0.5, -0.25, 0.0]])
    plain, needy = net.tell_odds(there).unbind(dim=1)
    torch.testing.assert_close(plain, torch.full((4,), 2.0))
    # a P wave before the beat, before the others, an unlikely one, and none, which counts as .02
    torch.testing.assert_close(needy, 2 + 2 * torch.log(torch.tensor([1.0, 1.0, 0.6, 0.02])))
    with pytest.raises(TypeError, match=r"odds must be a sequence of Odds, got \(1, -8.0\)"):
        BeatSegmenter(4, 1, n_per_beat=3, odds=[(1, -8.0)])
    with pytest.raises(ValueError, match=r"got \[3\]"):
        BeatSegmenter(4, 1, n_per_beat=3, odds=[Odds(0, needs=((3, 1.0),))])


@pytest.mark.parametrize("n", [1, 2])
def test_no_beats_at_all(n):
    joint = JointNetwork(BeatSegmenter(1, 1), ConvolutionalClassifier(1, 2, width=4))
    x, heartbeats = torch.randn(3, 1, 200), torch.full((3, n), -1)
    logits, maps = joint(x, heartbeats)
    assert maps.abs().max() == 0
    assert logits.isfinite().all()
    target, task = torch.eye(2)[[0, 1, 1]], Task(multilabel=False, normal=0, marked=(1,))
    for objective in OBJECTIVES.values():
        assert objective()(joint, x, heartbeats, target, task).isfinite().all()


def laid_maps(probability, heartbeats, length=100):
    """Return the maps of a network whose segmenter gives heartbeats these probabilities."""
    level = torch.as_tensor(probability).logit(eps=1e-6)
    segmenter = Fixed(lambda x: level)
    segmenter.reads_beats = True
    segmenter.forward = lambda x, heartbeats: level
    joint = JointNetwork(segmenter, Fixed(lambda x: x.mean(dim=2)))
    values, (logits, present) = joint.maps(torch.zeros(len(level), 1, length), torch.tensor(heartbeats))
    assert logits is level
    return values[:, 0], present[:, 0]


def test_map_of_beats_is_their_probability_over_their_spans():
    values, present = laid_maps([[[0.2, 0.8, 0.0]]], [[20, 40, -1]])
    assert present.tolist() == [[True, True, False]]
    torch.testing.assert_close(values[0, [20, 40]], torch.tensor([0.2, 0.8]))
    assert values[0].argmax() == 40
    assert values[0, 29] <= 0.2
    assert 0.2 < values[0, 31] < 0.5
    assert values[0, 32] > 0.6
    assert values[0, 99] > 0.3


def test_map_of_beats_gives_nothing_to_a_lower_neighbour():
    # R peaks found two samples beside the annotated ones, at 50, 80 and 140: so are the midpoints
    values, _ = laid_maps([[[0.1, 0.9, 0.2]]], [[48, 82, 142]], 200)
    assert values[0, :65].max() < 0.2
    assert values[0, 82] > 0.89
    assert values[0, 110:].max() < 0.3


def test_map_of_beats_alike_does_not_fall_between_them():
    values, _ = laid_maps([[[0.5, 0.5, 0.5]]], [[20, 50, 80]])
    assert values.min() > 0.35
    assert values[0, :20].diff().min() > 0
    torch.testing.assert_close(values[0, 20:36], values[0, 35:51].flip(0))


def test_map_of_a_beat_without_neighbours():
    values, _ = laid_maps([[[0.9]], [[0.9]]], [[3], [50]])
    assert values.argmax(dim=1).tolist() == [3, 50]
    assert (values > 0.3).all()


def test_that_any_beat_is_abnormal_joins_the_logits():
    beats = torch.tensor([[[0.2, 0.5]], [[0.9, 0.0]]]).logit(eps=1e-6)
    segmenter = Fixed(lambda x: beats)
    segmenter.reads_beats = True
    segmenter.forward = lambda x, heartbeats: beats
    classifier = Fixed(lambda x: torch.stack([x.mean(dim=(1, 2)), x.amax(dim=(1, 2))], dim=1))
    x, heartbeats = torch.rand(2, 1, 100), torch.tensor([[20, 60], [40, -1]])

    def read(**options):
        return JointNetwork(segmenter, classifier, **options)(x, heartbeats).logits

    any_beat = torch.tensor([0.6, 0.9]).logit()  # 1 - .8 * .5; the second ECG has one beat
    for options, weight in (({}, 1.0), ({"read_whole": True}, 2.0)):
        without = read(**options)
        joined = read(**options, read_beats=[1]) * (weight + 0.5)
        torch.testing.assert_close(joined[:, 0], weight * without[:, 0])
        torch.testing.assert_close(joined[:, 1], weight * without[:, 1] + 0.5 * any_beat)
    torch.testing.assert_close(read(read_beats=[0, 1]), read())  # two maps were expected, there is one


def test_many_alike_beats_do_not_outweigh_the_classifier():
    n_beats = 50
    segmenter = Fixed(lambda x: x)
    segmenter.reads_beats = True
    classifier = Fixed(lambda x: x.mean(dim=2))
    heartbeats = torch.arange(0, 2 * n_beats, 2)[None]
    for logit, expected in ((6.0, 8.0), (-30.0, -8.0)):
        segmenter.forward = lambda x, heartbeats, logit=logit: torch.full((1, 1, n_beats), logit)
        joint = JointNetwork(segmenter, classifier, read_beats=[0])
        logits = joint(torch.zeros(1, 1, 2 * n_beats), heartbeats).logits
        torch.testing.assert_close(logits, torch.tensor([[0.5 * expected / 1.5]]))


def test_beats_without_heartbeats():
    with pytest.raises(ValueError, match="heartbeats=None"):
        JointNetwork(BeatSegmenter(1, 1), Fixed(lambda x: x))(torch.zeros(1, 1, 200))


def test_evidence_of_any_beat():
    """Of ECGs with and without the label, that one beat has it is cheap only where the ECG has it."""
    joint = JointNetwork(BeatSegmenter(1, 1), ConvolutionalClassifier(1, 2, width=4)).eval()
    x, heartbeats = torch.randn(1, 1, 400), torch.tensor([[50, 150, 250, 350]])
    off = {"area": 0, "complement": 0, "whole": 0, "random": 0}
    task = Task(multilabel=False, normal=0, marked=(1,))
    for label in (0, 1):
        target = torch.eye(2)[[label]]
        with_beats = Evidence(**off, beat=2.0)(joint, x, heartbeats, target, task)
        without = Evidence(**off, beat=0)(joint, x, heartbeats, target, task)
        probability = joint.segmenter(x, heartbeats).sigmoid()
        any_beat = 1 - (1 - probability).prod()
        expected = -torch.log(any_beat if label else 1 - any_beat)
        torch.testing.assert_close(with_beats - without, 2 * expected[None])


# --- task and objectives --------------------------------------------------------------------------

SOFTMAX = Task(multilabel=False, normal=0, marked=(1, 2))

NO_NORMAL = Task(multilabel=False, normal=None, marked=(0, 1, 2))
MULTILABEL = Task(multilabel=True, normal=None, marked=(0, 1, 2))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Evidence(area=-1), "area of Evidence must be 0 or more, got -1"),
        (Evidence(whole="x"), "whole of Evidence must be 0 or more, got 'x'"),
        (Evidence(random=float("nan")), "random of Evidence must be 0 or more, got nan"),
        (MultipleInstance(top=0), r"top of MultipleInstance must be in \(0, 1\], got 0"),
        (MultipleInstance(top=None), r"top of MultipleInstance must be in \(0, 1\], got None"),
    ],
)
def test_objectives_are_checked_before_training(objective, message):
    X, y, *_ = make_ecg(8, sampling_rate=128, duration=3, random_state=0)
    with pytest.raises(ValueError, match=message):
        AttentionECGClassifier(128, objective=objective, max_epochs=1).fit(X, y)


def test_loss_is_torchs_cross_entropy():
    logits, label = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weight = torch.tensor([1.0, 3.0, 0.5])
    target = torch.nn.functional.one_hot(label, 3).float()
    task = Task(False, 0, (1, 2), weight)
    expected = torch.nn.functional.cross_entropy(logits, label, weight=weight, reduction="none")
    torch.testing.assert_close(task.loss(logits, target), expected)
    binary = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    torch.testing.assert_close(MULTILABEL.loss(logits, target), binary.sum(dim=1))
    weighted = Task(True, None, (0, 1, 2), torch.tensor([[1.0, 2.0], [1.0, 1.0], [0.0, 1.0]]))
    factor = torch.where(target > 0.5, torch.tensor([2.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(weighted.loss(logits, target), (binary * factor).sum(dim=1))


@pytest.mark.parametrize(
    ("task", "empty"),
    [(SOFTMAX, [1, 0, 0]), (NO_NORMAL, [1 / 3, 1 / 3, 1 / 3]), (MULTILABEL, [0, 0, 0])],
)
def test_nothing_left_to_see(task, empty):
    torch.testing.assert_close(task.nothing(torch.eye(3))[1], torch.tensor(empty, dtype=torch.float32))


def test_only_one_output_left():
    target = torch.tensor([[0.0, 1, 0], [0, 1, 0], [1, 0, 0]])
    got = SOFTMAX.only(target, torch.tensor([1, 2, 1]))
    torch.testing.assert_close(got, torch.tensor([[0.0, 1, 0], [1, 0, 0], [1, 0, 0]]))
    several = torch.tensor([[1.0, 1, 0]])
    torch.testing.assert_close(MULTILABEL.only(several, torch.tensor([1])), torch.tensor([[0.0, 1, 0]]))


@pytest.mark.parametrize("task", [SOFTMAX, NO_NORMAL, MULTILABEL], ids=["softmax", "no normal", "multilabel"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gives_a_loss_an_ecg_and_trains_both_parts(name, task):
    joint = JointNetwork(UNetSegmenter(2, len(task.marked), width=4), ConvolutionalClassifier(2, 3, width=4))
    x, target = torch.randn(5, 2, 300), torch.eye(3)[[0, 1, 2, 0, 1]]
    losses = OBJECTIVES[name]()(joint, x, None, target, task)
    assert losses.shape == (5,)
    assert losses.isfinite().all()
    losses.sum().backward()
    for part in (joint.segmenter, joint.classifier):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


def test_evidence_prefers_the_map_that_holds_the_abnormality():
    """The first half of the ECG is abnormal; the classifier sees so wherever it is shown."""
    target = torch.tensor([[0.0, 1]]).repeat(8, 1)
    task = Task(multilabel=False, normal=0, marked=(1,))
    x = torch.zeros(8, 1, 100)
    x[:, :, :50] = 1

    def loss(first, second):
        level = torch.tensor([first, second]).clamp(0.01, 0.99).logit().repeat_interleave(50)
        segmenter = Fixed(lambda x: level.expand(len(x), 1, 100))
        classifier = Fixed(lambda x: torch.stack([0 * x[:, 0, 0], 40 * x.mean(dim=(1, 2)) - 2], dim=1))
        return Evidence()(JointNetwork(segmenter, classifier), x, None, target, task).mean().item()

    right, everything, nothing, wrong = loss(1, 0), loss(1, 1), loss(0, 0), loss(0, 1)
    assert right < everything < min(nothing, wrong)


def test_evidence_weighs_its_terms():
    joint = JointNetwork(UNetSegmenter(1, 1, width=4), ConvolutionalClassifier(1, 2, width=4)).eval()
    task, target = Task(multilabel=False, normal=0, marked=(1,)), torch.eye(2)[[0, 1]]
    x = torch.randn(2, 1, 200)
    plain = CrossEntropy()(joint, x, None, target, task)
    off = {"area": 0, "complement": 0, "whole": 0, "random": 0}
    torch.testing.assert_close(Evidence(**off)(joint, x, None, target, task), plain)
    area = Evidence(**{**off, "area": 2})(joint, x, None, target, task)
    torch.testing.assert_close(area - plain, 2 * joint.maps(x).values.mean(dim=(1, 2)))
    whole = Evidence(**{**off, "whole": 1})(joint, x, None, target, task)
    torch.testing.assert_close(whole - plain, task.loss(joint.classifier(x), target))


@pytest.mark.parametrize(
    ("task", "learns"),
    [
        (Task(multilabel=False, normal=0, marked=(1,)), False),
        (Task(multilabel=True, normal=None, marked=(0, 1)), False),
        (Task(multilabel=False, normal=None, marked=(0, 1)), True),
    ],
)
def test_who_learns_from_what_the_map_leaves(task, learns):
    n_maps = len(task.marked)
    joint = JointNetwork(UNetSegmenter(1, n_maps, width=4), ConvolutionalClassifier(1, 2, width=4))
    x, target = torch.randn(4, 1, 200), torch.eye(2)[[0, 1, 1, 0]]
    off = {"area": 0, "whole": 0, "random": 0, "beat": 0}

    def gradients(**options):
        joint.zero_grad()
        torch.manual_seed(0)  # which map is drawn, and dropout
        Evidence(**off, **options)(joint.eval(), x, None, target, task).sum().backward()
        parts = joint.segmenter, joint.classifier
        return [torch.cat([w.grad.flatten() for w in part.parameters()]) for part in parts]

    with_it, without = gradients(complement=1), gradients(complement=0)
    assert not torch.allclose(with_it[0], without[0])
    assert torch.allclose(with_it[1], without[1]) is not learns


def test_what_is_left_is_read_of_few_where_no_class_is_normal():
    joint = JointNetwork(UNetSegmenter(1, 1, width=4), ConvolutionalClassifier(1, 2, width=4)).eval()
    x, target = torch.randn(10, 1, 200), torch.eye(2)[[0, 1, 1, 0, 0, 1, 0, 1, 1, 0]]
    off = {"area": 0, "whole": 0, "random": 0, "beat": 0}
    maps = joint(x).maps
    for normal, n_read in ((0, 10), (None, 3)):
        task = Task(multilabel=False, normal=normal, marked=(1,))
        added = [Evidence(**off, complement=c)(joint, x, None, target, task) for c in (0, 1)]
        left = task.loss(joint.classifier(x * (1 - maps)), task.nothing(target))
        read = added[1] > added[0]
        assert read.sum() == n_read
        torch.testing.assert_close((added[1] - added[0])[read], left[read])
    few = Evidence(**off)(joint, x[:1], None, target[:1], task) - Evidence(**off, complement=0)(
        joint, x[:1], None, target[:1], task
    )
    torch.testing.assert_close(few, 0.3 * left[:1])  # as much in the mean


@pytest.mark.parametrize(("normal", "n_read"), [(0, 8), (None, 5)])
def test_nothing_is_read_in_vain(normal, n_read):
    # where no class is normal no ECG can be shown under random windows
    read = []
    joint = JointNetwork(UNetSegmenter(1, 1, width=4), ConvolutionalClassifier(1, 2, width=4))
    joint.classifier.register_forward_hook(lambda module, inputs, output: read.append(len(output)))
    Evidence()(joint, torch.randn(2, 1, 200), None, torch.eye(2), Task(False, normal, (1,)))
    assert sum(read) == n_read


def test_multiple_instance_trains_what_predicts():
    """Where the whole ECG is read beside the modulated one, both readings learn."""
    read = []
    classifier = Fixed(lambda x: read.append(len(x)) or x.mean(dim=2)[:, :1].repeat(1, 2))
    network = JointNetwork(Fixed(lambda x: x[:, :1]), classifier, read_whole=True)
    MultipleInstance()(network, torch.rand(3, 1, 9), None, torch.eye(2)[[0, 1, 1]], Task(False, 0, (1,)))
    assert read == [6]


def test_multiple_instance_needs_maps():
    with pytest.raises(ValueError, match="segmenter=None"):
        MultipleInstance()(JointNetwork(None, Fixed(lambda x: x)), torch.zeros(1, 1, 9), None, None, SOFTMAX)


def test_parameters_of_objectives_are_scikit_learns():
    evidence = clone(Evidence(area=0.5)).set_params(whole=0.25)
    assert evidence.get_params() == Evidence(area=0.5, whole=0.25).get_params()
    assert repr(evidence).startswith("Evidence(area=0.5,")
    with pytest.raises(ValueError, match=r"Invalid parameter 'size' .* Valid parameters are: \['area'"):
        evidence.set_params(size=1)


# --- augmentation ---------------------------------------------------------------------------------


def augment(x, n_leads, per_lead=1, **chosen):
    return Augmentation(**({"gain": 0, "shift": 0, "noise": 0, "lead_dropout": 0} | chosen))(
        x, None, n_leads, per_lead=per_lead
    )[0]


def test_augmentation_switched_off_changes_nothing():
    x = torch.randn(4, 3, 50)
    torch.testing.assert_close(augment(x, 2), x)


def test_gain_is_one_number_a_lead_and_leaves_the_rhythm_alone():
    x = torch.rand(64, 6, 10) + 1  # two leads, two contrast channels, two of rhythm
    ratio = augment(x, 2, per_lead=2, gain=0.2) / x
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))
    torch.testing.assert_close(ratio[:, :2], ratio[:, 2:4])
    torch.testing.assert_close(ratio[:, 4:], torch.ones(64, 2, 10))
    assert ratio[:, 0, 0].log().std().item() == pytest.approx(0.2, abs=0.06)
    assert not torch.allclose(ratio[:, 0], ratio[:, 1])


def test_one_lead_always_stays():
    x = torch.ones(200, 3, 5)
    silent = (augment(x, 3, lead_dropout=0.9) == 0).all(dim=2)
    assert silent.any(dim=1).float().mean() > 0.2
    assert not silent.all(dim=1).any()
    assert (augment(x[:, :1], 1, lead_dropout=0.99) == 1).all()


def test_shift_moves_all_channels_together():
    x = torch.arange(100.0).repeat(4, 3, 1)
    shifted = augment(x, 2, shift=0.2)
    steps = shifted[..., 0].unique()
    assert len(steps) == 1
    torch.testing.assert_close(shifted, torch.roll(x, int(-steps[0]), dims=2))
    distance = min(steps[0], 100 - steps[0])
    assert distance <= 20


def test_heartbeats_move_with_the_ecg():
    x = torch.zeros(3, 2, 100)
    heartbeats = torch.tensor([[5, 50, 95], [3, 60, -1], [-1, -1, -1]])
    for ecg, beats in zip(x, heartbeats):
        ecg[:, beats[beats >= 0]] = 1
    moved, beats = Augmentation(gain=0, shift=0.2, noise=0, lead_dropout=0)(x, heartbeats, 2)
    assert not torch.equal(moved, x)
    for ecg, found, before in zip(moved, beats, heartbeats):
        assert found.tolist() == [*torch.nonzero(ecg[0])[:, 0].tolist(), *[-1] * int((before < 0).sum())]


def test_noise_has_a_limit():
    noise = augment(torch.zeros(100, 2, 400), 1, noise=0.1)
    levels = noise[:, 0].std(dim=1)
    assert 0.08 < levels.max() < 0.12
    assert levels.min() < 0.03
    assert noise[:, 1].abs().max() == 0


def test_augmentation_clones():
    copy = clone(Augmentation(noise=0.01))
    assert copy.get_params() == Augmentation().get_params() | {"noise": 0.01}
    assert np.isclose(copy.set_params(gain=0.3).gain, 0.3)
