"""The start page's ten lines, with synthetic ECG."""

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import make_ecg
from skecgattn.inspection import AttentionMapDisplay

X, y, patient, _ = make_ecg(600, label="frequent", classes=["V"], random_state=0)
X_new, y_new, _, beats = make_ecg(100, label="frequent", classes=["V"], random_state=1)

clf = AttentionECGClassifier(sampling_rate=360, batch_size=16, max_epochs=6, random_state=0).fit(X, y)
print(clf.locate(X_new, as_frame=True))  # R peak, span, label and score of each abnormal beat
AttentionMapDisplay.from_estimator(clf, X_new, sample=(y_new == "V").argmax(), beats=beats)
