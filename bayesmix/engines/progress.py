"""The progress display of a run."""

from contextlib import nullcontext


def display(show: bool):
    """A Rich progress display as context, or nothing."""
    if not show:
        return nullcontext(None)
    from rich.progress import Progress

    return Progress(transient=True)


def track(progress, items, label: str, total: int | None = None):
    """Iterate over items, shown in the progress display if there is one; `total` is for those without a length."""
    return items if progress is None else progress.track(items, description=label, total=total)
