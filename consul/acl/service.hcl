# One of our services: it enters itself, and finds all others.
# SERVICE stands for its name; README.md says how the policy is made.

service "SERVICE" {
  policy = "write"
}

service_prefix "" {
  policy = "read"
}

# The answer to "who passes" names nodes.
node_prefix "" {
  policy = "read"
}
