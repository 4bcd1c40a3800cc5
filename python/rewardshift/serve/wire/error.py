"""The shape of an error, for the server's description of itself."""

from pydantic import BaseModel, Field


class ErrorObject(BaseModel):
    """OpenAI's."""

    message: str = Field(description="For people.")
    type: str = Field(description="One of OpenAI's kinds.")
    param: str | None = Field(description="The field that is wrong, if it is one.")
    code: str | None = Field(description="For programs, where there is something to tell apart.")


class ErrorAnswer(BaseModel):
    """What every answer is that is no success."""

    error: ErrorObject
