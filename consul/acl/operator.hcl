# Whoever takes an entry out by hand or puts an instance into maintenance. No keys, no ACLs.

service_prefix "" {
  policy = "write"
}

node_prefix "" {
  policy = "write"
}

operator = "read"
