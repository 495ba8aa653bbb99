"""What a table is made of: columns, and printers that turn an object into cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
Cells = list[Any]
Order = Callable[[Object], Any]

_DESCRIPTIONS = {
    "Name": "Name of the object, unique within its namespace and kind.",
    "Age": "Time since the object was created.",
    "Created At": "When the object was created.",
    "Containers": "Names of each container in the template.",
    "Images": "Images referenced by each container in the template.",
    "Selector": "Which pods belong to the object.",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column's definition.

    Attributes:
        name: Heading; clients print it in capitals.
        type: OpenAPI type of the cells.
        format: "name" for the column that names the object.
        priority: 0 is always shown, 1 only in wide output.
        description: For people.
    """

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def to_object(self) -> dict[str, Any]:
        """Return the TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or _DESCRIPTIONS.get(self.name, f"{self.name} of the object."),
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Printer:
    """How objects of a kind are shown.

    Attributes:
        columns: The columns.
        cells: Gives the cells of an object at a time, one a column.
        order: Sorts the rows; None leaves them in the order of the list.
        conditions: Gives the conditions of an object's row.
    """

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], Cells]
    order: Order | None = None
    conditions: Callable[[Object], list[dict[str, str]]] | None = None


NAME = Column("Name", format="name")
AGE = Column("Age")
CREATED_AT = Column("Created At", type="date")


def columns(text: str) -> tuple[Column, ...]:
    """Make columns from a short notation: "Name Ready Restarts:integer Age | IP Node", wide ones after the bar.

    Underscores stand for spaces in headings.
    """
    shown, _, wide = text.partition("|")
    made = [_column(word, 0) for word in shown.split()] + [_column(word, 1) for word in wide.split()]
    return tuple(made)


def _column(word: str, priority: int) -> Column:
    name, _, kind = word.partition(":")
    if name == "Name":
        return Column("Name", format="name", priority=priority)
    return Column(name.replace("_", " "), kind or "string", priority=priority)
