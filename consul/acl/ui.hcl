# Whoever looks at the pages and changes nothing.

service_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
