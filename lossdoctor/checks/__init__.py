"""One file for each thing that a configuration can get wrong: `lossdoctor check` looks at all of them."""
