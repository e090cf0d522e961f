"""How a model is called from programs: its API tab, with the same run in our own words and in those of every client
that already exists.

- `wording` says the values of a form in the words of another protocol, each held against the facade's own table.
- `house` is what a house is: who made the client, how it is installed, and the program that makes the run.
- `houses` has one file per house; one more is added by adding a file and naming it there.
- `page` is the tab.

Above the facades, because it says in their words what they understand, and above the pages, because it is one.
"""
