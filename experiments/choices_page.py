"""stub"""


def write(table):
    """stub"""
