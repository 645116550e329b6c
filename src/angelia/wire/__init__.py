"""Wire code that inlets, dialects and the web share: fields, bodies, problems, credentials."""
