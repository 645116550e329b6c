"""The ODA dialect's recipe: Python that asks for the same product with its client, for people to copy; never with a token in it."""

from collections.abc import Mapping
from typing import Any

RECIPE = "oda-api"
"""By which people know its client."""
CODE_FILE = "api_code.py"
"""What a file with it is called."""
MOST_CODE = 65_536
"""Characters of code that go with a letter."""


def recipe(instrument: str, product: str, values: Mapping[str, Any], products_url: str) -> str:
    """Python for the client from PyPI. `values` are as a caller gives them to ask for the same; its None is a value that is unset."""
    given = {"instrument": instrument, "product": product, "product_type": "Real", **values}
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in given.items())
    return (
        "from oda_api.api import DispatcherAPI\n"
        "from oda_api.token import discover_token\n\n"
        f"api = DispatcherAPI(url={products_url.rstrip('/') + '/dispatch-data'!r})\n"
        f"request = {{\n{lines}}}\n"
        "# The token, where one is needed, comes from ODA_TOKEN or from a file .oda-token.\n"
        "products = api.get_product(token=discover_token(), **request)\n"
        "products.show()\n"
    )
