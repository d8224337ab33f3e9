"""The dashboard: what the platform knows and does, for people. A Streamlit app.

It holds no logic and no state of its own: it reads releases and data sets from the store, runs from Prefect,
what is served from the service, and acts through them.

start.py, __main__.py   how it is started
app.py, main.py         the server; the script that Streamlit runs for each visitor
access.py, users.py     who somebody is and may do; the password file
uploads.py              who may upload files
audit.py                what was done by whom
boundary.py             errors in words, of a page or of a part of it
backends.py             the store, Prefect, the service, MLflow: what they say, or that they are away
released.py, history.py what a release and a panel hold, read once and by column
look.py, charts.py      colours, numbers, pictures
forms.py                a form from a JSON schema
views/                  the pages
"""
