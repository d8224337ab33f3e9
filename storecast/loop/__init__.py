"""The closed loop: when a model is trained anew, promoted or rolled back, and why; every decision is kept."""
