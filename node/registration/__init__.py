"""Telling a service catalogue (Consul, Kubernetes) what this node is: who looks there finds the active one."""
