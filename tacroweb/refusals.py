"""What a service says when the state of the record, not the input's form, forbids an act."""


class Refusal(Exception):
    """An act refused with a sentence that says what to do: an error in the form, 409 in the API.

    Subclasses stand beside the service that raises them and set `code`. `fields` points at the
    inputs concerned, where there are any.
    """

    code = "refused"

    def __init__(self, message: str, *, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields or {}
