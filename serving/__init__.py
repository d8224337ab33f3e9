"""The service: forecasts of the current release over HTTP, run by BentoML.

service.py      the two BentoML services: Forecasts (workers that answer) and Champion (the model)
door.py         what every request passes: keys, limits, shedding, the log; GET /v1/forecasts
routes.py       the endpoints; cache.py keeps ready answers
bodies.py, asking.py, questions.py              read and check what is asked
answers.py, problems.py, openapi.py, schemas.py write what is answered
table.py        a release as memory-mapped files that workers share
prepare.py      makes them, once per release, in a process of its own
watcher.py      follows the pointer: prepare, open beside the old, probe, swap
champion.py     the release's model, asked "what if"
start.py, __main__.py, keys.py, limiter.py, access_log.py, meters.py
"""
