"""Is the forecast that is served still good? What was served joined with what happened, and checks over it."""
