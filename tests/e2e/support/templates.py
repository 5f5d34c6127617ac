"""The configuration templates of deploy/demo, which the demo and these tests share."""

import os
import re

from .processes import REPOSITORY

DEPLOY = os.path.join(REPOSITORY, "deploy")


def render(name, values):
    """The text of deploy/demo/NAME with the values put in; a name without a value is an error."""
    with open(os.path.join(DEPLOY, "demo", name), encoding="utf-8") as file:
        return re.sub(r"@([A-Z_]+)@", lambda match: str(values[match.group(1)]), file.read())
