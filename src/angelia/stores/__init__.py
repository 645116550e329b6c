"""What the house remembers, in SQL on SQLite and PostgreSQL: one code, two engines."""
