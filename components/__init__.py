"""The stages: each a typed function over URIs, and a command line around it.

    python -m components                    lists them
    python -m components.<stage> --help     (or: python -m components <stage> --help)

A stage reads data sets by URI, writes one data set into the workspace and prints its URI. The same
function is called in process, in a container and from a workflow; there is no second implementation.
"""
