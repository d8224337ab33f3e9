"""The service: forecasts of the current release over HTTP, run by BentoML.

service.py      the two BentoML services: Forecasts (workers that answer) and Champion (the model)
door.py         what every request passes: keys, limits, shedding, the log; GET /v1/forecasts
upkeep.py       what a worker follows while it lives: its release, the keys, the clock
routes.py       the endpoints, over state.py; pointing.py: those that point elsewhere; cache.py: ready answers
bodies.py, asking.py, questions.py              read and check what is asked
answers.py, problems.py, openapi.py, schemas.py write what is answered
table.py        a release as memory-mapped files that workers share
prepare.py      makes them, once per release, in a process of its own
lookout.py      looks at the store: which releases there are, which one is current
watcher.py      follows the pointer: prepare, open beside the old, probe, swap
notices.py      what the processes of a machine tell each other: what is in use, what the model's probe found
champion.py     the release's model, asked "what if"
start.py, __main__.py, keys.py, limiter.py, access_log.py, meters.py
"""
