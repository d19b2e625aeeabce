"""scikit-learn's complete suite of checks on the classifier: nothing expected to fail or tagged away."""

from __future__ import annotations

from sklearn.utils.estimator_checks import parametrize_with_checks

from skecgattn import AttentionECGClassifier

# the instance is small, but its settings are ordinary: full batches and float64 make the result independent
# of the order of the ECGs, and tables of a few features have neither heartbeats nor a scale of their own
small = AttentionECGClassifier(
    objective="cross_entropy",
    width=8,
    dropout=0.0,
    scale=False,
    batch_size=None,
    max_epochs=25,
    lr=1.5e-2,
    augmentation=False,
    early_stopping=False,
    precision="float64",
    random_state=0,
)


@parametrize_with_checks([small])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
