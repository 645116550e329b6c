"""What a caller gives for a job: read, checked, and brought to the units that its instrument wants; schemas and forms from the same declaration."""

from angelia.parameters.checking import BadParameters, Checked, Fault, checked, missing_roles, needed_roles
from angelia.parameters.schema import schema_of

__all__ = ["BadParameters", "Checked", "Fault", "checked", "missing_roles", "needed_roles", "schema_of"]
