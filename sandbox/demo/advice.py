"""What a failure's code asks the user to do, in the words that stand beside the code in the service."""

import ast
import inspect
from itertools import pairwise

from service import errors


def advice(code: str) -> str:
    """The sentences under a code of `FailureCode`; a pointer to the docs for one that is not there."""
    [codes] = ast.parse(inspect.getsource(errors.FailureCode)).body
    assert isinstance(codes, ast.ClassDef)
    for name, sentences in pairwise(codes.body):
        match name, sentences:
            case ast.Assign(value=ast.Constant(value=found)), ast.Expr(value=ast.Constant(value=str(text))):
                if found == code:
                    return text
    return "docs/errors.md lists the codes."
