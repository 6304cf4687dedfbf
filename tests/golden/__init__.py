"""What each version of the messages said: one file of samples for each, which all later versions have to understand."""
