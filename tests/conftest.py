"""What all tests share: how long an example takes says nothing where several tests share two cores."""

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
