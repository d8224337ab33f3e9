"""Is the forecast that is served still good? What was served beside what happened, and checks over both."""
