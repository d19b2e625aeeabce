"""The course of a training: losses by epoch, and the epoch whose weights were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from ._paper import BLUE, INK, MUTED, VERMILION, check_axes


class TrainingHistoryDisplay:
    """Training and validation loss by epoch, with the epoch whose weights were kept.

    Losses differ in line style and marker as well as in colour.

    It is recommended to make a display with :meth:`from_estimator` or :meth:`from_history`.

    Parameters
    ----------
    history : sequence of dict
        One dict an epoch with the keys "epoch" (from 1) and "train_loss", and where they exist "valid_loss",
        "lr" and "duration" (seconds).
    best_epoch : int, default=None
        The epoch whose weights were kept.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the losses.
    figure_ : matplotlib Figure
        The figure.
    lines_ : dict of str to `Line2D`
        The curves by their keys in the history.
    best_ : `Line2D` or None
        The marker of the kept epoch.
    lr_ax_ : matplotlib Axes or None
        The axes of the learning rate, where it is drawn.

    Examples
    --------
    >>> from skecgattn.inspection import TrainingHistoryDisplay
    >>> history = [
    ...     {"epoch": 1, "train_loss": 0.9, "valid_loss": 0.8},
    ...     {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.6},
    ...     {"epoch": 3, "train_loss": 0.4, "valid_loss": 0.7},
    ... ]
    >>> display = TrainingHistoryDisplay.from_history(history, best_epoch=2)
    >>> list(display.lines_)
    ['train_loss', 'valid_loss']
    """

    def __init__(self, *, history: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> None:
        self.history = history
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator: Any, **plot_kw: Any) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
            Has the attribute ``history_`` and, where an epoch was restored, ``best_epoch_``.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator has no ``history_``.
        """
        check_is_fitted(estimator, "history_")
        best_epoch = getattr(estimator, "best_epoch_", None)
        return cls.from_history(estimator.history_, best_epoch=best_epoch, **plot_kw)

    @classmethod
    @validate_params(
        {"history": ["array-like"], "best_epoch": [Interval(Integral, 1, None, closed="left"), None]},
        prefer_skip_nested_validation=False,
    )
    def from_history(
        cls, history: Sequence[Mapping[str, Any]], *, best_epoch: int | None = None, **plot_kw: Any
    ) -> Self:
        """Draw a history.

        Parameters
        ----------
        history : sequence of dict
            One dict an epoch, with the keys "epoch" and "train_loss" at least.
        best_epoch : int, default=None
            The epoch whose weights were kept.
        **plot_kw : dict
            Keyword arguments of :meth:`plot`.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the history is empty, lacks a key, or has no epoch `best_epoch`.
        """
        if len(history) == 0:
            raise ValueError("history must hold at least one epoch, got none.")
        for row in history:
            if missing := {"epoch", "train_loss"} - set(row):
                raise ValueError(
                    f"history must have the keys 'epoch' and 'train_loss' in every epoch, {sorted(missing)} "
                    f"missing from {dict(row)}."
                )
        epochs = [row["epoch"] for row in history]
        if best_epoch is not None and best_epoch not in epochs:
            raise ValueError(
                f"best_epoch={best_epoch} is not in history, which has the epochs {epochs[0]} to "
                f"{epochs[-1]}."
            )
        return cls(history=history, best_epoch=best_epoch).plot(**plot_kw)

    @validate_params({"show_lr": ["boolean"]}, prefer_skip_nested_validation=True)
    def plot(self, *, ax: Any = None, show_lr: bool = False) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        show_lr : bool, default=False
            Whether to draw the learning rate too, on an axis of its own at the right.

        Returns
        -------
        display : TrainingHistoryDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `show_lr` is True and the history has no "lr".
        TypeError
            If `ax` is not an Axes.
        """
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        if show_lr and not any("lr" in row for row in self.history):
            raise ValueError("show_lr=True needs the key 'lr' in history, which has none.")
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
        (self.ax_,) = check_axes(ax, 1, "history")
        self.figure_ = self.ax_.get_figure(root=True)
        epochs = [row["epoch"] for row in self.history]
        every = max(1, len(epochs) // 12)
        self.lines_: dict[str, Any] = {}
        styles: dict[str, dict[str, Any]] = {
            "train_loss": {"label": "training loss", "color": BLUE, "linestyle": "-", "marker": "o"},
            "valid_loss": {"label": "validation loss", "color": VERMILION, "linestyle": "--", "marker": "s"},
        }
        for offset, (key, style) in enumerate(styles.items()):
            values = self._values(key)
            if np.isfinite(values).any():
                spacing = (
                    min(offset * every // 2, len(epochs) - 1),
                    every,
                )  # so that markers do not coincide
                (self.lines_[key],) = self.ax_.plot(
                    epochs, values, linewidth=1.8, markersize=4.5, markevery=spacing, **style
                )
        self.best_ = self._draw_best(epochs) if self.best_epoch is not None else None
        self.lr_ax_ = self._draw_lr(epochs) if show_lr else None

        seconds = self._values("duration")
        spent = f" ({np.nansum(seconds):.3g} s in all)" if np.isfinite(seconds).any() else ""
        self.ax_.set(xlabel=f"Epoch{spent}", ylabel="Loss", xlim=(epochs[0] - 0.9, epochs[-1] + 0.9))
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_.grid(axis="y", color="#dddddd", linewidth=0.6)
        self.ax_.set_axisbelow(True)
        self.ax_.spines["top"].set_visible(False)
        self.ax_.spines["right"].set_visible(show_lr)
        handles = [*self.lines_.values(), *([self.best_] if self.best_ else [])]
        self.ax_.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(handles),
            frameon=False,
            fontsize=8,
            columnspacing=1.2,
        )
        return self

    def _values(self, key: str) -> Any:
        """Return one value an epoch, NaN where the epoch has none."""
        values = (row.get(key) for row in self.history)
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    def _draw_best(self, epochs: list[int]) -> Any:
        key = "valid_loss" if "valid_loss" in self.lines_ else "train_loss"
        loss = self._values(key)[epochs.index(self.best_epoch)]  # type: ignore[arg-type]
        self.ax_.axvline(self.best_epoch, color=MUTED, linewidth=1, linestyle=":", zorder=1)  # type: ignore[arg-type]
        options = {"marker": "*", "markersize": 14, "color": INK, "markeredgecolor": "white", "zorder": 4}
        label = f"weights kept: epoch {self.best_epoch}"
        return self.ax_.plot([self.best_epoch], [loss], linestyle="none", label=label, **options)[0]  # type: ignore[arg-type]

    def _draw_lr(self, epochs: list[int]) -> Any:
        right = self.ax_.twinx()
        style = {"color": MUTED, "linewidth": 1.2, "linestyle": "-.", "label": "learning rate"}
        (self.lines_["lr"],) = right.plot(epochs, self._values("lr"), **style)  # type: ignore[arg-type]
        right.set(ylabel="Learning rate", ylim=(0, None))
        right.spines["top"].set_visible(False)
        return right
