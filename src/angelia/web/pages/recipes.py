"""Recipes: a request for a product as code that somebody copies and runs; never with a token in it."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from angelia.model.declaration import Declaration, DeclaredProduct
from angelia.model.job import Job
from angelia.parameters.values import to_ask_again
from angelia.web.context import Context

COMMAND = "curl"


def recipes_of(job: Job, declaration: Declaration, product: DeclaredProduct, house: Context) -> dict[str, str]:
    """Code by the name of its program: what others brought, then a command line for the API."""
    values = to_ask_again(declaration.parameters_of(product), job.values)
    return {**house.recipes(job, values), COMMAND: command(job, values, house.base_url)}


def command(job: Job, values: Mapping[str, Any], base_url: str) -> str:
    """For a shell, with the token in a variable."""
    asked = json.dumps({"instrument": job.instrument, "product": job.product, "parameters": dict(values)}, ensure_ascii=False, indent=2)
    return (
        f"curl --fail-with-body {shlex.quote(base_url.rstrip('/') + '/api/v1/jobs')} \\\n"
        '  --header "Authorization: Bearer $ANGELIA_TOKEN" \\\n'
        "  --header 'Content-Type: application/json' \\\n"
        f"  --data {shlex.quote(asked)}\n"
    )
