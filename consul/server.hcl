# One durable server, which is also the agent that all services of a machine register with.
# Addresses and ports come from whoever starts it (`make up`, deploy/compose.yaml).

server           = true
bootstrap_expect = 1

# The pages at http://…:10006/ui.
ui_config {
  enabled = true
}

# Without a token nothing is registered, and nothing seen unless whoever has none is given the policy `ui`;
# README.md says how tokens are made.
acl {
  enabled                  = true
  default_policy           = "deny"
  down_policy              = "extend-cache"
  enable_token_persistence = true
}

# Each process holds one open request for each service that it watches.
limits {
  http_max_conns_per_client = 500
}

# A short election: there is nobody to elect but this server.
performance {
  raft_multiplier = 1
}

# It asks nobody outside whether it is the newest.
disable_update_check = true
