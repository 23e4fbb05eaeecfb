"""`make live`: a person with a real key lets Scribe's own adapter ask the vendor what documents leave open.

It costs cents, and never runs by itself. It has been run against the simulator alone.
"""
