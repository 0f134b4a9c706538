"""etcd: its command line, the RPCs that the controller needs, its errors, and the clients that load it.

Load workers import `clients` and `outcomes` and nothing else from here: what the controller uses (`system`, `rpc`,
`audit`) brings its own protobuf messages along.
"""
