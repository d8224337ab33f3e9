"""Writes the dashboard's password file, with the operator `admin`: dashboard_user.py FILE."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dashboard import users

if __name__ == "__main__":
    users.add(Path(sys.argv[1]), "admin", os.environ["DASHBOARD_PASSWORD"], users.Role.OPERATOR)
