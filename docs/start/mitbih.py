"""The start page's ten lines, with real ECG."""

from skecgattn import AttentionECGClassifier
from skecgattn.datasets import fetch_mitbih, make_windows
from skecgattn.inspection import AttentionMapDisplay

X, y, patient, _ = make_windows(fetch_mitbih("ds1"), step=60, label="frequent", classes=["V"])
X_new, y_new, _, beats = make_windows(fetch_mitbih("ds2"), step=60, label="frequent", classes=["V"])

clf = AttentionECGClassifier(sampling_rate=360, batch_size=16, max_epochs=6, random_state=0).fit(X, y)
print(clf.locate(X_new, as_frame=True))  # R peak, span, label and score of each abnormal beat
AttentionMapDisplay.from_estimator(clf, X_new, sample=(y_new == "V").argmax(), beats=beats)
