"""The pages: what people see of the functions that the API has."""
