"""The kinds of columns and indexes that all tables have, and the schema that they belong to: alike on both databases."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, Text
from sqlalchemy import text as sql

metadata = MetaData()


def key() -> Column[int]:
    """`id`, a 63-bit number that whoever writes the row gives."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)


def serial() -> Column[int]:
    """`id`, a number that the database gives."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def big(name: str, default: int = 0) -> Column[int]:
    """A number of 63 bits, never NULL; times are such, in microseconds."""
    return Column(name, BigInteger, nullable=False, server_default=str(default))


def small(name: str, default: int = 0) -> Column[int]:
    """A small number, a state or a yes or no, never NULL."""
    return Column(name, SmallInteger, nullable=False, server_default=str(default))


def text(name: str) -> Column[str]:
    """A text, never NULL."""
    return Column(name, Text, nullable=False, server_default="")


def partial(name: str, where: str, *columns: Column[int] | Column[str], is_unique: bool = False) -> None:
    """An index over the rows for which `where` holds; queries must say it with the same constants."""
    Index(name, *columns, unique=is_unique, sqlite_where=sql(where), postgresql_where=sql(where))
