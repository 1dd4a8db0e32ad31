"""What each command takes, with help that helps; what it does is in ``commands``."""
