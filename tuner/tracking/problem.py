"""What keeps MLflow from showing a campaign, in words."""

from tuner.tracking.address import shown_uri


class TrackingError(Exception):
    """MLflow cannot show the campaign as things stand; the message says what to do."""


def problem(error: Exception) -> str:
    """The error in one line and without secrets. All of it: MLflow says last what happened."""
    text = " ".join(str(error).split())
    return shown_uri(text if isinstance(error, TrackingError) else f"{type(error).__name__}: {text}")
