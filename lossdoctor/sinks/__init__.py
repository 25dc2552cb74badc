"""Small callables that are told what happens while a run goes on: `sink(event)`."""
