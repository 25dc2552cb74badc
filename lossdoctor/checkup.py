"""Every check on one configuration."""
