"""The composition root: the one place that knows every part and puts roles together.

Its modules are imported one by one: an operator's command needs a few of them, and no role.
"""
