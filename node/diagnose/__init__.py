"""`operator diagnose`: why a node cannot serve, or soon will not. Needs no running server and changes nothing."""
