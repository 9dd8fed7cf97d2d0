# The same for all three nodes: what differs comes from the environment (VAULT_RAFT_NODE_ID, VAULT_API_ADDR,
# VAULT_CLUSTER_ADDR). Put TLS in front of the API port, or give the listener its tls_ keys, before anyone else can reach it.
storage "raft" {
  path = "/data/raft"

  retry_join { leader_api_addr = "http://node-1:8200" }
  retry_join { leader_api_addr = "http://node-2:8200" }
  retry_join { leader_api_addr = "http://node-3:8200" }
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true

  telemetry { unauthenticated_metrics_access = true } # for Prometheus, which is in the same network
}

telemetry {
  prometheus_retention_time = "24h"
  disable_hostname          = true
}

seal "static" {
  current_key_id = "compose"
  current_key    = "file:///seal/key"
}

disable_mlock = true
