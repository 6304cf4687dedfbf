"""A job with the decorator: add_one runs once return_five has given it a number."""

from opgrid import job, op


@op
def return_five():
    return 5


@op
def add_one(arg):
    return arg + 1


@job
def do_stuff():
    add_one(return_five())
